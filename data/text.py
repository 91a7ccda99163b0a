"""What every reader of text gives: documents, in three splits, with a name and an identity."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass

from shared.errors import VermeilError, nearest

SPLITS = ("train", "validation", "test")


@dataclass(frozen=True)
class Document:
    """One whole text: a novel, a speech, an article, a file; never cut between two splits."""

    id: str  # unique within its data set and stable over time, e.g. "austen/persuasion"
    source: str  # the part of the data set it belongs to, e.g. "austen"
    title: str
    text: str


class TextData(ABC):
    """A data set of text; `documents` streams, so that it may be larger than memory."""

    name: str
    version: str  # changes with the content and with the splits
    licence: str
    description: str  # one line
    size: str  # of the text, for people, e.g. "16.0 MB"
    splits: str  # documents in train, validation and test, for people, e.g. "214 / 13 / 13"

    @abstractmethod
    def ready(self) -> bool:
        """Whether it lies on this machine; a quick look that verifies nothing."""

    @abstractmethod
    def prepare(self) -> None:
        """Make it ready and verify it; an error names what is missing and what brings it."""

    @abstractmethod
    def sha256(self) -> str:
        """The identity of the content, in hexadecimal, for the manifests of what learns from it."""

    @abstractmethod
    def documents(self, split: str) -> Iterator[Document]:
        """The documents of "train", "validation" or "test", always in the same order."""


def check_split(split: str) -> None:
    """Refuse a split that does not exist."""
    if split not in SPLITS:
        raise VermeilError(f"split '{split}' does not exist", hint=nearest(split, list(SPLITS)))
