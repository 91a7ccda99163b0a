"""Fast decoding: one token a row and step, with few operators and every weight read once.

A step of a small model costs what its operators cost to call, about a microsecond each on a CPU. So
what can be worked out before the first token is: norms' gains and attention's scale are folded into
matrices, views are made once, memory is allocated once. Products run in the weights' dtype, all
else in fp32, where the small operators are no slower and attention on a CPU is faster.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from phase1_foundation.language.model import KVCache, LanguageModel

AHEAD = 8  # how many slots of the cache are taken into view at a time


class Product:
    """x -> x @ weight.T, by the kernel that measured fastest on a CPU for so many rows.

    oneDNN reads a packed weight up to twice as fast, but a call takes it a dozen microseconds. Less
    work than that goes to the BLAS in fp32, from bf16 too: the same weights, products more exact.
    x is expected in `dtype`.
    """

    def __init__(self, weight: Float[Tensor, "n m"], rows: int):
        on_cpu, half = weight.device.type == "cpu", weight.dtype == torch.bfloat16
        if on_cpu and rows * weight.numel() >= 1 << (17 if half else 20) and _can_pack(half):
            # Not public, but what torch.compile makes of a linear layer whose weight stays.
            packed = torch.ops.mkldnn._reorder_linear_weight(weight)
            self.dtype, multiply = weight.dtype, torch.ops.mkldnn._linear_pointwise
            self.run = lambda x: multiply(x, packed, None, "none", [], "")
        else:
            self.dtype = torch.float32 if on_cpu else weight.dtype
            self.run = partial(torch.mm, mat2=weight.to(self.dtype).t().contiguous())

    def __call__(self, x: Float[Tensor, "b m"]) -> Float[Tensor, "b n"]:
        return self.run(x)


def _can_pack(half: bool) -> bool:
    supported = torch.ops.mkldnn._is_mkldnn_bf16_supported
    return torch.backends.mkldnn.is_available() and (not half or supported())


def pairs(x: Tensor, dim: int) -> Tensor:
    """From the half-split order of `Rotary` to pairs side by side, which are complex numbers."""
    return x.unflatten(dim, (2, -1)).transpose(dim, dim + 1).flatten(dim, dim + 1)


@dataclass(frozen=True)
class Layer:
    """The four products of a block."""

    qkv: Product
    proj: Product
    fc1: Product
    fc2: Product


class Past(NamedTuple):
    """Keys and values of what was read: `Decoder` keeps keys in pairs (see `pairs`)."""

    layers: Float[Tensor, "l 2 h s d"]

    @property
    def length(self) -> int:
        return self.layers.shape[3]


class Decoder:
    """A language model prepared for writing, in the dtype of its weights.

    It can write any number of rows, and is fastest for about `rows`. The matrices are copies: after
    more training, prepare again. `product` makes other products of them, e.g. in fewer bits.
    """

    @torch.inference_mode()
    def __init__(self, model: LanguageModel, rows: int = 1, product: type[Product] = Product):
        self.model, self.embed = model, model.embed.weight.detach()
        self.product = product
        self.head_dim = model.config.dim // model.config.heads
        self.layers = [self._layer(block, rows) for block in model.blocks]
        self.head = product(self._folded(model.head, model.norm), rows)
        rotary, half = model.rotary, self.head_dim // 2
        self.turns = torch.complex(rotary.cos[:, half:].float(), rotary.sin[:, half:].float())

    @torch.inference_mode()
    def read(
        self, x: Float[Tensor, "t c"], prefix: int = 0, past: Past | None = None
    ) -> tuple[Past, Float[Tensor, " v"]]:
        """Read embeddings after what was read before; all of it, and the logits of what follows.

        The first `prefix` of them see each other, the others what stands before them.
        """
        c, x = self.model.config, x.float().clone()
        count, behind = len(x), past.length if past else 0
        turn = self.turns[behind : behind + count, None, None]  # (T, 1, 1, D / 2)
        bias = x.new_full((count, behind + count), float("-inf")).triu(behind + 1)
        bias[:, :prefix] = 0.0
        caches = []
        for number, layer in enumerate(self.layers):
            qkv = layer.qkv(self._normed(x, layer.qkv.dtype)).float()
            qkv = qkv.view(count, c.kv_heads, -1, self.head_dim)
            torch.view_as_complex(qkv[:, :, :-1].unflatten(3, (-1, 2))).mul_(turn)
            query = qkv[:, :, :-2].flatten(1, 2).transpose(0, 1)  # (H, T, D)
            cache = qkv[:, :, -2:].permute(2, 1, 0, 3)  # (2, Hkv, T, D)
            if past:
                cache = torch.cat([past.layers[number], cache], dim=2)
            mixed = F.scaled_dot_product_attention(
                query, cache[0], cache[1], bias, scale=1.0, enable_gqa=c.heads > c.kv_heads
            )  # (H, T, D)
            mixed = mixed.transpose(0, 1).reshape(count, -1)
            x += layer.proj(mixed.to(layer.proj.dtype))
            gate, up = layer.fc1(self._normed(x, layer.fc1.dtype)).float().chunk(2, dim=-1)
            x += layer.fc2((F.silu(gate) * up).to(layer.fc2.dtype))
            caches.append(cache)
        logits = self.head(self._normed(x[-1:], self.head.dtype))[0].float()
        return Past(torch.stack(caches)), logits

    def _normed(self, x: Float[Tensor, "t c"], dtype: torch.dtype) -> Float[Tensor, "t c"]:
        """x / sqrt(x.x + C eps); the rest of the norm is in the matrices."""
        c = self.model.config
        squares = x.square().sum(-1, keepdim=True) + c.dim * c.norm_eps
        return (x * squares.rsqrt_()).to(dtype)

    def _layer(self, block: Any, rows: int) -> Layer:
        qkv = self._grouped(self._folded(block.attn.qkv, block.norm1))
        fc1 = self._folded(block.mlp.fc1, block.norm2)
        weights = qkv, block.attn.proj.weight.detach(), fc1, block.mlp.fc2.weight.detach()
        return Layer(*(self.product(weight, rows) for weight in weights))

    def _folded(self, linear: Any, norm: Any) -> Float[Tensor, "n c"]:
        """RMSNorm is gain * sqrt(C) * x / sqrt(x.x + C eps): what is constant, to the matrix."""
        folded = linear.weight.float() * norm.weight.float() * self.model.config.dim**0.5
        return folded.to(linear.weight.dtype)

    def _grouped(self, qkv: Float[Tensor, "n c"]) -> Float[Tensor, "n c"]:
        """Rows in the order (query ... query, key, value) of each key head: views need no copy."""
        c, d = self.model.config, self.head_dim
        query, key, value = qkv.view(-1, d, c.dim).split([c.heads, c.kv_heads, c.kv_heads])
        query = pairs(query, 1).view(c.kv_heads, -1, d, c.dim) / d**0.5
        return torch.cat([query, pairs(key, 1)[:, None], value[:, None]], dim=1).view(-1, c.dim)


class Batch:
    """Rows that are written together, each at its own position.

    Row b's token at position p is slot p of row b in the caches; `bias` is 0 for slots in use and
    minus infinity for the others. Keys lie transposed, as their product reads them fastest.

    All rows begin together (`prefill`, `take_over`), or they come and go one by one (`place`,
    `clear`); a row without work stays at position 0, and what is written there is overwritten.
    """

    @torch.inference_mode()
    def __init__(self, decoder: Decoder, rows: int, capacity: int):
        c, d, new = decoder.model.config, decoder.head_dim, decoder.turns.real.new_zeros
        heads, group = c.kv_heads, c.heads // c.kv_heads
        self.decoder, self.rows, self.capacity = decoder, rows, capacity
        self.keys = new(c.layers, rows, heads, d, capacity)
        self.values = new(c.layers, rows, heads, capacity, d)
        self.bias = new(rows, heads, 1, capacity)
        self.positions = new(rows, dtype=torch.long)
        self.going = self.positions + 1  # by how much a step moves each row on: 0 for idle ones
        slot = self.positions[:, None, None, None]
        self.slot = slot.expand(rows, heads, 1, 1)
        self.key_slot = slot.expand(rows, heads, d, 1)
        self.value_slot = slot.expand(rows, heads, 1, d)
        self.longest = self.seen = 0  # slots in use in the longest row; slots in view

        # What a step writes to, and how it is looked at.
        self.x = new(rows, c.dim)
        self.x_row, self.x_column = self.x[:, None], self.x[:, :, None]
        self.square, self.eps = new(rows, 1, 1), new(1, 1, 1) + c.dim * c.norm_eps
        self.scale = self.square[:, 0]
        self.qkv = new(rows, heads, group + 2, d)
        self.qkv_row = self.qkv.view(rows, -1)
        self.query = self.qkv.flatten(0, 1)[:, :group]
        self.key, self.value = self.qkv[:, :, group, :, None], self.qkv[:, :, group + 1 :]
        # A pair is a complex number, and its rotation a product with another (Su et al., eq. 12).
        self.query_key = torch.view_as_complex(self.qkv[:, :, : group + 1].unflatten(3, (-1, 2)))
        self.mixed = new(rows * heads, group, d)
        self.mixed_row = self.mixed.view(rows, -1)
        self.fc1 = new(rows, 2 * c.mlp_dim)
        self.gate, self.up = self.fc1.chunk(2, dim=-1)
        # What the products read, each in its own dtype.
        layer = decoder.layers[0]
        self.to_qkv = new(rows, c.dim, dtype=layer.qkv.dtype)
        self.to_fc1 = new(rows, c.dim, dtype=layer.fc1.dtype)
        self.to_head = new(rows, c.dim, dtype=decoder.head.dtype)
        self.to_proj = self.mixed_row.to(layer.proj.dtype)
        self.to_fc2 = new(rows, c.mlp_dim, dtype=layer.fc2.dtype)

    @torch.inference_mode()
    def prefill(self, prompts: Sequence[Sequence[int]]) -> Float[Tensor, "b v"]:
        """Read a prompt a row; logits of the token after it.

        Padding stands on the right, where causal attention does not look; steps overwrite it.
        """
        model, device = self.decoder.model, self.positions.device
        lengths = [len(prompt) for prompt in prompts]
        padded = [[*prompt, *[0] * (max(lengths) - len(prompt))] for prompt in prompts]
        cache = KVCache(model, self.rows, max(lengths))
        states = model.hidden_states(model.embed(torch.tensor(padded, device=device)), cache=cache)
        self.take_over(cache, lengths)
        rows = torch.arange(self.rows, device=device)
        return model.head(states[rows, self.positions - 1]).float()

    def take_over(self, cache: KVCache, lengths: Sequence[int]) -> None:
        """Continue what the plain model has read: the first `lengths` steps of each row."""
        filled = self.longest = self.seen = cache.length
        for keys, values, layer in zip(self.keys, self.values, cache.layers, strict=True):
            keys[..., :filled] = pairs(layer.keys[:, :, :filled].transpose(2, 3), 2)
            values[:, :, :filled] = layer.values[:, :, :filled]
        self.positions.copy_(torch.tensor(lengths))
        unused = torch.arange(self.bias.shape[-1], device=self.bias.device) >= self.slot
        self.bias.zero_().masked_fill_(unused, float("-inf"))  # (B, Hkv, 1, S)

    @torch.inference_mode()
    def place(self, row: int, past: Past) -> None:
        """Let a row go on after what was read, beside rows that are under way."""
        length = past.length
        self.keys[:, row, ..., :length] = past.layers[:, 0].transpose(2, 3)
        self.values[:, row, :, :length] = past.layers[:, 1]
        self._begin(row, length)

    @torch.inference_mode()
    def clear(self, row: int) -> None:
        """Let a row idle: one that has ended, or that nobody reads any more."""
        self._begin(row, 0)

    def _begin(self, row: int, length: int) -> None:
        self.positions[row], self.going[row] = length, int(length > 0)
        self.bias[row] = float("-inf")
        self.bias[row, ..., :length] = 0.0
        self.longest = self.seen = int(self.positions.max())  # views are made anew

    @torch.inference_mode()
    def moved(self, rows: int, kept: Sequence[int], decoder: Decoder) -> "Batch":
        """A batch of another size and decoder: row i goes on as kept[i] did, the others idle."""
        other, old = Batch(decoder, rows, self.capacity), list(kept)
        other.going.zero_()
        other.bias.fill_(float("-inf"))
        for name in ("keys", "values"):
            getattr(other, name)[:, : len(old)] = getattr(self, name)[:, old]
        for name in ("positions", "going", "bias"):
            getattr(other, name)[: len(old)] = getattr(self, name)[old]
        other.longest = other.seen = int(other.positions.max())
        return other

    @torch.inference_mode()
    def step(self, tokens: Int[Tensor, " b"]) -> Float[Tensor, "b v"]:
        """Take one token a row; logits of the next."""
        if self.longest == self.seen:
            self._look_further()
        decoder, rows = self.decoder, self.rows
        self.x.copy_(decoder.embed.index_select(0, tokens))
        turn = decoder.turns.index_select(0, self.positions).view(rows, 1, 1, -1)
        self.bias.scatter_(3, self.slot, 0.0)
        for layer, keys, values, seen_keys, seen_values in self.work:
            self.qkv_row.copy_(layer.qkv(self._normed(self.to_qkv)))
            self.query_key.mul_(turn)
            keys.scatter_(3, self.key_slot, self.key)
            values.scatter_(2, self.value_slot, self.value)
            torch.baddbmm(self.seen_bias, self.query, seen_keys, out=self.scores)
            torch.softmax(self.scores, dim=-1, out=self.scores)
            torch.bmm(self.scores, seen_values, out=self.mixed)
            self.x.add_(layer.proj(self.to_proj.copy_(self.mixed_row)))
            self.fc1.copy_(layer.fc1(self._normed(self.to_fc1)))
            torch.mul(F.silu(self.gate, inplace=True), self.up, out=self.to_fc2)
            self.x.add_(layer.fc2(self.to_fc2))
        self.positions.add_(self.going)
        self.longest += 1
        return decoder.head(self._normed(self.to_head)).float()

    def _normed(self, out: Float[Tensor, "b c"]) -> Float[Tensor, "b c"]:
        """x / sqrt(x.x + C eps); F.rms_norm takes three times as long."""
        torch.baddbmm(self.eps, self.x_row, self.x_column, out=self.square).rsqrt_()
        return torch.mul(self.x, self.scale, out=out)

    def _look_further(self) -> None:
        """Views of a few slots more than are in use, so that they are seldom made."""
        seen = self.seen = min(self.capacity, self.seen + AHEAD)
        keys, values = self.keys.flatten(1, 2)[..., :seen], self.values.flatten(1, 2)[:, :, :seen]
        self.seen_bias = self.bias.flatten(0, 1)[..., :seen]
        self.scores = self.mixed.new_empty(*self.mixed.shape[:2], seen)  # (B * Hkv, G, S)
        self.work = [*zip(self.decoder.layers, self.keys, self.values, keys, values, strict=True)]
