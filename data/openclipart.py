"""The Open Clip Art Library of 2005: drawings in the public domain with titles and keywords."""

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath
from typing import NamedTuple
from xml.etree import ElementTree

from data.drawings import Drawing, FetchedDrawings
from data.embedded.packages import Package
from data.pictures import BadPicture

FOLDER = "usr/share/openclipart/svg/"
# 1,378 stars of one program, and sets of icons that are named after their set.
LEFT_OUT = ("shapes/stars/", "computer/icons/")
DC = "{http://purl.org/dc/elements/1.1/}"
KEYWORD = "{http://www.w3.org/1999/02/22-rdf-syntax-ns#}li"
NO_KEYWORD = re.compile(r"hash|unsorted|.*0x[0-9a-f]+.*", re.IGNORECASE)
SET_OF = re.compile(r"clip ?art by [^-]*- *", re.IGNORECASE)
SHARED = 3  # pictures; a title that more have is that of their set
WORDS = range(2, 31)  # of a description that is one


class Facts(NamedTuple):
    """What stands in a file beside the drawing; each may be empty."""

    title: str
    description: str
    keywords: tuple[str, ...]
    creator: str


class OpenClipart(FetchedDrawings):
    """Drawings of 128 pixels; ids are paths such as food/fruit/lime_half.svg.

    The first text is the title, or what the file is called where a whole set has one title; the
    second, of some, a description. Tags are the keywords, classes the outermost folders.
    """

    name = "openclipart"
    licence = "public domain"
    description = "clip art with titles and keywords (Open Clip Art Library 0.18)"
    size = "210 MB"
    splits = "3,858 / 197 / 208"
    side = 128
    classes = ("animals", "buildings", "buttons", "computer", "containers", "decorations",
               "education", "electronics", "food", "geography", "logos", "office", "people",
               "plants", "recreation", "science", "shapes", "signs_and_symbols", "special",
               "tools", "transportation", "unsorted")  # fmt: skip
    package = Package(
        "apt",
        "openclipart-svg",
        "1:0.18+dfsg-19",
        "openclipart-svg_1%3a0.18+dfsg-19_all.deb",
        "989712d90d57dfa3230049f553bb43b76c30ee4d4b8c5f6e106e33f7db5cbdc5",
    )

    def drawings(self, files: Mapping[str, bytes]) -> Iterator[Drawing | BadPicture]:
        """The drawings in the order of their names; of equal files the first."""
        names = sorted(path.removeprefix(FOLDER) for path in files if path.endswith(".svg"))
        wanted = [name for name in names if not name.startswith(LEFT_OUT)]
        first = {files[FOLDER + name]: name for name in reversed(wanted)}
        wanted = [name for name in wanted if first[files[FOLDER + name]] == name]
        read = {name: facts(files[FOLDER + name], name) for name in wanted}
        said = Counter(text for known in read.values() for text in set(_said(known)))
        for name, known in read.items():
            category = name.partition("/")[0]
            if isinstance(known, BadPicture):
                yield known
            elif category not in self.classes:
                yield BadPicture(name, "no class's folder")
            elif not (found := texts(known, name, said)):
                yield BadPicture(name, "no title")
            else:
                yield Drawing(name, files[FOLDER + name], category, found, known.keywords)


def facts(content: bytes, name: str) -> Facts | BadPicture:
    """Title, description and keywords in the file's Dublin Core."""
    if not content:
        return BadPicture(name, "empty file")
    try:
        root = ElementTree.fromstring(content)
    except (ElementTree.ParseError, ValueError, LookupError) as error:
        return BadPicture(name, "damaged", str(error))
    title, description = (
        _plain(next((e.text for e in root.iter(DC + kind) if e.text), ""))
        for kind in ("title", "description")
    )
    keywords = (_plain(element.text) for element in root.iter(KEYWORD))
    unique = dict.fromkeys(word for word in keywords if word and not NO_KEYWORD.fullmatch(word))
    creator = next((e.text for e in root.iterfind(f".//{DC}creator//{DC}title") if e.text), "")
    return Facts(SET_OF.sub("", title), description, tuple(unique), _plain(creator))


def texts(known: Facts, name: str, said: Counter[str]) -> tuple[str, ...]:
    """The title unless others have it too, else the file's name in words; then the description."""
    own = [text for text in _said(known) if said[text] <= SHARED and "@" not in text]
    found = [known.title if known.title in own else _called(name, known.creator)]
    if known.description in own and len(known.description.split()) in WORDS:
        found.append(known.description)
    return tuple(dict.fromkeys(text for text in found if len(text) > 1))


def _called(name: str, creator: str) -> str:
    """A file's name in words, without the letters of its creator's name that often end it."""
    words = re.findall(r"[^\W\d_]+", PurePosixPath(name).stem)
    names = re.findall(r"[^\W\d_]+", creator.casefold())
    while len(words) > 1 and any(part.startswith(words[-1].casefold()) for part in names):
        words.pop()
    return " ".join(words)


def _said(known: Facts | BadPicture) -> list[str]:
    return [] if isinstance(known, BadPicture) else [t for t in known[:2] if t]


def _plain(text: str | None) -> str:
    return " ".join((text or "").replace("_", " ").split())
