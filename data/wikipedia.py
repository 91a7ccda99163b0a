"""The articles of an official Wikipedia dump, e.g. enwiki-20260901-pages-articles.xml.bz2."""

import xml.etree.ElementTree as ET
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import IO
from xml.etree.ElementTree import Element

from data.files import MAX_DOCUMENT, Progress, open_packed
from data.streamed_text import DownloadedText, Wanted
from data.text import Document
from shared.errors import VermeilError

FILE, CATEGORY = "6", "14"  # namespaces whose links show a picture, or nothing


class Wikipedia(DownloadedText):
    """One document per article: no redirects, no other namespaces, wikitext made plain.

    Ids are the wiki's name and the page's number (`enwiki/12`), which stay the same from one dump
    to the next. Format: MediaWiki's XML export, schema 0.10 and 0.11, one revision a page.
    """

    name = "wikipedia"
    title = "a Wikipedia dump"
    licence = "CC BY-SA 4.0, the authors are named in each article's history"
    suffixes = (".bz2", ".xml")

    def _read_file(
        self, path: Path, wanted: Wanted, skipped: Counter[str], progress: Progress
    ) -> Iterator[Document]:
        from data.wikitext import plain_text

        wiki, hidden = path.name, frozenset[str]()
        with open_packed(path) as file:
            for element in _elements(_Metered(file, path, progress), path, progress):
                if _tag(element) == "siteinfo":
                    wiki, hidden = _site(element, wiki)
                    continue
                title, number = element.findtext("{*}title", ""), element.findtext("{*}id", "")
                progress.at = f"after the page '{title}'"
                identifier = f"{wiki}/{number}"
                if not _is_article(element) or not wanted(identifier):
                    continue
                text = plain_text(element.findtext("{*}revision/{*}text") or "", hidden)
                if text is None:
                    skipped["wikitext that does not parse"] += 1
                else:
                    yield Document(identifier, wiki, title, text)


def _elements(file: "_Metered", path: Path, progress: Progress) -> Iterator[Element]:
    """The dump's <siteinfo> and every <page>, forgotten as soon as the next one is asked for."""
    events = ET.iterparse(file, events=("start", "end"))  # type: ignore[arg-type]
    try:
        _, root = next(events)
        if _tag(root) != "mediawiki":
            raise VermeilError(
                f"{path} is no Wikipedia dump: it begins with <{_tag(root)}>",
                hint="the file to download is WIKI-DATE-pages-articles.xml.bz2",
            )
        for event, element in events:
            if event == "end" and _tag(element) in ("siteinfo", "page"):
                yield element
                root.clear()
                file.restart()
    except ET.ParseError as error:
        raise VermeilError(
            f"{path} is no sound XML {progress.at} ({error})", "download it again"
        ) from None


class _Metered:
    """A file that gives no more than a document's length before `restart` is called."""

    def __init__(self, file: IO[bytes], path: Path, progress: Progress):
        self.file, self.path, self.progress, self.taken = file, path, progress, 0

    def read(self, size: int = -1) -> bytes:
        content = self.file.read(size)
        self.taken += len(content)
        if self.taken > MAX_DOCUMENT:
            raise VermeilError(
                f"{self.path} is damaged {self.progress.at}: a page of more than "
                f"{MAX_DOCUMENT / 2**20:,.0f} MB",
                hint="download it again (dumps with the whole history are not read)",
            )
        return content

    def restart(self) -> None:
        self.taken = 0


def _tag(element: Element) -> str:
    """The element's name without the schema, which changes with MediaWiki's version."""
    return element.tag.rpartition("}")[2]


def _site(siteinfo: Element, unnamed: str) -> tuple[str, frozenset[str]]:
    """The wiki's name, and what its links to files and categories begin with, in lower case."""
    words = {"file", "image", "category"}  # understood in every language
    for namespace in siteinfo.iterfind("{*}namespaces/{*}namespace"):
        if namespace.get("key") in (FILE, CATEGORY) and namespace.text:
            words.add(namespace.text.lower())
    return siteinfo.findtext("{*}dbname") or unnamed, frozenset(words)


def _is_article(page: Element) -> bool:
    return (
        page.findtext("{*}ns") == "0"
        and page.find("{*}redirect") is None
        and page.findtext("{*}revision/{*}model", "wikitext") == "wikitext"
    )
