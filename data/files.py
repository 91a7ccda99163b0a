"""Files of text that come from elsewhere: found, opened, decoded, and refused with the place."""

import bz2
import contextlib
import gzip
import hashlib
import zlib
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from shared.errors import VermeilError

# Bytes of one document or line. The longest novels have 10 MB; without a limit a damaged file
# would be taken into memory whole.
MAX_DOCUMENT = 64 * 2**20

Named = tuple[Path, str]  # a file, and its name below the folder that was asked for


def find(root: Path, suffixes: Collection[str]) -> list[Named]:
    """`root` itself, or the files below it that end so; hidden ones left out, sorted by name."""
    kinds = ", ".join(suffixes)
    if root.is_file():
        if not root.name.endswith(tuple(suffixes)):
            raise VermeilError(f"{root} is none of {kinds}", "rename, convert or unpack it")
        return [(root, root.name)]
    if not root.is_dir():
        raise VermeilError(
            f"there is no folder or file {root}", f"give a file ({kinds}), or a folder of such"
        )
    named = ((path, path.relative_to(root)) for path in root.rglob("*"))
    files = [
        (path, name.as_posix())
        for path, name in named
        if path.name.endswith(tuple(suffixes))
        and path.is_file()
        and not any(part.startswith(".") for part in name.parts)
    ]
    return sorted(files, key=lambda file: file[1])


def sha256_of(files: Collection[Named]) -> str:
    """The hash of names and contents, a megabyte in memory at a time."""
    whole = hashlib.sha256()
    for path, name in files:
        with reading(path), path.open("rb") as file:
            whole.update(f"{name}\0{hashlib.file_digest(file, 'sha256').hexdigest()}\0".encode())
    return whole.hexdigest()


@dataclass
class Progress:
    """How far the reading of a file has come, for the sentence that says where it is damaged."""

    at: str = "at its beginning"


@contextlib.contextmanager
def reading(path: Path) -> Iterator[Progress]:
    """Turn what goes wrong while `path` is read or unpacked into a sentence with name and place."""
    progress = Progress()
    try:
        yield progress
    except EOFError:
        raise VermeilError(
            f"{path} is cut short {progress.at}: its {path.stat().st_size:,} bytes end within "
            "the compressed data",
            hint="download it again",
        ) from None
    except (OSError, zlib.error) as error:
        if isinstance(error, OSError) and error.strerror:
            raise VermeilError(
                f"{path} cannot be read ({error.strerror})", "mend it or take it out"
            ) from None
        raise VermeilError(  # what gzip and bz2 say of their content has no errno
            f"{path} is damaged {progress.at} ({error})", "download it again, or take it out"
        ) from None


def open_packed(path: Path) -> IO[bytes]:
    """The content of a bzip2 or gzip file, of several streams too, or of a plain one.

    The first bytes decide, not the name: names lie, and a failed download is often a web page.
    """
    with path.open("rb") as file:
        magic = file.read(3)
    if magic == b"BZh":
        return bz2.open(path)
    return gzip.open(path) if magic[:2] == b"\x1f\x8b" else path.open("rb")  # type: ignore[return-value]


def check_length(length: int, what: str, hint: str) -> None:
    """Refuse a document (in bytes or characters) that is longer than any text is."""
    if length > MAX_DOCUMENT:
        raise VermeilError(f"{what} has more than {MAX_DOCUMENT / 2**20:,.0f} MB", hint)


def lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """Every line with its offset; an endless one is refused before it fills the memory."""
    offset = 0
    with path.open("rb") as file:
        while line := file.readline(MAX_DOCUMENT + 1):
            what = f"the line of {path} at offset {offset:,}"
            check_length(len(line), what, "put line breaks in, or take the file out")
            yield offset, line
            offset += len(line)


def decode(content: bytes, path: Path, offset: int = 0) -> str:
    """UTF-8 with \\n line ends; `offset` is where `content` begins in its file."""
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        raise VermeilError(
            f"{path} is not UTF-8: byte 0x{content[error.start]:02x} at offset "
            f"{offset + error.start:,}",
            hint=f"convert it, e.g. iconv -f latin1 -t utf-8 {path.name}, or take the file out",
        ) from None
    if "\0" in text:
        raise VermeilError(
            f"{path} is no text: byte 0x00 at offset {offset + content.index(0):,}",
            hint=f"take it out, or convert it, e.g. iconv -f utf-16 -t utf-8 {path.name}",
        )
    return text.replace("\r\n", "\n")
