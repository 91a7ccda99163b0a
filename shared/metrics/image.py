"""FID, KID, inception score, precision and recall, LPIPS and nearest neighbours of pictures.

All but LPIPS take features (N, dim) of whichever network, as arrays or tensors, and compute in
float64 where they lie. They equal torch-fidelity's, and `shared.metrics.image_evaluation` puts a
network in front of them.
"""

import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch

from shared.errors import VermeilError
from shared.metrics.image_networks import (
    Array,
    PerceptualNetwork,
    Pictures,
    as_tensor,
    check_pictures,
)

Moments = tuple[torch.Tensor, torch.Tensor]  # mean (dim,) and covariance (dim, dim), float64

BLOCK = 1024  # rows of a matrix of all pairs that exist at a time


class Interval(NamedTuple):
    """A value with its 95 % interval."""

    value: float
    low: float
    high: float


class Neighbours(NamedTuple):
    """The nearest pictures of another set, nearest first, and how far they are."""

    index: torch.Tensor  # (N, k) int64
    distance: torch.Tensor  # (N, k) float64, Euclidean


def frechet_distance(features_a: Array, features_b: Array) -> float:
    """The Fréchet distance of the Gaussians fitted to two sets of features; 0 at least.

    On Inception's features it is the FID. It is biased: two sets of one distribution are further
    apart the smaller they are, by about 1 / N. Covariances need no full rank, so N may be below
    dim; VermeilError for fewer than two features, other dimensions, and what is not finite.

    Source: Heusel et al. 2017, equation 6 (Dowson and Landau 1982).
    """
    a, b = _pair(features_a, features_b, at_least=2)
    return frechet_distance_of_moments(moments(a), moments(b))


def moments(features: Array) -> Moments:
    """Mean and unbiased covariance of features; VermeilError for fewer than two."""
    x = _features(features, at_least=2)
    mean = x.mean(0)
    centred = x - mean
    return mean, centred.T @ centred / (len(x) - 1)


def frechet_distance_of_moments(a: Moments, b: Moments) -> float:
    """|mean_a - mean_b|^2 + tr(C_a + C_b - 2 (C_a C_b)^(1/2))."""
    (mean_a, cov_a), (mean_b, cov_b) = a, b
    values, vectors = torch.linalg.eigh(cov_a)
    root = vectors * values.clamp_min(0).sqrt()  # root root' = cov_a
    # root' cov_b root is symmetric and has the eigenvalues of cov_a cov_b; those that are 0 come
    # out on either side of it.
    overlap = torch.linalg.eigvalsh(root.T @ cov_b @ root).clamp_min(0).sqrt().sum()
    squared = (mean_a - mean_b).square().sum() + cov_a.trace() + cov_b.trace() - 2 * overlap
    return max(squared.item(), 0.0)


def kernel_inception_distance(features_a: Array, features_b: Array) -> Interval:
    """The unbiased squared MMD of two sets of features, with the kernel (x y / dim + 1)^3.

    About 0 for two sets of one distribution, on either side of it, however small they are. It is
    taken over all pairs: the mean over random subsets of 1,000, which others report, has the same
    expectation and more noise, and their "±" is the spread of single subsets. The interval is a
    jackknife over the pictures of both sets (Arvesen 1969), wider than need be where the
    distributions are the same. Time grows with N squared. Errors as above, from three features on.

    Source: Bińkowski et al. 2018, section 4; Gretton et al. 2012, lemma 6.
    """
    x, y = _pair(features_a, features_b, at_least=3)
    m, n = len(x), len(y)
    x_rows = _kernel_sums(x, x)[0] - _kernel_of_itself(x)  # (m,)
    y_rows = _kernel_sums(y, y)[0] - _kernel_of_itself(y)  # (n,)
    xy_rows, xy_columns = _kernel_sums(x, y)  # (m,) and (n,)
    within_x, within_y, between = x_rows.sum(), y_rows.sum(), xy_rows.sum()

    value = _mmd(within_x, within_y, between, m, n).item()
    without_x = _mmd(within_x - 2 * x_rows, within_y, between - xy_rows, m - 1, n)  # (m,)
    without_y = _mmd(within_x, within_y - 2 * y_rows, between - xy_columns, m, n - 1)  # (n,)
    variance = sum((len(t) - 1) * t.var(correction=0).item() for t in (without_x, without_y))
    margin = 1.96 * math.sqrt(variance)
    return Interval(value, value - margin, value + margin)


