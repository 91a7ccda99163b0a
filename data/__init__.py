"""One module per data set: get, verify, read; the small real packs lie in data/embedded.

A data set is named by one word: a known name (`embedded_text`), a reader and what it shall read
(`wikipedia@enwiki-20260901-pages-articles.xml.bz2`, `hub@roneneldan/TinyStories`), or a path of
your own files (`./texts`). One word, so that a configuration, a manifest and the command line
spell it alike; @ because an artifact is named that way too, and : already stands in documents' ids.
"""

from importlib import import_module
from pathlib import Path

from data.text import Document, TextData
from shared.errors import VermeilError, nearest

__all__ = ["DATASETS", "READERS", "Document", "TextData", "load"]

# Name -> "module:class"; the class is called with the folder of an official download, or None.
DATASETS = {
    "embedded_text": "data.embedded_text:EmbeddedText",
    "embedded_sample": "data.embedded_text:EmbeddedSample",
    "wiki_articles": "data.wiki_articles:WikiArticles",
    "chats": "data.chats:Chats",
    "poetry": "data.poetry:Poetry",
}
# Name -> "module:class"; the class is called with the place of what it reads.
READERS = {
    "wikipedia": "data.wikipedia:Wikipedia",
    "common_crawl": "data.common_crawl:CommonCrawl",
    "books": "data.books:Books",
    "hub": "data.hub_text:HubText",
}


def load(name_or_path: str | Path, root: Path | None = None) -> TextData:
    """The data set of that name, what READER@PLACE says, or the user's own text files at a path.

    A known name wins over a folder of the same name (write ./NAME for the folder). `root` is the
    folder that holds a named data set's official files, where it is not the default one, or the
    PLACE of a reader.
    """
    name, at, place = str(name_or_path).partition("@")
    if name in DATASETS or name in READERS:
        if at and root is not None:
            raise VermeilError(f"{name_or_path} says where it is, it takes no root", "choose one")
        root = Path(place).expanduser() if place else root
        if name in READERS and root is None:
            raise VermeilError(f"{name} reads what you give it", f"write {name}@PLACE")
        module, _, reader = (DATASETS | READERS)[name].partition(":")
        return getattr(import_module(module), reader)(root)
    path = Path(name_or_path).expanduser()
    if at and "/" not in name and not path.exists():
        raise VermeilError(f"there is no reader '{name}'", nearest(name, [*READERS]))
    if path.exists() or path.suffix or "/" in str(name_or_path):
        from data.folder_text import FolderText

        if root is not None:
            raise VermeilError(f"{path} is a path already, it takes no root", "leave out --root")
        if (path / "data_card.json").is_file():
            from data.clean_text import CleanText

            return CleanText(path)
        return FolderText(path)
    raise VermeilError(
        f"data set '{name_or_path}' does not exist, nor a folder of that name",
        nearest(name, [*DATASETS, *READERS]),
    )
