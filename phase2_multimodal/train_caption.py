"""Train the vision-language model: phase 1's language model learns to say what a picture shows.

Captions and questions are prompts of the same weights and are learned together, each picture looked
at once for all of them. This step measures what it writes; the next one, what it answers.
"""

import sys
from dataclasses import dataclass
from typing import Literal

from shared.config import Choice, Preset, option
from shared.step import Inputs, Run, Step
from shared.train_config import TrainConfig


@dataclass(frozen=True)
class CaptionConfig(TrainConfig):
    """What the model is made of, what it looks at and how it learns."""

    data: str = option("scenes", "a data set of pictures with texts, or READER@PLACE")
    lm: str = option("", "artifact of the language model; by default the preset's own")
    vision: str = option("", "artifact of the encoder, vision or alignment; by default the latter")
    size: int = option(64, "pixels a side", low=8)
    projector: Literal["pixel_shuffle", "resampler"] = option(
        "pixel_shuffle", "between encoder and language model"
    )
    shuffle: int = option(2, "pixel_shuffle: patches a side that become one embedding", low=1)
    queries: int = option(16, "resampler: embeddings that a picture becomes", low=1)
    captions: int = option(1, "captions of a picture in a batch", low=0)
    questions: int = option(3, "questions of a picture in a batch", low=0)
    length_power: float = option(
        1.0, "n tokens of an answer count as n to this power; 0: answers alike", low=0, high=1
    )
    naming: float = option(
        0.3,
        "weight of finding the captions' words in the picture's embeddings; 0: not asked",
        low=0,
    )
    augment: Literal["", "resized_crop", "strong"] = option(
        "", "how training pictures are changed; few photographs want strong"
    )
    optimizer: Literal["adamw", "muon"] = option("muon", "muon: for hidden matrices")
    learning_rate: float = option(3e-3, "AdamW's peak learning rate", low=0)
    muon_learning_rate: float = option(0.01, "Muon's peak learning rate", low=0)
    vision_rate: float = option(1.0, "share of the rate for the encoder; 0 freezes it", low=0)
    language_rate: float = option(1.0, "share of it for the language model; 0 freezes it", low=0)
    frozen_steps: int = option(0, "steps in which the projector alone learns", low=0)
    cooldown: float = option(0.6, "last share of the steps, rate falls to 0", low=0, high=1)
    weight_decay: float = option(0.01, "pull of matrices towards zero", low=0)
    batch_size: int = option(64, "pictures per optimizer step, over all processes", low=1)
    beams: int = option(1, "hypotheses kept when captions are measured", low=1, high=5)
    validation_pictures: int = option(128, "validation pictures used in training", low=1)
    pictures: int = option(256, "pictures of each split that are measured", low=16)
    neighbours: int = option(2048, "training pictures that nearest neighbours come from", low=16)


DAY = "2026-12-01"  # of the recorded runs
PRESETS = {
    "smoke": Preset(
        CaptionConfig(
            size=32, batch_size=8, steps=10, warmup=2, validate_every=5, checkpoint_every=5,
            sample_every=5, validation_pictures=16, pictures=32, neighbours=32, threads=1,
            precision="fp32",
        ),
        "15 s", "noise: it only tests the way", DAY, seconds=15, memory_gb=1, disk_mb=5,
    ),
    "tiny": Preset(
        CaptionConfig(
            vision_rate=0.2, questions=4, length_power=0.5, steps=530, validate_every=50,
            checkpoint_every=50, sample_every=150,
        ),
        "6.5 min", "half of what people agree on", DAY, seconds=390, memory_gb=2, disk_mb=80,
    ),
    "small": Preset(
        CaptionConfig(
            steps=6000, validate_every=250, checkpoint_every=250, sample_every=1000,
            pictures=512, neighbours=8192, compile=True,
        ),
        "1 hour", "captions nearly always true", memory_gb=4, disk_mb=150,
    ),
    "base": Preset(
        CaptionConfig(
            data="coco@coco", size=224, batch_size=256, steps=20_000, warmup=500, captions=2,
            questions=0, learning_rate=5e-4, optimizer="adamw", vision_rate=0.2,
            language_rate=0.2, frozen_steps=500, validate_every=500, checkpoint_every=500,
            sample_every=2000, pictures=5000, neighbours=50_000, beams=3, compile=True, workers=16,
        ),
        "8 h on one large GPU", "COCO captions at 224 pixels", memory_gb=60, disk_mb=4000,
    ),
}  # fmt: skip


def inputs(choice: Choice[CaptionConfig]) -> Inputs:
    """The language model, the encoder, and the pictures with words."""
    import data
    from phase2_multimodal.parents import parent

    config = choice.config
    return Inputs(
        parents=(
            parent("lm", config.lm, choice.preset, "lm"),
            parent("vision", config.vision, choice.preset, "alignment", "vision"),
        ),
        data=(data.load_pictures(config.data),),
    )


def main(run: Run, engine=None):
    """Join the two models, train, caption the held-out pictures, publish."""
    from phase2_multimodal import parents
    from phase2_multimodal.talks import talks_of
    from phase2_multimodal.vision_language import evaluate_captions
    from phase2_multimodal.vision_language.generate import Speaker
    from phase2_multimodal.vision_language.lessons import FITTED, Lessons
    from phase2_multimodal.vision_language.model import VisionLanguageModel, joined
    from phase2_multimodal.vision_language.objective import Answer, SamplesInTraining
    from phase2_multimodal.vision_language.prompts import Prompter
    from shared import hardware, reference
    from shared.objective import mean_loss
    from shared.training import fit, seed_everything

    config, (pictures,) = run.config, run.inputs.data
    language, tokenizer = parents.load_language(run.inputs.parents[0])
    vision = parents.load_vision(run.inputs.parents[1], config.size)
    prompter = Prompter(tokenizer)
    seed_everything(config.seed)
    model = VisionLanguageModel(joined(vision.config, language.config, config))
    train, validation = (
        Lessons.of(pictures, split, prompter, config) for split in ("train", "validation")
    )
    objective = Answer(model, config, prompter)
    first, held_out = train.captioned(FITTED), validation.first(config.validation_pictures)

    def loss_at_first() -> float:
        model.prepare(prompter.like_newlines, first)
        return mean_loss(objective, held_out)

    reuse = parents.take_over(objective, {"vision": vision, "language": language}, loss_at_first)
    samples = SamplesInTraining(
        model, prompter, talks_of(pictures, "validation", config.size), run.folder
    )
    history = fit(
        objective,
        train,
        held_out,
        folder=run.folder,
        name="caption",
        unit="pictures",
        amount_per_step=config.batch_size,
        sample=samples,
        engine=engine,
    )
    model.eval()
    measured = evaluate_captions.measure(
        Speaker(model, prompter), pictures, config, artifact=run.id, preset=run.choice.preset
    )
    curve, verdict = reference.compare(run, history)
    found = run.results(
        hardware.describe(history.precision),
        rows=measured.rows,
        exhibits=[*measured.exhibits, samples.exhibit(), curve],
        verdict=verdict,
        reuse=reuse,
    )
    about = f"A language model that looks at pictures of {config.size} pixels; captions, answers."
    return run.publish(parents.save_with_tokenizer(model, tokenizer), found, about=about)


STEP = Step("caption", "phase2", "Captioning", CaptionConfig, PRESETS, inputs, main,
            needs=("lm", "alignment"))  # fmt: skip

if __name__ == "__main__":
    STEP.command_line(sys.argv[1:])
