"""JSON files of official downloads: read whole, refused with their name and what is wrong."""

import contextlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from shared.errors import VermeilError

AGAIN = "download it again"


def load(path: Path, form: str, hook: Callable[[dict], Any] | None = None) -> dict[str, Any]:
    """The object in a file; `form` says whose form it should have.

    `hook` is given every object inside as soon as it is read, the innermost first, and gives what
    is kept of it: the largest files take six times their size otherwise.
    """
    try:
        content = json.loads(path.read_bytes(), object_hook=hook)
    except OSError as error:
        raise VermeilError(f"{path} cannot be read ({error.strerror})", "mend it") from None
    except UnicodeDecodeError as error:
        raise VermeilError(
            f"{path} is not UTF-8: byte 0x{error.object[error.start]:02x} at offset "
            f"{error.start:,}",
            AGAIN,
        ) from None
    except (ValueError, RecursionError) as error:
        raise VermeilError(f"{path} is no whole JSON ({error})", AGAIN) from None
    if not isinstance(content, dict):
        raise VermeilError(f"{path} is not in {form}'s form", AGAIN)
    return content


@contextlib.contextmanager
def formed(path: Path, form: str) -> Iterator[None]:
    """Turn what goes wrong while content is taken apart into a sentence with the file's name."""
    try:
        yield
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise VermeilError(
            f"{path} is not in {form}'s form ({type(error).__name__}: {error})", AGAIN
        ) from None


def one_line(text: Any) -> str:
    """A caption or question without line breaks and doubled spaces; anything but text is refused.

    Raises TypeError.
    """
    if not isinstance(text, str):
        raise TypeError(f"{text!r:.40} where text belongs")
    return " ".join(text.split())


def inside(name: str) -> str:
    """The name of a picture file, which may not lead out of its folder; raises ValueError."""
    path = Path(name)
    if path.is_absolute() or ".." in path.parts:
        raise ValueError(f"a picture outside its folder, {path}")
    return path.as_posix()
