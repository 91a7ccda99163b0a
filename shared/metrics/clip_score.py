"""CLIP score, which exists twice: Hessel's, from 0 to 2.5, and torchmetrics', from 0 to 100.

Both take embeddings (N, D) of pictures and of their texts, one text a picture, from any network
that puts both into one space; numbers through different networks do not compare. Published ones are
mostly CLIP ViT-B/32's after "A photo depicts" (Hessel) and ViT-L/14's (torchmetrics' default).
VermeilError for shapes that differ, and for what is not finite.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F

from shared.errors import VermeilError
from shared.metrics.image_networks import Array, as_tensor

WEIGHT = 2.5  # brings the cosines of CLIP, rarely above 0.4, to [0, 1]


def clip_score(pictures: Array, texts: Array) -> torch.Tensor:
    """2.5 max(cos, 0) of each picture and its text: (N,) float64; the score is their mean.

    Source: Hessel et al. 2021, section 3.
    """
    return WEIGHT * _cosines(pictures, texts).clamp_min(0)


def ref_clip_score(pictures: Array, texts: Array, references: Sequence[Array]) -> torch.Tensor:
    """The harmonic mean of each CLIP score and the cosine to the nearest reference: (N,) float64.

    `references` has, for each picture, the embeddings (R, D) of its references. 0 where either is.

    Source: Hessel et al. 2021, section 3.
    """
    score, given = clip_score(pictures, texts), as_tensor(texts)
    if len(references) != len(given):
        raise VermeilError(
            f"{len(given):,} texts, but references of {len(references):,} pictures",
            "give the references of each picture",
        )
    pairs = ((as_tensor(own), text) for own, text in zip(references, given, strict=True))
    best = torch.stack([_cosines(own, text.expand(len(own), -1)).max() for own, text in pairs])
    best = best.clamp_min(0)
    return 2 * score * best / (score + best).clamp_min(torch.finfo(score.dtype).tiny)


def clip_score_torchmetrics(pictures: Array, texts: Array) -> float:
    """100 times the mean cosine, and 0 if that is below: one bad pair can lower the others'."""
    return max(100 * _cosines(pictures, texts).mean().item(), 0.0)


def _cosines(a: Array, b: Array) -> torch.Tensor:
    x, y = as_tensor(a).double(), as_tensor(b).double()
    if x.ndim != 2 or x.shape != y.shape or not len(x):
        raise VermeilError(
            f"embeddings are {(*x.shape,)} and {(*y.shape,)}", "both are (N, D), pair by pair"
        )
    if not (x.isfinite().all() and y.isfinite().all()):
        raise VermeilError("embeddings are not finite", "look at what the network was given")
    return F.cosine_similarity(x, y, dim=1)
