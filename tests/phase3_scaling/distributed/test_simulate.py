"""All-reduce models by hand, and what must hold for every network."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as some

from phase3_scaling.distributed.simulate import (
    Cluster,
    Link,
    Work,
    all_reduce,
    doubling,
    ring,
    scaling,
    tree,
)

FAST, SLOW = Link(400e9, 3e-6), Link(40e9, 14e-6)
CLUSTER = Cluster(8, FAST, SLOW)


def test_a_ring_by_hand():
    """1 GB over 4 at 1 GB/s: 6 messages of 250 MB, each after 1 ms."""
    assert ring(4, 1e9, Link(1e9, 1e-3)) == pytest.approx(6 * (0.25 + 0.001))
    assert ring(1, 1e9, SLOW) == 0


def test_a_tree_by_hand():
    """1 GB over 8 at 1 GB/s: three levels up and down, every byte twice."""
    assert tree(8, 1e9, Link(1e9, 1e-3)) == pytest.approx(2 * (3 * 0.001 + 1))
    assert tree(1, 1e9, SLOW) == 0


def test_long_messages_want_a_ring_and_thousands_of_short_ones_a_tree():
    assert ring(16, 1e9, SLOW) < tree(16, 1e9, SLOW)
    assert tree(4096, 1e6, SLOW) < ring(4096, 1e6, SLOW) / 100


def test_inside_a_node_nothing_else_counts():
    assert all_reduce(8, 1e9, CLUSTER) == ring(8, 1e9, FAST)
    assert all_reduce(1, 1e9, CLUSTER) == 0


def test_between_nodes_each_card_carries_its_piece():
    """16 cards, 8 GB: 1.75 GB a ring inside at 400 GB/s each way, 1 GB between two nodes."""
    inside = 2 * 7 * (3e-6 + 1e9 / 400e9)
    between = 2 * (14e-6 + 0.5e9 / 40e9)
    assert all_reduce(16, 8e9, CLUSTER) == pytest.approx(inside + between)
    assert all_reduce(16, 8e9, CLUSTER) < ring(16, 8e9, SLOW)


@given(some.integers(2, 10_000), some.floats(1e3, 1e12))
def test_nothing_beats_the_bandwidth_bound(n, size):
    """Every byte leaves and enters each card (n - 1) / n times twice (Patarasuk & Yuan, 2009)."""
    bound = 2 * (n - 1) / n * size / FAST.bandwidth
    assert all_reduce(n, size, CLUSTER) >= bound * (1 - 1e-9)
    assert all_reduce(n, 2 * size, CLUSTER) > all_reduce(n, size, CLUSTER)


def test_traffic_that_fits_into_the_backward_pass_costs_nothing():
    hidden = all_reduce(16, 8e9, CLUSTER) / 0.8 / (2 / 3)
    assert Work(hidden * 1.001, 8e9).step(16, CLUSTER) == pytest.approx(hidden * 1.001)
    bare = Work(1.0, 8e9, overlap=0)
    assert bare.step(16, CLUSTER) == pytest.approx(1 + all_reduce(16, 8e9, CLUSTER))


def test_curves_begin_at_one_and_fall():
    counts = doubling(4096)
    weak = scaling(lambda n: Work(0.1, 8e9), CLUSTER, counts, batch_grows=True)
    strong = scaling(lambda n: Work(10 / n, 8e9), CLUSTER, counts, batch_grows=False)
    for curve in (weak, strong):
        assert (curve[0].efficiency, curve[0].waiting) == (1, 0)
        efficiencies = [p.efficiency for p in curve]
        assert efficiencies == sorted(efficiencies, reverse=True)
        assert all(math.isclose(p.waiting, 1 - p.efficiency, abs_tol=1e-9) for p in curve)
    assert strong[-1].efficiency < 0.05 < weak[-1].efficiency


def test_doubling_ends_with_the_most():
    assert doubling(8) == [1, 2, 4, 8]
    assert doubling(12) == [1, 2, 4, 8, 12]
    assert doubling(1) == [1]
