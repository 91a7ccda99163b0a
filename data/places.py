"""A folder, a .zip or a plain .tar, as one place whose files are found by name and read singly."""

import tarfile
import zipfile
from abc import ABC, abstractmethod
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path

from data.files import reading
from data.folder_pictures import walk
from shared.errors import VermeilError

AGAIN = "download it again, or unpack it and give the folder"


class Place(ABC):
    """Files by their names below `root`, with / between folders; hidden ones are left out."""

    def __init__(self, root: Path):
        self.root = root

    @property
    @abstractmethod
    def sizes(self) -> Mapping[str, int]:
        """Bytes of each file, in the order of the names."""

    @abstractmethod
    def read(self, name: str) -> bytes:
        """What is in a file."""

    def source(self, name: str) -> Path | bytes:
        """A file of a folder as its path, one of an archive as its bytes."""
        return self.read(name)

    def spelled(self, name: str) -> Path:
        """A file as a path to print, in an archive as if it were a folder."""
        return self.root / name


class Folder(Place):
    """A folder; links to folders are followed."""

    @cached_property
    def sizes(self) -> dict[str, int]:
        """By the folder's own listing."""
        found = {path.relative_to(self.root).as_posix(): path for path in walk(self.root)}
        return {name: path.stat().st_size for name, path in sorted(found.items()) if path.is_file()}

    def read(self, name: str) -> bytes:
        """What is in a file."""
        with reading(self.root / name):
            return (self.root / name).read_bytes()

    def source(self, name: str) -> Path:
        """Its path."""
        return self.root / name


class Tar(Place):
    """A .tar that is not compressed: one look at its headers, then a file is a seek away."""

    @cached_property
    def _members(self) -> dict[str, tuple[int, int]]:
        try:
            with reading(self.root), tarfile.open(self.root, "r:") as archive:
                members = [m for m in archive if m.isreg()]
        except tarfile.TarError as error:
            raise VermeilError(
                f"{self.root} is no sound .tar without compression ({error})", AGAIN
            ) from None
        return {m.name.removeprefix("./"): (m.offset_data, m.size) for m in members}

    @cached_property
    def sizes(self) -> dict[str, int]:
        """By the headers."""
        return _visible({name: size for name, (_, size) in self._members.items()})

    def read(self, name: str) -> bytes:
        """What is in a file."""
        start, size = self._members[name]
        with reading(self.root), self.root.open("rb") as file:
            file.seek(start)
            return file.read(size)


class Zip(Place):
    """A .zip."""

    @cached_property
    def _archive(self) -> zipfile.ZipFile:
        try:
            with reading(self.root):
                return zipfile.ZipFile(self.root)
        except zipfile.BadZipFile as error:
            raise VermeilError(f"{self.root} is no sound .zip ({error})", AGAIN) from None

    @cached_property
    def sizes(self) -> dict[str, int]:
        """By the directory at its end."""
        infos = self._archive.infolist()
        return _visible({i.filename: i.file_size for i in infos if not i.is_dir()})

    def read(self, name: str) -> bytes:
        """What is in a file, with its checksum compared."""
        try:
            with reading(self.root):
                return self._archive.read(name)
        except (zipfile.BadZipFile, NotImplementedError, RuntimeError) as error:
            raise VermeilError(f"{name} in {self.root} is damaged ({error})", AGAIN) from None


def place_of(root: Path, title: str) -> Place:
    """The place at a path; an error says that `title` was expected there."""
    if root.is_dir():
        return Folder(root)
    if not root.is_file():
        raise VermeilError(f"there is no folder {root}", f"give the folder of {title}, or its .zip")
    if root.suffix.lower() == ".zip":
        return Zip(root)
    if root.suffix.lower() == ".tar":
        return Tar(root)
    raise VermeilError(f"{root} is no folder, .zip or .tar", f"unpack {title} and give the folder")


def _visible(sizes: dict[str, int]) -> dict[str, int]:
    shown = {n: s for n, s in sizes.items() if not any(p.startswith(".") for p in n.split("/"))}
    return dict(sorted(shown.items()))
