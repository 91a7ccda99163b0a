"""How much text a data set has, and how it reads, as lines for people."""

import textwrap
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import zip_longest

from data.text import SPLITS, Document, TextData

EXCERPT_LINES = 3
MOST_WIDTH = 100


def inventory(data: TextData) -> Iterator[str]:
    """A table of documents, bytes and characters by source and split."""
    documents, size, characters = Counter(), Counter(), Counter()
    for split in SPLITS:
        for document in data.documents(split):
            bytes_ = len(document.text.encode())
            for key in ((document.source, split), ("all", split)):
                documents[key] += 1
                size[key] += bytes_
                characters[key] += len(document.text)
    widest = max(len(source) for source, _ in documents)
    head = f"{'source':<{widest}}  {'split':<10}  {'documents':>9}  {'bytes':>13}"
    yield f"{head}  {'characters':>13}"
    for source in sorted({source for source, _ in documents} - {"all"}) + ["all"]:
        for split in SPLITS:
            if key_count := documents[source, split]:
                yield (
                    f"{source:<{widest}}  {split:<10}  {key_count:>9,}  "
                    f"{size[source, split]:>13,}  {characters[source, split]:>13,}"
                )


def excerpts(
    data: TextData, documents: Iterable[Document], number: int, width: int
) -> Iterator[str]:
    """The table, then the beginnings of the first documents, taken from the sources in turn."""
    yield from data.inventory()
    yield from beginnings(_varied(documents, number), width)


def _varied(documents: Iterable[Document], number: int) -> list[Document]:
    by_source: dict[str, list[Document]] = {}
    for document in documents:
        first = by_source.setdefault(document.source, [])
        if len(first) < number:
            first.append(document)
    rounds = zip_longest(*by_source.values())
    return [document for turn in rounds for document in turn if document][:number]


def beginnings(documents: Iterable[Document], width: int) -> Iterator[str]:
    """Title, id, length and the first lines of each document."""
    for document in documents:
        yield f"\n{document.title}  [{document.id}, {len(document.text):,} characters]"
        yield _beginning(document.text, width)


def _beginning(text: str, width: int) -> str:
    """The first lines, wrapped; paragraphs run on, or a title page would be all one sees."""
    return textwrap.fill(
        " / ".join(
            line for line in text[: 2 * EXCERPT_LINES * MOST_WIDTH].splitlines() if line.strip()
        ),
        width=width,
        max_lines=EXCERPT_LINES,
        placeholder=" …",
        initial_indent="  ",
        subsequent_indent="  ",
    )
