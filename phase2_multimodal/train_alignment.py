"""Align pictures and words: phase 1's encoder and language model learn to meet in one space.

A batch of pictures and their captions is a multiple-choice test for both. What comes out finds
pictures by words and words by pictures, names things it was never taught as classes, and is the
network behind our CLIP score. The captioner of the next step looks through its encoder.
"""

import sys
from dataclasses import dataclass
from typing import Literal

from shared.config import Choice, Preset, option
from shared.step import Inputs, Run, Step
from shared.train_config import TrainConfig


@dataclass(frozen=True)
class AlignmentTrainConfig(TrainConfig):
    """The towers, what they look at and how they learn."""

    data: str = option("scenes", "a data set of pictures with texts, or READER@PLACE")
    lm: str = option("", "artifact of the language model; by default the preset's own")
    vision: str = option("", "artifact of the encoder; by default the preset's own")
    size: int = option(64, "pixels a side", low=8)
    dim: int = option(128, "of the common space", low=8)
    loss: Literal["softmax", "sigmoid"] = option("softmax", "sigmoid: each pair on its own")
    augment: Literal["", "resized_crop", "strong"] = option(
        "", "how training pictures are changed; few photographs want strong"
    )
    optimizer: Literal["adamw", "muon"] = option("muon", "muon: for hidden matrices")
    learning_rate: float = option(2e-3, "AdamW's peak learning rate", low=0)
    muon_learning_rate: float = option(0.01, "Muon's peak learning rate", low=0)
    vision_rate: float = option(1.0, "share of the rate for the encoder; 0 freezes it", low=0)
    language_rate: float = option(1.0, "share of it for the text tower; 0 freezes it", low=0)
    warmup: int = option(20, "steps of linear warm-up", low=0)
    cooldown: float = option(0.6, "last share of the steps, rate falls to 0", low=0, high=1)
    weight_decay: float = option(0.01, "pull of matrices towards zero", low=0)
    batch_size: int = option(128, "pictures per optimizer step, over all processes", low=2)
    pictures: int = option(256, "pictures of each split that are measured", low=16)


DAY = "2026-11-30"  # of the recorded runs
PRESETS = {
    "smoke": Preset(
        AlignmentTrainConfig(
            size=32, dim=16, batch_size=16, steps=10, warmup=2, validate_every=5,
            checkpoint_every=5, sample_every=10, pictures=32, threads=1, precision="fp32",
        ),
        "10 s", "noise: it only tests the way", DAY, seconds=10, memory_gb=1, disk_mb=5,
    ),
    "tiny": Preset(
        AlignmentTrainConfig(steps=150, validate_every=25, checkpoint_every=50),
        "1.5 min", "three of four captions found among 256", DAY,
        seconds=100, memory_gb=2, disk_mb=60,
    ),
    "small": Preset(
        AlignmentTrainConfig(
            steps=1500, batch_size=128, validate_every=150, checkpoint_every=150, compile=True,
        ),
        "30 min", "nine of ten captions found", memory_gb=4, disk_mb=150,
    ),
    "base": Preset(
        AlignmentTrainConfig(
            data="coco@coco", vision="vision@large", size=224, dim=512, batch_size=1024,
            steps=20_000, warmup=500, learning_rate=5e-4, optimizer="adamw", validate_every=500,
            checkpoint_every=500, compile=True, workers=16, pictures=5000,
        ),
        "6 h on one large GPU", "COCO at 224 pixels", memory_gb=60, disk_mb=3000,
    ),
}  # fmt: skip


def inputs(choice: Choice[AlignmentTrainConfig]) -> Inputs:
    """The two towers and the pictures with words."""
    import data
    from phase2_multimodal.parents import parent

    config = choice.config
    return Inputs(
        parents=(
            parent("lm", config.lm, choice.preset, "lm"),
            parent("vision", config.vision, choice.preset, "vision"),
        ),
        data=(data.load_pictures(config.data),),
    )


def main(run: Run, engine=None):
    """Take the towers over, find a common space, train, measure, publish."""
    from phase2_multimodal import parents
    from phase2_multimodal.alignment import evaluate
    from phase2_multimodal.alignment.model import AlignmentConfig, AlignmentModel
    from phase2_multimodal.alignment.objective import Align, Pairs
    from phase2_multimodal.talks import changes, talks_of
    from shared import hardware, reference
    from shared.objective import mean_loss
    from shared.training import fit, seed_everything

    config, (pictures,) = run.config, run.inputs.data
    language, tokenizer = parents.load_language(run.inputs.parents[0])
    vision = parents.load_vision(run.inputs.parents[1], config.size)
    train, validation = (
        Pairs(talks_of(pictures, split, config.size), tokenizer, config.batch_size, config.seed,
              changes(augment, config.size))
        for split, augment in (("train", config.augment), ("validation", ""))
    )  # fmt: skip
    seed_everything(config.seed)
    model = AlignmentModel(AlignmentConfig(vision.config, language.config, config.dim, config.loss))
    objective = Align(model, config)
    first, held_out = train.first(4), validation.first(2)

    def loss_at_first() -> float:
        model.fit_projections(first)
        return mean_loss(objective, held_out)

    reuse = parents.take_over(objective, {"vision": vision, "language": language}, loss_at_first)
    history = fit(
        objective,
        train,
        held_out,
        folder=run.folder,
        name="alignment",
        unit="pictures",
        amount_per_step=config.batch_size,
        engine=engine,
    )
    measured = evaluate.measure(
        model, tokenizer, pictures, config, artifact=run.id, preset=run.choice.preset
    )
    curve, verdict = reference.compare(run, history)
    found = run.results(
        hardware.describe(history.precision),
        rows=measured.rows,
        exhibits=[*measured.exhibits, curve],
        verdict=verdict,
        reuse=reuse,
    )
    about = f"Pictures of {config.size} pixels and texts in one space of {config.dim} dimensions."
    return run.publish(parents.save_with_tokenizer(model, tokenizer), found, about=about)


STEP = Step("alignment", "phase2", "Alignment", AlignmentTrainConfig, PRESETS, inputs, main,
            needs=("lm", "vision"))  # fmt: skip

if __name__ == "__main__":
    STEP.command_line(sys.argv[1:])
