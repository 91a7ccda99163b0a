"""What a visitor's files are to the page: paths inside Gradio's own folder, and nothing else.

Events that take files ask Gradio for them as they came (`preprocess=False`). It would open pictures
with limits and errors that are not ours; and of the paths that a client names it checks only those
in entries that are marked as files.
"""

from pathlib import Path
from typing import Any

from gradio.utils import get_upload_folder

from shared.errors import VermeilError


def picture(payload: Any) -> tuple[Path, str] | None:
    """The file of a picture and its name, unopened; None without one."""
    found = recording(payload)
    return found and (found, payload.get("orig_name") or found.name)


def recording(payload: Any) -> Path | None:
    """The file of a recording, unopened; None without one."""
    if not payload:
        return None
    return inside(payload.get("path") if isinstance(payload, dict) else payload)


def inside(path: Any) -> Path:
    """The file, if it was uploaded here or is one of the examples; VermeilError for others."""
    file = Path(path).resolve() if isinstance(path, str) and "\0" not in path else Path("/")
    if not file.is_relative_to(Path(get_upload_folder()).resolve()) or not file.is_file():
        raise VermeilError("choose the file again: it is not here any more")
    return file
