"""Official downloads of pictures with questions about them."""

import textwrap
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain

from data.official_pictures import Entry, OfficialPictures
from data.pictures import SPLITS, BadPicture, Skipped, check_split
from data.questions import VisualQuestion
from shared.errors import VermeilError

SHOWN = 3  # questions of each picture that is shown
LONG = 3  # lines of a question that are shown


@dataclass(frozen=True)
class AskedEntry(Entry):
    """A picture with the questions about it."""

    questions: tuple[VisualQuestion, ...] = ()


class OfficialQuestions(OfficialPictures):
    """Pictures without words of their own, and questions; a question goes where its picture goes.

    `skipped_questions` says by split what the latest reading of questions passed over.
    """

    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.skipped_questions: dict[str, Skipped] = {}

    def questions(self, split: str) -> Iterator[VisualQuestion]:
        """The split's questions by picture; those whose picture's file is missing are counted."""
        check_split(split)
        return self._questions(split, self._entries[split])

    def inventory(self) -> Iterator[str]:
        """The table of pictures, and how many questions there are."""
        yield from super().inventory()
        numbers = {split: self._asked(self._entries[split]) for split in SPLITS}
        said = (f"{sum(1 for _ in some):,} in {split}" for split, some in numbers.items())
        yield f"\nquestions: {', '.join(said)}"

    def excerpts(self, split: str, number: int, width: int) -> Iterator[str]:
        """The table, the first pictures, and the first questions about each of them."""
        shown = super().excerpts(split, number, width)
        asked = (q for entry in self._entries[split][:number] for q in _questions(entry)[:SHOWN])
        return chain(shown, (line for question in asked for line in lines_of(question, width)))

    def _questions(self, split: str, entries: Iterable[Entry]) -> Iterator[VisualQuestion]:
        skipped = self.skipped_questions[split] = Skipped()
        for entry in entries:
            there = entry.path.is_file()
            for question in _questions(entry):
                if there:
                    yield question
                else:
                    skipped.add(BadPicture(f"question {question.id}", "missing picture"))

    def _check_apart(self, entries: list[Entry]) -> None:
        super()._check_apart(entries)
        seen: set[int] = set()
        for question in self._asked(entries):
            if question.id in seen:
                raise VermeilError(
                    f"question {question.id} stands in two files of {self.root}",
                    "take one of them out",
                )
            seen.add(question.id)

    def _asked(self, entries: Iterable[Entry]) -> Iterator[VisualQuestion]:
        return (question for entry in entries for question in _questions(entry))


def lines_of(question: VisualQuestion, width: int) -> Iterator[str]:
    """A question with its answers, the most frequent first."""
    answers = Counter(question.answers).most_common()
    said = "; ".join(f"{answer} ({n})" if n > 1 else answer for answer, n in answers)
    kind = ", ".join(filter(None, (question.question_type, question.answer_type)))
    head = textwrap.shorten(f"{question.id}: {question.text}", LONG * width, placeholder=" …")
    yield ""
    yield from textwrap.wrap(f"{head}  [{question.picture}{f', {kind}' * bool(kind)}]", width)
    yield from textwrap.wrap(
        textwrap.shorten(said, LONG * width, placeholder=" …") or "no answer",
        width, initial_indent="  ", subsequent_indent="  ",
    )  # fmt: skip


def _questions(entry: Entry) -> tuple[VisualQuestion, ...]:
    return entry.questions if isinstance(entry, AskedEntry) else ()
