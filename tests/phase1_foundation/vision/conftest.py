"""A small encoder with opinions, and pictures whose classes a colour tells."""

import dataclasses

import numpy as np
import pytest
import torch

from data.pictures import Picture, PictureData
from phase1_foundation.vision.vit import VisionTransformer, VisionTransformerConfig


@pytest.fixture(scope="session")
def make_vit():
    """An encoder with weights large enough to have opinions."""

    def make(**changes) -> VisionTransformer:
        small = VisionTransformerConfig(16, 4, dim=32, layers=2, heads=4, mlp_dim=48, classes=5)
        torch.manual_seed(0)
        model = VisionTransformer(dataclasses.replace(small, **changes))
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.normal_(float(parameter.dim() == 1), 0.3)
        return model.eval()

    return make


class Colours(PictureData):
    """Noisy pictures of 16 pixels; the class is which channel is bright."""

    name, version, licence = "colours", "1", "none"
    description = size = splits = ""
    classes = ("red", "green", "blue")
    numbers = {"train": 40, "validation": 20, "test": 25}  # noqa: RUF012
    ready = prepare = None  # nobody asks

    def pictures(self, split: str):
        random = np.random.default_rng(len(split))
        for i in range(self.numbers[split]):
            # A third and more are red, so that "majority" is not a tie.
            label = int(random.integers(4)) % 3
            pixels = random.integers(0, 120, (16, 16, 3), dtype=np.uint8)
            pixels[:, :, label] += 110
            yield Picture(f"{split}/{i}", pixels, label, (f"{self.classes[label]} {i}",))

    def sha256(self) -> str:
        return "c0" * 32


@pytest.fixture
def colours() -> Colours:
    return Colours()
