"""Train the speech encoder: recordings in, letters out, by CTC.

A transformer on the shared trunk hears log-mel frames and writes letters (Graves et al., 2006). The
unified model takes its encoder over.
"""

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from shared.config import Choice, Preset, option
from shared.step import Inputs, Run, Step
from shared.train_config import TrainConfig

if TYPE_CHECKING:
    from data.speech import SpeechData
    from phase4_deploy.audio.batches import Encode, Handover, SpeechBatches


@dataclass(frozen=True)
class SpeechConfig(TrainConfig):
    """What it hears, what it is made of and how it learns."""

    data: str = option("curriculum_speech", "a data set of speech, or READER@PLACE")
    first: str = option("", "speech to begin with where there is little, e.g. spoken_prose")
    handover: float = option(
        0.7, "share of the steps over which it gives way to data", low=0, high=1
    )
    rest: float = option(0.4, "share of the batches that it keeps in the end", low=0, high=1)
    dim: int = option(144, "width", low=4)
    layers: int = option(4, "blocks", low=1)
    heads: int = option(3, "attention heads", low=1)
    mlp_dim: int = option(384, "hidden width of the feed-forward layers", low=4)
    readings: int = option(1, "characters that a state of 40 ms may write", low=1)
    chunk: int = option(0, "states of 40 ms that a stream gives at once; 0 sees whole clips", low=0)
    left: int = option(0, "states before the chunk that it may see", low=0)
    augment: Literal["", "mask", "voices", "few", "speed", "strong"] = option(
        "mask",
        "masks; voices: + throats, tempo; few: more; speed: + speed; strong: + noise, loudness",
    )
    longest: float = option(12.0, "seconds of the longest clip to learn from", low=0.5)
    optimizer: Literal["adamw", "muon"] = option("muon", "muon: for hidden matrices")
    learning_rate: float = option(2e-3, "AdamW's peak learning rate", low=0)
    muon_learning_rate: float = option(0.01, "Muon's peak learning rate", low=0)
    weight_decay: float = option(0.05, "pull of matrices towards zero", low=0)
    batch_size: int = option(32, "clips per optimizer step, over all processes", low=1)
    beams: int = option(8, "hypotheses kept when clips are measured; 1: greedy", low=1)
    validation_clips: int = option(128, "validation clips used in training", low=1)
    clips: int = option(500, "test clips of each way of labelling that are measured", low=1)


DAY = "2026-11-30"  # of the recorded runs
PRESETS = {
    "smoke": Preset(
        SpeechConfig(
            data="embedded_speech", dim=32, layers=2, heads=2, mlp_dim=64, batch_size=8, steps=10,
            warmup=2, longest=3.0, validate_every=5, checkpoint_every=5, sample_every=5,
            validation_clips=8, clips=6, beams=2, threads=1, precision="fp32",
        ),
        "15 s", "noise: it only tests the way", DAY, seconds=15, memory_gb=1, disk_mb=5,
    ),
    "tiny": Preset(
        SpeechConfig(steps=1500, validate_every=150, checkpoint_every=300, sample_every=500),
        "4.5 min", "three of ten letters wrong in new recordings of words", DAY, seconds=260,
        memory_gb=2, disk_mb=60,
    ),
    "small": Preset(
        SpeechConfig(
            first="spoken_prose", dim=192, layers=6, heads=3, mlp_dim=512, augment="few",
            steps=4000, validate_every=250, checkpoint_every=250, sample_every=1000, longest=20.0,
        ),
        "45 min", "sentences by one voice, with --data sentences@ARCTIC", DAY, seconds=2700,
        memory_gb=3, disk_mb=400,
    ),
    "base": Preset(
        SpeechConfig(
            data="librispeech@LibriSpeech", dim=512, layers=12, heads=8, mlp_dim=1408,
            augment="speed", steps=60_000, warmup=2000, batch_size=256, longest=17.0,
            learning_rate=1e-3, optimizer="adamw", ema=0.9995, validate_every=1000,
            checkpoint_every=1000, sample_every=5000, validation_clips=2000, clips=3000,
            compile=True, workers=16,
        ),
        "6 h on one large GPU", "LibriSpeech-100", memory_gb=60, disk_mb=1000,
    ),
}  # fmt: skip


def inputs(choice: Choice[SpeechConfig]) -> Inputs:
    """The recordings, and what it begins with."""
    import data

    names = (choice.config.data, choice.config.first)
    return Inputs(data=tuple(data.load_speech(name) for name in names if name))


def main(run: Run, engine=None):
    """Train, measure beside other recognisers, publish."""
    from phase4_deploy.speech import evaluate
    from phase4_deploy.speech.encoder import (
        SpeechEncoderConfig,
        SpeechRecogniser,
        SpeechRecogniserConfig,
    )
    from phase4_deploy.speech.objective import Transcribe
    from phase4_deploy.speech.samples import SamplesInTraining, held_out
    from shared import hardware, reference
    from shared.training import fit, seed_everything

    config, (speech, *before) = run.config, run.inputs.data
    seed_everything(config.seed)
    shape = SpeechEncoderConfig(
        config.dim, config.layers, config.heads, config.mlp_dim, chunk=config.chunk,
        left=config.left,
    )  # fmt: skip
    model = SpeechRecogniser(SpeechRecogniserConfig(shape, readings=config.readings))
    own, train = _batches(run, model.alphabet.encode)
    validation = held_out(speech, config.validation_clips, config.batch_size)
    samples = SamplesInTraining(model, validation[0], run.folder)
    history = fit(
        Transcribe(model, config),
        train,
        validation,
        folder=run.folder,
        name="speech",
        unit="clips",
        amount_per_step=config.batch_size,
        sample=samples,
        engine=engine,
    )
    measured = evaluate.measure(
        model, speech, beams=config.beams, seed=config.seed, clips=config.clips, artifact=run.id,
        preset=run.choice.preset,
    )  # fmt: skip
    curve, verdict = reference.compare(run, history)
    found = run.results(
        hardware.describe(history.precision),
        rows=measured.rows,
        exhibits=[*measured.exhibits, samples.exhibit(), curve],
        verdict=verdict,
    )
    size = sum(parameter.numel() for parameter in model.parameters())
    about = (
        f"A recogniser of {size / 1e6:.2f} M parameters that writes English letters, trained on "
        f"{own.seconds / 60:.0f} minutes of {speech.name}."
    )
    if before:
        about += f" It began with {before[0].name}, which made way for them."
    return run.publish(model.save_pretrained, found, about=about)


def _batches(run: Run, encode: "Encode") -> "tuple[SpeechBatches, SpeechBatches | Handover]":
    """The recordings' batches, and what is learned from: theirs, or what gives way to them."""
    from phase4_deploy.audio.augment import Augmentation
    from phase4_deploy.audio.batches import Handover, SpeechBatches

    config, (speech, *before) = run.config, run.inputs.data

    def batches(of: "SpeechData") -> SpeechBatches:
        found = SpeechBatches(
            of.clips("train"), encode, config.batch_size, config.seed,
            Augmentation(config.augment) if config.augment else None, longest=config.longest,
        )  # fmt: skip
        if found.dropped.counts:
            print(f"speech: passed over: {found.dropped}", file=sys.stderr)
        return found

    own = batches(speech)
    if not before:
        return own, own
    steps = round(config.handover * config.steps)
    mixed = Handover(batches(before[0]), own, steps, config.rest, config.steps, config.seed)
    return own, mixed


STEP = Step("speech", "phase4", "Speech", SpeechConfig, PRESETS, inputs, main)

if __name__ == "__main__":
    STEP.command_line(sys.argv[1:])
