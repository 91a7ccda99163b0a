"""`vermeil bench tokenizer`: which vocabulary suits the language model, and how fast it cuts text.

SentencePiece's BPE and unigram and a byte-level BPE learn from the same training documents. The
test documents then tell how long the text becomes and how well the same small language model
predicts it, after as many bytes of training text with every vocabulary.
"""

import math
import re
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np

from phase1_foundation.language.tokenizer import Tokenizer
from phase1_foundation.language.tokenizer_speed import FastTokenizer, Vocabulary, table
from shared.config import option, parse
from shared.errors import Stopped, VermeilError

if TYPE_CHECKING:  # the models bring torch, which --help has no need of
    from phase1_foundation.language.model import LanguageModel, LanguageModelConfig

KINDS = ("bpe", "unigram", "byte-level")
WORD = re.compile(r"[^\W\d_]+")  # letters in a row


@dataclass(frozen=True)
class StudyConfig:
    """Which vocabularies to compare, with how large a model and how much text."""

    POSITIONAL: ClassVar = ("name",)

    name: str = option("tokenizer", "this comparison")
    part: Literal["all", "study", "speed"] = option("all", "quality, speed, or both")
    data: str = option("embedded_text", "a data set, READER@PLACE, or a folder of texts")
    sizes: tuple[int, ...] = option((1024, 4096, 16384), "vocabulary sizes")
    bytes: int = option(2_000_000, "training text that each model sees, in bytes", low=1)
    dim: int = option(128, "width of the models' residual stream", low=8)
    layers: int = option(4, "blocks", low=1)
    heads: int = option(2, "attention heads", low=1)
    mlp_dim: int = option(352, "width inside the feed-forward layers", low=8)
    context: int = option(256, "tokens that a model sees at once", low=32)
    batch_size: int = option(8, "windows of `context` tokens in a training step", low=1)
    rounds: int = option(3, "turns of every candidate where speed is timed", low=1)
    threads: int = option(0, "CPU threads; 0 takes every core", low=0)
    seed: int = option(0, "fixes initial weights and the order of the text", low=0)

    def check(self) -> None:
        """There is something to compare."""
        if not self.sizes:
            raise VermeilError("--sizes names no vocabulary size", "--sizes 1024,4096")


