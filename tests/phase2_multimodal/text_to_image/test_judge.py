"""The judge learns what real pictures show, and says what drawings do not."""

import numpy as np
import pytest
import torch

from data.scenes import GROUNDS, SceneConfig, Scenes
from phase2_multimodal.text_to_image import judge as judging
from phase2_multimodal.text_to_image.judge import Judge, Truth, about_real, judged, trained_judge


@pytest.fixture(scope="module")
def learned(scenes) -> Judge:
    return trained_judge(scenes, steps=90)


@pytest.mark.parametrize("split", ["test", "pairs"])
def test_it_is_right_about_real_pictures_that_it_never_saw(learned, scenes, split):
    trust = about_real(learned, scenes, split)
    assert len(trust.ground) == judging.HELD_OUT
    assert trust.ground.float().mean() > 0.97 and trust.things.float().mean() > 0.9


def test_it_is_wrong_about_pictures_of_something_else(learned, scenes):
    shown = [scenes.scene("validation", number) for number in range(64)]
    pixels = np.stack([scenes.render(scene) for scene in shown])
    truth = Truth.of(shown, scenes.names)
    own, other = judged(learned, pixels, truth), judged(learned, pixels, truth.rolled())
    assert own.accuracy > 0.8
    repeated = (truth.grounds == truth.grounds.roll(1, 0)).float().mean().item()
    assert other.ground.float().mean().item() == pytest.approx(repeated, abs=0.1)
    noise = np.random.default_rng(0).integers(0, 256, pixels.shape, dtype=np.uint8)
    assert judged(learned, noise, truth).ground.float().mean() < 0.5


def test_it_is_kept_and_the_same_when_made_again(learned, scenes, home, monkeypatch):
    first, again = (trained_judge(scenes, steps=3) for _ in range(2))
    [path] = (home / "statistics").glob("judge-*")
    path.unlink()
    anew = trained_judge(scenes, steps=3)
    for name, weight in first.state_dict().items():
        assert torch.equal(weight, again.state_dict()[name]), name
        assert torch.equal(weight, anew.state_dict()[name]), name
    trained_judge(Scenes(config=SceneConfig(size=16, concepts=3, most=1)), steps=3)
    assert len(list((home / "statistics").glob("judge-*"))) == 2


def test_of_two_things_both_have_to_be_there():
    """Logits by hand: what is likeliest is 2, then 0, then 1."""

    class Fixed(Judge):
        def forward(self, x):
            return torch.eye(len(GROUNDS))[[1] * len(x)], torch.tensor([[1.0, 0.0, 2.0]] * len(x))

    things = torch.tensor([[0, 0, 1], [1, 0, 0], [1, 0, 1], [0, 1, 1], [1, 1, 1]]).bool()
    truth = Truth(torch.tensor([1, 1, 0, 1, 2]), things)
    verdict = judged(Fixed(3), np.zeros((5, 8, 8, 3), np.uint8), truth)
    assert verdict.things.tolist() == [True, False, True, False, True]
    assert verdict.ground.tolist() == [True, True, False, True, False]
    assert verdict.accuracy == pytest.approx(3 / 5)


def test_truth_is_what_the_scenes_show(scenes):
    shown = [scenes.scene("test", number) for number in range(20)]
    truth = Truth.of(shown, scenes.names)
    for scene, ground, things in zip(shown, truth.grounds, truth.things, strict=True):
        assert list(GROUNDS)[ground] == scene.ground
        assert [scenes.names[i] for i in things.nonzero()[:, 0]] == [scene.sprites[0].concept]
    assert truth.rolled().grounds.tolist()[0] == truth.grounds.tolist()[-1]
