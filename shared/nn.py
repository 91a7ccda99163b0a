"""The one trunk: every model of the curriculum is a stack of `Block`s.

A block is handed its parts. What differs between a language model, a vision encoder and a diffusion
transformer (norms, positions, masks) is a part or an argument, never a flag inside the block.
"""

from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

Rotation = tuple[Tensor, Tensor]


class RMSNorm(nn.RMSNorm):
    """x / rms(x) times a gain (Zhang & Sennrich, 2019, eq. 4); trains faster on CPUs than torch's.

    torch has a fused kernel on GPUs alone; on a CPU it is eight operators, each a pass through
    memory in training, and keeps the stream twice for the backward pass.
    """

    def forward(self, x: Float[Tensor, "*b c"]) -> Float[Tensor, "*b c"]:
        if x.device.type != "cpu" or not torch.is_grad_enabled() or torch.compiler.is_compiling():
            return super().forward(x)
        return _RMSNorm.apply(x, self.weight, self.eps)  # type: ignore[return-value]


class _RMSNorm(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, gain: Tensor, eps: float) -> Tensor:
        length = torch.linalg.vector_norm(x, dim=-1, keepdim=True)
        scale = length.square_().div_(x.shape[-1]).add_(eps).rsqrt_()  # (..., 1)
        normal = x * scale
        ctx.save_for_backward(normal, scale, gain)
        return normal * gain

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None]:  # type: ignore[override]
        normal, scale, gain = ctx.saved_tensors
        along = grad * normal
        by_gain = along.flatten(0, -2).sum(0)
        back = (along @ gain).div_(gain.numel())[..., None]  # what changes the length, comes off
        return torch.addcmul(grad * gain, normal, back, value=-1).mul_(scale), by_gain, None


class Rotary(nn.Module):
    """Rotary position embedding in Llama's half-split layout (Su et al., 2021, eq. 34).

    Called with positions it returns the cosines and sines that `rotate` applies; the sines of the
    left half carry the rotation's minus.
    """

    cos: Tensor  # (context, head_dim)
    sin: Tensor

    def __init__(self, head_dim: int, context: int, theta: float = 10_000.0):
        super().__init__()
        frequency = theta ** (-torch.arange(0, head_dim, 2, dtype=torch.float64) / head_dim)
        angle = torch.outer(torch.arange(context, dtype=torch.float64), frequency)
        cos, sin = angle.float().cos(), angle.float().sin()  # (context, head_dim / 2)
        self.register_buffer("cos", torch.cat([cos, cos], dim=-1), persistent=False)
        self.register_buffer("sin", torch.cat([-sin, sin], dim=-1), persistent=False)

    def forward(self, positions: Int[Tensor, "..."]) -> Rotation:
        return self.cos[positions], self.sin[positions]


