"""Where things lie: one folder, $VERMEIL_HOME, and files that are either whole or absent."""

import contextlib
import os
import shutil
from pathlib import Path

from shared.errors import VermeilError

HINT = "set VERMEIL_HOME to a folder you can write, e.g. export VERMEIL_HOME=$PWD/home"


def home() -> Path:
    """The folder that holds artifacts, runs, data and reports (default ~/.cache/vermeil)."""
    folder = Path(os.environ.get("VERMEIL_HOME") or "~/.cache/vermeil").expanduser()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise VermeilError(
            f"cannot create the home folder {folder} ({error.strerror})", HINT
        ) from None
    if not os.access(folder, os.W_OK):
        raise VermeilError(f"the home folder {folder} cannot be written", HINT)
    return folder


def write_atomically(path: Path, content: str | bytes) -> None:
    """Write a file so that a crash or a full disk leaves the old one untouched.

    The bytes go to a neighbour first and reach the disk before it takes the name.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary:
        temporary.write_bytes(content.encode() if isinstance(content, str) else content)


@contextlib.contextmanager
def replacing(path: Path):
    """Yield a neighbour of `path` to write to; on success it is synced and renamed to `path`."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        yield temporary
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        free = shutil.disk_usage(path.parent).free
        raise VermeilError(
            f"could not write {path} ({error.strerror or error}; {free / 2**20:.0f} MB free)",
            hint="what stood there before is untouched; free some space and run the same command",
        ) from error
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
