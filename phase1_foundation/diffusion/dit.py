"""The diffusion transformer (Peebles & Xie, 2023): blocks steered by time and condition."""

import math
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from shared.nn import MLP, Attention, Block, Modulation, PatchEmbed, init_weights


class AdaptiveBlock(Block):
    """A block whose norms and branches a vector shifts, scales and gates (adaLN-zero, fig. 3).

    The gates begin at 0: every block is the identity at first, and opens what helps.
    """

    def __init__(self, dim: int, heads: int, mlp_dim: int):
        super().__init__(
            norm1=nn.LayerNorm(dim, elementwise_affine=False),
            attn=Attention(dim, heads, bias=True),
            norm2=nn.LayerNorm(dim, elementwise_affine=False),
            mlp=MLP(dim, mlp_dim),
        )
        self.modulation = Modulation(dim, 6 * dim)

    def forward(  # type: ignore[override]
        self, x: Float[Tensor, "b t c"], *, vector: Float[Tensor, "b c"], **attention
    ) -> Float[Tensor, "b t c"]:
        steering = self.modulation(F.silu(vector))[:, None].chunk(6, dim=-1)  # 6 x (B, 1, C)
        shift1, scale1, gate1, shift2, scale2, gate2 = steering
        x = x + gate1 * self.attn(self.norm1(x) * (1 + scale1) + shift1, **attention)
        return x + gate2 * self.mlp(self.norm2(x) * (1 + scale2) + shift2)


class ConditionedBlocks(nn.Module):
    """Blocks in which a picture's patches also attend to the tokens of a condition."""

    def __init__(self, dim: int, layers: int, heads: int, mlp_dim: int):
        super().__init__()
        self.blocks = nn.ModuleList(AdaptiveBlock(dim, heads, mlp_dim) for _ in range(layers))

    def forward(
        self,
        x: Float[Tensor, "b t c"],
        *,
        vector: Float[Tensor, "b c"],
        tokens: Float[Tensor, "b s c"],
        mask: Bool[Tensor, "b s"] | None,
        **more: Any,
    ) -> Float[Tensor, "b t c"]:
        """`mask` is True at the condition's real tokens; None where all are.

        `more` is for blocks that are put here from above.
        """
        s = tokens.shape[1]
        if mask is not None:
            mask = F.pad(mask, (0, x.shape[1]), value=True)[:, None, None]  # (B, 1, 1, S + T)
        x = torch.cat([tokens.to(x.dtype), x], dim=1)  # (B, S + T, C)
        for block in self.blocks:
            x = block(x, vector=vector, mask=mask, **more)
        return x[:, s:]


class DiT(nn.Module):
    """Patches in, blocks, patches out."""

    places: Tensor  # (T, C)

    def __init__(self, size: int, patch: int, dim: int, layers: int, heads: int, mlp_dim: int):
        super().__init__()
        self.patch = patch
        self.embed = PatchEmbed(patch, 3, dim)
        self.register_buffer("places", sincos_places(size // patch, dim), persistent=False)
        self.trunk = ConditionedBlocks(dim, layers, heads, mlp_dim)
        self.out = AdaptiveOutput(dim, patch)
        init_weights(self, layers)
        zero_init(self)

    def forward(
        self,
        x: Float[Tensor, "b 3 h w"],
        *,
        vector: Float[Tensor, "b c"],
        tokens: Float[Tensor, "b s c"],
        mask: Bool[Tensor, "b s"] | None,
        **more: Any,
    ) -> Float[Tensor, "b 3 h w"]:
        side = x.shape[-1] // self.patch
        x = self.embed(x)  # (B, T, C)
        x = x + self.places.to(x.dtype)  # in fp32 they would make all that follows fp32
        x = self.trunk(x, vector=vector, tokens=tokens, mask=mask, **more)
        x = self.out(x, vector)  # (B, T, 3 P P)
        return F.pixel_shuffle(x.mT.unflatten(2, (side, side)), self.patch)


class AdaptiveOutput(nn.Module):
    """The last norm, steered too, and a product to the pixels of each patch."""

    def __init__(self, dim: int, patch: int):
        super().__init__()
        self.norm = nn.LayerNorm(dim, elementwise_affine=False)
        self.modulation = Modulation(dim, 2 * dim)
        self.proj = nn.Linear(dim, 3 * patch**2)

    def forward(
        self, x: Float[Tensor, "b t c"], vector: Float[Tensor, "b c"]
    ) -> Float[Tensor, "b t pixels"]:
        shift, scale = self.modulation(F.silu(vector))[:, None].chunk(2, dim=-1)
        return self.proj(self.norm(x) * (1 + scale) + shift)


def zero_init(model: nn.Module) -> None:
    """Modulations and the output begin at 0, so that the untrained model answers 0 everywhere."""
    for module in model.modules():
        if isinstance(module, AdaptiveBlock | AdaptiveOutput):
            nn.init.zeros_(module.modulation.weight)
        if isinstance(module, AdaptiveOutput):
            nn.init.zeros_(module.proj.weight)


def sincos_places(side: int, dim: int) -> Float[Tensor, "t c"]:
    """Fixed 2-D sine and cosine embeddings, half of the width a direction; (side^2, dim)."""
    frequency = 10_000.0 ** (-torch.arange(dim // 4) / (dim // 4))
    angle = torch.outer(torch.arange(side, dtype=torch.float32), frequency)
    line = torch.cat([angle.sin(), angle.cos()], dim=-1)  # (side, C / 2)
    rows = line[:, None].expand(side, side, -1)
    return torch.cat([rows, rows.transpose(0, 1)], dim=-1).flatten(0, 1)


def sincos_time(t: Float[Tensor, " b"], dim: int) -> Float[Tensor, "b c"]:
    """Sine and cosine embedding of times in [0, 1], periods from 1/160 to 63."""
    frequency = torch.exp(-math.log(10_000) * torch.arange(dim // 2, device=t.device) / (dim // 2))
    angle = 1000 * t[:, None] * frequency
    return torch.cat([angle.cos(), angle.sin()], dim=-1)
