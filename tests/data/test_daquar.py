"""DAQUAR: tiny files in exactly the official form, and the part at hand."""

import os
import tarfile
from pathlib import Path

import pytest
from PIL import Image

from data import load_pictures
from data.command import main
from data.daquar import read
from data.pictures import SPLITS, Skipped
from data.questions import HasQuestions
from shared.errors import VermeilError

ARCHIVE = Path(os.environ.get("VERMEIL_REALDATA", "realdata")) / "daquar-train-224px.tar"
TRAIN = "qa.894.raw.train.txt"
TEST = "qa.894.raw.test.txt"


def write(root, name, rows, folder="images", suffix="png"):
    """Of (picture, question, answer); {} in the question is the picture's name."""
    (root / folder).mkdir(parents=True, exist_ok=True)
    lines = []
    for number, question, answer in rows:
        path = root / folder / f"image{number}.{suffix}"
        Image.new("RGB", (12, 8), (number % 256, 0, 0)).save(path)
        lines += [question.format(f"image{number}"), answer]
    (root / name).write_text("".join(f"{line}\n" for line in lines))


@pytest.fixture
def daquar(tmp_path):
    write(tmp_path, TRAIN, [(n, "what is on the desk in the {} ?", "lamp") for n in range(2, 22)])
    write(tmp_path, TEST, [
        (1, "what is on the desk in the {} ?", "book,  scissor , papers"),
        (1, "how many chairs are in the {} ?", "6"),
        (23, "what is on the bed in the {} ?", "pillow"),
    ])  # fmt: skip
    return tmp_path


def load(root):
    return load_pictures(f"daquar@{root}")


def test_questions_answers_and_splits(daquar):
    data = load(daquar)
    assert isinstance(data, HasQuestions) and data.splits == "19 / 1 / 2"
    found = [*data.questions("test")]
    assert [(q.id, q.picture, q.text) for q in found] == [
        (1_000_001, "images/image1.png", "what is on the desk ?"),
        (1_000_002, "images/image1.png", "how many chairs are ?"),
        (1_000_003, "images/image23.png", "what is on the bed ?"),
    ]
    assert [q.answers for q in found] == [("book, scissor, papers",), ("6",), ("pillow",)]
    for split in SPLITS:
        ids = {picture.id for picture in data.pictures(split)}
        assert ids == {question.picture for question in data.questions(split)}
    ids = [question.id for split in SPLITS[:2] for question in data.questions(split)]
    assert sorted(ids) == [*range(1, 21)]


@pytest.mark.parametrize(
    ("question", "picture", "text"),
    [
        ("what is in this image image3 ?", "image3", "what is ?"),
        ("what is visible in th eimage999 ?", "image999", "what is visible ?"),
        ("what is on the table image108 ?", "image108", "what is on the table ?"),
        ("what is left of the image95 behind it ?", "image95", "what is left behind it ?"),
        ("what is left of the image8 in the image1008 ?", "image1008", "what is left ?"),
        ("what are in this picture in the image7 ?", "image7", "what are in this picture ?"),
        ("where is the image in the image7?", "image7", "where is the image ?"),
        ("what is in the image007 ?", "image7", "what is ?"),
        ("在这张 image7 里有什么？", "image7", "在这张 里有什么？"),
    ],
)  # fmt: skip
def test_the_mention_of_the_picture_stays_out(tmp_path, question, picture, text):
    (tmp_path / TRAIN).write_text(f"{question}\nlamp\n")
    assert read(tmp_path / TRAIN, 1, Skipped()) == {picture: [(1, text, "lamp")]}


