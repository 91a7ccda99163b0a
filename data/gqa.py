"""GQA in its official form: questions made from scene graphs, with one answer each."""

from pathlib import Path
from typing import Any, NamedTuple

from data.official_json import formed, inside, load, one_line
from data.official_pictures import UNLABELLED, Entry, Found, first_folder
from data.official_questions import AskedEntry, OfficialQuestions
from data.pictures import BadPicture, Skipped
from data.questions import VisualQuestion
from shared.errors import VermeilError

FORM = "GQA"
PARTS = {"train": "train", "validation": "val", "test": "testdev"}
FILE = "{}_balanced_questions.json"
BINARY = ("yes", "no")


class Row(NamedTuple):
    """What is kept of a question."""

    picture: str
    text: str
    answer: str
    kind: str  # "structural": "query", "verify", "logical", "choose" or "compare"


class Gqa(OfficialQuestions):
    """`root` with {train,val,testdev}_balanced_questions.json and the folder images.

    The files may lie in questions/ or questions1.2/. testdev, which people report on, is the test
    split and val validation; without testdev, val is the test split. A question's id is the
    official one with a 1 in front, since some of theirs begin with zeros. The question type is
    "structural"; the answer type is "yes/no" where the answer is one of them, else "other".
    """

    name = "gqa"
    title = "GQA"
    licence = "CC BY 4.0; each photograph its own, see Visual Genome"

    def _find(self) -> Found:
        folders = [self.root / name for name in (".", "questions", "questions1.2")]
        files: dict[str, Path] = {}
        for split, part in PARTS.items():
            places = [folder / FILE.format(part) for folder in folders]
            if there := [path for path in places if path.is_file()]:
                files[split] = there[0]
        if not files:
            raise VermeilError(
                f"{self.root} holds no {FILE.format('train')}, nor one of val or testdev",
                "unpack GQA's questions there",
            )
        pictures = first_folder(self.root / "images")
        if pictures is None:
            raise VermeilError(
                f"{self.root} holds questions, but no pictures", f"put them in {self.root}/images"
            )
        dropped = Skipped()
        read = {split: _entries(path, pictures, dropped) for split, path in files.items()}
        train, validation, test = (read.get(split, []) for split in PARTS)
        facts = [(path, path.name) for path in files.values()]
        return Found((UNLABELLED,), train, test, facts, validation, dropped)


def _entries(path: Path, folder: Path, dropped: Skipped) -> list[Entry]:
    """The pictures of one file with their questions, in the order of the file."""
    by_picture: dict[str, list[VisualQuestion]] = {}
    with formed(path, FORM):
        for name, row in load(path, FORM, _row).items():
            if not (name.isascii() and name.isdigit()):
                raise ValueError(f"a question with the id '{name:.40}'")
            if not isinstance(row, Row):
                raise KeyError("imageId")
            identifier = f"{folder.name}/{inside(row.picture)}.jpg"
            if not row.text or not row.answer:
                what = "empty answer" if row.text else "empty question"
                dropped.add(BadPicture(f"question {name}", what))
                continue
            kind = "yes/no" if row.answer in BINARY else "other"
            question = VisualQuestion(
                int(f"1{name}"), identifier, row.text, (row.answer,), kind, row.kind
            )
            by_picture.setdefault(identifier, []).append(question)
    return [
        AskedEntry(identifier, folder.parent / identifier, 0, (UNLABELLED,), questions=tuple(asked))
        for identifier, asked in by_picture.items()
    ]


def _row(content: dict) -> Any:
    """Keep of a question what is used; its programs and graphs are most of the file."""
    if "imageId" not in content:
        return content
    kind = content.get("types", {}).get("structural") or ""
    picture, text, answer = (one_line(content[key]) for key in ("imageId", "question", "answer"))
    return Row(picture, text, answer, str(kind))
