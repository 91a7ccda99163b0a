"""VQA v2 in its official form: questions about COCO's pictures, ten people's answers to each."""

import re
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any, NamedTuple

from data.coco import kind_of
from data.official_json import formed, load, one_line
from data.official_pictures import UNLABELLED, Entry, Found, first_folder, picture_files
from data.official_questions import AskedEntry, OfficialQuestions
from data.pictures import BadPicture, Skipped
from data.questions import VisualQuestion
from shared.errors import VermeilError

FORM = "VQA v2"
QUESTIONS = re.compile(r"(?:v2_)?OpenEnded_mscoco_((?:train|val|test)\w*)_questions\.json")
ANSWERS = re.compile(r"(?:v2_)?mscoco_((?:train|val|test)\w*)_annotations\.json")
FOLDERS = (".", "annotations", "questions")
ANSWERS_EACH = 10
NAMED = 3  # question ids in a complaint
NUMBER = re.compile(r"\d+$")  # with which the names of COCO's pictures end


class Answered(NamedTuple):
    """What stands in the annotations of one question."""

    question: int
    picture: int
    answers: tuple[str, ...]
    answer_type: str
    question_type: str


class VqaV2(OfficialQuestions):
    """`root` with v2_OpenEnded_mscoco_*_questions.json and v2_mscoco_*_annotations.json.

    They lie in it, in annotations/ or in questions/, and may be called without v2_; questions
    without answers (test2015) are left out. The pictures of train2014 lie in train2014/ or
    images/train2014/, or else in the folders of 2017, which hold the same ones; a picture is known
    by the number its name ends with. Only pictures that are asked about are read, and
    annotations without a folder of pictures are left out. Ids are those of COCO's reader.
    """

    name = "vqa_v2"
    title = "VQA v2"
    licence = 'annotations CC BY 4.0; each photograph its own, see its "license" in COCO'

    def _find(self) -> Found:
        questions, answers = self._files(QUESTIONS), self._files(ANSWERS)
        parts = [part for part in sorted(questions) if part in answers]
        if not parts:
            raise VermeilError(
                f"{self.root} holds no v2_OpenEnded_mscoco_*_questions.json with its "
                "v2_mscoco_*_annotations.json, nor do its folders annotations and questions",
                "give the folder in which VQA's archives were unpacked",
            )
        folders = {part: some for part in parts if (some := self._folders(part))}
        if not folders:
            raise VermeilError(
                f"{self.root} holds questions, but no pictures",
                f"put them in {' or '.join(str(self.root / part) for part in parts)}",
            )
        if len({kind_of(part) for part in folders}) < len(folders):
            raise VermeilError(
                f"{self.root} holds questions of several years: {', '.join(folders)}",
                "keep one, they share pictures",
            )
        dropped = Skipped()
        found: dict[str, list[Entry]] = {"train": [], "val": [], "test": []}
        for part, some in folders.items():
            asked = read(questions[part], answers[part], dropped)
            found[kind_of(part)] += _entries(asked, some)
        facts = [(path, path.name) for p in folders for path in (questions[p], answers[p])]
        return Found((UNLABELLED,), found["train"], found["test"], facts, found["val"], dropped)

    def _files(self, form: re.Pattern[str]) -> dict[str, Path]:
        """The files of this form by part, e.g. "train2014"; v2 before v1, whatever the folder."""
        paths = (path for name in FOLDERS for path in (self.root / name).glob("*.json"))
        found: dict[str, Path] = {}
        for path in sorted(paths, key=lambda path: (path.name, path)):
            if named := form.fullmatch(path.name):
                found[named[1]] = path
        return found

    def _folders(self, part: str) -> list[Path]:
        own = first_folder(self.root / part, self.root / "images" / part)
        later = (first_folder(self.root / name, self.root / "images" / name)
                 for name in ("train2017", "val2017"))  # fmt: skip
        return [own] if own else [folder for folder in later if folder]


def read(questions: Path, answers: Path, dropped: Skipped) -> dict[int, list[tuple]]:
    """Of each picture's number the questions: id, text, and what stands in the annotations.

    A question without its annotation, an annotation without its question, one about another
    picture, and other than ten answers are errors; empty questions are added to `dropped`.
    """
    with formed(answers, FORM):
        rows = load(answers, FORM, _answered)["annotations"]
        answered = {row.question: row for row in rows}
        _once(answers, rows, answered)
    with formed(questions, FORM):
        asked = load(questions, FORM)["questions"]
        texts = {_number(row["question_id"]): one_line(row["question"]) for row in asked}
        about = {_number(row["question_id"]): _number(row["image_id"]) for row in asked}
        _once(questions, asked, texts)
    _complain(f"{questions} has", "without answers in", answers, texts.keys() - answered)
    _complain(f"{answers} answers", "that are not in", questions, answered.keys() - texts)
    found: dict[int, list[tuple]] = defaultdict(list)
    for number, text in texts.items():
        row = answered[number]
        if row.picture != about[number]:
            raise VermeilError(
                f"question {number} is about picture {about[number]} in {questions}, about "
                f"{row.picture} in {answers}",
                "take both from the same download",
            )
        if len(row.answers) != ANSWERS_EACH:
            raise VermeilError(
                f"question {number} has {len(row.answers)} answer(s) in {answers}, not "
                f"{ANSWERS_EACH}",
                "VQA accuracy is defined for ten; download the file again",
            )
        if text:
            found[row.picture].append((number, text, row))
        else:
            dropped.add(BadPicture(f"question {number}", "empty question"))
    return found


def _answered(row: dict) -> Any:
    """Keep of an annotation what is used; ten answers as objects would fill the memory."""
    if "question_id" not in row:
        return row
    said = tuple(sys.intern(one_line(answer["answer"])) for answer in row["answers"])
    kinds = (sys.intern(str(row.get(key, ""))) for key in ("answer_type", "question_type"))
    return Answered(_number(row["question_id"]), _number(row["image_id"]), said, *kinds)


def _number(identifier: Any) -> int:
    if not isinstance(identifier, int):
        raise TypeError(f"{identifier!r:.40} where an id belongs")
    return identifier


def _once(path: Path, rows: list, found: dict) -> None:
    if len(rows) > len(found):
        raise ValueError(f"{len(rows) - len(found)} question id(s) stand there twice")


def _complain(who: str, what: str, other: Path, numbers: set[int]) -> None:
    if numbers:
        named = ", ".join(map(str, sorted(numbers)[:NAMED])) + ", ..." * (len(numbers) > NAMED)
        raise VermeilError(
            f"{who} {len(numbers):,} question(s) {what} {other} ({named})",
            "take both from the same download",
        )


def _entries(asked: dict[int, list[tuple]], folders: list[Path]) -> list[Entry]:
    """A picture for each number that is asked about, whether its file is there or not."""
    files = {
        int(number[0]): path
        for folder in folders
        for path in picture_files(folder)
        if (number := NUMBER.search(path.stem))
    }
    entries: list[Entry] = []
    for number, rows in asked.items():
        usual = folders[0] / f"COCO_{folders[0].name}_{number:012}.jpg"
        path = files.get(number, usual)
        identifier = f"{path.parent.name}/{path.name}"
        questions = tuple(
            VisualQuestion(n, identifier, text, row.answers, row.answer_type, row.question_type)
            for n, text, row in rows
        )
        entries.append(AskedEntry(identifier, path, 0, (UNLABELLED,), questions=questions))
    return entries
