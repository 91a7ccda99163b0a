"""Generated pictures against real ones through one network: every metric with its n and protocol.

Below some 10,000 pictures KID leads, for FID is biased by how few there are. A metric's name says
which network it was measured with: only the Inception of the literature gives "fid" and "kid".
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch

from shared.artifact import fingerprint
from shared.errors import VermeilError
from shared.home import home, replacing
from shared.metrics.image import (
    Moments,
    frechet_distance_of_moments,
    inception_score,
    kernel_inception_distance,
    moments,
    precision_recall,
)
from shared.metrics.image_networks import FeatureNetwork, Features, Pictures, check_pictures

LEAST = 10  # pictures, one for each split of the inception score
KID_LEADS_BELOW = 10_000


@dataclass(frozen=True)
class Score:
    """A measured value, with what a row of the results wants to know of it."""

    value: float
    better: Literal["lower", "higher"]
    n: int
    protocol: str
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Statistics:
    """What is kept of a set of real pictures, as one network sees them."""

    network: FeatureNetwork
    features: Features
    moments: Moments

    @classmethod
    def of(cls, features: Features, network: FeatureNetwork) -> "Statistics":
        """These features and their moments."""
        return cls(network, features, moments(features.pooled))

    @property
    def n(self) -> int:
        return len(self.features.pooled)


def reference_statistics(pictures: Pictures, network: FeatureNetwork) -> Statistics:
    """Statistics of real pictures (N, 3, H, W) uint8, computed once and kept.

    They lie in $VERMEIL_HOME/statistics under the hash of the pictures, in their order, and the
    network's identity. A damaged file is written anew.
    """
    found = check_pictures(pictures)
    content = hashlib.sha256(_bytes(found)).hexdigest()
    key = fingerprint([content, list(found.shape), network.identity])
    path = home() / "statistics" / f"{network.name}-{key[:16]}.safetensors"
    features = _load(path, key, network.device)
    if features is None:
        features = network.extract(found)
        _save(path, key, features)
    return Statistics.of(features, network)


def evaluate_pictures(pictures: Pictures, reference: Statistics) -> dict[str, Score]:
    """KID, FID, precision, recall and, where the network classifies, the inception score.

    Generated pictures (N, 3, H, W) uint8 against real ones, through the network of the reference.
    The metric to look at comes first. VermeilError for fewer than 10 pictures.
    """
    return _evaluate(reference.network.extract(pictures), reference)


def real_against_real(reference: Statistics, n: int, seed: int = 0) -> dict[str, Score]:
    """The same metrics of n real pictures against n others: what a perfect generator would get.

    Both are drawn at random: files in the order of their classes would put unlike halves against
    each other. VermeilError unless there are 2 n.
    """
    if 2 * n > reference.n:
        raise VermeilError(
            f"real against real at n = {n:,} takes {2 * n:,} real pictures, there are "
            f"{reference.n:,}",
            f"evaluate {reference.n // 2:,} pictures at most, or take more real ones",
        )
    order = torch.from_numpy(np.random.default_rng(seed).permutation(reference.n))
    one, other = (_select(reference.features, part) for part in (order[:n], order[n : 2 * n]))
    return _evaluate(one, Statistics.of(other, reference.network))


def _evaluate(generated: Features, reference: Statistics) -> dict[str, Score]:
    network, n = reference.network, len(generated.pooled)
    if n < LEAST:
        raise VermeilError(f"{n} pictures are too few to measure", f"take {LEAST} or more")
    pooled, real = generated.pooled, reference.features.pooled
    seen_by = f"{network.name} ({network.identity})"
    sets = f"{n:,} against {reference.n:,} real pictures, {seen_by}"

    fid = frechet_distance_of_moments(moments(pooled), reference.moments)
    kid, low, high = kernel_inception_distance(pooled, real)
    precision, recall = precision_recall(pooled, real, k=3)
    scores = {
        "kid": Score(kid, "lower", n, f"{sets}, all pairs, jackknife interval", low, high),
        "fid": Score(fid, "lower", n, sets),
        "precision": Score(precision, "higher", n, f"{sets}, k = 3"),
        "recall": Score(recall, "higher", n, f"{sets}, k = 3"),
    }
    if n >= KID_LEADS_BELOW:
        scores = {"fid": scores["fid"], **scores}
    if generated.logits is not None:
        score, deviation = inception_score(generated.logits)
        protocol = f"{n:,} pictures in 10 splits, deviation {deviation:.3g}, {seen_by}"
        scores["inception_score"] = Score(score, "higher", n, protocol)
    return {network.metric(name): score for name, score in scores.items()}


def _select(features: Features, index: torch.Tensor) -> Features:
    logits = features.logits
    return Features(features.pooled[index], None if logits is None else logits[index])


def _save(path: Path, key: str, features: Features) -> None:
    from safetensors.torch import save_file

    parts = {name: part for name, part in features._asdict().items() if part is not None}
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary:
        save_file(parts, temporary, {"key": key, "sha256": _seal(features)})


def _load(path: Path, key: str, device: str) -> Features | None:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "pt", device) as file:
            names = file.keys()
            features = Features(
                file.get_tensor("pooled"), file.get_tensor("logits") if "logits" in names else None
            )
            whole = file.metadata() == {"key": key, "sha256": _seal(features)}
    except (OSError, SafetensorError):
        return None
    return features if whole else None


def _seal(features: Features) -> str:
    digest = hashlib.sha256()
    for part in features:
        if part is not None:
            digest.update(_bytes(part))
    return digest.hexdigest()


def _bytes(tensor: torch.Tensor) -> memoryview:
    return tensor.cpu().contiguous().numpy().data
