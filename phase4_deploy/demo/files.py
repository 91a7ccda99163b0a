"""What a visitor's files are to the page: a path inside Gradio's own folder, and nothing else."""

from pathlib import Path
from typing import Any, TypeVar

import gradio as gr

Field = TypeVar("Field", gr.Image, gr.Audio, gr.MultimodalTextbox)


def guarded(field: Field) -> Field:
    """The field, giving its files unopened: a picture as (path, name), a recording as a path.

    Gradio would open a picture itself, with limits other than ours and errors of its own. And of
    what a client sends it checks only entries that are marked as files. The method is replaced on
    the object: a subclass would make Gradio write a stub file beside this one.
    """
    cache = Path(field.GRADIO_CACHE).resolve()
    before = field.preprocess

    def picture(payload: Any) -> tuple[Path, str] | None:
        if payload is None:
            return None
        return _inside(payload.path, cache), payload.orig_name or "this file"

    def recording(payload: Any) -> str | None:
        return None if payload is None else str(_inside(payload.path, cache))

    def message(payload: Any) -> Any:
        for file in payload.files if payload else ():
            _inside(file.path, cache)
        return before(payload)

    kinds = {gr.Image: picture, gr.Audio: recording, gr.MultimodalTextbox: message}
    field.preprocess = kinds[type(field)]  # type: ignore[method-assign, assignment]
    return field


def _inside(path: str | None, cache: Path) -> Path:
    """The file, if it was uploaded here or is one of the examples."""
    file = Path(path or "/").resolve()
    if not file.is_relative_to(cache) or not file.is_file():
        raise gr.Error("Choose the file again: it is not here any more", print_exception=False)
    return file
