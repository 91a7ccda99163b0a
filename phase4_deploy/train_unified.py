"""Give the vision-language model an ear: one model that reads, looks, hears and answers.

Phase 2's model and the speech encoder meet in one prefix. It learns to write down what is said and
to answer spoken questions about pictures, and rehearses captions, typed questions and prose, so
that it keeps them. A twin that does not rehearse shows what it would have forgotten.
"""

import sys
from dataclasses import dataclass, replace
from typing import Literal

from shared.config import Choice, Preset, option
from shared.step import Inputs, Run, Step
from shared.train_config import TrainConfig


@dataclass(frozen=True)
class UnifiedTrainConfig(TrainConfig):
    """What it goes on from, what it hears and how it learns."""

    data: str = option("scenes", "pictures with questions, which generated voices ask")
    speech: str = option("curriculum_speech", "recordings to write down")
    text: str = option("curriculum_text", "what is read, so that reading is not forgotten")
    model: str = option("", "vision-language artifact; by default the preset's own vqa")
    ear: str = option("", "artifact of the recogniser; by default the preset's own speech")
    drawer: str = option(
        "", "text-to-image artifact that listens to it in the end; by default the preset's; or none"
    )
    spoken: int = option(1500, "scenes of which a question is asked aloud for training", low=1)
    size: int = option(64, "pixels a side, as the vision-language model's", low=8)
    stack: int = option(4, "states of 40 ms that become one embedding", low=1)
    context: int = option(128, "tokens of a window of text", low=8)
    captions: int = option(1, "captions of a picture that are rehearsed", low=0)
    questions: int = option(4, "typed questions of a picture that are rehearsed", low=0)
    length_power: float = option(
        1.0,
        "n tokens of what is rehearsed count as n to this power; 0: answers alike",
        low=0,
        high=1,
    )
    rehearsal: bool = option(True, "rehearse what phases 1 and 2 taught")
    rehearse_every: int = option(1, "steps from one such rehearsal to the next", low=1)
    augment: Literal["", "mask", "voices", "few", "speed", "strong"] = option(
        "mask", "how clips are changed"
    )
    longest: float = option(8.0, "seconds of the longest clip", low=0.5)
    optimizer: Literal["adamw", "muon"] = option("muon", "muon: for hidden matrices")
    learning_rate: float = option(2e-3, "AdamW's peak learning rate", low=0)
    muon_learning_rate: float = option(7e-3, "Muon's peak learning rate", low=0)
    vision_rate: float = option(0.1, "share of the rate for the picture encoder", low=0)
    speech_rate: float = option(0.5, "share of it for the speech encoder", low=0)
    language_rate: float = option(0.7, "share of it for the language model", low=0)
    warmup: int = option(10, "steps of linear warm-up", low=0)
    cooldown: float = option(0.7, "last share of the steps, rate falls to 0", low=0, high=1)
    weight_decay: float = option(0.01, "pull of matrices towards zero", low=0)
    batch_size: int = option(24, "rows of each kind of lesson a step", low=1)
    twin_steps: int = option(60, "steps of the twin that does not rehearse; 0: none", low=0)
    drawing_steps: int = option(120, "steps in which the drawer learns to hear this model", low=1)
    drawings: int = option(96, "pictures drawn to be judged", low=4)
    validation_rows: int = option(72, "validation rows of each kind", low=1)
    pictures: int = option(256, "test pictures and spoken questions that are measured", low=8)
    clips: int = option(200, "test clips of each way of labelling that are written down", low=1)


DAY = "2026-12-01"  # of the recorded runs
PRESETS = {
    "smoke": Preset(
        UnifiedTrainConfig(
            speech="embedded_speech", text="embedded_sample", spoken=8, size=32, batch_size=4,
            steps=4, twin_steps=2, warmup=1, longest=2.0, context=32, validate_every=4,
            checkpoint_every=4, sample_every=4, validation_rows=4, pictures=8, clips=4, threads=1,
            drawing_steps=2, drawings=4, precision="fp32",
        ),
        "30 s", "noise: it only tests the way", DAY, seconds=30, memory_gb=1, disk_mb=5,
    ),
    "tiny": Preset(
        UnifiedTrainConfig(
            length_power=0.5, steps=200, validate_every=50, checkpoint_every=50, sample_every=100
        ),
        "5.5 min", "answers most of what it is asked aloud", DAY, seconds=335, memory_gb=3,
        disk_mb=90,
    ),
    "small": Preset(
        UnifiedTrainConfig(
            steps=4000, batch_size=32, twin_steps=400, validate_every=250, checkpoint_every=250,
            sample_every=1000, pictures=512, clips=500, drawing_steps=1000, drawings=512,
            compile=True,
        ),
        "1 hour", "spoken nearly as good as typed", memory_gb=4, disk_mb=150,
    ),
    "base": Preset(
        UnifiedTrainConfig(
            data="vqa_v2@vqa_v2", speech="librispeech@LibriSpeech", size=224, batch_size=128,
            steps=20_000, twin_steps=0, warmup=500, learning_rate=3e-4, optimizer="adamw",
            validate_every=500, checkpoint_every=500, sample_every=2000, pictures=2000, clips=2000,
            longest=17.0, context=1024, drawing_steps=4000, drawings=1000, compile=True, workers=16,
        ),
        "6 h on one large GPU", "LibriSpeech and VQA v2 together", memory_gb=70, disk_mb=4000,
    ),
}  # fmt: skip


