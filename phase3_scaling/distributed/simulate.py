"""How a step would scale to thousands of GPUs, from a model of its all-reduce.

Assumed: equal GPUs, no stragglers, no failures, data that is always ready, a network without
congestion. What is left are arithmetic, bandwidth and latency, so a real curve lies below this one.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Link:
    """A GPU's way to its neighbour: bytes a second in one direction, seconds a message."""

    bandwidth: float
    latency: float


@dataclass(frozen=True)
class Cluster:
    """Nodes of `per_node` GPUs; every GPU has its own link inside and to other nodes."""

    per_node: int
    inside: Link
    between: Link


def ring(n: int, size: float, link: Link) -> float:
    """Seconds of an all-reduce in a ring (Patarasuk & Yuan, 2009).

    2 (n - 1) messages of a piece of size / n: each byte travels 2 (n - 1) / n times, which no
    algorithm can undercut; but the latency grows with n.
    """
    return 2 * (n - 1) * (link.latency + size / n / link.bandwidth)


def tree(n: int, size: float, link: Link) -> float:
    """Seconds of an all-reduce in two binary trees, up and down (Sanders et al., 2009).

    Each tree carries half, so that links are busy both ways; the latency grows with log2 n.
    """
    return 2 * (math.ceil(math.log2(n)) * link.latency + size / link.bandwidth) if n > 1 else 0.0


def all_reduce(n: int, size: float, cluster: Cluster) -> float:
    """Seconds in which n GPUs add up `size` bytes, by the fastest of three ways.

    One ring through everything, as slow as its slowest link; or a reduce-scatter inside each node,
    a ring or a tree between nodes for every GPU's piece, and an all-gather inside.
    """
    m = min(n, cluster.per_node)
    if n == m:
        return ring(n, size, cluster.inside)
    nodes = math.ceil(n / m)
    slowest = Link(
        min(cluster.inside.bandwidth, cluster.between.bandwidth),
        max(cluster.inside.latency, cluster.between.latency),
    )
    inside = ring(m, size, cluster.inside)  # reduce-scatter and all-gather are its two halves
    between = min(way(nodes, size / m, cluster.between) for way in (ring, tree))
    return min(ring(n, size, slowest), inside + between)


@dataclass(frozen=True)
class Work:
    """What one GPU does in a step: seconds of arithmetic, bytes that all GPUs add up.

    `overlap` is the share of the backward pass, two thirds of the arithmetic, that gradients may
    travel in: those of the first layers come last and wait.
    """

    compute: float
    traffic: float
    overlap: float = 0.8

    def step(self, n: int, cluster: Cluster) -> float:
        """Seconds of a step on n GPUs: arithmetic, and what of the traffic it cannot hide."""
        hidden = self.overlap * self.compute * 2 / 3
        return self.compute + max(0.0, all_reduce(n, self.traffic, cluster) - hidden)


@dataclass(frozen=True)
class Point:
    """A point of a scaling curve. Efficiency is the speed of n GPUs over n times that of one."""

    gpus: int
    step: float  # seconds
    efficiency: float
    waiting: float  # share of the step in which communication alone goes on


def scaling(
    work: Callable[[int], Work], cluster: Cluster, counts: Sequence[int], *, batch_grows: bool
) -> list[Point]:
    """The curve over numbers of GPUs, of each of which `work` tells what it does on one of them.

    Either every GPU keeps its batch and the whole one grows (weak scaling), or the whole batch
    stays and is divided (strong scaling).
    """
    alone, points = work(1).compute, []
    for n in counts:
        own = work(n)
        step, ideal = own.step(n, cluster), alone if batch_grows else alone / n
        points.append(Point(n, step, ideal / step, 1 - own.compute / step))
    return points


def doubling(most: int) -> list[int]:
    """1, 2, 4, ... up to `most`, and `most` itself."""
    powers = [2**k for k in range(most.bit_length())]
    return powers + [most] * (powers[-1] != most)
