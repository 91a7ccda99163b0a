"""Variants: called as the model is, close to it, a quarter of its size, rounded by the book."""

import sys

import pytest
import torch
from torch import nn

from phase1_foundation.diffusion.model import DiffusionConfig, DiffusionModel
from phase1_foundation.language.model import LanguageModel, LanguageModelConfig
from phase1_foundation.vision.vit import VisionTransformer, VisionTransformerConfig
from phase3_scaling.compression import quantize
from phase3_scaling.compression.packed import Int4Linear, Int8Embedding
from phase3_scaling.compression.quantize import VARIANTS, size_bytes, variant
from shared.errors import VermeilError

EAGER = ("eager_bf16", "int8_weight_only", "int4_weight_only", "int8_dynamic")
LANGUAGE = LanguageModelConfig(900, dim=128, layers=2, heads=4, kv_heads=2, mlp_dim=256, context=64)


def opinionated(model: nn.Module) -> nn.Module:
    """With random weights everywhere, norms' gains around 1."""
    torch.manual_seed(0)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.normal_(float("norm" in name and "weight" in name), 0.08)
    return model.eval()


@pytest.fixture(scope="module")
def language() -> LanguageModel:
    return opinionated(LanguageModel(LANGUAGE))


def encoder() -> VisionTransformer:
    return opinionated(VisionTransformer(
        VisionTransformerConfig(16, 4, dim=64, layers=2, heads=2, mlp_dim=128, classes=7,
                                stem="conv", pool="mean")
    ))  # fmt: skip


def drawing() -> DiffusionModel:
    return opinionated(DiffusionModel(
        DiffusionConfig(16, ("a", "b"), widths=(32, 64), layers=1, heads=2, mlp_dim=128)
    ))  # fmt: skip


def normal(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(1))


def ids(*shape: int) -> torch.Tensor:
    return torch.randint(900, shape, generator=torch.Generator().manual_seed(1))


MODELS = {
    "language": (lambda: opinionated(LanguageModel(LANGUAGE)), lambda: (ids(3, 20),)),
    "encoder": (encoder, lambda: (normal(3, 3, 16, 16),)),
    "drawing": (drawing, lambda: (normal(3, 3, 16, 16), torch.tensor([0.1234, 0.5, 0.9]),
                                  normal(3, 1, 64))),
}  # fmt: skip


@pytest.mark.parametrize("name", EAGER)
@pytest.mark.parametrize("kind", MODELS)
@torch.inference_mode()
def test_a_variant_is_called_as_the_model_and_says_the_same(kind, name):
    with torch.inference_mode(False):
        make, inputs = MODELS[kind]
        model, example = make(), inputs()
        before = {key: value.clone() for key, value in model.state_dict().items()}
        made = variant(name)(model, [example])
    found, expected = made(*example), model(*example)
    assert (found.shape, found.dtype) == (expected.shape, torch.float32)
    likeness = torch.cosine_similarity(found.flatten(), expected.flatten(), dim=0)
    assert likeness > (0.93 if name == "int4_weight_only" else 0.995)
    assert not torch.equal(found, expected)
    for key, value in model.state_dict().items():
        assert torch.equal(value, before[key]), f"{name} changed the model itself"


def test_sizes(language):
    sizes = {name: size_bytes(VARIANTS[name](language, [(ids(2, 9),)])) for name in EAGER}
    smaller = {name: size_bytes(language) / size for name, size in sizes.items()}
    assert smaller["eager_bf16"] > 1.9
    assert smaller["int8_weight_only"] > 3.5
    assert smaller["int8_dynamic"] > 3.5
    assert smaller["int4_weight_only"] > 4.5


