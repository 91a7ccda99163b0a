"""How much frozen features know: a linear probe and nearest neighbours."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

PENALTIES = (10.0, 1.0, 0.1, 0.01, 1e-3, 1e-4)  # strong first: each fit starts from the one before


class Features(NamedTuple):
    """One split: features and labels."""

    x: Float[Tensor, "n c"]
    labels: Int[Tensor, " n"]


def linear_probe(
    train: Features, validation: Features, test: Features, penalties: Sequence[float] = PENALTIES
) -> tuple[Bool[Tensor, " n"], float]:
    """Which test pictures a multinomial logistic regression gets right, and its penalty.

    Features are standardised by the training split; the penalty is the one that does best on the
    validation split.
    """
    deviation, mean = torch.std_mean(train.x, dim=0)
    scale = torch.where(deviation > 1e-6, deviation, 1.0)
    train, validation, test = (
        Features((split.x - mean) / scale, split.labels) for split in (train, validation, test)
    )
    layer = nn.Linear(train.x.shape[1], int(train.labels.max()) + 1, device=train.x.device)
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
    best, right, chosen = -1.0, torch.zeros_like(test.labels, dtype=torch.bool), 0.0
    for penalty in penalties:
        logistic_regression(layer, train, penalty)
        score = named_right(layer, validation).float().mean().item()
        if score > best:
            best, right, chosen = score, named_right(layer, test), penalty
    return right, chosen


def logistic_regression(
    layer: nn.Linear, train: Features, penalty: float, iterations: int = 50
) -> None:
    """Fit a layer, from what it holds: mean cross-entropy + penalty / 2 * |weight|^2 is least."""
    optimizer = torch.optim.LBFGS(
        layer.parameters(), max_iter=iterations, tolerance_grad=1e-5, line_search_fn="strong_wolfe"
    )

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = F.cross_entropy(layer(train.x), train.labels)
        loss = loss + penalty / 2 * layer.weight.square().sum()
        loss.backward()
        return loss

    optimizer.step(closure)  # type: ignore[arg-type]


@torch.no_grad()
def named_right(layer: nn.Linear, split: Features) -> Bool[Tensor, " n"]:
    """For which features the likeliest class is the true one."""
    return layer(split.x).argmax(dim=1) == split.labels


def nearest_neighbours(
    train: Features, test: Features, k: int = 20, temperature: float = 0.07
) -> Bool[Tensor, " n"]:
    """Which test pictures their k nearest training pictures name right (Wu et al., 2018, 3.4).

    Near is a large cosine s; a neighbour votes with weight exp(s / temperature).
    """
    similarity, index = nearest(train.x, test.x, k)
    votes = similarity.new_zeros(len(test.x), int(train.labels.max()) + 1)
    votes.scatter_add_(1, train.labels[index], (similarity / temperature).exp())
    return votes.argmax(dim=1) == test.labels


def nearest(
    train: Float[Tensor, "n c"], test: Float[Tensor, "m c"], k: int
) -> tuple[Float[Tensor, "m k"], Int[Tensor, "m k"]]:
    """Cosine and place of the k nearest, the nearest first; a part at a time, to save memory."""
    keys, k = F.normalize(train, dim=1), min(k, len(train))
    parts = [(F.normalize(part, dim=1) @ keys.T).topk(k) for part in test.split(1024)]
    similarity, index = zip(*parts, strict=True)
    return torch.cat(similarity), torch.cat(index)
