"""The trunk against formulas worked out another way."""

import math

import jaxtyping
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from shared.nn import (
    Attention,
    Block,
    CrossAttention,
    LayerCache,
    Rotary,
    SwiGLU,
    attend,
    init_weights,
    rotate,
)


def test_rotate_multiplies_complex_numbers():
    """(x_i + j x_{i + d/2}) e^{j position theta^(-2i/d)}, in float64."""
    d, theta = 8, 100.0
    x = torch.randn(2, 3, 5, d)
    positions = torch.tensor([0, 1, 7, 2, 31])
    frequency = torch.tensor([theta ** (-2 * i / d) for i in range(d // 2)], dtype=torch.float64)
    turn = torch.exp(1j * positions[:, None] * frequency)  # (T, D / 2)
    turned = torch.complex(*x.double().chunk(2, dim=-1)) * turn
    expected = torch.cat([turned.real, turned.imag], dim=-1)
    actual = rotate(x, Rotary(d, 32, theta)(positions))
    torch.testing.assert_close(actual.double(), expected, atol=1e-6, rtol=0)


def test_rotated_products_depend_on_distance_alone():
    rotary, query, key = Rotary(16, 64), torch.randn(1, 1, 1, 16), torch.randn(1, 1, 1, 16)

    def product(i: int, j: int) -> float:
        at = lambda x, place: rotate(x, rotary(torch.tensor([place])))  # noqa: E731
        return float((at(query, i) * at(key, j)).sum())

    assert product(5, 3) == pytest.approx(product(42, 40), abs=1e-5)
    assert product(5, 3) != pytest.approx(product(5, 4), abs=1e-3)


def test_each_row_has_its_own_positions():
    rotary, x = Rotary(8, 16), torch.randn(2, 3, 4, 8)
    positions = torch.tensor([[0, 1, 2, 3], [5, 6, 7, 8]])
    together = rotate(x, rotary(positions[:, None]))
    alone = [rotate(x[i : i + 1], rotary(positions[i])) for i in range(2)]
    assert torch.equal(together, torch.cat(alone))


@pytest.mark.parametrize("causal", [False, True])
def test_attention_equals_torch_s_own(causal):
    dim, heads = 12, 3
    ours, x = Attention(dim, heads, bias=True), torch.randn(2, 5, dim)
    mask = nn.Transformer.generate_square_subsequent_mask(5) if causal else None
    theirs, _ = F.multi_head_attention_forward(
        *[x.transpose(0, 1)] * 3, dim, heads, ours.qkv.weight, ours.qkv.bias, None, None, False,
        0.0, ours.proj.weight, ours.proj.bias, attn_mask=mask, need_weights=False,
    )  # fmt: skip
    torch.testing.assert_close(ours(x, causal=causal), theirs.transpose(0, 1))


def test_attention_with_a_mask_by_hand():
    """Softmax over the allowed keys, written out for one query at a time."""
    attention, x = Attention(8, 2), torch.randn(1, 4, 8)
    mask = torch.rand(4, 4) < 0.5
    mask.fill_diagonal_(True)
    query, key, value = attention.qkv(x)[0].view(4, 3, 2, 4).unbind(1)  # (T, H, D)
    mixed = torch.zeros(4, 2, 4)
    for t in range(4):
        for head in range(2):
            allowed = mask[t].nonzero()[:, 0]
            scores = key[allowed, head] @ query[t, head] / math.sqrt(4)
            mixed[t, head] = scores.softmax(0) @ value[allowed, head]
    expected = attention.proj(mixed.reshape(1, 4, 8))
    torch.testing.assert_close(attention(x, mask=mask[None, None]), expected)


def test_cross_attention_equals_torch_s_own():
    peer = nn.MultiheadAttention(12, 3, kdim=8, vdim=8, batch_first=True)
    ours = CrossAttention(12, 3, 8)
    x, source = torch.randn(2, 5, 12), torch.randn(2, 4, 8)
    assert torch.equal(ours(x, source), torch.zeros(2, 5, 12))  # nothing, before it has learned
    nn.init.normal_(peer.in_proj_bias)
    with torch.no_grad():
        ours.query.weight.copy_(peer.q_proj_weight)
        ours.key_value.weight.copy_(torch.cat([peer.k_proj_weight, peer.v_proj_weight]))
        ours.query.bias.copy_(peer.in_proj_bias[:12])
        ours.key_value.bias.copy_(peer.in_proj_bias[12:])
        ours.proj.load_state_dict(peer.out_proj.state_dict())
    mask = torch.tensor([[True, True, True, False], [True, False, False, False]])
    for real in (None, mask):
        expected, _ = peer(x, source, source, key_padding_mask=None if real is None else ~real)
        torch.testing.assert_close(ours(x, source, real), expected)


def test_grouped_queries_equal_repeated_keys_and_values():
    dim, heads, kv_heads, d = 24, 6, 2, 4
    grouped, full = Attention(dim, heads, kv_heads), Attention(dim, heads)
    query, key, value = grouped.qkv.weight.split([heads * d, kv_heads * d, kv_heads * d])
    repeat = lambda w: w.view(kv_heads, d, dim).repeat_interleave(3, 0).reshape(-1, dim)  # noqa: E731
    full.qkv.weight.data = torch.cat([query, repeat(key), repeat(value)])
    full.proj.weight = grouped.proj.weight
    x, rotation = torch.randn(2, 7, dim), Rotary(d, 8)(torch.arange(7))
    torch.testing.assert_close(
        grouped(x, causal=True, rotation=rotation), full(x, causal=True, rotation=rotation)
    )
    assert grouped.qkv.weight.numel() < full.qkv.weight.numel()


def test_cache_returns_all_that_was_stored():
    keys, values = torch.randn(2, 1, 2, 6, 4)
    cache = LayerCache(torch.zeros(1, 2, 8, 4), torch.zeros(1, 2, 8, 4))
    for start, end in ((0, 3), (3, 4), (4, 6)):
        held = cache.append(keys[:, :, start:end], values[:, :, start:end])
        assert cache.length == end
        assert torch.equal(held[0], keys[:, :, :end]) and torch.equal(held[1], values[:, :, :end])


def test_swiglu_by_hand():
    mlp, x = SwiGLU(3, 5), torch.randn(2, 4, 3)
    gate, up = x @ mlp.fc1.weight[:5].T, x @ mlp.fc1.weight[5:].T
    expected = (gate / (1 + (-gate).exp()) * up) @ mlp.fc2.weight.T
    torch.testing.assert_close(mlp(x), expected)


def trunk(layers: int, dim: int = 48) -> nn.ModuleList:
    return nn.ModuleList(
        Block(
            norm1=nn.LayerNorm(dim), attn=Attention(dim, 4, bias=True),
            norm2=nn.LayerNorm(dim), mlp=SwiGLU(dim, 96, bias=True),
        )
        for _ in range(layers)
    )  # fmt: skip


def test_block_adds_each_branch_to_the_stream():
    block, x = trunk(1)[0], torch.randn(2, 5, 48)
    middle = x + block.attn(block.norm1(x), causal=True)
    expected = middle + block.mlp(block.norm2(middle))
    assert torch.equal(block(x, causal=True), expected)


def test_a_causal_block_never_sees_the_future():
    blocks, x = trunk(2), torch.randn(1, 9, 48)
    changed = x.clone()
    changed[:, 6] += 1

    def run(x):
        for block in blocks:
            x = block(x, causal=True)
        return x

    before, after = run(x), run(changed)
    assert torch.equal(before[:, :6], after[:, :6])
    assert (before[:, 6:] != after[:, 6:]).any(dim=-1).all()


def test_initial_weights():
    layers = 8
    model = trunk(layers, dim=96)
    init_weights(model, layers)
    small = 0.02 / math.sqrt(2 * layers)
    for name, parameter in model.named_parameters():
        if name.endswith("bias"):
            assert not parameter.any(), name
        elif "norm" in name:
            assert (parameter == 1).all(), name
        else:
            last = name.endswith(("proj.weight", "fc2.weight"))
            expected = small if last else 0.02
            assert parameter.std().item() == pytest.approx(expected, rel=0.05), name


def test_the_stream_keeps_its_variance_whatever_the_depth():
    """What the smaller last matrices are for."""

    @torch.no_grad()
    def growth(layers: int) -> float:
        torch.manual_seed(0)
        blocks, x = trunk(layers), torch.randn(4, 16, 48)
        init_weights(blocks, layers, std=0.2)
        y = x
        for block in blocks:
            y = block(y)
        return float((y - x).var())

    assert growth(32) == pytest.approx(growth(2), rel=0.5)


def test_a_patch_embedding_is_no_branch():
    """timm names it `patch_embed.proj`: it writes the stream and does not add to it."""
    model = nn.Module()
    model.patch_embed = nn.Module()
    model.patch_embed.proj = nn.Conv2d(3, 64, 8)
    init_weights(model, layers=12)
    assert model.patch_embed.proj.weight.std().item() == pytest.approx(0.02, rel=0.05)


def test_shapes_are_checked_in_tests():
    with pytest.raises(jaxtyping.TypeCheckError):
        rotate(torch.randn(2, 3, 4), Rotary(4, 8)(torch.arange(3)))


@pytest.mark.parametrize("kv_heads", [4, 2])
@pytest.mark.parametrize("kind", ["all", "causal", "mask"])
def test_attention_in_products_equals_the_fused_kernel(kv_heads, kind):
    """The same results and gradients, with as many key heads as query heads and with fewer."""
    shapes = ((2, 4, 6, 8), (2, kv_heads, 6, 8), (2, kv_heads, 6, 8))
    inputs = [torch.randn(shape, requires_grad=True) for shape in shapes]
    mask = (torch.rand(2, 1, 6, 6) > 0.5) | torch.eye(6, dtype=torch.bool)
    chosen = {"causal": kind == "causal", "mask": mask if kind == "mask" else None}
    fused = F.scaled_dot_product_attention(
        *inputs, attn_mask=chosen["mask"], is_causal=chosen["causal"], enable_gqa=True
    )
    products, weights = attend(*inputs, **chosen), torch.randn(2, 4, 6, 8)
    torch.testing.assert_close(products, fused)
    gradients = [torch.autograd.grad(x, inputs, weights) for x in (products, fused)]
    torch.testing.assert_close(*gradients)
    assert "Bmm" in type(products.grad_fn.next_functions[0][0]).__name__  # not the kernel twice
