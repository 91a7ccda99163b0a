"""Your own pictures: a folder per class, with the splits divided here or by folders of yours."""

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from data.decoding import MAX_BYTES, SUFFIXES
from data.files import sha256_of
from data.pictures import SPLITS, BadPicture, Picture, PictureData, Skipped, check_split, decode
from data.splits import Census
from shared.errors import VermeilError

# What people call the folders of their splits.
SPLIT_FOLDERS = {"train": "train", "training": "train", "val": "validation", "valid": "validation",
                 "validation": "validation", "dev": "validation", "test": "test"}  # fmt: skip
CAPTION = ".txt"  # beside a picture, under its name: a phrase a line


@dataclass(frozen=True)
class Entry:
    """One file that may be a picture."""

    id: str  # its path below the root
    path: Path
    category: str


class FolderPictures(PictureData):
    """`root`/CLASS/.../PICTURE, or `root`/SPLIT/CLASS/.../PICTURE with train and others as SPLIT.

    Ids are paths below `root`; hidden names are left out. A picture's texts are the lines of the
    .txt beside it that has its name, else its class's name. Without folders for the splits, and
    for those that are missing, training pictures are divided by the hash of their ids, 90 / 5 / 5.
    The first use reads all files once for their hash; what is no picture shows when it is decoded.
    """

    version = "1"
    licence = "your own"

    def __init__(self, root: Path):
        super().__init__()
        self.root = root
        self.name = root.resolve().name
        self.description = f"pictures of {root}"

    @property
    def classes(self) -> tuple[str, ...]:  # type: ignore[override]
        """The folders' names, sorted."""
        return self._index.classes

    @property
    def size(self) -> str:
        """Megabytes of files."""
        sizes = (
            entry.path.stat().st_size for some in self._index.splits.values() for entry in some
        )
        return f"{sum(sizes) / 1e6:.1f} MB"

    @property
    def splits(self) -> str:
        """Files in train, validation and test."""
        return " / ".join(f"{len(self._index.splits[split]):,}" for split in SPLITS)

    def ready(self) -> bool:
        """Whether the folder is there."""
        return self.root.is_dir()

    def prepare(self) -> None:
        """Find and hash the files."""
        self._sha256  # noqa: B018 (computed on first use)

    def sha256(self) -> str:
        """Over the names and contents of all pictures and their texts."""
        return self._sha256

    def pictures(self, split: str) -> Iterator[Picture]:
        """The split's pictures in the order of their paths; bad ones are counted."""
        check_split(split)
        return self._pictures(split, self._index)

    def _pictures(self, split: str, index: "_Index") -> Iterator[Picture]:
        skipped = self.skipped[split] = Skipped()
        labels = {name: label for label, name in enumerate(index.classes)}
        for entry in index.splits[split]:
            try:
                pixels = decode(read(entry.path, entry.id), entry.id)
            except BadPicture as bad:
                skipped.add(bad)
                continue
            yield Picture(entry.id, pixels, labels[entry.category], texts_of(entry))

    @cached_property
    def _index(self) -> "_Index":
        found = {split: [] for split in SPLITS}
        own = {n for n in _folders(self.root) if n.lower() in SPLIT_FOLDERS}
        if any(SPLIT_FOLDERS[name.lower()] == "train" for name in own):
            for name in sorted(own):
                found[SPLIT_FOLDERS[name.lower()]] += self._entries(self.root / name)
        else:
            found["train"] = self._entries(self.root)
        classes = tuple(sorted({entry.category for some in found.values() for entry in some}))
        self._divide(found)
        return _Index(classes, found)

    def _entries(self, folder: Path) -> list[Entry]:
        entries = []
        for category in _folders(folder):
            files = [path for path in walk(folder / category) if path.suffix.lower() in SUFFIXES]
            if not files:
                raise VermeilError(
                    f"the class folder {folder / category} holds no picture",
                    f"remove it, or put pictures in ({', '.join(SUFFIXES)})",
                )
            entries += [Entry(p.relative_to(self.root).as_posix(), p, category) for p in files]
        if not entries:
            raise VermeilError(
                f"{folder} holds no folder with pictures", "put them in one folder per class"
            )
        return entries

    def _divide(self, found: dict[str, list[Entry]]) -> None:
        """Take from the training pictures for the splits that have none."""
        missing = [split for split in ("validation", "test") if not found[split]]
        entries = found["train"]
        if not missing:
            return
        if len(entries) < len(SPLITS):
            raise VermeilError(
                f"{self.root} holds {len(entries)} picture(s), at least {len(SPLITS)} are needed: "
                "one each for training, validation and test",
                "bring more",
            )
        census = Census()
        for entry in entries:
            census.add(entry.id)
        splits = census.splits()
        for split in missing:
            found[split] = [entry for entry in entries if splits.of(entry.id) == split]
        found["train"] = [entry for entry in entries if splits.of(entry.id) not in missing]

    @cached_property
    def _sha256(self) -> str:
        entries = [entry for split in SPLITS for entry in self._index.splits[split]]
        captions = [entry.path.with_suffix(CAPTION) for entry in entries]
        files = [(entry.path, entry.id) for entry in entries]
        files += [(p, p.relative_to(self.root).as_posix()) for p in captions if p.is_file()]
        return hashlib.sha256(f"{self.version} {sha256_of(files)}".encode()).hexdigest()


@dataclass(frozen=True)
class _Index:
    classes: tuple[str, ...]
    splits: dict[str, list[Entry]]


def has_pictures(root: Path) -> bool:
    """Whether the first file below `root` that is a picture or a text, in order, is a picture."""
    texts = (".txt", ".jsonl", ".parquet")
    for path in walk(root):
        if path.suffix.lower() in (*SUFFIXES, *texts):
            return path.suffix.lower() in SUFFIXES
    return False


def walk(root: Path) -> Iterator[Path]:
    """All files below a folder, sorted, hidden ones left out; one it may not read is an error."""

    def refuse(error: OSError) -> None:
        raise VermeilError(
            f"the folder {error.filename} cannot be read ({error.strerror})",
            "give yourself the right to read it, or move it away",
        )

    seen = set()  # a link may lead back
    for folder, folders, files in os.walk(root, onerror=refuse, followlinks=True):
        real = os.path.realpath(folder)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        yield from (Path(folder) / name for name in sorted(files) if not name.startswith("."))


def read(path: Path, name: str) -> bytes:
    """A picture file's bytes, not more than a picture has; BadPicture where they cannot be read."""
    try:
        with path.open("rb") as file:
            return file.read(MAX_BYTES + 1)
    except OSError as error:
        raise BadPicture(name, "unreadable", error.strerror or "") from None


def texts_of(entry: Entry) -> tuple[str, ...]:
    """The lines of the .txt beside a picture; without one, the name of its class."""
    try:
        lines = entry.path.with_suffix(CAPTION).read_text(encoding="utf-8").splitlines()
    except (FileNotFoundError, UnicodeDecodeError):
        lines = []
    texts = tuple(line.strip() for line in lines if line.strip())
    return texts or (entry.category.replace("_", " "),)


def _folders(root: Path) -> list[str]:
    if not root.is_dir():
        raise VermeilError(f"there is no folder {root}", "give a folder of pictures")
    try:
        names = sorted(os.listdir(root))
    except OSError as error:
        raise VermeilError(
            f"the folder {root} cannot be read ({error.strerror})",
            "give yourself the right to read it, or move it away",
        ) from None
    return [name for name in names if not name.startswith(".") and (root / name).is_dir()]
