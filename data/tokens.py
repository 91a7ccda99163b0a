"""Documents as token ids on disk, and training windows drawn from them by step."""

from collections.abc import Callable, Iterable
from itertools import islice

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from data.text import Document
from shared.errors import VermeilError
from shared.home import home, replacing

EncodeDocuments = Callable[[list[str]], list[list[int]]]
AT_ONCE = 64  # documents encoded together: lists of ids take ten times an array's memory


def pack(documents: Iterable[Document], encode: EncodeDocuments, key: str) -> np.ndarray:
    """Token ids of all documents in a row, (N,) uint16 or uint32, memory-mapped.

    `key` names the content (data and tokenizer hash): what was packed once is found again.
    """
    path = home() / "tokens" / f"{key}.npy"
    if not path.exists():
        texts, ids = (document.text for document in documents), []
        while some := list(islice(texts, AT_ONCE)):
            ids += [np.asarray(row, np.uint32) for row in encode(some)]
        if not ids:
            raise VermeilError("the corpus holds no documents", "look: vermeil data show NAME")
        row = np.concatenate(ids)
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as temporary, temporary.open("wb") as file:
            np.save(file, row.astype(np.uint16 if row.max() < 2**16 else np.uint32))
    return np.load(path, mmap_mode="r")


class TokenWindows:
    """Random windows of `context` + 1 tokens; a batch depends on the seed and the step alone."""

    def __init__(self, tokens: np.ndarray, context: int, batch_size: int, seed: int):
        _check_length(tokens, context, "training")
        self.tokens, self.context, self.batch_size, self.seed = tokens, context, batch_size, seed

    def rows(self, step: int, rows: slice) -> Int[Tensor, "b t"]:
        """Rows `rows` of the batch of that step, (B, context + 1) int64."""
        random = np.random.default_rng((self.seed, step))
        starts = random.integers(len(self.tokens) - self.context, size=self.batch_size)[rows]
        windows = np.stack([self.tokens[s : s + self.context + 1] for s in starts])
        return torch.from_numpy(windows.astype(np.int64))


def spaced_windows(
    tokens: np.ndarray, context: int, batch_size: int, count: int
) -> list[Int[Tensor, "b t"]]:
    """`count` windows spread evenly over a text, in batches: for validation in training."""
    _check_length(tokens, context, "validation")
    starts = np.linspace(0, len(tokens) - context - 1, count).astype(int)
    windows = [tokens[s : s + context + 1].astype(np.int64) for s in starts]
    rows = torch.from_numpy(np.stack(windows))
    return list(rows.split(batch_size))


def _check_length(tokens: np.ndarray, context: int, split: str) -> None:
    if len(tokens) < context + 1:
        raise VermeilError(
            f"the {split} text has {len(tokens)} tokens, less than a window of {context + 1}",
            "bring more text or lower --context",
        )
