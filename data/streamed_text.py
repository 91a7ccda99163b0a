"""What is too large to be read before it is used: one pass, divided by share, losses counted."""

import hashlib
from abc import abstractmethod
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from functools import cached_property
from itertools import chain, islice
from pathlib import Path

from data.files import Named, Progress, find, reading, sha256_of
from data.splits import BY_SHARE, SHARE
from data.text import Document, TextData, check_split
from shared.errors import VermeilError

Wanted = Callable[[str], bool]  # whether the document of that id is of the split being read


class StreamedText(TextData):
    """A stream of documents; `skipped` counts, by split and reason, what was passed over."""

    splits = f"{1 - 2 * SHARE:.0%} / {SHARE:.0%} / {SHARE:.0%}"

    def __init__(self):
        self.skipped: dict[str, Counter[str]] = {}

    @abstractmethod
    def _read(self, wanted: Wanted, skipped: Counter[str]) -> Iterator[Document]:
        """The wanted documents in order; costly work is done for those alone."""

    def documents(self, split: str) -> Iterator[Document]:
        """The split's documents in the order of the source."""
        check_split(split)
        self.prepare()  # complains now, not at the first document
        return self._documents(split)

    def inventory(self) -> Iterator[str]:
        """Documents, bytes and characters by source and split, and what was passed over."""
        yield from super().inventory()
        if any(self.skipped.values()):
            skipped = sum(self.skipped.values(), Counter()).most_common()
            yield "\npassed over: " + ", ".join(f"{n:,} {reason}" for reason, n in skipped)

    def excerpts(self, split: str, number: int, width: int) -> Iterator[str]:
        """The first documents; counting all can take hours."""
        from data.text_tables import beginnings

        documents = islice(self.documents(split), number)
        head = f"{self.size}; documents are divided {self.splits}"
        return chain([head], beginnings(documents, width))

    def _documents(self, split: str) -> Iterator[Document]:
        skipped = self.skipped[split] = Counter()
        number = 0
        for document in self._read(lambda identifier: BY_SHARE.of(identifier) == split, skipped):
            if document.text.strip():
                number += 1
                yield document
            else:
                skipped["blank"] += 1
        if not number:
            raise VermeilError(
                f"{self.name} has no document in its {split} split ({self.splits} of the "
                f"documents, by the hash of their ids)",
                hint="it takes some hundred documents; save fewer as .txt files in a folder",
            )


class DownloadedText(StreamedText):
    """Official files, read where the user put them: one, or all below a folder."""

    version = "1"  # of the reader: changes when the same file gives other documents
    title: str  # of the data set
    suffixes: Collection[str]

    def __init__(self, root: Path):
        super().__init__()
        self.root = root
        self.name = f"{self.name}@{root.name}"
        self.description = f"{self.title} in {root}"

    @property
    def size(self) -> str:
        """Megabytes as they lie on the disk."""
        return f"{sum(path.stat().st_size for path, _ in self._files) / 1e6:.1f} MB, packed"

    def ready(self) -> bool:
        """Whether the folder or file is there."""
        return self.root.exists()

    def prepare(self) -> None:
        """Find the files; there is nothing to fetch, and reading them comes later."""
        if not self._files:
            raise VermeilError(
                f"{self.root} holds no file that ends in {' or '.join(self.suffixes)}",
                hint=f"put the files of {self.title} there as they were downloaded",
            )

    def sha256(self) -> str:
        """Over names and contents of the files as they lie there, and the reader's version."""
        return self._sha256

    @cached_property
    def _sha256(self) -> str:
        self.prepare()
        identity = f"{self.version} {sha256_of(self._files)}"
        return hashlib.sha256(identity.encode()).hexdigest()

    @cached_property
    def _files(self) -> list[Named]:
        return find(self.root, self.suffixes)

    def _read(self, wanted: Wanted, skipped: Counter[str]) -> Iterator[Document]:
        for path, _ in self._files:
            with reading(path) as progress:
                yield from self._read_file(path, wanted, skipped, progress)

    @abstractmethod
    def _read_file(
        self, path: Path, wanted: Wanted, skipped: Counter[str], progress: Progress
    ) -> Iterator[Document]:
        """The wanted documents of one file; `progress.at` says where it is, for complaints."""
