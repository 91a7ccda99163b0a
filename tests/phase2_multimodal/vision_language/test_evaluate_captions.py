"""Scores of captions: what is true, what people would say, and floors worked out by hand."""

from dataclasses import replace
from functools import partial

import pytest
import torch

from data.scene_words import captions
from data.scenes import SPLITS
from phase2_multimodal.talks import measured_splits, talks_of
from phase2_multimodal.train_caption import CaptionConfig
from phase2_multimodal.vision_language import evaluate_captions
from phase2_multimodal.vision_language.evaluate_captions import (
    Floors,
    gain,
    measure,
    most_typical,
    thumbnails,
)
from phase2_multimodal.vision_language.generate import GREEDY, Speaker
from phase2_multimodal.vision_language.prompts import CAPTION
from shared.results import Row

CONFIG = CaptionConfig(size=16, pictures=16, neighbours=40)
FLOORS = {"nearest_pixels", "nearest_features", "shuffled_image", "constant"}


class Knowing(Speaker):
    """Recognises pictures by their pixels, and says what a table has for them."""

    def __init__(self, model, prompter, table: dict[bytes, str]):
        super().__init__(model, prompter)
        self.said, self.numbers = [*table.values()], {key: i for i, key in enumerate(table)}

    def look(self, pictures):
        pixels = ((pictures + 1) * 127.5).round().byte().permute(0, 2, 3, 1).contiguous()
        numbers = [self.numbers[picture.numpy().tobytes()] for picture in pixels]
        return torch.tensor(numbers, dtype=torch.float32)[:, None, None]

    def say(self, prefix, questions, sampling=GREEDY, beams=1):
        assert {*questions} == {CAPTION}
        return [self.said[int(number)] for number in prefix[:, 0, 0]]


@pytest.fixture
def measured(model, prompter, small_scenes, monkeypatch):
    """The rows of a speaker that says say(split, number, talk) of each scene; without Java."""
    quick = partial(evaluate_captions.compare_captions, java=False)
    monkeypatch.setattr(evaluate_captions, "compare_captions", quick)

    def run(say) -> dict[tuple[str, str], Row]:
        table = {}
        for split in measured_splits(small_scenes):
            talks = talks_of(small_scenes, split, 16)
            table |= {talks[i].pixels.tobytes(): say(split, i, talks[i]) for i in range(20)}
        speaker = Knowing(model, prompter, table)
        found = measure(speaker, small_scenes, CONFIG, artifact="a", preset="smoke")
        assert len(found.exhibits) == 1
        return {(row.metric, row.split): row for row in found.rows}

    return run


def test_one_that_repeats_a_person_is_true_and_agrees_with_people(measured):
    rows = measured(lambda split, number, talk: talk.captions[2])
    for split in ("test", "pairs", "style", "unknown"):
        exact = rows["tuple_f1", split]
        assert exact.value == exact.low == exact.high == 1.0
        assert exact.ceilings == {"leave_one_out": 1.0}
        assert {*exact.baselines} == FLOORS
        assert all(0 <= floor < 0.95 for floor in exact.baselines.values())
        cider = rows["cider_simple", split]
        assert {*cider.baselines} == FLOORS
        # What stands among the references is nearer to them than a person to the others.
        assert cider.value > cider.ceilings["leave_one_out"]
        assert rows["cider_simple_gain", split].value > 1
    assert rows["cider_simple", "test"].n == 16
    assert rows["bleu_4_simple", "test"].value == pytest.approx(1.0)
    assert ("bleu_4_simple", "pairs") not in rows


def test_a_sixth_person_has_a_gain_of_about_one(measured, small_scenes):
    """Captions of the same scenes in words that are drawn anew."""

    def anew(split, number, talk):
        scene = small_scenes.scene(split, number)
        return captions(replace(scene, seed=(99, SPLITS.index(split), number)))[0]

    rows = measured(anew)
    assert rows["tuple_f1", "test"].value == 1.0
    assert rows["cider_simple_gain", "test"].value == pytest.approx(1, abs=0.35)


