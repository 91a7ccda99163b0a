"""What happens to one part of a text that is being prepared: screened, and later finished.

Each leaves files in the working folder, its record last; what has a record is not done again.
"""

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from data.card import Counts
from data.files import lines
from data.parts import cut
from data.text import Document, TextData
from shared.home import replacing, write_atomically

if TYPE_CHECKING:
    from data.clean import Cleaner
    from data.dedup import HeldOut

PART = 2**23  # characters
FIRST = ("test", "validation", "train")  # the first of two similar documents stays


@dataclass(frozen=True)
class Part:
    """Some documents of one split; numbers go on from split to split."""

    number: int
    split: str
    documents: list[Document]


@dataclass(frozen=True)
class Repeated:
    """The places in a part of documents that repeat an earlier one."""

    number: int
    split: str
    copies: set[int]
    near: set[int]


def parts(text: TextData) -> Iterator[Part]:
    """All documents in parts, the same ones however often they are read."""
    number = 0
    for split in FIRST:
        for documents in cut(text.documents(split), PART):
            yield Part(number, split, documents)
            number += 1


def screen(work: Path, language: str, rules: tuple[str, ...], part: Part) -> int:
    """Normalise and judge a part's documents, hash those that stay; returns its number."""
    from data import clean, dedup

    record = file_of(work, part.number, "screened.json")
    if record.exists():
        return part.number
    counts, kept = Counts(), []
    cleaner = _cleaner(language, rules)
    for document in part.documents:
        verdict = cleaner(document.text)
        size = len(document.text.encode())
        if verdict.reason:
            counts.drop(verdict.reason, size, document.id, verdict.text, verdict.detail)
        else:
            changed = verdict.text != document.text
            kept.append((size, changed, asdict(document) | {"text": verdict.text}))
    clean.WORDS.forget()
    texts = [document["text"] for _, _, document in kept]
    dedup.sign(texts, work / "signatures", part.number)
    write_atomically(file_of(work, part.number, "digests"), b"".join(map(dedup.digest, texts)))
    _write(file_of(work, part.number, "jsonl"), kept)
    write_atomically(record, json.dumps(asdict(counts)))
    return part.number


def finish(folder: Path, work: Path, repeated: Repeated) -> Counts:
    """Write to `folder` what stays of a part; returns its counts."""
    from data.dedup import HeldOut

    number = repeated.number
    record = file_of(work, number, "finished.json")
    if record.exists():
        return _read(record)
    counts = _read(file_of(work, number, "screened.json"))
    held_out = HeldOut(work / "held_out")
    kept = []
    for place, (size, changed, document) in enumerate(rows(work, number)):
        reason, detail = _why_not(repeated, place, document["text"], held_out)
        if reason:
            counts.drop(reason, size, document["id"], document["text"], detail)
        else:
            counts.keep(size, len(document["text"].encode()), changed)
            kept.append(document)
    _write(folder / repeated.split / f"{number:05}.jsonl", kept)
    write_atomically(record, json.dumps(asdict(counts)))
    return counts


def rows(work: Path, number: int) -> Iterator[list]:
    """Size, whether it was changed, and the document, for each that passed the screening."""
    return (json.loads(line) for _, line in lines(file_of(work, number, "jsonl")))


def file_of(work: Path, number: int, kind: str) -> Path:
    """A part's file in the working folder."""
    return work / f"{number:05}.{kind}"


def _why_not(repeated: Repeated, place: int, text: str, held_out: "HeldOut") -> tuple[str, str]:
    """Why a document is dropped that passed the screening, and details; "" when it stays."""
    from data.dedup import OVERLAP

    if place in repeated.copies:
        return "exact duplicate", ""
    if place in repeated.near:
        return "near-duplicate", ""
    if repeated.split == "train":
        share, closest = held_out.overlap(text)
        if share >= OVERLAP:
            return "held-out text", f"{share:.0%} in common with {closest}"
    return "", ""


@lru_cache(maxsize=1)  # once in each worker process
def _cleaner(language: str, rules: tuple[str, ...]) -> "Cleaner":
    from data.clean import Cleaner

    return Cleaner(language, rules)


def _read(record: Path) -> Counts:
    return Counts.from_dict(json.loads(record.read_text(encoding="utf-8")))


def _write(path: Path, values: Iterable[object]) -> None:
    with replacing(path) as temporary, temporary.open("w", encoding="utf-8") as file:
        for value in values:
            file.write(json.dumps(value, ensure_ascii=False) + "\n")
