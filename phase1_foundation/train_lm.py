"""Train a language model from scratch: Llama's arithmetic, on the text of the data set you name.

It is measured in bits per byte on held-out documents, beside what n-gram models and compressors
pay for the same text. Later phases build on its weights.
"""

import sys
from dataclasses import dataclass
from typing import Literal

from shared.config import Choice, Preset, common, option
from shared.errors import VermeilError
from shared.step import Inputs, Run, Step
from shared.train_config import TrainConfig


@dataclass(frozen=True)
class LMConfig(TrainConfig):
    """The model's shape, its text and how it is trained."""

    data: str = option("curriculum_text", "a data set, READER@PLACE, or a folder of texts")
    tokenizer: str = option("", "artifact to build on; by default the preset's own")
    optimizer: Literal["adamw", "muon"] = option("muon", "muon: for hidden matrices")
    learning_rate: float = option(4e-3, "AdamW's peak learning rate", low=0)
    muon_learning_rate: float = option(0.01, "Muon's peak learning rate", low=0)
    cooldown: float = option(0.6, "last share of the steps, rate falls to 0", low=0, high=1)
    dim: int = option(192, "width of the residual stream", low=8)
    layers: int = option(4, "blocks", low=1)
    heads: int = option(3, "attention heads", low=1)
    kv_heads: int = option(3, "key and value heads; fewer than heads: grouped queries", low=1)
    mlp_dim: int = option(512, "width inside the feed-forward layers", low=8)
    context: int = option(256, "tokens that the model sees at once", low=32)
    tie_embeddings: bool = option(True, "one matrix for embedding and output")
    stride: int = option(0, "step of the test windows; 0: half the context", low=0)
    validation_windows: int = option(64, "windows of the validation text used in training", low=1)

    def check(self) -> None:
        """Errors that would otherwise come late."""
        if self.stride > self.context:
            raise VermeilError(
                f"stride {self.stride} is longer than the context {self.context}", "lower --stride"
            )


DAY = "2026-11-21"  # of the recorded runs
PRESETS = {
    "smoke": Preset(
        LMConfig(
            data="embedded_sample", dim=32, layers=2, heads=2, kv_heads=2, mlp_dim=64, context=64,
            batch_size=8, steps=30, warmup=5, validate_every=10, checkpoint_every=10,
            sample_every=15, validation_windows=8, stride=64, threads=1, precision="fp32",
        ),
        "10 s", "noise: it only tests the way", DAY, seconds=10, memory_gb=0.8, disk_mb=5,
    ),
    "tiny": Preset(
        LMConfig(steps=900, batch_size=16, context=128),
        "4 min", "about 1.58 bits a byte", DAY, seconds=260, memory_gb=2, disk_mb=60,
    ),
    "small": Preset(
        LMConfig(
            dim=256, layers=6, heads=4, kv_heads=4, mlp_dim=704, steps=6000, batch_size=16,
            validate_every=250, checkpoint_every=250, sample_every=1000, compile=True,
        ),
        "1 hour", "about 1.34 bits a byte", DAY, seconds=3600, memory_gb=3, disk_mb=150,
    ),
    "base": Preset(
        LMConfig(
            dim=768, layers=14, heads=12, kv_heads=12, mlp_dim=2048, context=1024, steps=5000,
            batch_size=512, accumulate=16, warmup=250, validate_every=250, checkpoint_every=250,
            sample_every=1000, compile=True,
        ),
        "75 min on one large GPU", "124 M parameters", memory_gb=40, disk_mb=4000,
    ),
    "large": Preset(
        LMConfig(
            dim=1024, layers=24, heads=16, kv_heads=8, mlp_dim=2816, context=2048, steps=10_000,
            batch_size=512, accumulate=4, warmup=500, validate_every=500, checkpoint_every=500,
            sample_every=2000, compile=True, gradient_checkpointing=True,
        ),
        "2 h on 8 large GPUs", "350 M parameters", memory_gb=60, disk_mb=12_000,
    ),
}  # fmt: skip


def inputs(choice: Choice[LMConfig]) -> Inputs:
    """The tokenizer, and the text."""
    import data
    from shared.artifact import find

    config = choice.config
    if config.tokenizer:
        tokenizer = find(config.tokenizer)
    else:
        tokenizer = find(f"tokenizer@{choice.preset}", data=config.data)
    if tokenizer.manifest["step"] != "tokenizer":
        raise VermeilError(
            f"--tokenizer {config.tokenizer} is a {tokenizer.manifest['step']}",
            f"vermeil train tokenizer {choice.preset}",
        )
    return Inputs(parents=(tokenizer,), data=(data.load(config.data),))


def main(run: Run, engine=None):
    """Pack the text, train, measure against the floors, publish."""
    from data.tokens import TokenWindows, spaced_windows
    from phase1_foundation.language import evaluate
    from phase1_foundation.language.corpus import packed
    from phase1_foundation.language.model import LanguageModel, LanguageModelConfig
    from phase1_foundation.language.objective import NextToken, SamplesInTraining
    from phase1_foundation.language.tokenizer import Tokenizer
    from shared import hardware, reference, results
    from shared.training import fit, seed_everything

    config, (text,), (parent,) = run.config, run.inputs.data, run.inputs.parents
    tokenizer = Tokenizer.from_pretrained(parent)

    train, validation = (packed(text, parent, split) for split in ("train", "validation"))
    seed_everything(config.seed)
    shape = LanguageModelConfig(
        vocab_size=tokenizer.vocab_size, **common(config, LanguageModelConfig)
    )
    model = LanguageModel(shape)
    samples = SamplesInTraining(model, tokenizer, run.folder)
    history = fit(
        NextToken(model, config),
        TokenWindows(train, config.context, config.batch_size, config.seed),
        spaced_windows(validation, config.context, config.batch_size, config.validation_windows),
        folder=run.folder,
        name="lm",
        unit="tokens",
        amount_per_step=config.batch_size * config.context,
        sample=samples,
        engine=engine,
    )
    measured = evaluate.rows(
        model, tokenizer, text, stride=config.stride, artifact=run.id, preset=run.choice.preset,
        floors_key=parent.sha256[:16],
    )  # fmt: skip
    curve, verdict = reference.compare(run, history)
    found = run.results(
        hardware.describe(history.precision),
        rows=measured,
        exhibits=[curve, results.texts("What it writes as it learns", samples.written.items())],
        verdict=verdict,
    )

    def save(folder):
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)

    parameters = sum(p.numel() for p in model.parameters())
    about = f"A language model of {parameters / 1e6:.2f} M parameters, context {config.context}."
    return run.publish(save, found, about=about)


STEP = Step("lm", "phase1", "Language model", LMConfig, PRESETS, inputs, main, needs=("tokenizer",))

if __name__ == "__main__":
    STEP.command_line(sys.argv[1:])
