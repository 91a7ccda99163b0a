"""What the rows say when the judge may speak, and when it may not."""

import dataclasses

import numpy as np
import pytest
import torch

from phase2_multimodal.text_to_image import evaluate, evaluate_scenes
from phase2_multimodal.text_to_image.draw import Artist
from phase2_multimodal.text_to_image.judge import Verdict
from phase2_multimodal.text_to_image.subject import Subject, guidance_sheets
from phase2_multimodal.train_text_to_image import TextToImageTrainConfig


def verdict(ground: float, things: float, n: int = 200) -> Verdict:
    """Right for these shares of n pictures."""
    return Verdict(*(torch.arange(n) < round(share * n) for share in (ground, things)))


@pytest.fixture
def subject(trained, read, scenes) -> Subject:
    draw = Artist(trained(), read, TextToImageTrainConfig(sampler_steps=1), "fp32")
    return Subject(draw, scenes, "phase2/text_to_image@tiny-1", "tiny")


def test_a_trusted_judge_speaks(subject):
    rows = evaluate_scenes.accuracies(
        subject, "test", verdict(0.9, 0.4), verdict(0.2, 0.1), verdict(1.0, 0.98)
    )
    thing, ground = rows
    assert (thing.metric, thing.value) == ("object_accuracy", pytest.approx(0.4))
    assert thing.low is not None and thing.high is not None
    assert thing.low < 0.4 < thing.high and thing.n == 200
    assert thing.baselines == {"shuffled_prompt": pytest.approx(0.1)}
    assert thing.ceilings == {"real": pytest.approx(0.98)}
    assert (ground.metric, ground.value) == ("background_accuracy", pytest.approx(0.9))
    assert ground.baselines == {"shuffled_prompt": pytest.approx(0.2)}


@pytest.mark.parametrize("trust", [verdict(1.0, 0.965), verdict(0.965, 1.0)])
def test_a_judge_that_is_often_wrong_about_real_pictures_does_not(subject, trust):
    rows = evaluate_scenes.accuracies(subject, "test", verdict(1.0, 1.0), verdict(0.2, 0.1), trust)
    for row in rows:
        assert row.value is None and row.low is None
        assert row.note == "the judge names 96.5% of real pictures right, 97% are asked for"
    assert evaluate_scenes.judge_row(subject, "test", trust).value == pytest.approx(0.965)


def test_without_phase_1_s_model_its_kid_is_not_available(subject):
    row = evaluate.by_class(subject, None)
    assert row.value is None and "vermeil train diffusion" in row.note


def test_failures_are_shown_as_such():
    drawn = np.zeros((3, 8, 8, 3), np.uint8)
    found = Verdict(torch.tensor([True, False, False]), torch.tensor([True, True, False]))
    shown = evaluate_scenes.prompts_and_drawings(["a", "b", "c"], drawn, found)["items"]
    labels = [item["label"] for item in shown]
    assert labels == ["a", "b (missed: ground)", "c (missed: ground, thing)"]


def test_guidance_is_shown_where_the_model_can_be_guided(subject, trained, monkeypatch):
    asked = ["a dog on red"] * 2
    whole = guidance_sheets(subject.draw, asked)["items"]
    assert [item["label"] for item in whole] == ["guidance 1", "guidance 3", "guidance 6"]
    subject.draw.model = trained(condition_dropout=0.0)
    subject.draw.config = dataclasses.replace(subject.draw.config, guidance_scale=1.0)
    [alone] = guidance_sheets(subject.draw, asked)["items"]
    assert alone["label"] == "guidance 1"
