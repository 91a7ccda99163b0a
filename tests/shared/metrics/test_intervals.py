"""Intervals: against scipy, by their coverage, and by hand."""

import numpy as np
import pytest
import scipy.stats
import torch

from shared.errors import VermeilError
from shared.metrics.intervals import mean_of, wilson


@pytest.mark.parametrize(("right", "n"), [(0, 10), (10, 10), (7, 10), (250, 372), (1, 1)])
def test_interval_equals_scipy(right, n):
    low, high = wilson(torch.arange(n) < right)
    expected = scipy.stats.binomtest(right, n).proportion_ci(0.95, "wilson")
    assert (low, high) == pytest.approx((expected.low, expected.high), abs=1e-4)
    assert low <= right / n <= high


def test_a_mean_has_the_normal_interval_where_there_are_many_values():
    values = np.random.default_rng(0).normal(3, 2, 2000)
    found = mean_of(values)
    margin = 1.96 * values.std() / 2000**0.5
    assert (found.value, found.n) == (pytest.approx(values.mean()), 2000)
    assert (found.low, found.high) == pytest.approx(
        (found.value - margin, found.value + margin), abs=0.15 * margin
    )
    assert found == mean_of(torch.from_numpy(values)) != mean_of(values, seed=1)


def test_items_that_come_in_groups_say_less():
    """Each of 200 values four times over: as wide as without the copies, not half of it."""
    once = np.random.default_rng(0).normal(size=200)
    copies, groups = np.repeat(once, 4), [f"picture {i // 4}" for i in range(800)]
    alone, grouped, feigned = mean_of(once), mean_of(copies, groups), mean_of(copies)
    assert grouped.low == pytest.approx(alone.low) and grouped.high == pytest.approx(alone.high)
    assert grouped.n == 800 and grouped.value == pytest.approx(alone.value)
    assert feigned.high - feigned.low < 0.6 * (grouped.high - grouped.low)


def test_groups_of_different_sizes_weigh_by_their_items():
    """Of two groups, three draws in four hold the second: 0, 0.75 = 3 / 4 or 1."""
    found = mean_of([0, 1, 1, 1], ["a", "b", "b", "b"])
    assert found == (0.75, 0, 1, 4)


def test_the_edges():
    assert mean_of([0.5]) == (0.5, None, None, 1)
    assert mean_of([0.1] * 3, [7, 7, 7]) == (pytest.approx(0.1), None, None, 3)
    value, low, high, _ = mean_of([0.1] * 7)
    assert low <= value <= high and high - low < 1e-9
    with pytest.raises(VermeilError, match="0 values to average"):
        mean_of([])
    with pytest.raises(VermeilError, match="3 values to average, which belong to 2 groups"):
        mean_of([1, 2, 3], [1, 2])
