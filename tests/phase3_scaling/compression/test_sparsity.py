"""Exactly so many weights are 0, the right ones, and training does not wake them."""

import pytest
import torch
from torch import nn

from phase1_foundation.language.model import LanguageModel, LanguageModelConfig
from phase1_foundation.vision.vit import VisionTransformer, VisionTransformerConfig
from phase3_scaling.compression.sparsity import (
    apply_masks,
    count_zeros,
    keep_sparse,
    magnitude_masks,
    prunable,
    two_four_masks,
)
from shared.errors import VermeilError
from shared.objective import Objective
from shared.train_config import TrainConfig
from shared.training import fit


def language_model() -> LanguageModel:
    torch.manual_seed(0)
    return LanguageModel(LanguageModelConfig(60, 16, 2, 2, 1, 24, 32))


def encoder() -> VisionTransformer:
    torch.manual_seed(0)
    config = VisionTransformerConfig(16, 4, 16, 1, 2, 32, classes=3, stem="conv")
    return VisionTransformer(config)


def two_layers() -> nn.Sequential:
    model = nn.Sequential(nn.Linear(4, 1), nn.LayerNorm(1), nn.Linear(1, 4))
    with torch.no_grad():
        model[0].weight[:] = torch.tensor([[0.1, -0.2, 0.3, -0.4]])
        model[2].weight[:] = torch.tensor([[0.35], [-5.0], [6.0], [0.15]])
    return model


def test_global_masks_by_hand():
    masks = magnitude_masks(two_layers(), 0.5)
    assert masks["0.weight"].tolist() == [[False, False, False, True]]
    assert masks["2.weight"].flatten().tolist() == [True, True, True, False]


def test_layers_own_masks_by_hand():
    masks = magnitude_masks(two_layers(), 0.5, "layer")
    assert masks["0.weight"].tolist() == [[False, False, True, True]]
    assert masks["2.weight"].flatten().tolist() == [False, True, True, False]


@pytest.mark.parametrize("make", [language_model, encoder])
@pytest.mark.parametrize("sparsity", [0.0, 0.137, 0.5, 0.9])
def test_the_share_is_exact(make, sparsity):
    model = make()
    with torch.no_grad():
        model.blocks[0].mlp.fc1.weight.fill_(0.01)  # of equals some go, and not all
    apply_masks(model, magnitude_masks(model, sparsity))
    zeros, whole = count_zeros(model)
    assert zeros == round(sparsity * whole)
    model = make()
    apply_masks(model, magnitude_masks(model, sparsity, "layer"))
    for weight in prunable(model).values():
        assert (weight == 0).sum() == round(sparsity * weight.numel())


def test_embeddings_norms_and_biases_stay():
    model, before = language_model(), dict(language_model().named_parameters())
    apply_masks(model, magnitude_masks(model, 0.9))
    assert "head.weight" not in prunable(model)  # it is the embedding
    for name in ("embed.weight", "norm.weight", "blocks.0.norm1.weight"):
        assert torch.equal(model.get_parameter(name), before[name])
    untied = LanguageModel(LanguageModelConfig(60, 16, 1, 2, 2, 24, 32, tie_embeddings=False))
    assert "head.weight" in prunable(untied)


def test_two_of_four_by_hand():
    model = nn.Sequential(nn.Linear(8, 1), nn.Conv2d(4, 1, (1, 2)), nn.Conv2d(3, 4, 1))
    with torch.no_grad():
        model[0].weight[:] = torch.tensor([[1.0, -5, 2, 3, 0.4, 0.3, -0.2, 0.1]])
        model[1].weight[:] = torch.tensor([[9.0, 8], [7, 6], [1, 2], [3, 4]]).view(1, 4, 1, 2)
    masks = two_four_masks(model)
    assert masks["0.weight"].int().tolist() == [[0, 1, 0, 1, 1, 1, 0, 0]]
    assert masks["1.weight"][0, :, 0].int().tolist() == [[1, 1], [1, 1], [0, 0], [0, 0]]
    assert "2.weight" not in masks  # three channels make no four


@pytest.mark.parametrize("sparsity", [1.0, -0.1, 1.5, float("nan"), float("inf")])
def test_a_share_that_leaves_nothing_is_refused(sparsity):
    with pytest.raises(VermeilError, match="sparsity"):
        magnitude_masks(two_layers(), sparsity)


class Named(Objective):
    def loss(self, batch):
        pictures, labels = batch
        return nn.functional.cross_entropy(self.model(pictures), labels)


class Batches:
    def rows(self, step, rows):
        generator = torch.Generator().manual_seed(step)
        pictures = torch.randn(8, 3, 16, 16, generator=generator)
        return pictures[rows], torch.arange(8)[rows] % 3


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_training_wakes_no_weight(tmp_path, optimizer):
    """Nor do averages, weight decay, or what is saved on the way."""
    config = TrainConfig(
        steps=6, batch_size=8, optimizer=optimizer, warmup=0, ema=0.9, validate_every=3,
        checkpoint_every=3, precision="fp32", threads=1, trackers=(),
    )  # fmt: skip
    model = encoder()
    objective = Named(model, config)
    keep_sparse(objective, magnitude_masks(model, 0.8))
    zero = {name: (weight == 0).clone() for name, weight in prunable(model).items()}
    before = {name: weight.detach().clone() for name, weight in prunable(model).items()}
    fit(objective, Batches(), [Batches().rows(99, slice(None))], folder=tmp_path, name="sparse",
        unit="pictures", amount_per_step=8, quiet=True)  # fmt: skip
    saved = torch.load(tmp_path / "checkpoint.ckpt", weights_only=True)["state_dict"]
    for name, weight in prunable(model).items():
        assert torch.equal(weight == 0, zero[name])
        assert torch.equal(saved[f"model.{name}"] == 0, zero[name])
        assert not torch.equal(weight, before[name])
