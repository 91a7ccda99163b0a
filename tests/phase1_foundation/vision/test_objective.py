"""The losses, by hand; and what goes around them."""

import math

import numpy as np
import pytest
import torch

from data.picture_batches import to_tensor
from data.pictures import PictureArrays, arrays
from phase1_foundation.train_vision import VisionConfig
from phase1_foundation.vision import objective
from phase1_foundation.vision.mae import MaskedAutoencoder
from shared.artifact import publish


class Constant(torch.nn.Module):
    """The same logits for every picture."""

    def forward(self, x):
        return torch.tensor([[1.0, 0.0, -1.0]]).expand(len(x), 3)


BATCH = (torch.zeros(2, 3, 4, 4), torch.tensor([0, 1]))


def test_smoothing_by_hand_and_only_in_training():
    task = objective.Classify(Constant(), VisionConfig(), smoothing=0.3)
    total = math.e + 1 + 1 / math.e
    nats = [-math.log(math.exp(logit) / total) for logit in (1, 0, -1)]
    plain = (nats[0] + nats[1]) / 2
    smooth = 0.7 * plain + 0.3 * sum(nats) / 3
    assert task.train().loss(BATCH).item() == pytest.approx(smooth)
    assert task.eval().loss(BATCH).item() == pytest.approx(plain)


def test_masked_looks_at_no_label(make_vit):
    config = VisionConfig(objective="mae", decoder_dim=24, decoder_heads=3)
    task = objective.make_objective(make_vit(classes=0), config)
    assert isinstance(task, objective.Masked)
    pictures = torch.randn(4, 3, 16, 16)
    losses = []
    for labels in (torch.zeros(4, dtype=torch.long), torch.full((4,), 10**6)):
        torch.manual_seed(0)
        losses.append(task.loss((pictures, labels)).item())
    assert losses[0] == losses[1]


def test_the_objective_that_was_asked_for(make_vit):
    task = objective.make_objective(make_vit(), VisionConfig(label_smoothing=0.2))
    assert isinstance(task, objective.Classify) and task.smoothing == 0.2


def test_evenly_takes_from_the_whole_split():
    n = 1000
    split = PictureArrays(np.zeros((n, 4, 4, 3), np.uint8), np.arange(n) // 100, [("x",)] * n)
    some = objective.evenly(split, 50)
    assert len(some.labels) == len(some.texts) == len(some.pixels) == 50
    assert np.bincount(some.labels).tolist() == [5] * 10
    assert objective.evenly(split, 1000) is split


def test_validation_batches(colours):
    split = arrays(colours, "validation", 16)
    batches = objective.validation_batches(split, 8)
    assert [len(labels) for _, labels in batches] == [8, 8], "of 20, four are left out"
    torch.testing.assert_close(batches[1][0], to_tensor(np.array(split.pixels[8:16])))
    assert batches[1][1].tolist() == split.labels[8:16].tolist()
    [(pictures, labels)] = objective.validation_batches(split, 64)
    assert len(pictures) == len(labels) == 20


def test_reuse_is_proven_by_the_loss(make_vit, colours, tmp_path):
    """With the parent's own head at hand its loss comes back; here that of its decoder."""
    config = VisionConfig(objective="mae", decoder_dim=24, decoder_heads=3)
    batches = objective.validation_batches(arrays(colours, "validation", 16), 10)
    parent = publish(
        tmp_path / "p", make_vit(classes=0).save_pretrained, {"id": "vision@p"}, "card"
    )
    child = make_vit(classes=0)
    task = objective.make_objective(child, config)
    with_parent = objective.mean_loss(task, batches)
    with torch.no_grad():
        for parameter in child.parameters():
            parameter.mul_(0.1)
    without = objective.mean_loss(task, batches)
    found = objective.start_from(parent, child, task, batches)
    assert found["loss_with_random"] == without != with_parent == found["loss_with_parent"]
    assert found["taken"] == len(child.state_dict()) and found["frozen"] == 0
    assert task.training


def test_drawings(make_vit, colours):
    model = MaskedAutoencoder(make_vit(classes=0), dim=24, layers=1, heads=3, mask_ratio=0.5)
    split = arrays(colours, "validation", 16)
    drawings = objective.Drawings(model, split)
    sheet = drawings(10)["drawings"]
    side = 16 + 2  # and a gap
    assert sheet.shape == (2 * (3 * side + 2), 2 * (8 * side + 2), 3)
    assert np.array_equal(drawings(20)["drawings"], sheet), "the same patches are hidden"
    first = sheet[4 : 4 + 32 : 2, 4 : 4 + 32 : 2]
    assert np.array_equal(first, split.pixels[0])
    assert drawings.exhibit()["kind"] == "images"
