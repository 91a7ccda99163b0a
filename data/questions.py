"""What every reader of questions about pictures gives, beside the pictures themselves."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol, runtime_checkable


@dataclass(frozen=True)
class VisualQuestion:
    """One question about one picture, and what people answered."""

    id: int
    picture: str  # the picture's id in the same data set
    text: str
    answers: tuple[str, ...]  # 10 in VQA v2, 1 or more elsewhere
    answer_type: str = ""  # as the annotations say: "yes/no", "number" or "other"
    question_type: str = ""  # as the annotations say, e.g. "how many"


@runtime_checkable
class HasQuestions(Protocol):
    """A `PictureData` that also knows questions about its pictures."""

    def questions(self, split: str) -> Iterator[VisualQuestion]:
        """The questions of a split, always in the same order."""
        ...
