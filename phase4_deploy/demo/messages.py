"""A conversation as the page holds it, in the form that the API and the assistant take."""

import base64
import mimetypes
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from data.decoding import SUFFIXES as PICTURES
from data.speech import SUFFIXES as RECORDINGS
from shared.errors import VermeilError

BROWSERS_OWN = (".webm", ".m4a", ".mp4")  # what browsers record


def conversation(
    history: list[dict[str, Any]], message: dict[str, Any], allowed: Callable[[str], Path] = Path
) -> list[dict[str, Any]]:
    """OpenAI's messages: the history as Gradio's chatbot has it, and the new message.

    `message` is {"text": ..., "files": [paths]}. A user's turn that no answer followed failed, and
    is left out. `allowed` gives a file that may be read, or raises.
    """
    new: list[Any] = [{"path": path} for path in message.get("files") or []]
    if text := (message.get("text") or "").strip():
        new.append(text)
    if not new:
        raise VermeilError("type something, or add a picture or a recording")
    turns = [*history, {"role": "user", "content": new}]
    after = [turn["role"] for turn in turns[1:]] + [""]
    return [
        {"role": turn["role"], "content": list(_parts(turn["content"], allowed))}
        for turn, next_role in zip(turns, after, strict=True)
        if (turn["role"], next_role) != ("user", "user")
    ]


def _parts(content: Any, allowed: Callable[[str], Path]) -> Iterator[dict[str, Any]]:
    """What a turn holds: words, or an entry a file; the chatbot's two ways to write each."""
    for block in content if isinstance(content, list) else [content]:
        if isinstance(block, str):
            yield {"type": "text", "text": block}
        elif block.get("type") == "text":
            yield {"type": "text", "text": block["text"]}
        else:
            yield _file(allowed(block.get("file", block)["path"]))


def _file(path: Path) -> dict[str, Any]:
    """A picture as a data URI, a recording in base64; by the name's ending."""
    kind = path.suffix.lower()
    if kind not in PICTURES + RECORDINGS + BROWSERS_OWN:
        raise VermeilError(f"{path.name} is neither a picture nor a recording")
    encoded = base64.b64encode(path.read_bytes()).decode()
    if kind in PICTURES:
        mime = mimetypes.guess_type(path.name)[0] or f"image/{kind[1:]}"
        return {"type": "image_url", "image_url": {"url": f"data:{mime};base64,{encoded}"}}
    return {"type": "input_audio", "input_audio": {"data": encoded, "format": kind[1:]}}