def test_8_bit_weights_are_rounded_to_nearest(language):
    """torchao's symmetric scale spreads 255 steps over twice the largest weight of a row."""
    made = quantize.int8_weight_only(language, [])
    for name in ("blocks.0.mlp.fc1", "head"):
        weight = language.get_submodule(name).weight.detach()
        step = weight.abs().amax(dim=1, keepdim=True) / 127.5
        expected = (weight * (1 / step)).round().clamp(-128, 127) * step
        torch.testing.assert_close(made.get_submodule(name).weight.dequantize(), expected)
        x = normal(5, weight.shape[1])
        torch.testing.assert_close(made.get_submodule(name)(x), x @ expected.T)


def test_4_bit_weights_are_rounded_to_nearest_in_groups(language):
    made = quantize.int4_weight_only(language, [])
    layer = made.get_submodule("blocks.1.attn.proj")
    weight = language.get_submodule("blocks.1.attn.proj").weight.detach()
    groups = weight.unflatten(1, (-1, 32))
    step = groups.abs().amax(dim=2, keepdim=True) / 7.5
    expected = ((groups * (1 / step)).round().clamp(-8, 7) * step).flatten(1)
    assert isinstance(layer, Int4Linear)
    torch.testing.assert_close(layer.weight(), expected)
    assert layer.packed.numel() == weight.numel() // 2


def test_packing_by_hand():
    layer = Int4Linear(torch.tensor([[-8, 7, 0, -1]]), torch.tensor([[2.0, 10.0]]), None)
    assert layer.packed.tolist() == [[0 + 16 * 15, 8 + 16 * 7]]
    assert layer.weight().tolist() == [[-16, 14, 0, -10]]
    assert layer(torch.tensor([[1.0, 2.0, 3.0, 4.0]])).tolist() == [[-16 + 28 - 40]]


@pytest.mark.parametrize("name", ["int8_weight_only", "int8_dynamic", "int4_weight_only"])
def test_tied_matrices_stay_one(language, name):
    made = VARIANTS[name](language, [])
    assert isinstance(made.embed, Int8Embedding)
    assert made.embed.weight.qdata.data_ptr() == made.head.weight.qdata.data_ptr()
    rows = made.head.weight.dequantize()
    torch.testing.assert_close(made.embed(torch.tensor([[3, 899]])), rows[[3, 899]][None])


def test_an_embedding_on_its_own_is_rounded_too():
    model = drawing()
    labels = quantize.int8_weight_only(model, []).labels
    assert labels.weight.qdata.dtype == torch.int8
    torch.testing.assert_close(
        labels(torch.tensor([1, 0])), model.labels.weight[[1, 0]], atol=1e-3, rtol=0
    )


def test_what_4_bits_are_for():
    """Blocks alone: what makes the first states, the output, and what steers norms keep 8 or 32."""
    made = quantize.int4_weight_only(drawing(), [])
    four = {name for name, module in made.named_modules() if isinstance(module, Int4Linear)}
    block = "network.levels.inner.trunk.blocks.0"
    assert four == {f"{block}.{name}" for name in ("attn.qkv", "attn.proj", "mlp.fc1", "mlp.fc2")}


def test_what_is_left_in_floats_is_named():
    assert quantize.left_in_fp32(opinionated(LanguageModel(LANGUAGE))) == []
    names = quantize.left_in_fp32(encoder())
    assert names == ["cls_token", "pos_embed", "patch_embed.layers.0.weight",
                     "patch_embed.layers.3.weight", "patch_embed.proj.weight"]  # fmt: skip


def test_errors(language, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(VermeilError, match=r"8\.9 .* or newer; here is no card"):
        variant("fp8")(language, [])
    with pytest.raises(VermeilError, match="no variant 'int8_dynamik'") as error:
        variant("int8_dynamik")
    assert "int8_dynamic" in error.value.hint
    with pytest.raises(VermeilError, match="Conv2d has no linear layer"):
        quantize.int8_weight_only(nn.Conv2d(3, 3, 1), [])
    monkeypatch.setitem(sys.modules, "torchao.quantization", None)
    with pytest.raises(VermeilError, match="takes the package torchao") as error:
        quantize.int8_weight_only(language, [])
    assert error.value.hint == "make scale"
