"""Go on with the vision-language model, now with all questions about a picture, and measure them.

The captioner of the step before has seen some of them already; captions stay in the lessons, so
that the model keeps saying what it sees. A twin that sees nothing learns from the same questions:
what it gets right needed no picture.
"""

import sys
from dataclasses import dataclass, replace
from typing import Literal

from shared.config import Choice, Preset, option
from shared.step import Inputs, Run, Step
from shared.train_config import TrainConfig


@dataclass(frozen=True)
class VqaConfig(TrainConfig):
    """Where to go on from, what is asked and how it learns."""

    data: str = option("scenes", "a data set of pictures with questions, or READER@PLACE")
    model: str = option("", "artifact to go on with; by default the preset's own caption")
    size: int = option(64, "pixels a side, as the captioner's", low=8)
    captions: int = option(1, "captions of a picture in a batch", low=0)
    questions: int = option(9, "questions of a picture in a batch", low=1)
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
    learning_rate: float = option(2e-3, "AdamW's peak learning rate", low=0)
    muon_learning_rate: float = option(7e-3, "Muon's peak learning rate", low=0)
    vision_rate: float = option(0.3, "share of the rate for the encoder; 0 freezes it", low=0)
    language_rate: float = option(1.0, "share of it for the language model; 0 freezes it", low=0)
    frozen_steps: int = option(0, "steps in which the projector alone learns", low=0)
    warmup: int = option(10, "steps of linear warm-up", low=0)
    cooldown: float = option(0.8, "last share of the steps, rate falls to 0", low=0, high=1)
    weight_decay: float = option(0.01, "pull of matrices towards zero", low=0)
    batch_size: int = option(64, "pictures per optimizer step, over all processes", low=1)
    twin_steps: int = option(60, "optimizer steps of the twin that sees nothing", low=1)
    validation_pictures: int = option(128, "validation pictures used in training", low=1)
    pictures: int = option(256, "pictures of each split that are asked about", low=16)
    neighbours: int = option(2048, "training pictures whose answers are counted", low=16)
    ranked: int = option(64, "questions whose candidates are ranked, too", low=1)


DAY = "2026-12-01"  # of the recorded runs
PRESETS = {
    "smoke": Preset(
        VqaConfig(
            size=32, batch_size=8, steps=5, twin_steps=5, warmup=2, validate_every=5,
            checkpoint_every=5, sample_every=5, validation_pictures=16, pictures=32,
            neighbours=32, ranked=8, threads=1, precision="fp32",
        ),
        "10 s", "noise: it only tests the way", DAY, seconds=10, memory_gb=1, disk_mb=5,
    ),
    "tiny": Preset(
        VqaConfig(
            length_power=0.5, steps=90, validate_every=30, checkpoint_every=45, sample_every=45
        ),
        "2.5 min", "four of five answers right", DAY, seconds=155, memory_gb=2, disk_mb=80,
    ),
    "small": Preset(
        VqaConfig(
            steps=3000, twin_steps=600, validate_every=250, checkpoint_every=250,
            sample_every=1000, pictures=512, neighbours=8192, ranked=256, compile=True,
        ),
        "40 min", "nine of ten answers right", memory_gb=4, disk_mb=150,
    ),
    "base": Preset(
        VqaConfig(
            data="vqa_v2@vqa_v2", size=224, batch_size=256, steps=20_000, twin_steps=4000,
            warmup=500, captions=0, questions=3, learning_rate=5e-4, optimizer="adamw",
            vision_rate=0.2, language_rate=0.2, validate_every=500, checkpoint_every=500,
            sample_every=2000, pictures=5000, neighbours=50_000, ranked=1000, compile=True,
            workers=16,
        ),
        "8 h on one large GPU", "VQA v2 at 224 pixels", memory_gb=60, disk_mb=4000,
    ),
}  # fmt: skip


def inputs(choice: Choice[VqaConfig]) -> Inputs:
    """The captioner, and the pictures with questions."""
    import data
    from phase2_multimodal.parents import parent

    config = choice.config
    return Inputs(
        parents=(parent("model", config.model, choice.preset, "caption", "vqa"),),
        data=(data.load_pictures(config.data),),
    )


def main(run: Run, engine=None):
    """Take the captioner over, train it and its blind twin, ask both, publish."""
    from phase1_foundation.language.tokenizer import Tokenizer
    from phase2_multimodal import parents
    from phase2_multimodal.talks import talks_of
    from phase2_multimodal.vision_language import blind, evaluate_answers, forgetting
    from phase2_multimodal.vision_language.generate import Speaker
    from phase2_multimodal.vision_language.lessons import Lessons
    from phase2_multimodal.vision_language.model import VisionLanguageModel
    from phase2_multimodal.vision_language.objective import Answer, SamplesInTraining
    from phase2_multimodal.vision_language.prompts import Prompter
    from shared import hardware, reference
    from shared.objective import mean_loss
    from shared.training import fit, seed_everything

    config, (pictures,), (captioner,) = run.config, run.inputs.data, run.inputs.parents
    parent = VisionLanguageModel.from_pretrained(captioner)
    parents.same_size(captioner, parent.config.vision.size, config.size)
    prompter = Prompter(Tokenizer.from_pretrained(captioner))
    train, validation = (
        Lessons.of(pictures, split, prompter, config) for split in ("train", "validation")
    )
    seed_everything(config.seed)
    model = VisionLanguageModel(parent.config)
    objective = Answer(model, config, prompter)
    held_out = validation.first(config.validation_pictures)
    reuse = parents.take_over(objective, {"": parent}, lambda: mean_loss(objective, held_out))
    common = {"unit": "pictures", "amount_per_step": config.batch_size, "engine": engine}
    talks = talks_of(pictures, "validation", config.size)
    samples = SamplesInTraining(model, prompter, talks, run.folder)
    history = fit(
        objective, train, held_out, folder=run.folder, name="vqa", sample=samples, **common
    )
    alike = replace(config, precision=history.precision)
    twin = blind.trained(parent, alike, prompter, train, held_out, run.folder, **common)
    measured = evaluate_answers.measure(
        Speaker(model.eval(), prompter), Speaker(twin, prompter), pictures, config,
        artifact=run.id, preset=run.choice.preset,
    )  # fmt: skip
    about = {"step": "vqa", "artifact": run.id, "preset": run.choice.preset}
    prose = forgetting.row(model.language, prompter.tokenizer, captioner, about)
    curve, verdict = reference.compare(run, history)
    found = run.results(
        hardware.describe(history.precision),
        rows=[*measured.rows, prose],
        exhibits=[*measured.exhibits, samples.exhibit(), curve],
        verdict=verdict,
        reuse=reuse,
    )

    def save(folder):
        parents.save_with_tokenizer(model, prompter.tokenizer)(folder)
        blind.save(twin, folder)

    about = f"A language model that looks at pictures of {config.size} pixels; answers, captions."
    return run.publish(save, found, about=about)


STEP = Step("vqa", "phase2", "Visual question answering", VqaConfig, PRESETS, inputs, main,
            needs=("caption",))  # fmt: skip

if __name__ == "__main__":
    STEP.command_line(sys.argv[1:])
