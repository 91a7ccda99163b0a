"""Finding the right text for a picture, the right picture for a text, and the right class.

All take similarities or embeddings, of whichever network. Ties count against the model: whatever is
as similar as the right one stands before it, so a model that says the same of everything finds
nothing.
"""

from collections.abc import Sequence
from math import comb
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from shared.errors import VermeilError

BLOCK = 1024  # rows that are compared at a time


class Retrieval(NamedTuple):
    """Of each row, where its first right column comes (1 is best), and what follows from that."""

    ranks: Int[Tensor, " n"]
    recall: dict[int, float]  # by k: the share of rows with a right column among the first k
    median_rank: float


def recall_at(
    similarity: Float[Tensor, "n m"], positives: Bool[Tensor, "n m"], ks: Sequence[int] = (1, 5, 10)
) -> Retrieval:
    """How early each row's right columns come when columns are sorted by similarity.

    One right column among the first k is enough, however many there are: with five captions a
    picture this is COCO's protocol for picture to text (Karpathy and Fei-Fei 2015, section 4.2).
    Text to picture is the same of both transposed. VermeilError for shapes that differ, for rows
    that nothing is right for, and for what is not finite.
    """
    if similarity.ndim != 2 or similarity.shape != positives.shape or not similarity.numel():
        raise VermeilError(
            f"similarities {(*similarity.shape,)} and positives {(*positives.shape,)}",
            "both are (rows, columns), one of each at least",
        )
    if not similarity.isfinite().all():
        raise VermeilError("similarities are not finite", "look at what the network was given")
    if alone := int((~positives.any(1)).sum()):
        raise VermeilError(f"nothing is right for {alone:,} rows", "leave them out")
    parts = []
    for scores, right in zip(similarity.split(BLOCK), positives.split(BLOCK), strict=True):
        best = scores.masked_fill(~right, -torch.inf).amax(1, keepdim=True)  # (rows, 1)
        parts.append(1 + ((scores >= best) & ~right).sum(1))
    ranks = torch.cat(parts)  # (N,)
    recall = {k: (ranks <= k).double().mean().item() for k in ks}
    return Retrieval(ranks, recall, ranks.double().quantile(0.5).item())


def random_recall_at(
    positives: Bool[Tensor, "n m"], ks: Sequence[int] = (1, 5, 10)
) -> dict[int, float]:
    """What sorting at random expects: k / M where one of M columns is right."""
    columns, found = positives.shape[1], positives.sum(1).tolist()
    missed = {k: [comb(columns - right, k) / comb(columns, min(k, columns)) for right in found]
              for k in ks}  # fmt: skip
    return {k: 1 - sum(of_rows) / len(found) for k, of_rows in missed.items()}


def captions_of(picture: Int[Tensor, " m"], pictures: int) -> Bool[Tensor, "n m"]:
    """Which captions are right for each of `pictures`, where caption m belongs to picture[m]."""
    return torch.arange(pictures, device=picture.device)[:, None] == picture


def zero_shot(
    pictures: Float[Tensor, "n d"],
    prompts: Float[Tensor, "classes prompts d"],
    labels: Int[Tensor, " n"],
    ks: Sequence[int] = (1, 5),
) -> Retrieval:
    """Picture classification by the texts of the classes; recall at 1 is the zero-shot accuracy.

    A class is the mean of its prompts' embeddings, each of length 1 before.

    Source: Radford et al. 2021, section 3.1.4.
    """
    classes = F.normalize(F.normalize(prompts, dim=-1).mean(1), dim=-1)  # (classes, D)
    similarity = F.normalize(pictures, dim=-1) @ classes.T  # (N, classes)
    return recall_at(similarity, F.one_hot(labels, len(classes)).bool(), ks)
