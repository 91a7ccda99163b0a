"""How well a vocabulary fits a text: bytes a token, tokens a word, what falls back to bytes."""

import time
from collections.abc import Sequence
from typing import Any

from data.text import Document
from phase1_foundation.language.tokenizer import Tokenizer
from shared.results import Row, table

EXAMPLES = (
    "Fellow-citizens of the Senate and House of Representatives:",
    "She was the youngest of the two daughters of a most affectionate father.",
    "Call me Ishmael. Some years ago, in 1851, I sailed.",
    "Ein Fuß, eine naïve Idee, 三 pictures: 🐳",
)


def rows(
    tokenizer: Tokenizer, documents: Sequence[Document], artifact: str, preset: str
) -> list[Row]:
    """What held-out documents cost in tokens, and whether they come back unchanged."""
    texts = [document.text for document in documents]
    start = time.perf_counter()
    ids = [tokenizer.encode(text) for text in texts]
    seconds = time.perf_counter() - start
    n_bytes = sum(len(text.encode()) for text in texts)
    n_words = sum(len(text.split()) for text in texts)
    n = n_tokens = sum(map(len, ids))
    [newline] = tokenizer.encode("\n")  # in bytes by design
    fallback = sum(not tokenizer.is_normal(id) and id != newline for row in ids for id in row)
    restored = sum(tokenizer.decode(row) == text for row, text in zip(ids, texts, strict=True))
    common: dict[str, Any] = {
        "step": "tokenizer", "split": "test", "artifact": artifact, "preset": preset,
        "protocol": f"whole held-out documents, sentencepiece {tokenizer.kind}",
    }  # fmt: skip
    measured = [
        # metric, value, unit, better, n, what a tokenizer of bytes or words would have
        ("bytes_per_token", n_bytes / n_tokens, "byte/token", "higher", n, {"bytes": 1.0}),
        ("fertility", n_tokens / n_words, "token/word", "lower", n, {"bytes": n_bytes / n_words}),
        ("byte_fallback", 100 * fallback / n_tokens, "% of tokens", "lower", n, {"bytes": 100.0}),
        ("lossless", 100 * restored / len(documents), "% of documents", "higher", len(ids), {}),
        ("megabytes_per_second", n_bytes / 1e6 / seconds, "MB/s", "higher", n_bytes, {}),
    ]
    return [
        Row(metric=metric, value=value, unit=unit, better=better, n=n, baselines=floors, **common)
        for metric, value, unit, better, n, floors in measured
    ]


def exhibit(tokenizer: Tokenizer) -> dict[str, Any]:
    """A table of texts cut in pieces; ␣ is a space."""
    cut = []
    for text in EXAMPLES:
        ids = tokenizer.encode(text)
        pieces = "·".join(tokenizer.piece(id).replace("\u2581", "␣") for id in ids)
        cut.append([text, len(ids), pieces])
    return table("How it splits", ["text", "tokens", "pieces"], cut)
