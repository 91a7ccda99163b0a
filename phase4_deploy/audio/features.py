"""Mel frames of recordings, made once and found again by what is recorded."""

import contextlib
import hashlib
import os
import struct
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from phase4_deploy.audio.activity import edged, span
from phase4_deploy.audio.decode import Source, opened, read
from phase4_deploy.audio.log_mel import MELS, LogMel
from shared.home import home

RECIPE = "2"  # of all that changes the numbers: decode.py, activity.py, log_mel.py
SPAN = struct.Struct("<qq")
DIGEST = 32  # bytes of a SHA-256


class Heard(NamedTuple):
    """The speech of a recording."""

    span: tuple[int, int]  # samples, of the recording
    mels: Float[Tensor, "t 80"]


class Features:
    """Recordings, trimmed to where somebody speaks if `trim` says so, as mel frames.

    What was made lies in $VERMEIL_HOME/cache/audio under the content's hash, so it is found again
    whatever the file is called and wherever it lies. An entry bears its own hash: one that is
    damaged is made anew. Processes may write the same entry at the same time; each replaces it
    whole. Numbers have 16 bits, also when they have just been made.
    """

    def __init__(self, trim: bool = True):
        self.trim = trim
        self.log_mel = LogMel()
        self.folder = home() / "cache" / "audio"

    def key(self, source: Source, name: str = "") -> str:
        """What the recording's frames are found by."""
        recipe = f"{RECIPE} {self.trim}".encode()
        if isinstance(source, bytes):
            content = hashlib.sha256(source).digest()
        else:
            with opened(source, name) as file:
                content = hashlib.file_digest(file, "sha256").digest()  # type: ignore[arg-type]
        return hashlib.sha256(recipe + content).hexdigest()

    def get(self, source: Source, name: str = "", key: str = "") -> Heard:
        """Where in a recording there is speech, and its frames; BadSound names the file.

        With its `key`, and where the frames are known, the recording is not looked at.
        """
        path = self._path(key or self.key(source, name))
        found = _loaded(path)
        if found is None:
            found = self._made(read(source, name))
            content = SPAN.pack(*found.span) + found.mels.half().numpy().tobytes()
            _store(path, hashlib.sha256(content).digest() + content)
        return found

    def wave(self, source: Source, span: tuple[int, int], name: str = "") -> Float[Tensor, " n"]:
        """The samples that the frames were made of, edges of silence among them."""
        return edged(read(source, name)[slice(*span)])

    def _made(self, wave: Tensor) -> Heard:
        first, last = span(wave) if self.trim else (0, len(wave))
        return Heard((first, last), self.log_mel(edged(wave[first:last])).half().float())

    def _path(self, key: str) -> Path:
        return self.folder / key[:2] / key


def _store(path: Path, blob: bytes) -> None:
    """Without waiting for the disk: what a crash leaves of it fails its hash. A full disk costs the
    time that an entry would have saved, not the run."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.partial")
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_bytes(blob)
        temporary.replace(path)
    with contextlib.suppress(OSError):
        temporary.unlink(missing_ok=True)


def _loaded(path: Path) -> Heard | None:
    """An entry; None if there is none, or a damaged one."""
    try:
        blob = path.read_bytes()
    except OSError:
        return None
    digest, content = blob[:DIGEST], blob[DIGEST:]
    if hashlib.sha256(content).digest() != digest:
        return None
    first, last = SPAN.unpack_from(content)
    mels = np.frombuffer(content, np.float16, offset=SPAN.size).reshape(-1, MELS)
    return Heard((first, last), torch.from_numpy(mels.astype(np.float32)))
