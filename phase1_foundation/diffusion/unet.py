"""A small U-Net: convolutions where the picture is large, the trunk's blocks where it is small.

Coarse maps hold most of a picture's meaning and cost least, so that is where the attention and most
of the weights are (Hoogeboom et al., 2023, "simple diffusion").
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from phase1_foundation.diffusion.dit import ConditionedBlocks, sincos_places, zero_init
from shared.nn import Hidden, Modulation, init_weights


class ResBlock(Hidden):
    """Two convolutions beside a shortcut; the vector scales and shifts between them."""

    def __init__(self, channels: int, out: int, vector_dim: int):
        super().__init__()
        self.norm1 = nn.GroupNorm(min(32, channels // 4), channels)
        self.conv1 = nn.Conv2d(channels, out, 3, padding=1)
        self.modulation = Modulation(vector_dim, 2 * out)
        self.norm2 = nn.GroupNorm(min(32, out // 4), out)
        self.conv2 = nn.Conv2d(out, out, 3, padding=1)
        self.shortcut = nn.Conv2d(channels, out, 1) if channels != out else nn.Identity()

    def forward(
        self, x: Float[Tensor, "b c h w"], vector: Float[Tensor, "b v"]
    ) -> Float[Tensor, "b out h w"]:
        scale, shift = self.modulation(F.silu(vector))[..., None, None].chunk(2, dim=1)
        y = self.conv1(F.silu(self.norm1(x)))
        y = self.conv2(F.silu(self.norm2(y) * (1 + scale) + shift))
        return self.shortcut(x) + y


class Level(Hidden):
    """One resolution: down through its blocks, `inner` at half of it, up beside what was kept."""

    def __init__(self, width: int, below: int, blocks: int, vector_dim: int, inner: nn.Module):
        super().__init__()
        self.down = nn.ModuleList(ResBlock(width, width, vector_dim) for _ in range(blocks))
        self.narrow = nn.Conv2d(width, below, 2, stride=2)
        self.inner = inner
        self.widen = nn.Conv2d(below, width, 1)
        self.up = nn.ModuleList(ResBlock(2 * width, width, vector_dim) for _ in range(blocks))

    def forward(
        self, x: Float[Tensor, "b c h w"], *, vector: Tensor, **condition: Any
    ) -> Float[Tensor, "b c h w"]:
        kept = []
        for block in self.down:
            x = block(x, vector)
            kept.append(x)
        x = self.inner(self.narrow(x), vector=vector, **condition)
        x = F.interpolate(self.widen(x), scale_factor=2.0)
        for block in self.up:
            x = block(torch.cat([x, kept.pop()], dim=1), vector)
        return x


class Middle(nn.Module):
    """The lowest resolution as a sequence, through the trunk's blocks."""

    places: Tensor  # (T, C)

    def __init__(self, side: int, dim: int, layers: int, heads: int, mlp_dim: int):
        super().__init__()
        self.register_buffer("places", sincos_places(side, dim), persistent=False)
        self.trunk = ConditionedBlocks(dim, layers, heads, mlp_dim)
        init_weights(self.trunk, layers)

    def forward(self, x: Float[Tensor, "b c h w"], **condition) -> Float[Tensor, "b c h w"]:
        shape = x.shape[-2:]
        x = self.trunk(x.flatten(2).mT + self.places.to(x.dtype), **condition)  # (B, T, C)
        return x.mT.unflatten(2, shape)


class UNet(nn.Module):
    """Widths of falling resolution, by two each; the last is that of the blocks in the middle."""

    def __init__(
        self, size: int, patch: int, widths: Sequence[int], res_blocks: int, layers: int,
        heads: int, mlp_dim: int,
    ):  # fmt: skip
        super().__init__()
        dim, self.patch = widths[-1], patch
        self.stem = nn.Conv2d(3 * patch**2, widths[0], 3, padding=1)
        side = size // patch // 2 ** (len(widths) - 1)
        inner: nn.Module = Middle(side, dim, layers, heads, mlp_dim)
        for width, below in reversed(list(pairwise(widths))):
            inner = Level(width, below, res_blocks, dim, inner)
        self.levels = inner
        self.norm = nn.GroupNorm(min(32, widths[0] // 4), widths[0])
        self.out = nn.Conv2d(widths[0], 3 * patch**2, 3, padding=1)
        zero_init(self)
        for module in self.modules():
            if isinstance(module, ResBlock):  # each begins as its shortcut
                nn.init.zeros_(module.conv2.weight)
                nn.init.zeros_(module.modulation.weight)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)  # type: ignore[arg-type]

    def forward(
        self,
        x: Float[Tensor, "b 3 h w"],
        *,
        vector: Float[Tensor, "b c"],
        tokens: Float[Tensor, "b s c"],
        mask: Bool[Tensor, "b s"] | None,
        **more: Any,
    ) -> Float[Tensor, "b 3 h w"]:
        """Keywords that the network does not know are for blocks put into the middle from above."""
        # CPUs normalise groups of bf16 ten times slower when channels come last; GPUs want them so.
        layout = torch.channels_last if x.is_cuda else torch.contiguous_format
        x = F.pixel_unshuffle(x, self.patch).contiguous(memory_format=layout)
        x = self.levels(self.stem(x), vector=vector, tokens=tokens, mask=mask, **more)
        return F.pixel_shuffle(self.out(F.silu(self.norm(x))), self.patch)