def inception_score(logits: Array, splits: int = 10, seed: int = 2020) -> tuple[float, float]:
    """exp of the mean KL(p(class | picture) || p(class)): mean and deviation over shuffled splits.

    Between 1 and the number of classes. It grows with the pictures in a split, so N belongs beside
    it. VermeilError with fewer pictures than splits.

    Source: Salimans et al. 2016, section 4; shuffled as torch-fidelity does.
    """
    found = _features(logits, at_least=splits)
    order = np.random.RandomState(seed).permutation(len(found))
    found = found[torch.from_numpy(order)]
    scores = []
    for i in range(splits):
        part = found[i * len(found) // splits : (i + 1) * len(found) // splits]
        log_p = part.log_softmax(1)  # (N / splits, classes)
        p = log_p.exp()
        divergence = (p * (log_p - p.mean(0).log())).sum(1)
        scores.append(divergence.mean().exp().item())
    return float(np.mean(scores)), float(np.std(scores))


def precision_recall(generated: Array, real: Array, k: int = 3) -> tuple[float, float]:
    """The share of generated features that lie among the real ones, and of real among generated.

    A feature lies among a set where it is no further from one of them than that one's k-th nearest
    is. Both shares depend on the sizes of the sets. Errors as above, from k + 1 features on.

    Source: Kynkäänniemi et al. 2019, equations 1 and 2.
    """
    a, b = _pair(generated, real, at_least=k + 1)
    return _share_among(a, b, k), _share_among(b, a, k)


def nearest_neighbours(features: Array, training: Array, k: int = 1) -> Neighbours:
    """The k nearest training features of each feature: is a picture a copy?

    A distance says little alone; measure held-out real pictures beside. A copy is at exactly 0.
    """
    x, y = _pair(features, training, at_least=1)
    if not 1 <= k <= len(y):
        raise VermeilError(f"{k} nearest of {len(y)} training pictures", f"ask for 1 to {len(y)}")
    found = [block.topk(k, largest=False).indices for block in _squared_distances(x, y)]
    index = torch.cat(found)  # (N, k)
    # By differences, where the rounding of |x|^2 + |y|^2 - 2 x y would hide a copy.
    parts = zip(x.split(BLOCK), index.split(BLOCK), strict=True)
    distance = torch.cat([(a[:, None] - y[i]).square().sum(-1).sqrt() for a, i in parts])
    distance, order = distance.sort(dim=1, stable=True)
    return Neighbours(index.gather(1, order), distance)


@torch.no_grad()
def lpips(
    pictures_a: Pictures, pictures_b: Pictures, network: PerceptualNetwork, batch_size: int = 64
) -> np.ndarray:
    """How different each pair would look to a person: 0 for the same picture, rarely above 1.

    Pictures (N, 3, H, W) uint8, at their own size -> (N,) float64. VermeilError for shapes that
    differ and for sides that the network cannot take.

    Source: Zhang et al. 2018, equation 1.
    """
    a, b = check_pictures(pictures_a), check_pictures(pictures_b)
    if a.shape != b.shape:
        raise VermeilError(
            f"LPIPS compares pairs, but the pictures are {tuple(a.shape)} and {tuple(b.shape)}",
            "give as many of the same size",
        )
    if min(a.shape[2:]) < network.smallest:
        raise VermeilError(
            f"{network.name} cannot see pictures of {a.shape[3]} x {a.shape[2]} px",
            f"enlarge them to {network.smallest} px or more",
        )
    found = []
    for pair in zip(a.split(batch_size), b.split(batch_size), strict=True):
        maps_a, maps_b = (network.module(part.to(network.device).float()) for part in pair)
        total = torch.zeros(len(pair[0]), device=network.device)
        for map_a, map_b, weight in zip(maps_a, maps_b, network.weights, strict=True):
            difference = (_unit(map_a) - _unit(map_b)).square()  # (N, C, h, w)
            total += (difference * weight[:, None, None]).sum(1).mean((1, 2))
        found.append(total.double().cpu().numpy())
    return np.concatenate(found)


def _features(features: Array, at_least: int) -> torch.Tensor:
    found = as_tensor(features).double()
    if found.ndim != 2:
        raise VermeilError(f"features are {tuple(found.shape)}", "metrics take (N, dim)")
    if len(found) < at_least:
        raise VermeilError(f"{len(found)} pictures are too few", f"this takes {at_least} or more")
    if not found.isfinite().all():
        raise VermeilError("features are not finite", "look at what the network was given")
    return found


def _pair(a: Array, b: Array, at_least: int) -> tuple[torch.Tensor, torch.Tensor]:
    x, y = _features(a, at_least), _features(b, at_least)
    if x.shape[1] != y.shape[1]:
        raise VermeilError(
            f"features of {x.shape[1]} and of {y.shape[1]} dimensions do not compare",
            "take both from one network",
        )
    return x, y


def _kernel_sums(x: torch.Tensor, y: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Sums over the rows and over the columns of the kernel of all pairs: (m,) and (n,)."""
    rows, columns = [], torch.zeros(len(y), dtype=x.dtype, device=x.device)
    for block in x.split(BLOCK):
        kernel = (block @ y.T / x.shape[1] + 1) ** 3
        rows.append(kernel.sum(1))
        columns += kernel.sum(0)
    return torch.cat(rows), columns


def _kernel_of_itself(x: torch.Tensor) -> torch.Tensor:
    return (x.square().mean(1) + 1) ** 3


def _mmd(
    within_x: torch.Tensor, within_y: torch.Tensor, between: torch.Tensor, m: int, n: int
) -> torch.Tensor:
    return within_x / (m * (m - 1)) + within_y / (n * (n - 1)) - 2 * between / (m * n)


def _squared_distances(x: torch.Tensor, y: torch.Tensor) -> Iterator[torch.Tensor]:
    """Squared distances to all of y, some rows of x after the other: (rows, n)."""
    lengths = y.square().sum(1)
    for block in x.split(BLOCK):
        squared = block.square().sum(1)[:, None] + lengths - 2 * block @ y.T
        yield squared.clamp_min(0)


def _share_among(x: torch.Tensor, y: torch.Tensor, k: int) -> float:
    # The nearest to a point of y is itself, so its k-th neighbour is the next after k.
    radius = torch.cat([d.kthvalue(k + 1).values for d in _squared_distances(y, y)])  # (n,)
    among = [(d <= radius).any(1) for d in _squared_distances(x, y)]
    return torch.cat(among).double().mean().item()


def _unit(maps: torch.Tensor) -> torch.Tensor:
    """The channels of each position at length 1: (N, C, h, w)."""
    return maps / (maps.square().sum(1, keepdim=True).sqrt() + 1e-10)
