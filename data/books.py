"""Books in the manner of BookCorpus: text files with one sentence a line."""

from collections.abc import Iterator
from functools import partial
from itertools import groupby
from pathlib import Path

from data.files import check_length, decode, lines
from data.folder_text import FolderText
from data.text import Document

# The release of 2015 (books_large_p1.txt) does not say where a book ends: 74 million lines in a
# row. Real books stay below this number of lines.
MOST_LINES = 100_000


class Books(FolderText):
    """One document per book: in a single file blank lines divide them, in a folder each is a file.

    Sentences are joined by spaces, for the line breaks are the format's and not the author's; in
    a folder a blank line ends a paragraph. After `MOST_LINES` lines a new document begins. Ids are
    file names with `:` and the number of the book in the file.
    """

    licence = "the books' own"

    def __init__(self, root: Path):
        super().__init__(root)
        self.name = f"books@{root.name}"
        self.description = f"books of {root}, one sentence a line"
        self.readers = {".txt": partial(_read_books, several=root.is_file())}


def _read_books(path: Path, name: str, source: str, *, several: bool) -> Iterator[Document]:
    """The books of a file, or the one that it is."""
    for number, sentences in enumerate(_books(path, several), start=1):
        title = f"{path.stem} {number}" if several else path.stem
        paragraphs = (list(group) for written, group in groupby(sentences, key=bool) if written)
        text = "\n\n".join(" ".join(paragraph) for paragraph in paragraphs)
        yield Document(f"{name}:{number}", source, title, text)


def _books(path: Path, several: bool) -> Iterator[list[str]]:
    """The lines of one book after the other; blank ones are kept where they do not divide."""
    sentences: list[str] = []
    size = 0
    for offset, line in lines(path):
        sentence = decode(line, path, offset).removeprefix("\ufeff").strip()
        sentences.append(sentence)
        size += len(line)
        check_length(size, f"the book of {path} before offset {offset:,}", "break its lines")
        if len(sentences) == MOST_LINES or (several and not sentence):
            if any(sentences):
                yield sentences
            sentences, size = [], 0
    if any(sentences):
        yield sentences
