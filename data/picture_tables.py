"""How many pictures a data set has of what, and what they show, as lines for people."""

import textwrap
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from itertools import zip_longest
from typing import Any

from data.pictures import Picture, PictureData


def inventory(
    data: PictureData, listed: Callable[[str], Iterable[Any]] | None = None
) -> Iterator[str]:
    """A table of pictures and their words by class and split, and what was passed over.

    `listed` gives a split's labels and texts where that is possible without the pixels.
    """
    pictures, texts = Counter(), Counter()
    for split in data.parts:
        for picture in (listed or data.pictures)(split):
            for key in ((data.classes[picture.label], split), ("all", split)):
                pictures[key] += 1
                texts[key] += len(picture.texts)
    widest = max(map(len, [*data.classes, "class"]))
    yield f"{'class':<{widest}}  {'split':<10}  {'pictures':>9}  {'texts':>9}"
    for name in [*data.classes, "all"]:
        for split in data.parts:
            if number := pictures[name, split]:
                texts_ = texts[name, split]
                yield f"{name:<{widest}}  {split:<10}  {number:>9,}  {texts_:>9,}"
    for split, skipped in data.skipped.items():
        if skipped.counts:
            yield f"\npassed over in {split}: {skipped}"


def excerpts(
    data: PictureData, pictures: Iterable[Picture], number: int, width: int
) -> Iterator[str]:
    """The table, then the first pictures of each class in turn."""
    first = _varied(pictures, number)
    yield from data.inventory()
    yield from described(data, first, width)


def described(data: PictureData, pictures: Iterable[Picture], width: int) -> Iterator[str]:
    """Size, class and words of each picture."""
    for picture in pictures:
        height, wide, _ = picture.pixels.shape
        kind = ", ".join(filter(None, (data.classes[picture.label], picture.style)))
        yield f"\n{picture.texts[0]}  [{picture.id}, {wide} x {height} pixels, {kind}]"
        for title, words in (("also", picture.texts[1:]), ("tags", picture.tags)):
            if words:
                said = f"{title}: {', '.join(words)}"
                yield textwrap.fill(said, width, initial_indent="  ", subsequent_indent="  ")


def _varied(pictures: Iterable[Picture], number: int) -> list[Picture]:
    by_class: dict[tuple[int, str], list[Picture]] = {}
    for picture in pictures:
        first = by_class.setdefault((picture.label, picture.style), [])
        if len(first) < number:
            first.append(picture)
    rounds = zip_longest(*by_class.values())
    return [picture for turn in rounds for picture in turn if picture][:number]
