"""VQA v2: tiny files in exactly the official form, whole and broken."""

import json

import pytest
from PIL import Image

from data import load_pictures
from data.command import main
from data.pictures import SPLITS
from data.questions import HasQuestions
from shared.errors import VermeilError

HEAD = {"info": {"year": 2017}, "data_type": "mscoco", "license": {"name": "CC BY 4.0"}}


def name_of(part: str, number: int) -> str:
    return f"COCO_{part}_{number:012}.jpg"


def asked(number: int, text: str = "Is it red?") -> dict:
    return {"image_id": number // 1000, "question": text, "question_id": number}


def answered(number: int, answers=("yes",) * 8 + ("no",) * 2, kind="yes/no", start="is it") -> dict:
    said = [{"answer": answer, "answer_confidence": "maybe", "answer_id": n}
            for n, answer in enumerate(answers, 1)]  # fmt: skip
    return {"question_type": start, "multiple_choice_answer": "yes", "answers": said,
            "image_id": number // 1000, "answer_type": kind, "question_id": number}  # fmt: skip


def write(root, part, numbers, questions=None, annotations=None, prefix="v2_"):
    """Pictures, and two questions about each unless others are given."""
    (root / part).mkdir(parents=True, exist_ok=True)
    for number in numbers:
        Image.new("RGB", (12, 8), (number % 256, 0, 0)).save(root / part / name_of(part, number))
    both = [1000 * number + n for number in numbers for n in (0, 2)]
    save(root, f"{prefix}OpenEnded_mscoco_{part}_questions", {
        **HEAD, "task_type": "Open-Ended", "data_subtype": part,
        "questions": [asked(n) for n in both] if questions is None else questions})  # fmt: skip
    save(root, f"{prefix}mscoco_{part}_annotations", {
        **HEAD, "data_subtype": part,
        "annotations": [answered(n) for n in both] if annotations is None else annotations,
    })  # fmt: skip


def save(root, name, content):
    (root / f"{name}.json").write_text(json.dumps(content))


@pytest.fixture
def vqa(tmp_path):
    write(tmp_path, "train2014", range(9, 29))
    number = ("2",) * 6 + ("3",) * 3 + ("many",)
    write(tmp_path, "val2014", [42, 73, 74],
          [asked(73000, "How many dogs  are\nthere?"), asked(42000), asked(42001), asked(74000)],
          [answered(42001), answered(42000), answered(73000, number, "number", "how many"),
           answered(74000)])  # fmt: skip
    return tmp_path


def load(root):
    return load_pictures(f"vqa_v2@{root}")


def test_questions_answers_and_types(vqa):
    data = load(vqa)
    assert isinstance(data, HasQuestions)
    found = [*data.questions("test")]
    assert [question.id for question in found] == [42000, 42001, 73000, 74000]
    dogs = found[2]
    assert dogs.text == "How many dogs are there?"
    assert dogs.answers == ("2",) * 6 + ("3",) * 3 + ("many",)
    assert (dogs.answer_type, dogs.question_type) == ("number", "how many")
    assert dogs.picture == f"val2014/{name_of('val2014', 73)}"
    pictures = {picture.id: picture for picture in data.pictures("test")}
    assert [*pictures] == list(dict.fromkeys(question.picture for question in found))
    assert abs(int(pictures[dogs.picture].pixels[0, 0, 0]) - 73) < 4


def test_questions_go_with_their_pictures(vqa):
    data = load(vqa)
    assert data.splits == "19 / 1 / 3"
    numbers = {}
    for split in SPLITS:
        ids = {picture.id for picture in data.pictures(split)}
        assert ids == {question.picture for question in data.questions(split)}
        numbers[split] = len([*data.questions(split)])
    assert numbers == {"train": 38, "validation": 2, "test": 4}


def test_names_without_v2_folders_and_pictures_of_2017(vqa, tmp_path_factory):
    before = [(q.id, q.answers) for q in load(vqa).questions("test")]
    (vqa / "annotations").mkdir()
    for path in vqa.glob("*.json"):
        path.rename(vqa / "annotations" / path.name.removeprefix("v2_"))
    (vqa / "train2017").mkdir()
    (vqa / "val2014").rename(vqa / "val2017")
    for path in (vqa / "train2014").iterdir():
        path.rename(vqa / "train2017" / path.name.rpartition("_")[2])
    (vqa / "train2014").rmdir()
    (vqa / "val2017" / name_of("val2014", 42)).rename(vqa / "train2017" / f"{42:012}.jpg")
    data = load(vqa)
    found = [*data.questions("test")]
    assert sorted((q.id, q.answers) for q in found) == before
    assert found[0].picture == f"train2017/{42:012}.jpg"
    assert len([*data.pictures("test")]) == 3 and data.splits == "19 / 1 / 3"


def test_questions_of_a_third_part_and_without_answers(vqa):
    save(vqa, "v2_OpenEnded_mscoco_test2015_questions", {**HEAD, "questions": [asked(1000)]})
    assert load(vqa).splits == "19 / 1 / 3", "the official tests have no answers"
    write(vqa, "test2015", [1, 2])
    data = load(vqa)
    assert data.splits == "20 / 3 / 2"
    assert [question.id for question in data.questions("test")] == [1000, 1002, 2000, 2002]


def test_missing_pictures_are_counted_with_their_questions(vqa):
    (vqa / "val2014" / name_of("val2014", 42)).unlink()
    (vqa / "val2014" / name_of("val2014", 74)).write_bytes(b"")
    data = load(vqa)
    assert len([*data.pictures("test")]) == 1
    assert str(data.skipped["test"]) == (
        f"1 missing file (val2014/{name_of('val2014', 42)}), "
        f"1 empty file (val2014/{name_of('val2014', 74)})"
    )
    assert [question.id for question in data.questions("test")] == [73000, 74000]
    assert str(data.skipped_questions["test"]) == (
        "2 missing picture (question 42000, question 42001)"
    )


def test_empty_questions_are_counted_long_ones_and_other_scripts_kept(vqa):
    long = "why " * 1250
    questions = [asked(42000, " "), asked(42001, long), asked(42002, "这是什么？")]
    answers = [answered(42000), answered(42001, ("да",) * 10), answered(42002, ("كلب",) * 10)]
    write(vqa, "val2014", [42], questions, answers)
    data = load(vqa)
    found = [*data.questions("test")]
    assert [question.text for question in found] == [long.strip(), "这是什么？"]
    assert [question.answers[0] for question in found] == ["да", "كلب"]
    assert str(data.dropped) == "1 empty question (question 42000)"


@pytest.mark.parametrize(
    ("questions", "annotations", "message"),
    [
        ([0, 1], [0], r"questions\.json has 1 question\(s\) without answers .*ations\.json \(1\)"),
        ([0], [0, 1, 2, 3, 4], r"ations\.json answers 4 question\(s\) that .*1, 2, 3, \.\.\."),
        ([0, 0], [0], r"in VQA v2's form \(ValueError: 1 question id\(s\) stand there twice"),
        ([0], [0, 0], r"annotations\.json is not in VQA v2's form \(ValueError: 1 question id"),
    ],
)  # fmt: skip
def test_files_that_do_not_fit(vqa, questions, annotations, message):
    write(vqa, "val2014", [0], [*map(asked, questions)], [*map(answered, annotations)])
    with pytest.raises(VermeilError, match=message):
        load(vqa).prepare()


@pytest.mark.parametrize("number", [0, 1, 9, 11])
def test_other_than_ten_answers(vqa, number):
    write(vqa, "val2014", [42], [asked(42000)], [answered(42000, ("yes",) * number)])
    message = rf"question 42000 has {number} answer\(s\) in .*annotations\.json, not 10: VQA acc"
    with pytest.raises(VermeilError, match=message):
        load(vqa).prepare()


def test_two_pictures_and_two_files_for_one_question(vqa):
    write(vqa, "val2014", [42], [asked(42000)], [{**answered(42000), "image_id": 43}])
    message = r"question 42000 is about picture 42 in .*questions\.json, about 43 in .*annotations"
    with pytest.raises(VermeilError, match=message):
        load(vqa).prepare()
    write(vqa, "val2014", [9])
    with pytest.raises(VermeilError, match=r"question 9000 stands in two files"):
        load(vqa).prepare()


@pytest.mark.parametrize(
    "kind", ["OpenEnded_mscoco_val2014_questions", "mscoco_val2014_annotations"]
)
@pytest.mark.parametrize(
    ("broken", "message"),
    [
        (lambda content: content[:-30], "is no whole JSON"),
        (lambda content: b"", "is no whole JSON"),
        (lambda content: b"[]", "is not in VQA v2's form: download it again"),
        (lambda content: b"{}", r"is not in VQA v2's form \(KeyError"),
        (lambda content: content.replace(b'"mscoco"', b'"\xff"'), "is not UTF-8: byte 0xff"),
        (lambda content: content.replace(b'"image_id": 42', b'"image_id": "x"'), "'x' where an id"),
        (lambda content: content.replace(b'"question_id"', b'"id"'), r"not in VQA v2's form"),
    ],
)  # fmt: skip
def test_broken_files(vqa, kind, broken, message):
    path = vqa / f"v2_{kind}.json"
    path.write_bytes(broken(path.read_bytes()))
    with pytest.raises(VermeilError, match=rf"{kind}\.json {message}|{message}"):
        load(vqa).prepare()


def test_answers_that_are_no_text(vqa):
    path = vqa / "v2_mscoco_val2014_annotations.json"
    path.write_text(path.read_text().replace('"answer": "many"', '"answer": 3'))
    with pytest.raises(VermeilError, match=r"\(TypeError: 3 where text belongs\)"):
        load(vqa).prepare()
    path.write_text(path.read_text().replace('"answers"', '"said"'))
    with pytest.raises(VermeilError, match=r"VQA v2's form \(KeyError: 'answers'\)"):
        load(vqa).prepare()


def test_what_is_no_vqa(vqa, tmp_path):
    (vqa / "train2014").rename(vqa / "elsewhere")
    assert load(vqa).splits == "1 / 1 / 1"
    (vqa / "val2014").rename(vqa / "there")
    with pytest.raises(VermeilError, match=r"holds questions, but no pictures: put them in .*tr"):
        load(vqa).prepare()
    write(vqa, "val2014", [1])
    write(vqa, "val2015", [2])
    with pytest.raises(VermeilError, match=r"questions of several years: val2014, val2015: keep"):
        load(vqa).prepare()
    for path in vqa.glob("*annotations.json"):
        path.unlink()
    with pytest.raises(VermeilError, match=r"holds no v2_OpenEnded_mscoco_\*_questions\.json with"):
        load(vqa).prepare()


def test_identity_is_questions_and_answers_too(vqa):
    hashes = {load(vqa).sha256(), load(vqa).sha256()}
    for kind, old in (("OpenEnded_mscoco_val2014_questions", "dogs"),
                      ("mscoco_val2014_annotations", "many")):  # fmt: skip
        path = vqa / f"v2_{kind}.json"
        path.write_text(path.read_text().replace(old, "none"))
        hashes.add(load(vqa).sha256())
    assert len(hashes) == 3


def test_show_says_questions_and_answers(vqa, capsys):
    main(["show", f"vqa_v2@{vqa}", "--split", "test", "--number", "2"])
    out = capsys.readouterr().out
    assert "questions: 38 in train, 2 in validation, 4 in test" in out
    shown = f"73000: How many dogs are there? [val2014/{name_of('val2014', 73)}, how many, number]"
    assert shown in " ".join(out.split())
    assert "\n  2 (6); 3 (3); many\n" in out and "74000" not in out
