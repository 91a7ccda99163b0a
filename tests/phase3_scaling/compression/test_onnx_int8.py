"""8-bit graphs: small, close, each tied matrix once, and the rounding of the textbook."""

from collections import Counter

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper
from torch import nn

from phase1_foundation.language.model import LanguageModel, LanguageModelConfig
from phase1_foundation.vision.vit import VisionTransformer, VisionTransformerConfig
from phase3_scaling.compression import onnx_int8
from phase3_scaling.compression.onnx_int8 import dynamic_int8, round_rows, static_int8
from phase3_scaling.compression.onnx_runtime import OrtModule

LANGUAGE = LanguageModelConfig(
    2000, dim=128, layers=2, heads=4, kv_heads=2, mlp_dim=256, context=64
)
VISION = VisionTransformerConfig(16, 4, dim=128, layers=2, heads=2, mlp_dim=256, classes=7,
                                 stem="conv", pool="mean")  # fmt: skip


def opinionated(model: nn.Module) -> nn.Module:
    """Norms' gains differ, and a head is as large as the rest."""
    torch.manual_seed(0)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.normal_(float("norm" in name and "weight" in name), 0.1)
    return model.eval()


def tokens(*shape: int, seed: int = 1) -> torch.Tensor:
    return torch.randint(2000, shape, generator=torch.Generator().manual_seed(seed))


def pictures(number: int, seed: int = 1) -> torch.Tensor:
    return torch.randn(number, 3, 16, 16, generator=torch.Generator().manual_seed(seed))


def held(graph: bytes) -> dict[str, np.ndarray]:
    """The arrays in a file by name."""
    initializers = onnx.load_from_string(graph).graph.initializer
    return {each.name: numpy_helper.to_array(each) for each in initializers}


def operators(graph: bytes) -> Counter:
    return Counter(node.op_type for node in onnx.load_from_string(graph).graph.node)


def alike(one: torch.Tensor, other: torch.Tensor) -> float:
    return torch.cosine_similarity(one.flatten(), other.flatten(), dim=0).item()


@pytest.fixture(scope="module", params=[True, False], ids=["tied", "untied"])
def language(request):
    """A language model, and its 8-bit graph."""
    torch.manual_seed(0)
    config = LanguageModelConfig(**{**vars(LANGUAGE), "tie_embeddings": request.param})
    model = opinionated(LanguageModel(config))
    return model, dynamic_int8(model, [(tokens(4, 64),)])


@torch.no_grad()
def test_a_language_model_is_a_quarter_and_says_the_same(language):
    model, graph = language
    made, parameters = OrtModule(graph), sum(p.numel() for p in model.parameters())
    assert 4 * parameters / len(graph) > 3.5
    for shape in ((1, 64), (5, 9), (2, 1)):
        assert alike(made(tokens(*shape)), model(tokens(*shape))) > 0.99
    kinds = operators(graph)
    assert kinds["MatMulInteger"] == 4 * model.config.layers + 1
    assert not kinds["MatMul"] and not kinds["Gemm"]


def test_every_weight_is_an_8_bit_integer_once(language):
    model, graph = language
    matrices = [p.numel() for p in model.parameters() if p.dim() > 1]
    integers = [a for a in held(graph).values() if a.dtype == np.int8 and a.ndim == 2]
    assert sum(a.size for a in integers) == sum(matrices)
    floats = [a.size for a in held(graph).values() if a.dtype == np.float32]
    assert max(floats) < 64 * 128, "a matrix was left in fp32"


def test_embeddings_are_rounded_to_nearest(language):
    model, graph = language
    arrays, table = held(graph), model.embed.weight.detach().numpy()
    [name] = (n.removesuffix("_int8") for n, a in arrays.items() if a.shape == table.shape)
    step = arrays[f"{name}_scale"]  # (V, 1)
    np.testing.assert_allclose(step[:, 0], np.abs(table).max(axis=1) / 127, rtol=0.01)
    assert (np.abs(arrays[f"{name}_int8"] * step - table) <= step / 2 * 1.001).all()


def test_rounding_by_hand():
    integers, scale = round_rows(np.array([[1.27, -0.634, 0.016], [0, 0, 0]], np.float32))
    np.testing.assert_allclose(scale[0], 0.01, rtol=1e-6)
    np.testing.assert_array_equal(integers, [[127, -63, 2], [0, 0, 0]])


@pytest.fixture(scope="module")
def encoder():
    return opinionated(VisionTransformer(VISION))


@torch.no_grad()
def test_an_encoder_keeps_its_convolutions_in_floats(encoder):
    graph = dynamic_int8(encoder, [(pictures(4),)])
    parameters = sum(p.numel() for p in encoder.parameters())
    assert 4 * parameters / len(graph) > 3.3  # positions, norms and the graph itself are a tenth
    assert alike(OrtModule(graph)(pictures(3)), encoder(pictures(3))) > 0.99
    kinds = operators(graph)
    assert kinds["MatMulInteger"] == 4 * VISION.layers + 1  # the head was a Gemm
    assert kinds["Conv"] == 3 and not kinds["ConvInteger"]
    kernels = [a for a in held(graph).values() if a.ndim == 4]
    assert sorted(a.dtype.name for a in kernels if a.size > 128) == ["int8"] * 3


@torch.no_grad()
def test_static_ranges_are_those_of_the_examples(encoder):
    examples = [(pictures(8, seed) * (1 + seed),) for seed in range(3)]
    static = static_int8(encoder, examples)
    assert "DynamicQuantizeLinear" not in operators(static)
    usual = pictures(4, seed=9)
    assert alike(OrtModule(static)(usual), encoder(usual)) > 0.99

    seen: list[torch.Tensor] = []
    entrance = encoder.blocks[0].attn.qkv
    hook = entrance.register_forward_pre_hook(lambda _, inputs: seen.append(*inputs))
    for example in examples:
        encoder(*example)
    hook.remove()
    step = (max(x.max() for x in seen) - min(x.min() for x in seen)) / 255
    scales = np.array([a for a in held(static).values() if a.dtype == np.float32 and a.ndim == 0])
    assert np.isclose(scales, step.item(), rtol=1e-3).any()


def test_weights_have_7_bits_where_8_would_overflow(encoder, monkeypatch):
    monkeypatch.setattr(onnx_int8, "needs_7_bits", lambda: True)
    arrays = held(dynamic_int8(encoder, [(pictures(2),)]))
    largest = [abs(a.astype(int)).max() for n, a in arrays.items() if n.endswith("_quantized")]
    assert max(largest) <= 64


@torch.no_grad()
def test_static_language_shares_its_tied_matrix():
    model = opinionated(LanguageModel(LANGUAGE))
    graph = static_int8(model, [(tokens(4, 64),)])
    assert 4 * sum(p.numel() for p in model.parameters()) / len(graph) > 3.5
    assert alike(OrtModule(graph)(tokens(2, 30)), model(tokens(2, 30))) > 0.99
