"""Training windows drawn from packed tokens by step."""

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from data.shards import TokenShards, pack
from shared.errors import VermeilError

__all__ = ["TokenShards", "TokenWindows", "pack", "spaced_windows"]


class TokenWindows:
    """Random windows of `context` + 1 tokens; a batch depends on the seed and the step alone."""

    def __init__(self, tokens: TokenShards | np.ndarray, context: int, batch_size: int, seed: int):
        self.tokens, self.places = _with_places(tokens, context, "training")
        self.context, self.batch_size, self.seed = context, batch_size, seed

    def rows(self, step: int, rows: slice) -> Int[Tensor, "b t"]:
        """Rows `rows` of the batch of that step, (B, context + 1) int64."""
        random = np.random.default_rng((self.seed, step))
        places = random.integers(self.places, size=self.batch_size)[rows]
        return torch.from_numpy(self.tokens.windows(places, self.context))


def spaced_windows(
    tokens: TokenShards | np.ndarray, context: int, batch_size: int, count: int
) -> list[Int[Tensor, "b t"]]:
    """`count` windows spread evenly over a text, in batches: for validation in training."""
    tokens, number = _with_places(tokens, context, "validation")
    places = np.linspace(0, number - 1, count).astype(int)
    return list(torch.from_numpy(tokens.windows(places, context)).split(batch_size))


def _with_places(
    tokens: TokenShards | np.ndarray, context: int, split: str
) -> tuple[TokenShards, int]:
    """The shards (an array in memory is one) and the number of windows in them."""
    shards = TokenShards([tokens]) if isinstance(tokens, np.ndarray) else tokens
    places = shards.places(context)
    if not places:
        raise VermeilError(
            f"the {split} text has {len(shards)} tokens, less than a window of {context + 1}",
            "bring more text or lower --context",
        )
    return shards, places