def test_other_names_of_files_and_folders(tmp_path):
    rows = [(n, "what is in the {} ?", "lamp") for n in range(40)]
    write(tmp_path, "qa.37.raw.train.txt", rows, "nyu_depth_images", "jpg")
    data = load(tmp_path)
    assert data.splits == "36 / 2 / 2", "without the tests the training pictures are divided"
    assert next(data.questions("test")).picture.startswith("nyu_depth_images/image")
    write(tmp_path, "qa.37.raw.test.txt", [(99, "what is in the {} ?", "lamp")], "nyu_depth_images")
    assert load(tmp_path).splits == "38 / 2 / 1"
    write(tmp_path, TEST, [(99, "what is in the {} ?", "lamp")])
    with pytest.raises(VermeilError, match=r"holds both of qa\.894\.raw\.train\.txt, qa\.37"):
        load(tmp_path).prepare()


def test_what_is_missing_or_empty_is_counted(daquar):
    long = "why " * 1250
    with (daquar / TEST).open("a") as file:
        file.write("what is on it ?\nrug\nin the image23 ?\nrug\nwhat is in image23 ?\n , \n")
        file.write(f"{long} in the image23 ?\nrug\n")
    (daquar / "images" / "image1.png").unlink()
    data = load(daquar)
    found = [*data.questions("test")]
    assert [question.id for question in found] == [1_000_003, 1_000_007]
    assert found[1].text == f"{long}?"
    assert str(data.skipped_questions["test"]) == (
        "2 missing picture (question 1000001, question 1000002)"
    )
    assert len([*data.pictures("test")]) == 1
    assert str(data.skipped["test"]) == "1 missing file (images/image1.png)"
    assert data.dropped.names == {
        "no picture named": [f"line 7 of {TEST}"],
        "empty question": [f"line 9 of {TEST}"],
        "empty answer": [f"line 11 of {TEST}"],
    }


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"what is in the image1 ?\nlamp\nwhat is in the image2 ?\n", "has 3 lines, an odd number"),
        (b"", "has 1 lines, an odd number"),
        (
            b"what is in the image1 ?\nwhat is in the image2 ?\nlamp\nlamp\n",
            r"line 2 of .*test\.txt stands where an answer belongs, but names a picture: what is",
        ),
        (b"what is in the image1 ?\nl\xe9mp\n", r"test\.txt is not UTF-8: byte 0xe9 at offset 25"),
    ],
)  # fmt: skip
def test_broken_files(daquar, content, message):
    (daquar / TEST).write_bytes(content)
    with pytest.raises(VermeilError, match=message):
        load(daquar).prepare()


def test_one_picture_in_two_splits_is_refused(daquar):
    write(daquar, TEST, [(3, "what is in the {} ?", "lamp")])
    with pytest.raises(VermeilError, match=r"names the picture images/image3\.png twice"):
        load(daquar).prepare()


def test_what_is_no_daquar(daquar):
    (daquar / "images").rename(daquar / "there")
    with pytest.raises(VermeilError, match=r"holds questions, but no pictures: put them in"):
        load(daquar).prepare()
    for path in daquar.glob("*.txt"):
        path.unlink()
    with pytest.raises(VermeilError, match=r"holds none of qa\.894\.raw\.train\.txt, qa\.37"):
        load(daquar).prepare()


def test_show(daquar, capsys):
    main(["show", f"daquar@{daquar}", "--split", "test", "--number", "1"])
    out = capsys.readouterr().out
    assert "questions: 19 in train, 1 in validation, 3 in test" in out
    line = "1000001: what is on the desk ?  [images/image1.png]\n  book, scissor, papers\n"
    assert line in out and "1000003" not in out


@pytest.mark.skipif(not ARCHIVE.is_file(), reason="the real part is not on this machine")
def test_the_real_part(tmp_path):
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(tmp_path, filter="data")
    data = load(tmp_path)
    assert data.splits == "714 / 40 / 40" and not data.dropped.counts
    questions = [question for split in SPLITS for question in data.questions(split)]
    assert len(questions) == 6795 == len({question.id for question in questions})
    assert not [q.text for q in questions if "image" in q.text], "nothing names a picture"
    assert sum("," in question.answers[0] for question in questions) == 646
    assert len([p for split in SPLITS for p in data.pictures(split)]) == 794
