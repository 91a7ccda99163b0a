"""Layers that hold integers: an 8-bit embedding, and a linear layer with two weights a byte."""

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn


class Int8Embedding(nn.Module):
    """Rows of an 8-bit matrix made floats: integers times the row's scale.

    `weight` is torchao's; where a linear layer holds the same one, it is stored once.
    """

    def __init__(self, weight: Tensor):
        super().__init__()
        self.weight = nn.Parameter(weight, requires_grad=False)

    def forward(self, tokens: Int[Tensor, "..."]) -> Float[Tensor, "... d"]:
        weight = self.weight
        rows = weight.qdata[tokens].to(weight.dtype)  # type: ignore[attr-defined]
        return rows * weight.scale[tokens]  # type: ignore[attr-defined]


class Int4Linear(nn.Module):
    """A linear layer whose weights are 4 bits with a scale a group; it computes in floats.

    `integers` (N, K) are from -8 to 7, `scale` is (N, K / group). The even column is the lower
    half of a byte.
    """

    packed: Tensor  # (N, K / 2) uint8
    scale: Tensor

    def __init__(self, integers: Int[Tensor, "n k"], scale: Tensor, bias: Tensor | None):
        super().__init__()
        halves = (integers + 8).to(torch.uint8)
        self.register_buffer("packed", halves[:, ::2] | halves[:, 1::2] << 4)
        self.register_buffer("scale", scale)
        self.bias = bias

    def weight(self) -> Float[Tensor, "n k"]:
        """The floats that the integers stand for."""
        halves = torch.stack([self.packed & 15, self.packed >> 4], dim=-1)  # (N, K / 2, 2)
        integers = halves.flatten(1).to(self.scale.dtype) - 8
        groups = integers.unflatten(1, (self.scale.shape[1], -1)) * self.scale[..., None]
        return groups.flatten(1)

    def forward(self, x: Float[Tensor, "... k"]) -> Float[Tensor, "... n"]:
        return F.linear(x, self.weight(), self.bias)
