"""Your own text: a folder, or one file, of .txt and .jsonl."""

import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from data.text import SPLITS, Document, TextData, check_split
from shared.errors import VermeilError

HELD_OUT = 0.05  # of the documents, for validation and again for test; at least one each
SUFFIXES = (".txt", ".jsonl")
LINE_FORMAT = 'every line is one object such as {"title": "...", "text": "..."}'
SURROGATE = re.compile("[\ud800-\udfff]")  # JSON can escape what UTF-8 cannot hold


class FolderText(TextData):
    """One document per .txt file and one per line of a .jsonl file that has a "text".

    `root` is a folder (searched to any depth, hidden names left out) or a single file. Ids are
    paths below `root`, for a .jsonl line with `:` and its number. Text is UTF-8; a byte order mark
    is dropped and Windows line ends become \\n. Blank documents are passed over.

    Documents are divided by the hash of their id, so that the order of files plays no part. The
    first use reads everything once: hashes, counts, and errors come before training, not in it.
    """

    version = "1"
    licence = "your own"

    def __init__(self, root: Path):
        self.root = root
        self.name = root.resolve().name
        self.description = f"text files of {root}"

    @property
    def size(self) -> str:
        """Megabytes of text."""
        return f"{self._index.size / 1e6:.1f} MB"

    @property
    def splits(self) -> str:
        """Documents in train, validation and test."""
        number, held_out = self._index.number, self._index.held_out
        return f"{number - 2 * held_out:,} / {held_out:,} / {held_out:,}"

    def ready(self) -> bool:
        """Whether the folder or file is there."""
        return self.root.exists()

    def prepare(self) -> None:
        """Read everything once and raise what is wrong with it."""
        self._index  # noqa: B018 (computed on first use)

    def sha256(self) -> str:
        """Over the ids and the texts of all documents, in order."""
        return self._index.sha256

    def documents(self, split: str) -> Iterator[Document]:
        """The split's documents in the order of their paths; one file in memory at a time."""
        check_split(split)
        index = self._index
        return (document for document in self._read() if index.split_of(document.id) == split)

    @cached_property
    def _index(self) -> "_Index":
        digest, places, size = hashlib.sha256(), [], 0
        for document in self._read():
            text = document.text.encode()
            digest.update(f"{document.id}\0{len(text)}\0".encode() + text)
            places.append(_place(document.id))
            size += len(text)
        if not places:
            raise VermeilError(
                f"{self.root} holds no text", hint="put .txt or .jsonl files with text into it"
            )
        if len(places) < len(SPLITS):
            raise VermeilError(
                f"{self.root} holds {len(places)} document(s), at least {len(SPLITS)} are needed: "
                "one each for training, validation and test",
                hint="cut the text into several .txt files, e.g. one per chapter, "
                'or into .jsonl lines {"text": "..."}',
            )
        places.sort()
        held_out = max(1, round(HELD_OUT * len(places)))
        return _Index(
            sha256=digest.hexdigest(),
            number=len(places),
            held_out=held_out,
            size=size,
            test_below=places[held_out],
            validation_below=places[2 * held_out],
        )

    def _read(self) -> Iterator[Document]:
        for path, name in self._files():
            read = _read_lines if path.suffix == ".jsonl" else _read_whole
            try:
                for document in read(path, name, self.name):
                    if document.text.strip():
                        yield document
            except OSError as error:
                raise VermeilError(
                    f"{path} cannot be read ({error.strerror})", "mend it or take it out"
                ) from None

    def _files(self) -> Iterator[tuple[Path, str]]:
        """The files with their names below `root`, in the order of the names."""
        if self.root.is_file():
            if self.root.suffix not in SUFFIXES:
                raise VermeilError(
                    f"{self.root} is neither .txt nor .jsonl", hint="rename or convert it"
                )
            yield self.root, self.root.name
            return
        if not self.root.is_dir():
            raise VermeilError(
                f"there is no folder or file {self.root}",
                hint="give a folder of .txt and .jsonl files, or one such file",
            )
        named = ((path, path.relative_to(self.root)) for path in self.root.rglob("*"))
        files = [
            (path, name.as_posix())
            for path, name in named
            if path.suffix in SUFFIXES
            and path.is_file()
            and not any(part.startswith(".") for part in name.parts)
        ]
        yield from sorted(files, key=lambda file: file[1])


@dataclass(frozen=True)
class _Index:
    """What the first reading finds out."""

    sha256: str
    number: int
    held_out: int
    size: int  # bytes of UTF-8
    test_below: int
    validation_below: int

    def split_of(self, identifier: str) -> str:
        place = _place(identifier)
        if place < self.test_below:
            return "test"
        return "validation" if place < self.validation_below else "train"


def _place(identifier: str) -> int:
    """Where a document stands in the line that is cut into splits: 64 bits of its id's hash."""
    return int.from_bytes(hashlib.sha256(identifier.encode()).digest()[:8], "big")


def _read_whole(path: Path, name: str, source: str) -> Iterator[Document]:
    yield Document(name, source, path.stem, _decode(path.read_bytes(), path).removeprefix("\ufeff"))


def _read_lines(path: Path, name: str, source: str) -> Iterator[Document]:
    offset = 0
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            row = _parse(_decode(line, path, offset).removeprefix("\ufeff"), path, number)
            offset += len(line)
            if row:
                title = str(row.get("title", f"{path.stem} {number}"))
                yield Document(f"{name}:{number}", source, title, row["text"])


def _parse(line: str, path: Path, number: int) -> dict | None:
    """A line's JSON object with its "text"; None for a blank line."""
    if not line.strip():
        return None
    try:
        row = json.loads(line.rstrip())
    except json.JSONDecodeError as error:
        raise VermeilError(
            f"{path} line {number} is not JSON ({error.msg}, column {error.colno})", LINE_FORMAT
        ) from None
    if not isinstance(row, dict) or not isinstance(row.get("text"), str):
        raise VermeilError(f'{path} line {number} has no string "text"', LINE_FORMAT)
    if SURROGATE.search(row["text"]):
        raise VermeilError(
            f"{path} line {number} escapes half a character (\\ud800 to \\udfff)", LINE_FORMAT
        )
    return row


def _decode(content: bytes, path: Path, offset: int = 0) -> str:
    """UTF-8 with \\n line ends; `offset` is where `content` begins in its file."""
    try:
        return content.decode().replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        raise VermeilError(
            f"{path} is not UTF-8: byte 0x{content[error.start]:02x} at offset "
            f"{offset + error.start:,}",
            hint=f"convert it, e.g. iconv -f latin1 -t utf-8 {path.name}, or take the file out",
        ) from None
