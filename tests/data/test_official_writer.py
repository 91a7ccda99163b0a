"""What is written in the forms of COCO and VQA v2 is what their readers read."""

import json
import weakref
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest

from data import load_pictures
from data.coco import Coco
from data.official_writer import write_official
from data.pictures import SPLITS, Picture
from data.questions import VisualQuestion
from data.vqa_v2 import VqaV2
from shared.errors import VermeilError

PARTS = {"train": "train2026", "validation": "val2026", "test": "test2026"}


def picture(number: int, split: str = "train") -> Picture:
    pixels = np.random.default_rng(number).integers(0, 256, (8 + number, 16, 3), np.uint8)
    texts = (f"a dog, {split} {number}", "ein Hund — 狗", '"quoted" \\ text')[: 1 + number % 3]
    return Picture(f"scene/{split}-{number}", pixels, 0, texts)


def questions(split: str) -> list[VisualQuestion]:
    start = 100 * (1 + SPLITS.index(split))
    ten = ("2",) * 6 + ("two",) * 4
    return [
        VisualQuestion(start + 1, f"scene/{split}-1", "Есть ли собака?", ("да",), "yes/no", "есть"),
        VisualQuestion(start, f"scene/{split}-0", "How many dogs?", ten, "number", "how many"),
        VisualQuestion(start + 2, f"scene/{split}-1", "why? " * 999 + "why?", ("a dog",)),
    ]


@pytest.fixture
def written(tmp_path):
    for split, part in PARTS.items():
        some = (picture(number, split) for number in range(4))
        write_official(tmp_path, part, some, iter(questions(split)))
    return tmp_path


@pytest.mark.parametrize("split", SPLITS)
def test_captions_and_pixels_come_back(written, split):
    found = [*load_pictures(f"coco@{written}").pictures(split)]
    assert [p.id for p in found] == [f"{PARTS[split]}/{n:012}.png" for n in (1, 2, 3, 4)]
    for number, back in enumerate(found):
        assert back.texts == picture(number, split).texts
        assert np.array_equal(back.pixels, picture(number, split).pixels)


@pytest.mark.parametrize("split", SPLITS)
def test_questions_and_answers_come_back(written, split):
    data = VqaV2(written)
    ids = {f"{PARTS[split]}/{n + 1:012}.png": f"scene/{split}-{n}" for n in range(4)}
    found = {question.id: question for question in data.questions(split)}
    assert len(found) == 3
    for question in questions(split):
        back = found[question.id]
        answers = question.answers * 10 if len(question.answers) == 1 else question.answers
        assert (ids[back.picture], back.text, back.answers) == (
            question.picture, question.text, answers)  # fmt: skip
        assert (back.answer_type, back.question_type) == (
            question.answer_type, question.question_type)  # fmt: skip
    pixels = {p.id: p.pixels for p in data.pictures(split)}
    assert [*pixels] == [*ids][:2], "only pictures that are asked about"
    assert all(np.array_equal(pixels[p.id], p.pixels) for p in Coco(written).pictures(split)
               if p.id in pixels)  # fmt: skip


def test_the_files_are_as_the_official_ones(written):
    content = json.loads((written / "v2_mscoco_val2026_annotations.json").read_text())
    assert content["data_subtype"] == "val2026" and content["data_type"] == "mscoco"
    row = content["annotations"][1]
    assert row["multiple_choice_answer"] == "2" and row["image_id"] == 1
    assert [answer["answer_id"] for answer in row["answers"]] == [*range(1, 11)]
    assert {answer["answer_confidence"] for answer in row["answers"]} == {"yes"}
    content = json.loads((written / "v2_OpenEnded_mscoco_val2026_questions.json").read_text())
    assert content["task_type"] == "Open-Ended"
    assert content["questions"][1] == {
        "image_id": 1, "question_id": 200, "question": "How many dogs?"}  # fmt: skip
    content = json.loads((written / "annotations" / "captions_val2026.json").read_text())
    image = {"license": 1, "file_name": "000000000002.png", "height": 9, "width": 16, "id": 2}
    assert content["images"][1] == image
    captions = content["annotations"]
    assert [c["image_id"] for c in captions] == [1, 2, 2, 3, 3, 3, 4]
    assert [c["id"] for c in captions] == [*range(1, 8)], "each its own"


def test_pictures_are_taken_one_by_one(tmp_path):
    class Array(np.ndarray):
        __hash__ = object.__hash__  # type: ignore[assignment]

    alive: weakref.WeakSet[Array] = weakref.WeakSet()
    most = 0

    def watched() -> Iterator[Picture]:
        nonlocal most
        for number in range(12):
            made = picture(number)
            made = replace(made, pixels=made.pixels.view(Array))
            alive.add(made.pixels)
            most = max(most, len(alive))
            yield made

    write_official(tmp_path, "train2026", watched())
    assert most <= 2


def test_without_questions_only_captions_are_written(tmp_path):
    write_official(tmp_path, "val2026", [picture(n) for n in range(3)])
    assert sorted(p.name for p in tmp_path.iterdir()) == ["annotations", "val2026"]
    assert Coco(tmp_path).splits == "1 / 1 / 1"


def question(number=1, about="scene/train-0", text="What?", answers=("dog",)):
    return VisualQuestion(number, about, text, answers)


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ([question(answers=())], "question 1 has 0 answers, not 1 or 10"),
        ([question(answers=("a", "b"))], "question 1 has 2 answers, not 1 or 10"),
        ([question(text=" ")], "question 1 has no words"),
        ([question(about="x/1")], "question 1 is about x/1, which is not among the pictures"),
        ([question(), question()], "question 1 comes twice"),
    ],
)
def test_questions_that_cannot_be_written(tmp_path, asked, message):
    with pytest.raises(VermeilError, match=message):
        write_official(tmp_path, "train2026", [picture(0)], asked)
    assert not [*tmp_path.rglob("*.json")], "no annotations of what is not whole"


def test_what_else_is_refused(tmp_path):
    with pytest.raises(VermeilError, match=r"'dev' is no name of a split: begin it with train"):
        write_official(tmp_path, "dev", [])
    with pytest.raises(VermeilError, match=r"the picture scene/train-0 comes twice"):
        write_official(tmp_path, "val", [picture(0), picture(0)])
    silent = Picture("a", picture(0).pixels, 0, ("a dog", " "))
    with pytest.raises(VermeilError, match=r"the picture a has an empty caption"):
        write_official(tmp_path, "val", [silent])
    write_official(tmp_path, "val", [picture(0)])
    with pytest.raises(VermeilError, match=r"captions_val\.json is there already: remove it"):
        write_official(tmp_path, "val", [picture(0)])