def test_one_that_says_what_a_floor_says_gains_nothing(measured, small_scenes):
    train = [talks_of(small_scenes, "train", 16)[i].captions[0] for i in range(40)]
    constant = most_typical(train)
    rows = measured(lambda *_: constant)
    row = rows["cider_simple", "test"]
    assert row.value == row.baselines["constant"] == row.baselines["shuffled_image"]
    assert rows["cider_simple_gain", "test"].value <= 0
    assert rows["tuple_f1", "test"].value == rows["tuple_f1", "test"].baselines["constant"]


def test_one_that_says_nothing_is_measured_too(measured):
    rows = measured(lambda *_: "")
    assert rows["tuple_f1", "test"].value == 0.0
    assert rows["cider_simple", "test"].value == pytest.approx(0, abs=1e-9)


def test_floors_by_hand(model, prompter, talk):
    """Three training pictures of plain shades, three others to be captioned."""
    train = [talk(0, "a dog"), talk(100, "a cat"), talk(200, "a dog runs")]
    floors = Floors(Speaker(model, prompter), train, most=3)
    found = floors.captions([talk(90), talk(210), talk(10)], ["one", "two", "three"])
    assert {*found} == FLOORS
    assert found["nearest_pixels"] == ["a cat", "a dog runs", "a dog"]
    assert found["shuffled_image"] == ["two", "three", "one"]
    assert found["constant"] == ["a dog"] * 3
    seen = floors.captions(train, ["one", "two", "three"])["nearest_features"]
    assert seen == ["a dog", "a cat", "a dog runs"], "a picture is nearest to itself"
    assert (
        Floors(Speaker(model, prompter), train, most=1).captions(train, ["x"] * 3)["nearest_pixels"]
        == ["a dog"] * 3
    )


def test_nearest_features_are_those_of_the_models_encoder(make_model, prompter, pictures):
    """By cosine: a brute-force search over the encoder's mean patches."""
    from phase2_multimodal.talks import PictureTalk

    model = make_model()
    pixels = ((pictures.clamp(-1, 1) + 1) * 127.5).byte().permute(0, 2, 3, 1).contiguous().numpy()
    shown = [PictureTalk(one, (f"picture {i}",), ()) for i, one in enumerate(pixels)]
    floors = Floors(Speaker(model, prompter, rows=2), shown[:3], most=3)
    with torch.no_grad():
        inputs = torch.from_numpy(pixels).permute(0, 3, 1, 2) / 127.5 - 1
        mean = torch.stack([model.vision.features(one[None])[0, 1:].mean(0) for one in inputs])
    near = torch.cosine_similarity(mean[3:], mean[:3]).argmax().item()
    assert floors.captions(shown[3:], [""])["nearest_features"] == [f"picture {near}"]


def test_the_most_typical_caption_by_hand():
    """Counts a 3, dog 2, cat 1, runs 1: 5 / sqrt 2, 4 / sqrt 2, 6 / sqrt 3."""
    assert most_typical(["a cat", "a dog runs", "a dog"]) == "a dog"
    assert most_typical(["one"]) == "one"


def test_thumbnails_are_means(talk):
    assert torch.equal(
        thumbnails([talk(0), talk(255)])[:, :2], torch.tensor([[-1.0] * 2, [1.0] * 2])
    )


def test_gain_by_hand():
    common = {"step": "caption", "artifact": "a", "preset": "x", "better": "higher", "unit": "",
              "split": "test"}  # fmt: skip
    row = Row(metric="cider", value=0.6, n=9, protocol="", baselines={"a": 0.2, "b": 0.1},
              ceilings={"leave_one_out": 1.0}, **common)  # fmt: skip
    [found] = gain(row, common)
    assert (found.metric, found.value) == ("cider_gain", pytest.approx(0.5))
    assert found.baselines == {"a": 0.0}
    assert found.ceilings == {"leave_one_out": 1.0}
    assert gain(replace(row, ceilings={}), common) == []
    assert gain(replace(row, ceilings={"leave_one_out": 0.2}), common) == []
