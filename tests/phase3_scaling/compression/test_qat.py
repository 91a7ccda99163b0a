"""Training with rounded weights: the rounding that is run later, straight gradients, and a gain."""

import copy
import tempfile
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from phase1_foundation.language.model import LanguageModel, LanguageModelConfig
from phase1_foundation.language.objective import NextToken
from phase1_foundation.vision.vit import VisionTransformer, VisionTransformerConfig
from phase3_scaling.compression import qat
from phase3_scaling.compression.quantize import int4_weight_only
from shared.errors import VermeilError
from shared.train_config import TrainConfig
from shared.training import fit

SHAPE = LanguageModelConfig(257, dim=64, layers=2, heads=2, kv_heads=2, mlp_dim=96, context=32)


def make(seed: int = 0) -> LanguageModel:
    torch.manual_seed(seed)
    return LanguageModel(SHAPE)


def ids(*shape: int) -> torch.Tensor:
    return torch.randint(257, shape, generator=torch.Generator().manual_seed(1))


@torch.no_grad()
def test_what_is_trained_is_what_is_run():
    """All but the tied embedding, which training leaves alone and the variant rounds to 8 bits."""
    model = make()
    rounded = int4_weight_only(model, [])
    rounded.embed, rounded.head = model.embed, model.head
    names = qat.prepare(model)
    assert len(names) == 4 * SHAPE.layers
    torch.testing.assert_close(model(ids(2, 20)), rounded(ids(2, 20)))


def test_gradients_pass_straight_through():
    """Those of the rounded weights, as if they were the weights; none at the ends of the scale."""
    model, tokens = make(), ids(2, 20)
    packed = int4_weight_only(model, [])
    plain, names = copy.deepcopy(model), qat.prepare(model)
    for name in names:
        plain.get_submodule(name).weight.data = packed.get_submodule(name).weight()
    for one in (model, plain):
        one.loss(tokens).backward()
    for name in names:
        found, expected = (m.get_submodule(name).weight.grad for m in (model, plain))
        layer = packed.get_submodule(name)
        steps = layer.weight().unflatten(1, (-1, 32)) / layer.scale[..., None]
        inside = ((steps > -7.5) & (steps < 6.5)).flatten(1)
        torch.testing.assert_close(found[inside], expected[inside])
        assert not found[~inside].any() and expected[~inside].any()


def test_an_ordinary_model_comes_back():
    model = make()
    parameters, types = dict(model.named_parameters()), [type(m) for m in model.modules()]
    qat.prepare(model)
    assert dict(model.named_parameters()).keys() == parameters.keys()
    qat.finish(model)
    for name, parameter in model.named_parameters():
        assert parameter is parameters[name]
    assert [type(m) for m in model.modules()] == types
    assert model.head.weight is model.embed.weight


def test_an_encoder_can_be_prepared_and_a_narrow_one_not():
    shape = {"size": 8, "patch": 4, "layers": 1, "heads": 2, "classes": 3}
    wide = VisionTransformer(VisionTransformerConfig(dim=32, mlp_dim=64, **shape))
    assert qat.prepare(wide) == [f"blocks.0.{name}" for name in
                                 ("attn.qkv", "attn.proj", "mlp.fc1", "mlp.fc2")]  # fmt: skip
    F.cross_entropy(wide(torch.randn(2, 3, 8, 8)), torch.tensor([0, 2])).backward()
    narrow = VisionTransformer(VisionTransformerConfig(dim=16, mlp_dim=24, **shape))
    with pytest.raises(VermeilError, match="VisionTransformer of this shape has no layer for 4"):
        qat.prepare(narrow)
    with pytest.raises(VermeilError, match="no layer for 4 bits"):
        qat.prepare(nn.Linear(64, 64))


class ByHeart:
    """The same random rows at every step."""

    rows_of_tokens = torch.randint(64, (32, 33), generator=torch.Generator().manual_seed(0))

    def rows(self, step: int, rows: slice) -> torch.Tensor:
        return self.rows_of_tokens[rows]


def test_trained_with_rounding_beats_rounded_afterwards(tmp_path):
    """The same model trained on for the same steps, with and without; then both in 4 bits."""

    def trained(model: LanguageModel, steps: int, rate: float) -> LanguageModel:
        config = TrainConfig(
            steps=steps, batch_size=32, learning_rate=rate, warmup=5, validate_every=10**6,
            checkpoint_every=10**6, threads=1, precision="fp32", trackers=(),
        )  # fmt: skip
        folder = Path(tempfile.mkdtemp(dir=tmp_path))
        fit(NextToken(model, config), ByHeart(), [], folder=folder, name="qat", unit="rows",
            amount_per_step=32, quiet=True)  # fmt: skip
        return model.eval()

    torch.manual_seed(0)
    shape = LanguageModelConfig(64, dim=32, layers=1, heads=2, kv_heads=2, mlp_dim=64, context=32)
    begun = trained(LanguageModel(shape), 200, 1e-2)
    afterwards = trained(copy.deepcopy(begun), 60, 3e-3)
    aware = copy.deepcopy(begun)
    qat.prepare(aware)
    aware = qat.finish(trained(aware, 60, 3e-3))
    losses = [loss_of(int4_weight_only(model, [])) for model in (afterwards, aware)]
    assert losses[1] < 0.5 * losses[0], losses


@torch.no_grad()
def loss_of(model: nn.Module) -> float:
    """By the forward pass: a language model's own loss takes its head's floats."""
    tokens = ByHeart.rows_of_tokens
    return F.cross_entropy(model(tokens[:, :-1]).flatten(0, 1), tokens[:, 1:].flatten()).item()