def rotate(x: Float[Tensor, "b h t d"], rotation: Rotation) -> Float[Tensor, "b h t d"]:
    """Turn each pair (x_i, x_{i + d/2}) by its position's angle."""
    cos, sin = (part.to(x.dtype) for part in rotation)  # (T, D) or (B, 1, T, D)
    return x * cos + x.roll(x.shape[-1] // 2, dims=-1) * sin


class LayerCache:
    """Keys and values that one attention layer has seen, in memory allocated once."""

    def __init__(self, keys: Float[Tensor, "b h s d"], values: Float[Tensor, "b h s d"]):
        self.keys, self.values, self.length = keys, values, 0

    def append(self, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        """Store new steps and return all that are held so far (views, not copies)."""
        end = self.length + key.shape[2]
        self.keys[:, :, self.length : end] = key
        self.values[:, :, self.length : end] = value
        self.length = end
        return self.keys[:, :, :end], self.values[:, :, :end]


def attend(
    query: Float[Tensor, "b h t d"],
    key: Float[Tensor, "b hkv s d"],
    value: Float[Tensor, "b hkv s d"],
    *,
    causal: bool = False,
    mask: Bool[Tensor, "#b #h #t s"] | None = None,
) -> Float[Tensor, "b h t d"]:
    """softmax(query key^T / sqrt(d)) value (Vaswani et al., 2017, eq. 1).

    On a CPU it is spelled out in matrix products for training and in bf16: the fused kernel is made
    for long sequences and for fp32. On short ones its backward pass takes three to six times as
    long, and its bf16 three times (docs/log.md).
    """
    (b, h, t, d), s, group = query.shape, key.shape[2], query.shape[1] // key.shape[1]
    products = torch.is_grad_enabled() or (query.dtype == torch.bfloat16 and t > 1)
    if query.device.type != "cpu" or not products or s > LONGEST_IN_PRODUCTS:
        if mask is not None:
            mask = mask.expand(-1, -1, t, -1)  # a view; ONNX Runtime wants a row for each query
        return F.scaled_dot_product_attention(
            query, key, value, attn_mask=mask, is_causal=causal, enable_gqa=group > 1
        )
    if group > 1:
        key, value = key.repeat_interleave(group, dim=1), value.repeat_interleave(group, dim=1)
    query, key, value = (x.reshape(b * h, -1, d) for x in (query, key, value))
    bias = query.new_zeros(1)
    if causal:
        bias = query.new_full((t, s), float("-inf")).triu(1)
    elif mask is not None:
        bias = query.new_zeros(mask.shape).masked_fill(~mask, float("-inf"))
        bias = bias.expand(b, h, t, s).reshape(b * h, t, s)
    scores = torch.baddbmm(bias, query, key.mT, alpha=d**-0.5)  # (B Hq, T, S)
    return torch.bmm(scores.softmax(dim=-1), value).view(b, h, t, d)


LONGEST_IN_PRODUCTS = 1024  # steps; the scores of all heads lie in memory at once


class Attention(nn.Module):
    """Scaled dot-product attention with grouped queries (Ainslie et al., 2023).

    `kv_heads` < `heads` lets several query heads share one key and value head. Keys are named as in
    timm (`qkv`, `proj`): query, key and value come from one matrix product.
    """

    def __init__(self, dim: int, heads: int, kv_heads: int | None = None, *, bias: bool = False):
        super().__init__()
        self.heads, self.kv_heads, self.head_dim = heads, kv_heads or heads, dim // heads
        self.qkv = nn.Linear(dim, (heads + 2 * self.kv_heads) * self.head_dim, bias=bias)
        self.proj = nn.Linear(heads * self.head_dim, dim, bias=bias)

    def forward(
        self,
        x: Float[Tensor, "b t c"],
        *,
        causal: bool = False,
        mask: Bool[Tensor, "#b #h #t s"] | None = None,
        rotation: Rotation | None = None,
        cache: LayerCache | None = None,
    ) -> Float[Tensor, "b t c"]:
        """Attend from every step to those that `causal` and `mask` (True: may look) allow."""
        b, t, _ = x.shape
        heads = self.qkv(x).view(b, t, -1, self.head_dim).transpose(1, 2)  # (B, Hq + 2 Hkv, T, D)
        query_key, value = heads.split([self.heads + self.kv_heads, self.kv_heads], dim=1)
        if rotation is not None:
            query_key = rotate(query_key, rotation)
        query, key = query_key.split([self.heads, self.kv_heads], dim=1)
        if cache is not None:
            key, value = cache.append(key, value)
        x = attend(query, key, value, causal=causal, mask=mask)  # (B, Hq, T, D)
        return self.proj(x.transpose(1, 2).reshape(b, t, -1))


class CrossAttention(nn.Module):
    """Attention to another sequence: queries from one, keys and values from the other.

    Its last matrix begins at 0: put into a trained model, it changes nothing until it has learned.
    """

    def __init__(self, dim: int, heads: int, source_dim: int | None = None):
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(dim, dim)
        self.key_value = nn.Linear(source_dim or dim, 2 * dim)
        self.proj = nn.Linear(dim, dim)
        nn.init.zeros_(self.proj.weight)
        nn.init.zeros_(self.proj.bias)

    def forward(
        self,
        x: Float[Tensor, "b t c"],
        source: Float[Tensor, "b s d"],
        mask: Bool[Tensor, "b s"] | None = None,
    ) -> Float[Tensor, "b t c"]:
        """Every step of x attends to the source's steps where `mask` is True; None: to all."""
        query = self.query(x).unflatten(2, (self.heads, -1)).transpose(1, 2)  # (B, H, T, D)
        both = self.key_value(source).unflatten(2, (2 * self.heads, -1)).transpose(1, 2)
        key, value = both.chunk(2, dim=1)  # (B, H, S, D)
        x = attend(query, key, value, mask=None if mask is None else mask[:, None, None])
        return self.proj(x.transpose(1, 2).flatten(2))


class SwiGLU(nn.Module):
    """Gated feed-forward layer (Shazeer, 2020): fc2(silu(gate) * up); one product makes both."""

    def __init__(self, dim: int, hidden: int, *, bias: bool = False):
        super().__init__()
        self.fc1 = nn.Linear(dim, 2 * hidden, bias=bias)
        self.fc2 = nn.Linear(hidden, dim, bias=bias)

    def forward(self, x: Float[Tensor, "... c"]) -> Float[Tensor, "... c"]:
        gate, up = self.fc1(x).chunk(2, dim=-1)  # (..., hidden)
        return self.fc2(F.silu(gate) * up)


class MLP(nn.Module):
    """Feed-forward layer: fc2(gelu(fc1(x)))."""

    def __init__(self, dim: int, hidden: int, *, bias: bool = True):
        super().__init__()
        self.fc1 = nn.Linear(dim, hidden, bias=bias)
        self.fc2 = nn.Linear(hidden, dim, bias=bias)

    def forward(self, x: Float[Tensor, "... c"]) -> Float[Tensor, "... c"]:
        return self.fc2(F.gelu(self.fc1(x)))


class PatchEmbed(nn.Module):
    """A picture's patches as a sequence, row by row, each multiplied to `dim` (as in timm)."""

    def __init__(self, patch: int, channels: int, dim: int):
        super().__init__()
        self.proj = nn.Conv2d(channels, dim, patch, stride=patch)

    def forward(self, x: Float[Tensor, "b ch h w"]) -> Float[Tensor, "b t c"]:
        return self.proj(x).flatten(2).transpose(1, 2)


class Hidden(nn.Module):
    """What lies between a model's first and last layer: its matrices are for Muon."""


class Modulation(nn.Linear):
    """Makes a layer's shifts, scales and gates out of a vector.

    AdamW takes it, as it takes biases and gains: with Muon a small U-Net trains for a seventh
    longer and draws no better (docs/log.md).
    """


class Block(Hidden):
    """Pre-norm residual block: x + attn(norm1(x)), then x + mlp(norm2(x))."""

    def __init__(self, norm1: nn.Module, attn: nn.Module, norm2: nn.Module, mlp: nn.Module):
        super().__init__()
        self.norm1, self.attn, self.norm2, self.mlp = norm1, attn, norm2, mlp

    def forward(self, x: Float[Tensor, "b t c"], **attention) -> Float[Tensor, "b t c"]:
        x = x + self.attn(self.norm1(x), **attention)
        return x + self.mlp(self.norm2(x))


def init_weights(model: nn.Module, layers: int, std: float = 0.02) -> None:
    """GPT-2's initialisation: normal weights, the last matrix of each branch smaller, no bias.

    Each of the 2 * layers branches adds its output to the residual stream; dividing by the root of
    their number keeps the stream's variance independent of depth (Radford et al., 2019, 2.3).
    """
    for name, parameter in model.named_parameters():
        last = name.endswith(("attn.proj.weight", "mlp.fc2.weight"))
        if name.endswith("bias"):
            nn.init.zeros_(parameter)
        elif parameter.dim() >= 2:
            nn.init.normal_(parameter, std=std / (2 * layers) ** 0.5 if last else std)
