"""What every data set says of itself, whatever it holds: a name, a licence, an identity."""

from abc import ABC, abstractmethod
from collections.abc import Iterator

from shared.errors import VermeilError, nearest

SPLITS = ("train", "validation", "test")


class DataSet(ABC):
    """Something to learn from, in three splits."""

    name: str
    version: str  # changes with the content and with the splits
    licence: str
    description: str  # one line
    size: str  # for people, e.g. "16.0 MB"
    splits: str  # how much is in train, validation and test, for people, e.g. "214 / 13 / 13"

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
    def inventory(self) -> Iterator[str]:
        """Lines of a table, how much of what is in each split; this goes through all of it."""

    @abstractmethod
    def excerpts(self, split: str, number: int, width: int) -> Iterator[str]:
        """Lines, `width` wide, that show a few of one split; complains at the call."""


def check_split(split: str) -> None:
    """Refuse a split that does not exist."""
    if split not in SPLITS:
        raise VermeilError(f"split '{split}' does not exist", hint=nearest(split, list(SPLITS)))