def bench(arguments: list[str]) -> None:
    """Compare vocabularies by what they cost and what a model makes of them, and time them."""
    config = parse(StudyConfig, arguments, command="vermeil bench", about=str(bench.__doc__)).config
    import data
    from shared import hardware
    from shared.benchmark import conditions

    hardware.set_threads(config.threads)
    text = data.load(config.data)
    train, test = (list(text.documents(split)) for split in ("train", "test"))
    texts, held_out = ([document.text for document in part] for part in (train, test))
    for split, part in (("training", texts), ("test", held_out)):
        if not any(map(str.strip, part)):
            raise VermeilError(
                f"the {split} documents of {config.data} hold no text",
                f"look: vermeil data show {config.data}",
            )
    print(f"{hardware.cpu_name()}, {conditions()}\n", flush=True)
    if config.part != "speed":
        study(config, texts, held_out)
        print()
    if config.part != "study":
        size = config.sizes[len(config.sizes) // 2]
        vocabularies = {f"{kind} {size}": learn(kind, texts, size) for kind in KINDS}
        table(vocabularies, held_out, train, config.rounds)
    print(f"\nat the end: {conditions()}")


def learn(kind: str, texts: Sequence[str], size: int) -> Vocabulary:
    """A vocabulary of that kind and size; raises when the text is too small for it."""
    from torch import get_num_threads

    try:
        if kind == "byte-level":
            return FastTokenizer.byte_level(texts, size)
        return Tokenizer.train(texts, size, kind, threads=get_num_threads())  # type: ignore[arg-type]
    except VermeilError as error:
        raise VermeilError(error.message, "choose other --sizes or bring more text") from None


def study(config: StudyConfig, train: Sequence[str], test: Sequence[str]) -> None:
    """Learn every vocabulary, train a model on each, print a table."""
    shape(config, max(config.sizes))  # an impossible one is refused before the work
    print(f"learned from {about(train)} of {config.data}, measured on {about(test)}")
    print(
        f"language model: dim {config.dim}, {config.layers} blocks, {config.heads} heads, context "
        f"{config.context}, after {config.bytes / 1e6:.2f} MB of text; seed {config.seed}\n"
    )
    for heading in (0, 1):
        print(line("", {key: column[heading] for key, column in COLUMNS.items()}))
    for size in config.sizes:
        for kind in KINDS:
            start = time.process_time()
            vocabulary = learn(kind, train, size)
            found = {"learning": time.process_time() - start} | on_text(vocabulary, test)
            found |= in_a_model(config, vocabulary, train, test)
            print(line(f"{kind} {size}", found), flush=True)
    print(line("byte_5gram", {"bits": byte_5gram(train, test)}))
    print(
        "\nBits per byte compare fairly: the models have the same blocks and saw as much text\n"
        "(every vocabulary learned from all of it); losses per token would not. The embedding,\n"
        "tied to the output, grows with the vocabulary: weigh all parameters and the TFLOP where\n"
        "memory or time is short."
    )


def about(texts: Sequence[str]) -> str:
    """How much text that is."""
    return f"{len(texts):,} documents ({n_bytes(texts) / 1e6:.2f} MB)"


COLUMNS = {  # heading in two lines, digits after the point
    "learning": ("learned", "in CPU s", 1),
    "bytes_per_token": ("bytes/", "token", 3),
    "fertility": ("tokens/", "word", 3),
    "characters": ("characters", "in pieces %", 3),
    "words": ("words in", "one token %", 1),
    "parameters": ("parameters", "all, M", 2),
    "inner": ("no embed-", "ding, M", 2),
    "teraflops": ("training", "TFLOP", 1),
    "bits": ("bits/", "byte", 3),
}


def line(name: str, values: dict[str, Any]) -> str:
    """One line of the table; a column without a value stays empty."""
    cells = []
    for key, (first, second, digits) in COLUMNS.items():
        value = values.get(key, "")
        shown = value if isinstance(value, str) else f"{value:.{digits}f}"
        cells.append(f"{shown:>{max(len(first), len(second)) + 2}}")
    return f"{name:<17}{''.join(cells)}"


def n_bytes(texts: Sequence[str]) -> int:
    return sum(len(text.encode()) for text in texts)


def on_text(vocabulary: Vocabulary, texts: Sequence[str]) -> dict[str, float]:
    """What texts cost in tokens.

    Bytes a token and fertility (tokens a word between spaces) are those of `tokenizer_report`.
    Words in one token are runs of letters, each with a space before it. Characters in pieces are
    those that SentencePiece need not spell in bytes, newlines left out; of bytes all is made in a
    byte-level vocabulary, so it has no such number.
    """
    rows = vocabulary.encode_documents(texts)
    n_tokens = sum(len(row) - 1 for row in rows)
    words = Counter(word for text in texts for word in WORD.findall(text))
    cut = vocabulary.encode_documents([f" {word}" for word in words])
    whole = sum(n for n, row in zip(words.values(), cut, strict=True) if len(row) == 2)
    found = {
        "bytes_per_token": n_bytes(texts) / n_tokens,
        "fertility": n_tokens / sum(len(text.split()) for text in texts),
        "words": 100 * whole / max(1, words.total()),
    }
    if isinstance(vocabulary, Tokenizer):
        characters = sum(len(text) - text.count("\n") for text in texts)
        found["characters"] = 100 * (1 - spelled_in_bytes(vocabulary, rows) / characters)
    return found


def spelled_in_bytes(tokenizer: Tokenizer, rows: Sequence[Sequence[int]]) -> int:
    """Characters but newlines that stand as bytes in these token ids."""
    [newline] = tokenizer.encode("\n")
    tokens = Counter(id for row in rows for id in row if id not in (newline, tokenizer.bos))
    spelled = (id for id in tokens if not tokenizer.is_normal(id))
    # A character's first byte tells it from the others, which begin with the bits 10.
    return sum(tokens[id] for id in spelled if int(tokenizer.piece(id)[1:-1], 16) >> 6 != 0b10)


def in_a_model(
    config: StudyConfig, vocabulary: Vocabulary, train: Sequence[str], test: Sequence[str]
) -> dict[str, float]:
    """Train the language model on `config.bytes` of text; its size, its cost, its bits per byte."""
    from phase1_foundation.language.bench import Shape, training_flops
    from phase1_foundation.language.model import LanguageModel
    from shared.training import seed_everything

    rows = (row for text in train for row in vocabulary.encode_documents([text]))
    tokens = np.concatenate([np.array(row, np.uint32) for row in rows])
    seed_everything(config.seed)
    model = LanguageModel(shape(config, vocabulary.vocab_size))
    parameters = sum(p.numel() for p in model.parameters())
    steps = steps_for(config, n_bytes(train) / len(tokens))
    trained(model, tokens, steps, config)
    return {
        "parameters": parameters / 1e6,
        "inner": (parameters - model.embed.weight.numel()) / 1e6,
        "teraflops": steps * training_flops(Shape(model.config, config.batch_size)) / 1e12,
        "bits": bits_per_byte(model, vocabulary, test),
    }


def shape(config: StudyConfig, vocab_size: int) -> "LanguageModelConfig":
    """The language model on a vocabulary of that size: blocks that all share, and an embedding."""
    from phase1_foundation.language.model import LanguageModelConfig

    return LanguageModelConfig(
        vocab_size, config.dim, config.layers, config.heads, config.heads, config.mlp_dim,
        config.context,
    )  # fmt: skip


def steps_for(config: StudyConfig, bytes_per_token: float) -> int:
    """Training steps that see `config.bytes` of text."""
    return max(1, round(config.bytes / (bytes_per_token * config.batch_size * config.context)))


def trained(model: "LanguageModel", tokens: np.ndarray, steps: int, config: StudyConfig) -> None:
    """Train as `vermeil train lm` does; nothing but the weights remains."""
    import torch

    from data.tokens import TokenWindows
    from phase1_foundation.language.objective import NextToken
    from phase1_foundation.train_lm import LMConfig
    from shared.training import fit

    recipe = LMConfig(
        steps=steps, batch_size=config.batch_size, warmup=steps // 20, checkpoint_every=steps,
        precision="bf16", threads=torch.get_num_threads(), seed=config.seed, trackers=(),
    )  # fmt: skip
    windows = TokenWindows(tokens, config.context, config.batch_size, config.seed)
    try:
        with tempfile.TemporaryDirectory() as folder:
            fit(NextToken(model, recipe), windows, [], folder=Path(folder), name="study",
                unit="tokens", amount_per_step=config.batch_size * config.context,
                quiet=True)  # fmt: skip
    except Stopped:  # nothing is kept that a next run could go on with
        raise KeyboardInterrupt from None


def bits_per_byte(model: "LanguageModel", vocabulary: Vocabulary, texts: Sequence[str]) -> float:
    """What `vermeil eval lm` measures on whole documents, here under bf16 autocast."""
    import torch

    from phase1_foundation.language.evaluate import BATCH_SIZE
    from shared.metrics.text import score_documents

    rows = vocabulary.encode_documents(texts)
    documents = [(row, len(text.encode())) for row, text in zip(rows, texts, strict=True)]
    context = model.config.context
    with torch.autocast("cpu", torch.bfloat16):
        score = score_documents(
            model.eval(), documents, context=context, stride=context // 2, batch_size=BATCH_SIZE
        )
    return score.bits_per_byte


def byte_5gram(train: Sequence[str], test: Sequence[str]) -> float:
    """The floor: bits per byte of a Kneser-Ney 5-gram model of all the training text's bytes."""
    from shared.metrics.ngram import KneserNey

    in_bytes = [np.frombuffer(text.encode(), np.uint8) for text in train]
    model = KneserNey.fit(in_bytes, 5, 256)
    nats = sum(-model.log_prob(np.frombuffer(text.encode(), np.uint8)).sum() for text in test)
    return nats / math.log(2) / n_bytes(test)
