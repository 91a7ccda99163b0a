"""Train a language model from scratch: Llama's arithmetic, on the text of the data set you name.

It is measured in bits per byte on held-out documents, beside what n-gram models and compressors
pay for the same text. Later phases build on its weights.
"""

import sys
from dataclasses import dataclass

from shared.config import Choice, Preset, option
from shared.errors import VermeilError
from shared.step import Inputs, Run, Step
from shared.train_config import TrainConfig


@dataclass(frozen=True)
class LMConfig(TrainConfig):
    """The model's shape, its text and how it is trained."""

    data: str = option("embedded_text", "a data set's name, or a folder of .txt and .jsonl files")
    tokenizer: str = option("", "artifact to build on; by default the preset's own")
    dim: int = option(192, "width of the residual stream", low=8)
    layers: int = option(4, "blocks", low=1)
    heads: int = option(6, "attention heads", low=1)
    kv_heads: int = option(6, "key and value heads; fewer than heads: grouped queries", low=1)
    mlp_dim: int = option(512, "width inside the feed-forward layers", low=8)
    context: int = option(256, "tokens that the model sees at once", low=8)
    tie_embeddings: bool = option(True, "one matrix for embedding and output")
    stride: int = option(0, "step of the test windows; 0: half the context", low=0)
    validation_windows: int = option(64, "windows of the validation text used in training", low=1)

    def check(self) -> None:
        """Errors that would otherwise come late."""
        if self.stride > self.context:
            raise VermeilError(
                f"stride {self.stride} is longer than the context {self.context}", "lower --stride"
            )


PRESETS = {
    "smoke": Preset(
        LMConfig(
            data="embedded_sample", dim=32, layers=2, heads=2, kv_heads=2, mlp_dim=64, context=64, batch_size=8, steps=30,
            warmup=5, validate_every=10, checkpoint_every=10, sample_every=15, validation_windows=8,
            stride=64, threads=1, precision="fp32",
        ),
        "seconds", "an untrained model's output",
    ),
    "tiny": Preset(
        LMConfig(steps=900, batch_size=8, learning_rate=4e-3, warmup=50),
        "3 minutes on 2 cores", "below the byte 5-gram",
    ),
}  # fmt: skip


def inputs(choice: Choice[LMConfig]) -> Inputs:
    """The tokenizer, and the text."""
    import data
    from shared.artifact import find

    tokenizer = find(choice.config.tokenizer or f"tokenizer@{choice.preset}")
    return Inputs(parents=(tokenizer,), data=(data.load(choice.config.data),))


def main(run: Run, engine=None):
    """Pack the text, train, measure against the floors, publish."""
    from data.tokens import TokenWindows, pack, spaced_windows
    from phase1_foundation.language import evaluate
    from phase1_foundation.language.model import LanguageModel, LanguageModelConfig
    from phase1_foundation.language.objective import NextToken, SamplesInTraining
    from phase1_foundation.language.tokenizer import Tokenizer
    from shared import hardware, reference, results
    from shared.training import fit, seed_everything

    config, (text,) = run.config, run.inputs.data
    tokenizer = Tokenizer.from_pretrained(run.inputs.parents[0])

    def tokens(split: str):
        key = f"{text.sha256()[:16]}-{run.inputs.parents[0].sha256[:16]}-{split}"
        return pack(text.documents(split), tokenizer.encode_documents, key)

    seed_everything(config.seed)
    shape = {key: getattr(config, key) for key in LanguageModelConfig.__dataclass_fields__
             if hasattr(config, key)}  # fmt: skip
    model = LanguageModel(LanguageModelConfig(vocab_size=tokenizer.vocab_size, **shape))
    samples = SamplesInTraining(model, tokenizer, run.folder)
    history = fit(
        NextToken(model, config),
        TokenWindows(tokens("train"), config.context, config.batch_size, config.seed),
        spaced_windows(
            tokens("validation"), config.context, config.batch_size, config.validation_windows
        ),
        folder=run.folder,
        name="lm",
        unit="tokens",
        amount_per_step=config.batch_size * config.context,
        sample=samples,
        engine=engine,
    )
    measured = evaluate.rows(
        model, tokenizer, text, stride=config.stride, artifact=run.id, preset=run.choice.preset,
        floors_key=run.inputs.parents[0].sha256[:16],
    )  # fmt: skip
    curve, verdict = reference.compare(run, history)
    found = run.results(
        hardware.describe(history.precision),
        rows=measured,
        exhibits=[curve, results.texts("What it writes as it learns", samples.read())],
        verdict=verdict,
    )

    def save(folder):
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)

    parameters = sum(p.numel() for p in model.parameters())
    about = f"A language model of {parameters / 1e6:.2f} M parameters, context {config.context}."
    return run.publish(save, found, about=about)


STEP = Step("lm", "phase1", "Language model", LMConfig, PRESETS, inputs, main)

if __name__ == "__main__":
    STEP.command_line(sys.argv[1:])
