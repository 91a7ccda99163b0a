"""What simpler predictors pay for the same held-out text: the floors of bits per byte.

They depend on data and tokenizer alone and take longer than the tiny model's evaluation, so they
are computed once and kept under `$VERMEIL_HOME/floors`.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from data.text import Document
from phase1_foundation.language.tokenizer import Tokenizer
from shared.hardware import cores
from shared.home import home, write_atomically
from shared.metrics.compressors import ppm_bits_per_byte, xz_bits_per_byte
from shared.metrics.ngram import KneserNey, Unigram
from shared.metrics.text import TextScore

Symbols = Callable[[str], np.ndarray]
Fit = Callable[[list[np.ndarray]], KneserNey | Unigram]
Splits = Mapping[str, Sequence[Document]]  # "test", "test/austen", ... -> documents


def bits_per_byte_floors(
    train: Callable[[], Sequence[Document]], splits: Splits, tokenizer: Tokenizer, key: str
) -> dict[str, dict[str, float | None]]:
    """Bits per byte by split and floor: unigram, 5-grams of bytes and tokens, xz, PPM.

    The n-gram models and the primed compressors learned from all of the training text; `key` names
    data and tokenizer.
    """
    path = home() / "floors" / f"{key}.json"
    if not path.exists():
        floors = _measure(train(), splits, tokenizer)
        write_atomically(path, json.dumps(floors, indent=1))
    return json.loads(path.read_text())


def _measure(
    train: Sequence[Document], splits: Splits, tokenizer: Tokenizer
) -> dict[str, dict[str, float | None]]:
    """Every floor is a task of its own; the slow ones leave Python's lock and run side by side."""
    primer = joined(train)

    def ngram(fit: Fit, symbols: Symbols) -> list[float]:
        model = fit([symbols(document.text) for document in train])
        losses = {d.id: -model.log_prob(symbols(d.text)) for d in every(splits)}
        return [bits_per_byte(split, losses) for split in splits.values()]

    def as_tokens(text: str) -> np.ndarray:
        return np.array(tokenizer.encode(text))

    def as_bytes(text: str) -> np.ndarray:
        return np.frombuffer(text.encode(), np.uint8)

    def token_5gram(rows: list[np.ndarray]) -> KneserNey:
        return KneserNey.fit(rows, 5, tokenizer.vocab_size)

    texts = [joined(split) for split in splits.values()]
    tasks: dict[str, Callable[[], list[float]]] = {
        "byte_5gram": lambda: ngram(lambda rows: KneserNey.fit(rows, 5, 256), as_bytes),
        "xz_primed": lambda: xz_bits_per_byte(texts, primer),
        "ppm_primed": lambda: ppm_bits_per_byte(texts, primer),
        "token_5gram": lambda: ngram(token_5gram, as_tokens),
        "unigram": lambda: ngram(lambda r: Unigram.fit(r, tokenizer.vocab_size), as_tokens),
        "xz": lambda: xz_bits_per_byte(texts),
    }
    with ThreadPoolExecutor(cores()) as pool:
        running = {name: pool.submit(task) for name, task in tasks.items()}
        values = {name: done.result() for name, done in running.items()}
    return {
        split: {name: found[row] for name, found in values.items()}
        for row, split in enumerate(splits)
    }


def every(splits: Splits) -> list[Document]:
    """Each document once."""
    return list({document.id: document for split in splits.values() for document in split}.values())


def joined(documents: Sequence[Document]) -> bytes:
    """What a compressor reads."""
    return b"\n".join(document.text.encode() for document in documents)


def bits_per_byte(split: Sequence[Document], losses: Mapping[str, np.ndarray]) -> float:
    """An n-gram model's bits per byte from its losses in nats by document."""
    sizes = [len(document.text.encode()) for document in split]
    return TextScore.from_documents([losses[d.id] for d in split], sizes).bits_per_byte