def inputs(choice: Choice[UnifiedTrainConfig]) -> Inputs:
    """Phase 2's model, the recogniser, and what both have learned from."""
    import data
    from phase2_multimodal.parents import parent, same_tokenizer

    config = choice.config
    own = [
        parent("model", config.model, choice.preset, "vqa", "caption"),
        parent("ear", config.ear, choice.preset, "speech"),
    ]
    if config.drawer != "none":
        own.append(parent("drawer", config.drawer, choice.preset, "text_to_image"))
        same_tokenizer(own[0], own[2])
    return Inputs(
        parents=tuple(own),
        data=(
            data.load_pictures(config.data), data.load_speech(config.speech),
            data.load(config.text),
        ),
    )  # fmt: skip


def main(run: Run, engine=None):
    """Join the two, train with and without rehearsal, ask aloud, publish."""
    from phase1_foundation.language.corpus import packed
    from phase1_foundation.language.tokenizer import Tokenizer
    from phase2_multimodal import parents
    from phase2_multimodal.vision_language.generate import Speaker
    from phase2_multimodal.vision_language.model import VisionLanguageModel
    from phase2_multimodal.vision_language.prompts import Prompter
    from phase4_deploy.speech.encoder import SpeechRecogniser
    from phase4_deploy.unified import evaluate
    from phase4_deploy.unified.drawing import refitted
    from phase4_deploy.unified.join import Join
    from shared import hardware, reference

    config, (pictures, speech, text) = run.config, run.inputs.data
    seeing, hearing, *drawers = run.inputs.parents
    looker = VisionLanguageModel.from_pretrained(seeing)
    parents.same_size(seeing, looker.config.vision.size, config.size)
    prompter = Prompter(Tokenizer.from_pretrained(seeing))
    listener = SpeechRecogniser.from_pretrained(hearing)
    join = Join(looker, listener, prompter, pictures, speech, packed(text, seeing))
    model, reuse, history = join.trained(config, run.folder, "unified", engine)
    measured = evaluate.measure(
        model, prompter, pictures, speech, config, artifact=run.id, preset=run.choice.preset
    )

    def abilities(of: VisionLanguageModel):
        return evaluate.abilities(Speaker(of.eval(), prompter), pictures, text, config)

    without = None
    if config.twin_steps:
        fast = replace(
            config, rehearsal=False, steps=config.twin_steps, precision=history.precision
        )
        without = abilities(join.trained(fast, run.folder / "twin", "without rehearsal", engine)[0])
    kept, cost = evaluate.forgetting_rows(
        abilities(looker), abilities(model), without,
        {"artifact": run.id, "preset": run.choice.preset},
    )  # fmt: skip
    drawing = refitted(drawers[0], model.language, run, engine) if drawers else None
    if drawing:
        measured.rows.extend(drawing.rows)
        measured.exhibits.extend(drawing.exhibits)
    curve, verdict = reference.compare(run, history)
    found = run.results(
        hardware.describe(history.precision),
        rows=[*measured.rows, *kept],
        exhibits=[*measured.exhibits, cost, curve],
        verdict=verdict,
        reuse=reuse,
    )
    about = "One model that reads, looks at pictures, hears speech, and answers in words"
    about += " and drawings." if drawing else "."

    def save(folder):
        parents.save_with_tokenizer(model, prompter.tokenizer)(folder)
        if drawing:
            drawing.save(folder)

    return run.publish(save, found, about=about)


STEP = Step("unified", "phase4", "The unified model", UnifiedTrainConfig, PRESETS, inputs, main,
            needs=("vqa", "speech", "text_to_image"))  # fmt: skip

if __name__ == "__main__":
    STEP.command_line(sys.argv[1:])
