"""`vermeil sample diffusion`: which classes and seeds are drawn, and with which settings."""

from pathlib import Path

import pytest
import torch

from phase1_foundation.diffusion import commands
from phase1_foundation.diffusion.model import DiffusionConfig, DiffusionModel
from phase1_foundation.train_diffusion import PRESETS
from shared import artifact
from shared.config import as_dict
from shared.errors import VermeilError

CLASSES = ("cat", "dog", "sun")


@pytest.fixture
def asked(monkeypatch, tmp_path) -> dict:
    """What the model is asked to draw, once it is."""
    model = DiffusionModel(
        DiffusionConfig(8, CLASSES, patch=1, widths=(8, 16), heads=2, layers=1, mlp_dim=32)
    )
    noted = {}

    def draw(condition, *, seeds, **settings):
        distance = (condition.tokens - model.labels.weight).abs().sum(-1)  # (B, classes)
        noted.update(settings, labels=distance.argmin(1).tolist(), seeds=list(seeds))
        return torch.zeros(len(seeds), 3, 8, 8)

    monkeypatch.setattr(model, "draw", draw)
    monkeypatch.setattr(DiffusionModel, "from_pretrained", lambda *_: model)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "model").mkdir()
    return noted


def sample(*flags: str) -> None:
    commands.sample(["model", *flags])


def test_classes_come_in_turn_and_seeds_count_on(asked):
    sample("--class", "sun,dog", "--number", "5", "--seed", "7")
    assert asked["labels"] == [2, 1, 2, 1, 2] and asked["seeds"] == [7, 8, 9, 10, 11]
    sample("--number", "4")
    assert asked["labels"] == [0, 1, 2, 0]


def test_settings_reach_the_solver(asked):
    sample("--solver", "heun", "--steps", "3", "--guidance_scale", "4", "--guidance_from", "0.2",
           "--guidance_until", "0.8", "--overshoot", "0.25")  # fmt: skip
    assert {key: value for key, value in asked.items() if key not in ("labels", "seeds")} == {
        "solver": "heun", "steps": 3, "guidance_scale": 4.0, "interval": (0.2, 0.8),
        "overshoot": 0.25,
    }  # fmt: skip


@pytest.mark.parametrize("preset", ["tiny", "base"])
def test_without_settings_it_draws_as_the_model_was_measured(asked, monkeypatch, preset):
    measured = PRESETS[preset].config
    Path("model/manifest.json").touch()
    monkeypatch.setattr(artifact, "locate", Path)
    monkeypatch.setattr(artifact, "read_manifest", lambda _: {"config": as_dict(measured)})
    sample("--steps", "7")
    drawn = {key: asked[key] for key in measured.drawing}
    assert drawn == measured.drawing | {"steps": 7}


def test_a_model_without_a_manifest_draws_as_tiny(asked):
    sample()
    for key, value in PRESETS["tiny"].config.drawing.items():
        assert asked[key] == value, key


def test_a_name_of_another_format_is_refused(asked):
    with pytest.raises(VermeilError, match=r"out\.jpg is written as PNG"):
        sample("--grid", "out.jpg")
    assert not asked


def test_an_unknown_class_names_the_nearest(asked):
    with pytest.raises(VermeilError, match="no class 'dogs'") as error:
        sample("--class", "dogs")
    assert error.value.hint == "did you mean 'dog'?"
    assert not asked
