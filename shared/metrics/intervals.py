"""95 % intervals of what is averaged over items: of shares, and of any mean."""

from collections.abc import Hashable, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool
from torch import Tensor

from shared.errors import VermeilError

RESAMPLES = 1000


class Mean(NamedTuple):
    """A mean over `n` items and its 95 % interval; a single item has none."""

    value: float
    low: float | None
    high: float | None
    n: int


def wilson(right: Bool[Tensor, " n"], z: float = 1.96) -> tuple[float, float]:
    """The 95 % interval of an accuracy (Wilson, 1927)."""
    n, p = len(right), right.float().mean().item()
    middle, width = p + z * z / (2 * n), z * (p * (1 - p) / n + z * z / (4 * n * n)) ** 0.5
    low, high = (middle - width) / (1 + z * z / n), (middle + width) / (1 + z * z / n)
    # Rounding must leave neither the value outside nor the interval beyond 0 and 1.
    return max(0.0, min(low, p)), min(1.0, max(high, p))


def mean_of(
    values: Sequence[float] | np.ndarray | Tensor,
    groups: Sequence[Hashable] | None = None,
    seed: int = 0,
) -> Mean:
    """The mean of values (n,), with a percentile bootstrap (Efron 1979).

    Where items share something, as questions share a picture, `groups` says which belong together,
    and whole groups are drawn: to draw the items one by one would feign a narrower interval. With
    one group alone there is none. VermeilError for no values and for other numbers of groups.
    """
    found = np.asarray(values, np.float64)
    each = range(len(found)) if groups is None else groups
    if not len(found) or len(each) != len(found):
        raise VermeilError(
            f"{len(found):,} values to average, which belong to {len(each):,} groups",
            "give at least one value, and the group of each",
        )
    place = dict[Hashable, int]()
    which = np.array([place.setdefault(group, len(place)) for group in each])
    sums, counts = np.bincount(which, found), np.bincount(which)  # (groups,)
    value = float(found.mean())
    if len(sums) == 1:
        return Mean(value, None, None, len(found))
    random = np.random.default_rng(seed)
    draws = (random.integers(len(sums), size=len(sums)) for _ in range(RESAMPLES))
    means = [sums[draw].sum() / counts[draw].sum() for draw in draws]
    low, high = np.percentile(means, [2.5, 97.5]).tolist()
    # Where all items are the same, rounding can put the value beside its resamples.
    return Mean(value, min(low, value), max(high, value), len(found))
