"""Your own text: a folder, or one file, of .txt, .jsonl and .parquet."""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from data.files import find, reading
from data.splits import Census, Splits
from data.text import SPLITS, Document, TextData, check_split
from data.text_files import Reader, read_lines, read_rows, read_whole
from shared.errors import VermeilError


class FolderText(TextData):
    """One document per .txt file, per line of a .jsonl and per row of a .parquet with a "text".

    `root` is a folder (searched to any depth, hidden names left out) or a single file. Ids are
    paths below `root`, for lines and rows with `:` and their number. Text is UTF-8; a byte order
    mark is dropped and Windows line ends become \\n. Blank documents are passed over.

    The first use reads everything once: hashes, counts, and errors come before training, not in
    it. What is held in memory is one document, or a few rows of a .parquet file.
    """

    version = "1"
    licence = "your own"
    readers: Mapping[str, Reader] = {
        ".txt": read_whole,
        ".jsonl": read_lines,
        ".parquet": read_rows,
    }

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
        splits = self._index.splits
        return (document for document in self._read() if splits.of(document.id) == split)

    @cached_property
    def _index(self) -> "_Index":
        digest, census, size = hashlib.sha256(), Census(), 0
        for document in self._read():
            text = document.text.encode()
            digest.update(f"{document.id}\0{len(text)}\0".encode() + text)
            census.add(document.id)
            size += len(text)
        if not census.number:
            raise VermeilError(
                f"{self.root} holds no text", f"put {self._kinds} files with text into it"
            )
        if census.number < len(SPLITS):
            raise VermeilError(
                f"{self.root} holds {census.number} document(s), at least {len(SPLITS)} are "
                "needed: one each for training, validation and test",
                hint="cut the text into several .txt files, e.g. one per chapter, "
                'or into .jsonl lines {"text": "..."}',
            )
        return _Index(digest.hexdigest(), census.number, census.held_out, size, census.splits())

    def _read(self) -> Iterator[Document]:
        for path, name in find(self.root, self.readers):
            with reading(path):
                for document in self.readers[path.suffix](path, name, self.name):
                    if document.text.strip():
                        yield document

    @property
    def _kinds(self) -> str:
        *first, last = self.readers
        return f"{', '.join(first)} or {last}" if first else last


@dataclass(frozen=True)
class _Index:
    """What the first reading finds out."""

    sha256: str
    number: int
    held_out: int
    size: int  # bytes of UTF-8
    splits: Splits
