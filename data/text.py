"""What every reader of text gives: documents, in three splits, with a name and an identity."""

from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass

from data.dataset import SPLITS, DataSet, check_split

__all__ = ["SPLITS", "Document", "TextData", "check_split"]


@dataclass(frozen=True)
class Document:
    """One whole text: a novel, a speech, an article, a file; never cut between two splits."""

    id: str  # unique within its data set and stable over time, e.g. "austen/persuasion"
    source: str  # the part of the data set it belongs to, e.g. "austen"
    title: str
    text: str


class TextData(DataSet):
    """A data set of text; `documents` streams, so that it may be larger than memory."""

    @abstractmethod
    def documents(self, split: str) -> Iterator[Document]:
        """The documents of "train", "validation" or "test", always in the same order."""

    def inventory(self) -> Iterator[str]:
        """Documents, bytes and characters by source and split."""
        from data.text_tables import inventory

        return inventory(self)

    def excerpts(self, split: str, number: int, width: int) -> Iterator[str]:
        """The table, then the beginnings of documents of each source in turn."""
        from data.text_tables import excerpts

        return excerpts(self, self.documents(split), number, width)
