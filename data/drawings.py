"""Clip art of packages: drawings of all sizes as squares, with human words, divided by families."""

import json
from abc import abstractmethod
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np

from data.embedded.packages import unpack
from data.fetched_pictures import FetchedPictures, Part
from data.pictures import SPLITS, BadPicture, Skipped, decode
from data.splits import Census
from data.svg import OVERSAMPLED, rasterised, squared
from shared.errors import VermeilError
from shared.home import write_atomically

PASSED_OVER = "passed_over.json"


class Drawing(NamedTuple):
    """One file that may be a picture."""

    id: str  # its path, with the suffix of its kind
    content: bytes
    category: str
    texts: tuple[str, ...]
    tags: tuple[str, ...] = ()
    style: str = ""


class FetchedDrawings(FetchedPictures):
    """Drawings on white, cut to what is drawn, in the middle of squares of `side` pixels.

    What cannot be drawn or has no words is left out, counted and named when the package is
    unpacked; `passed_over` says it afterwards. Drawings with the same first text are of one split:
    90 / 5 / 5 % of the texts, by their hash.
    """

    side: int

    @property
    def files(self) -> tuple[str, ...]:
        """The splits' files, and what was left out."""
        return (*super().files, PASSED_OVER)

    @abstractmethod
    def drawings(self, files: Mapping[str, bytes]) -> Iterator[Drawing | BadPicture]:
        """The drawings among the files of the package, and what cannot be one."""

    def parse(self, blob: bytes) -> dict[str, Part]:
        """Draw all; writes down what was left out."""
        skipped, facts, pixels = Skipped(), [], []
        for drawing in self.drawings(unpack(self.package, blob)):
            try:
                pixels.append(self._draw(drawing))
            except BadPicture as bad:
                skipped.add(bad)
            else:
                facts.append(self._facts(drawing))  # type: ignore[arg-type]
        write_atomically(
            self.folder / PASSED_OVER, json.dumps([skipped.counts, skipped.names], indent=2) + "\n"
        )
        if not pixels:
            raise VermeilError(
                f"no drawing of {self.package.file} can be used", f"passed over: {skipped}"
            )
        return _divided(np.stack(pixels), facts)

    def passed_over(self) -> Skipped:
        """What was left out when the package was unpacked."""
        self._verified  # noqa: B018 (complains where nothing was unpacked)
        counts, names = json.loads((self.folder / PASSED_OVER).read_text())
        return Skipped(Counter(counts), names)

    def inventory(self) -> Iterator[str]:
        """Pictures by class and split, and what was left out."""
        yield from super().inventory()
        if (skipped := self.passed_over()).counts:
            yield f"\nleft out of the package: {skipped}"

    def _draw(self, drawing: Drawing | BadPicture) -> np.ndarray:
        if isinstance(drawing, BadPicture):
            raise drawing
        name, content = drawing.id, drawing.content
        if name.endswith(".svg"):
            return squared(rasterised(content, name, OVERSAMPLED * self.side), name, self.side)
        return squared(decode(content, name), name, self.side)

    def _facts(self, drawing: Drawing) -> dict:
        facts = {"id": drawing.id, "label": self.classes.index(drawing.category)}
        words = {"texts": drawing.texts, "tags": drawing.tags, "style": drawing.style}
        return facts | {key: value for key, value in words.items() if value}


def _divided(pixels: np.ndarray, facts: list[dict]) -> dict[str, Part]:
    families = [known["texts"][0].casefold() for known in facts]
    census = Census()
    for family in dict.fromkeys(families):
        census.add(family)
    if census.number < len(SPLITS):
        raise VermeilError(f"{census.number} different drawing(s) make no three splits")
    cuts = census.splits()
    own = np.array([SPLITS.index(cuts.of(family)) for family in families])
    chosen = {split: np.flatnonzero(own == number) for number, split in enumerate(SPLITS)}
    return {
        split: Part(pixels[rows], [facts[row] for row in rows]) for split, rows in chosen.items()
    }
