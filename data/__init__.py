"""One module per data set: get, verify, read; the small real packs lie in data/embedded."""

from importlib import import_module
from pathlib import Path

from data.text import Document, TextData
from shared.errors import VermeilError, nearest

__all__ = ["DATASETS", "Document", "TextData", "load"]

# Name -> "module:class"; the class is called with the folder of an official download, or None.
DATASETS = {
    "embedded_text": "data.embedded_text:EmbeddedText",
    "embedded_sample": "data.embedded_text:EmbeddedSample",
}


def load(name_or_path: str | Path, root: Path | None = None) -> TextData:
    """The data set of that name, or the user's own text files at that path.

    A known name wins over a folder of the same name (write ./NAME for the folder). `root` is the
    folder that holds a named data set's official files, where it is not the default one.
    """
    name = str(name_or_path)
    if name in DATASETS:
        module, _, reader = DATASETS[name].partition(":")
        return getattr(import_module(module), reader)(root)
    path = Path(name_or_path).expanduser()
    if path.exists() or path.suffix or "/" in name:
        from data.folder_text import FolderText

        if root is not None:
            raise VermeilError(f"{path} is a path already, it takes no root", "leave out --root")
        return FolderText(path)
    raise VermeilError(
        f"data set '{name}' does not exist, nor a folder of that name", nearest(name, [*DATASETS])
    )
