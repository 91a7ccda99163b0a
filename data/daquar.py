"""DAQUAR in its official form: questions about rooms, a line each, and the answers below them."""

import re
from pathlib import Path

from data.files import decode, reading
from data.official_pictures import UNLABELLED, Entry, Found, first_folder, picture_files
from data.official_questions import AskedEntry, OfficialQuestions
from data.pictures import BadPicture, Skipped
from data.questions import VisualQuestion
from shared.errors import VermeilError

CLASSES = (894, 37)  # how many words answers are made of: all of them, or the reduced set
FILE = "qa.{}.raw.{}.txt"
FOLDERS = ("images", "nyu_depth_images")
TESTED = 1_000_000  # added to the ids of test questions, which are counted from 1 as well
# "in the image3", also "in this image image3" and, once in the official file, "in th eimage999".
PICTURE = re.compile(
    r"(?:\b(?:in|on|of|at|from|for)\s+)?(?:\b(?:the|this|th|an?)\s+)?(?:\bimage\s+)?\be?image(\d+)\b"
)


class Daquar(OfficialQuestions):
    """`root` with qa.894.raw.train.txt, qa.894.raw.test.txt, or those of 37, and the pictures.

    They lie in images/ or nyu_depth_images/ as image3.png or with another suffix. The picture is
    named in the question and left out of the text. Several answers, "book, scissor", are one,
    as WUPS and accuracy take them. Ids are the numbers of the questions in the file of training,
    and from 1,000,001 on in that of the tests.
    """

    name = "daquar"
    title = "DAQUAR"
    licence = "research only (DAQUAR, and NYU Depth V2 for the pictures)"

    def _find(self) -> Found:
        places = {
            classes: [self.root / FILE.format(classes, part) for part in ("train", "test")]
            for classes in CLASSES
        }
        there = [paths for paths in places.values() if any(path.is_file() for path in paths)]
        if len(there) != 1:
            names = ", ".join(FILE.format(classes, "train") for classes in CLASSES)
            raise VermeilError(
                f"{self.root} holds {'both' if there else 'none'} of {names} and their tests",
                "keep one, they share questions" if there else "bring the files of DAQUAR there",
            )
        folder = first_folder(*(self.root / name for name in FOLDERS))
        if folder is None:
            raise VermeilError(
                f"{self.root} holds questions, but no pictures",
                f"put them in {' or '.join(str(self.root / name) for name in FOLDERS)}",
            )
        dropped = Skipped()
        files = {path.stem: path for path in picture_files(folder)}
        parts: list[list[Entry]] = []
        for path, first in zip(there[0], (1, TESTED + 1), strict=True):
            asked = read(path, first, dropped) if path.is_file() else {}
            parts.append([_entry(name, asked[name], files, folder) for name in asked])
        facts = [(path, path.name) for path in there[0] if path.is_file()]
        return Found((UNLABELLED,), parts[0], parts[1], facts, dropped=dropped)


def read(path: Path, first: int, dropped: Skipped) -> dict[str, list[tuple[int, str, str]]]:
    """Of each picture, e.g. "image3", the questions: id from `first` on, text, and answer.

    Questions that name no picture, or have no words or answer, are added to `dropped`.
    """
    with reading(path):
        rows = decode(path.read_bytes(), path).rstrip().split("\n")
    if len(rows) % 2:
        raise VermeilError(
            f"{path} has {len(rows):,} lines, an odd number: a question or an answer is missing",
            "each question has a line, and its answer the next",
        )
    found: dict[str, list[tuple[int, str, str]]] = {}
    for number in range(len(rows) // 2):
        question, answer = rows[2 * number : 2 * number + 2]
        if PICTURE.search(answer):
            raise VermeilError(
                f"line {2 * number + 2:,} of {path} stands where an answer belongs, but names a "
                f"picture: {answer.strip():.60}",
                "a line before it is missing; download it again",
            )
        named = [*PICTURE.finditer(question)]
        text = " ".join(PICTURE.sub(" ", question).split())
        said = ", ".join(filter(None, (" ".join(some.split()) for some in answer.split(","))))
        what = ("no picture named" if not named else "" if re.search(r"\w", text)
                else "empty question") or ("" if said else "empty answer")  # fmt: skip
        if what:
            dropped.add(BadPicture(f"line {2 * number + 1} of {path.name}", what))
        else:
            found.setdefault(f"image{int(named[-1][1])}", []).append((first + number, text, said))
    return found


def _entry(
    name: str, asked: list[tuple[int, str, str]], files: dict[str, Path], folder: Path
) -> Entry:
    path = files.get(name, folder / f"{name}.png")
    identifier = f"{folder.name}/{path.name}"
    questions = tuple(VisualQuestion(n, identifier, text, (said,)) for n, text, said in asked)
    return AskedEntry(identifier, path, 0, (UNLABELLED,), questions=questions)
