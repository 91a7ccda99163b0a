"""GQA: tiny files in exactly the official form, whole and broken."""

import json

import pytest
from PIL import Image

from data import load_pictures
from data.command import main
from data.pictures import SPLITS
from data.questions import HasQuestions
from shared.errors import VermeilError


def row(picture: str, text: str, answer: str, structural: str = "query") -> dict:
    """A question with everything that stands there."""
    return {
        "semantic": [{"operation": "select", "dependencies": [], "argument": "sky (2486325)"}],
        "entailed": ["02930160"], "equivalent": ["02930152"], "question": text, "imageId": picture,
        "isBalanced": True, "groups": {"global": None, "local": "06-sky_dark"}, "answer": answer,
        "semanticStr": "select: sky", "fullAnswer": f"It is {answer}.",
        "annotations": {"answer": {"0": "1"}, "question": {"2": "2486325"}, "fullAnswer": {}},
        "types": {"detailed": "verifyAttr", "semantic": "attr", "structural": structural},
    }  # fmt: skip


def write(root, part, rows):
    (root / "images").mkdir(parents=True, exist_ok=True)
    for number, content in enumerate(rows.values()):
        path = root / "images" / f"{content['imageId']}.jpg"
        Image.new("RGB", (12, 8), (10 * number, 0, 0)).save(path)
    (root / f"{part}_balanced_questions.json").write_text(json.dumps(rows))


@pytest.fixture
def gqa(tmp_path):
    write(tmp_path, "train", {f"9{n}": row(f"23{n}", "What is it?", "dog") for n in range(20)})
    write(
        tmp_path,
        "val",
        {
            "07": row("24000", "Is it dark?", "no", "verify"),
            "7": row("24001", "Is it?", "yes", "verify"),
        },
    )
    write(tmp_path, "testdev", {
        "20602949": row("n578938", "Which color is it?", "red"),
        "20602950": row("n578938", "Is it left or right?", "left", "choose"),
        "20602951": row("n100", "Is it?", "yes", "logical"),
    })  # fmt: skip
    return tmp_path


def load(root):
    return load_pictures(f"gqa@{root}")


def test_official_splits_questions_and_types(gqa):
    data = load(gqa)
    assert isinstance(data, HasQuestions) and data.splits == "20 / 2 / 2"
    found = [*data.questions("test")]
    assert [q.id for q in found] == [120602951, 120602949, 120602950]
    assert [q.picture for q in found] == ["images/n100.jpg", *["images/n578938.jpg"] * 2]
    assert [(q.text, q.answers) for q in found[1:]] == [
        ("Which color is it?", ("red",)), ("Is it left or right?", ("left",))]  # fmt: skip
    assert [(q.question_type, q.answer_type) for q in found] == [
        ("logical", "yes/no"), ("query", "other"), ("choose", "other")]  # fmt: skip
    for split in SPLITS:
        ids = {picture.id for picture in data.pictures(split)}
        assert ids == {question.picture for question in data.questions(split)}


def test_zeros_at_the_beginning_of_an_id_tell_two_questions_apart(gqa):
    assert [str(q.id)[1:] for q in load(gqa).questions("validation")] == ["07", "7"]


def test_without_testdev_val_is_the_test_split(gqa):
    (gqa / "testdev_balanced_questions.json").unlink()
    (gqa / "questions").mkdir()
    for path in gqa.glob("*.json"):
        path.rename(gqa / "questions" / path.name)
    data = load(gqa)
    assert data.splits == "19 / 1 / 2"
    assert {question.text for question in data.questions("test")} == {"Is it dark?", "Is it?"}


def test_what_is_missing_or_empty_is_counted(gqa):
    (gqa / "images" / "n100.jpg").unlink()
    rows = json.loads((gqa / "testdev_balanced_questions.json").read_text())
    rows["1"] = row("n578938", " ", "red")
    rows["2"] = row("n578938", "Что это? " * 600, "собака")
    rows["3"] = row("n578938", "What?", "")
    (gqa / "testdev_balanced_questions.json").write_text(json.dumps(rows))
    data = load(gqa)
    found = [*data.questions("test")]
    assert len(found) == 3 and len(found[-1].text) == 5399 and found[-1].answers == ("собака",)
    assert data.dropped.names == {"empty question": ["question 1"], "empty answer": ["question 3"]}
    assert str(data.skipped_questions["test"]) == "1 missing picture (question 120602951)"
    assert len([*data.pictures("test")]) == 1
    assert str(data.skipped["test"]) == "1 missing file (images/n100.jpg)"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (b'"imageId"', b'"image"', r"KeyError: 'imageId'"),
        (b'"answer": "red"', b'"answer": 3', r"GQA's form \(TypeError: 3 where text belongs"),
        (b'"n100"', b'"../n100"', "a picture outside its folder, ../n100"),
        (b'"20602951"', b'"a1"', "a question with the id 'a1'"),
        (b'"red"', b'"r\xe9d"', r"testdev_balanced_questions\.json is not UTF-8: byte 0xe9"),
        (b'"20602951"', b'"90"', r"question 190 stands in two files"),
        (b"}}}", b"}", r"testdev_balanced_questions\.json is no whole JSON"),
    ],
)
def test_broken_files(gqa, old, new, message):
    path = gqa / "testdev_balanced_questions.json"
    content = path.read_bytes()
    assert old in content
    path.write_bytes(content.replace(old, new))
    with pytest.raises(VermeilError, match=message):
        load(gqa).prepare()


def test_one_picture_in_two_splits_is_refused(gqa):
    write(gqa, "val", {"99": row("n100", "Is it?", "yes")})
    with pytest.raises(VermeilError, match=r"names the picture images/n100\.jpg twice"):
        load(gqa).prepare()


def test_what_is_no_gqa(gqa):
    (gqa / "images").rename(gqa / "there")
    with pytest.raises(VermeilError, match=r"holds questions, but no pictures: put them in"):
        load(gqa).prepare()
    for path in gqa.glob("*.json"):
        path.unlink()
    with pytest.raises(VermeilError, match=r"holds no train_balanced_questions\.json, nor one of"):
        load(gqa).prepare()


def test_show(gqa, capsys):
    main(["show", f"gqa@{gqa}", "--split", "test", "--number", "1"])
    out = capsys.readouterr().out
    assert "questions: 20 in train, 2 in validation, 3 in test" in out
    assert "120602951: Is it?  [images/n100.jpg, logical, yes/no]\n  yes\n" in out
