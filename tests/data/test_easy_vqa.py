"""easy-VQA, made here in exactly the form of its package."""

import dataclasses
import hashlib
import io
import json
import zipfile

import numpy as np
import pytest
from PIL import Image

from data import easy_vqa, load_pictures
from shared.errors import VermeilError

TRAIN = [["what shape is in the image?", "circle", 1], ["is there a red shape?", "no", 0],
         ["what color is the shape?", "teal", 1]]  # fmt: skip
TEST = [["does the image contain a circle?", "yes", 0]]


def wheel() -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for part, number, questions in (("train", 11, TRAIN), ("test", 2, TEST)):
            for n in range(number):  # 10 comes before 2 in the order of names
                pixels = np.full((64, 64, 3), n, np.uint8)
                png = io.BytesIO()
                Image.fromarray(pixels).save(png, "PNG")
                archive.writestr(f"easy_vqa/data/{part}/images/{n}.png", png.getvalue())
            archive.writestr(f"easy_vqa/data/{part}/questions.json", json.dumps(questions))
    return content.getvalue()


@pytest.fixture
def data(tmp_path, monkeypatch):
    monkeypatch.setenv("VERMEIL_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(easy_vqa, "HELD_OUT", 3)
    blob = wheel()
    found = easy_vqa.EasyVqa(tmp_path)
    (tmp_path / found.package.file).write_bytes(blob)
    found.package = dataclasses.replace(found.package, sha256=hashlib.sha256(blob).hexdigest())
    found.prepare()
    return found


def test_pictures_keep_their_numbers_and_questions_their_pictures(data):
    by_split = {split: list(data.pictures(split)) for split in ("train", "validation", "test")}
    assert {split: len(pictures) for split, pictures in by_split.items()} == {
        "train": 8, "validation": 3, "test": 2,
    }  # fmt: skip
    for pictures in by_split.values():
        for picture in pictures:
            assert (picture.pixels == int(picture.id.partition("/")[2])).all()
    asked = [q for split in ("train", "validation") for q in data.questions(split)]
    assert sorted((q.picture, q.text, q.answers, q.question_type) for q in asked) == [
        ("train/0", "is there a red shape?", ("no",), "yes/no"),
        ("train/1", "what color is the shape?", ("teal",), "colour"),
        ("train/1", "what shape is in the image?", ("circle",), "shape"),
    ]
    (question,) = data.questions("test")
    assert (question.picture, question.answers) == ("test/0", ("yes",))


def test_it_says_how_to_get_it(tmp_path, monkeypatch):
    monkeypatch.setenv("VERMEIL_HOME", str(tmp_path))
    with pytest.raises(VermeilError) as caught:
        next(load_pictures("easy_vqa").questions("test"))
    assert caught.value.hint == "vermeil data prepare easy_vqa"
