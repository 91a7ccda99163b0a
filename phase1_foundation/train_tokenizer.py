"""Learn the vocabulary that every later step writes in: SentencePiece with byte fallback.

The text is the training split alone. What comes out loads in `transformers` with equal ids.
"""

import sys
from dataclasses import dataclass
from typing import Literal

from shared.config import Choice, Preset, option
from shared.step import Inputs, Run, Step


@dataclass(frozen=True)
class TokenizerConfig:
    """What vocabulary to learn, and from which text."""

    data: str = option("curriculum_text", "a data set, READER@PLACE, or a folder of texts")
    vocab_size: int = option(4096, "pieces, reserved symbols and 256 bytes included", low=300)
    kind: Literal["unigram", "bpe"] = option("unigram", "how the vocabulary is learned")
    character_coverage: float = option(
        0.9999, "share of characters that get a piece; bytes spell the rest", low=0.98, high=1
    )
    threads: int = option(2, "threads for training", low=1)


DAY = "2026-11-21"  # of the recorded runs
SAMPLE = TokenizerConfig(data="embedded_sample", vocab_size=1024)
FULL = TokenizerConfig()
PRESETS = {
    "smoke": Preset(SAMPLE, "4 s", "3 bytes a token", DAY, seconds=4, memory_gb=0.5, disk_mb=1),
    "tiny": Preset(FULL, "12 s", "4 bytes a token", DAY, seconds=12, memory_gb=1, disk_mb=1),
    "small": Preset(FULL, "12 s", "4 bytes a token", DAY, seconds=12, memory_gb=1, disk_mb=1),
    "base": Preset(TokenizerConfig(vocab_size=32_768), "minutes", "4.5 bytes a token",
                   memory_gb=8, disk_mb=3),
    "large": Preset(TokenizerConfig(vocab_size=65_536), "minutes", "4.7 bytes a token",
                    memory_gb=8, disk_mb=5),
}  # fmt: skip


def inputs(choice: Choice[TokenizerConfig]) -> Inputs:
    """The text alone."""
    import data

    return Inputs(data=(data.load(choice.config.data),))


def main(run: Run, engine=None):
    """Learn, measure on the held-out documents, publish."""
    from phase1_foundation.language.tokenizer import Tokenizer
    from phase1_foundation.language.tokenizer_report import exhibit, rows
    from shared import hardware

    config, (text,) = run.config, run.inputs.data
    tokenizer = Tokenizer.train(
        (document.text for document in text.documents("train")),
        config.vocab_size,
        config.kind,
        character_coverage=config.character_coverage,
        threads=config.threads,
    )
    measured = rows(tokenizer, list(text.documents("test")), run.id, run.choice.preset)
    found = run.results(hardware.describe(), rows=measured, exhibits=[exhibit(tokenizer)])
    about = f"A SentencePiece {config.kind} vocabulary of {config.vocab_size} pieces."
    return run.publish(tokenizer.save_pretrained, found, about=about)


STEP = Step("tokenizer", "phase1", "Tokenizer", TokenizerConfig, PRESETS, inputs, main,
            alone=True)  # fmt: skip

if __name__ == "__main__":
    STEP.command_line(sys.argv[1:])
