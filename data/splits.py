"""Whole documents divided into training, validation and test by the hash of their ids alone.

The order of files plays no part, and neither does the text. Where all documents can be counted
first, `Census` holds out an exact number; where they cannot (a crawl, the Hub), `SHARE` of all
places is held out, and a document's split never changes when more documents come.
"""

import hashlib
from dataclasses import dataclass

HELD_OUT = 0.05  # of counted documents, for validation and again for test; at least one each
MOST_HELD_OUT = 5_000  # documents each: more would cost time and hardly narrow an interval
SHARE = 0.01  # of documents that are not counted first, for validation and again for test
PLACES = 2**64


def place(identifier: str) -> int:
    """Where a document stands in the line that is cut into splits: 64 bits of its id's hash."""
    return int.from_bytes(hashlib.sha256(identifier.encode()).digest()[:8], "big")


@dataclass(frozen=True)
class Splits:
    """The two cuts: test comes first in the line, then validation, then training."""

    test_below: int
    validation_below: int

    def of(self, identifier: str) -> str:
        """The split that a document belongs to."""
        position = place(identifier)
        if position < self.test_below:
            return "test"
        return "validation" if position < self.validation_below else "train"


BY_SHARE = Splits(int(SHARE * PLACES), int(2 * SHARE * PLACES))


class Census:
    """Counts documents and finds the cuts; remembers only the places that can become one.

    `held_out` is the share of validation, and again that of test.
    """

    def __init__(self, held_out: float = HELD_OUT):
        self.number, self.share = 0, held_out
        self._smallest: list[int] = []

    def add(self, identifier: str) -> None:
        """Count one document."""
        self.number += 1
        self._smallest.append(place(identifier))
        if len(self._smallest) > 8 * MOST_HELD_OUT:
            self._forget()

    @property
    def held_out(self) -> int:
        """Documents in validation, and as many in test."""
        return max(1, min(round(self.share * self.number), MOST_HELD_OUT))

    def splits(self) -> Splits:
        """The cuts; at least three documents must have been counted."""
        self._forget()
        return Splits(self._smallest[self.held_out], self._smallest[2 * self.held_out])

    def _forget(self) -> None:
        self._smallest.sort()
        del self._smallest[2 * MOST_HELD_OUT + 1 :]
