"""A text that `vermeil data prepare NAME --clean` has prepared."""

import json
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path

from data.card import CARD, DataCard
from data.files import find, lines, sha256_of
from data.text import SPLITS, Document, TextData, check_split
from shared.errors import VermeilError


class CleanText(TextData):
    """Documents in `root`/SPLIT/*.jsonl, with their card."""

    def __init__(self, root: Path):
        self.root = root
        self.card = DataCard.load(root)
        self.name, self.version = self.card.name, self.card.version
        self.licence = self.card.licence
        self.description = f"{self.card.source['name']}, cleaned"
        kept = [self.card.splits[split] for split in SPLITS]
        self.size = f"{sum(split.written for split in kept) / 1e6:.1f} MB"
        self.splits = " / ".join(f"{split.kept.documents:,}" for split in kept)

    def ready(self) -> bool:
        """Whether it was finished."""
        return (self.root / CARD).is_file()

    def prepare(self) -> None:
        """Verify it."""
        self._verified  # noqa: B018 (computed on first use)

    def sha256(self) -> str:
        """Over its files, verified."""
        return self._verified

    def documents(self, split: str) -> Iterator[Document]:
        """The split's documents in the order of their source."""
        check_split(split)
        self.prepare()
        paths = sorted((self.root / split).glob("*.jsonl"))
        return (Document(**json.loads(line)) for path in paths for _, line in lines(path))

    @cached_property
    def _verified(self) -> str:
        found = sha256_of(find(self.root, (".jsonl",)))
        if found != self.card.sha256:
            raise VermeilError(
                f"the text in {self.root} is not what was prepared: its sha256 differs",
                f"rm -r {self.root} && vermeil data prepare {self.card.source['name']} --clean",
            )
        return found
