"""easy-VQA: one coloured shape a picture, and questions with exact answers (Zhou, 2019)."""

import io
import json
import zipfile
from collections.abc import Iterator, Mapping

import numpy as np

from data.embedded.packages import Package
from data.fetched_pictures import FetchedPictures, Part, divided, labelled
from data.pictures import check_split, decode
from data.questions import VisualQuestion
from shared.home import write_atomically

FOLDER = "easy_vqa/data/"
QUESTIONS = "questions.json"
HELD_OUT = 400  # of the official training pictures, for validation
KINDS = {"yes": "yes/no", "no": "yes/no", "circle": "shape", "rectangle": "shape",
         "triangle": "shape"}  # fmt: skip


class EasyVqa(FetchedPictures):
    """5,000 pictures of 64 pixels, some ten questions each, 13 answers in all.

    Questions come without a kind; here it is that of their answer: yes/no, shape or colour.
    """

    name = "easy_vqa"
    licence = "MIT"
    description = "one coloured shape a picture, 48,248 questions (easy-VQA)"
    size = "3 MB"
    splits = "3,600 / 400 / 1,000"
    classes = ("shape",)
    package = Package(
        "pip",
        "easy-vqa",
        "1.0",
        "easy_vqa-1.0-py3-none-any.whl",
        "fcb51b309b78c7b00f97b64cdbcbcf5c105f94da1b39c0796cee5a787c4f650f",
    )

    @property
    def files(self) -> tuple[str, ...]:
        """The splits' files, and the questions."""
        return (*super().files, QUESTIONS)

    def parse(self, blob: bytes) -> dict[str, Part]:
        """Pictures are numbered within each of the two official parts."""
        with zipfile.ZipFile(io.BytesIO(blob)) as archive:
            train, test = (_part(archive, part) for part in ("train", "test"))
        return {**divided(train, HELD_OUT), "test": test}

    def unpack(self, blob: bytes) -> Mapping[str, int]:
        """Write the splits and the questions, each with its picture's id."""
        noted = super().unpack(blob)
        with zipfile.ZipFile(io.BytesIO(blob)) as archive:
            rows = [
                (f"{part}/{number}", text, answer)
                for part in ("train", "test")
                for text, answer, number in json.loads(archive.read(f"{FOLDER}{part}/{QUESTIONS}"))
            ]
        write_atomically(self.folder / QUESTIONS, json.dumps(rows) + "\n")
        return {**noted, "questions": len(rows)}

    def questions(self, split: str) -> Iterator[VisualQuestion]:
        """In the package's order."""
        check_split(split)
        self._verified  # noqa: B018 (complains where nothing was unpacked)
        facts = json.loads((self.folder / f"{split}.json").read_text())
        here = {known["id"] for known in facts}
        rows = json.loads((self.folder / QUESTIONS).read_text())
        for number, (picture, text, answer) in enumerate(rows):
            if picture in here:
                kind = KINDS.get(answer, "colour")
                yield VisualQuestion(number, picture, text, (answer,), "", kind)


def _part(archive: zipfile.ZipFile, part: str) -> Part:
    """All pictures of an official part, in the order of their numbers."""
    folder = f"{FOLDER}{part}/images/"
    number = sum(name.startswith(folder) and name.endswith(".png") for name in archive.namelist())
    paths = [f"{folder}{n}.png" for n in range(number)]
    pixels = np.stack([decode(archive.read(path), path) for path in paths])
    return labelled(part, pixels, np.zeros(number, int))
