"""The speech synthesiser espeak-ng: words and a voice in, samples out, always the same ones.

Its library is that of the package espeakng-loader, else the system's (Debian's espeak-ng). What it
says depends on all that it said before, so every text is said by a fresh copy: a process of its own
opens the library once and forks for each text. Another version says the same a little otherwise,
so that `version` belongs to what is made with it.

    python -m data.espeak      reads requests as JSON lines, answers in bytes; for `said` alone
"""

import contextlib
import ctypes
import gc
import json
import os
import struct
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from ctypes.util import find_library
from functools import cache
from itertools import cycle
from pathlib import Path
from typing import IO, NamedTuple

from shared.errors import VermeilError
from shared.hardware import cores

# Of speak_lib.h.
SYNCHRONOUS, DONT_EXIT, UTF_8, BY_CHARACTER = 2, 0x8000, 1, 1
SPEED, PITCH, LIVELINESS = 1, 3, 4
HEAD = struct.Struct("<I")  # bytes that follow
INSTALL = ('pip install -c constraints.txt -e . brings espeakng-loader; or install '
           "espeak-ng with the system's packages")  # fmt: skip
Callback = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p
)


class Manner(NamedTuple):
    """How something is said."""

    voice: str  # an accent and a variant of the voice, e.g. "en-us+f3"
    speed: int = 160  # words a minute, 80 to 450
    pitch: int = 50  # 0 to 100
    liveliness: int = 50  # how far the pitch moves, 0 to 100


def said(requests: Iterable[tuple[str, Manner]]) -> Iterator[bytes]:
    """The samples of each text, mono, 16 bits, little-endian, at `rate()` a second.

    As many processes as there are cores take turns. Raises VermeilError for a voice that does not
    exist and a text that has no sound.
    """
    asked = list(requests)
    with contextlib.ExitStack() as stack:
        speakers = [stack.enter_context(_speaking(asked[i :: cores()])) for i in range(cores())]
        for (text, manner), answers in zip(asked, cycle(speakers), strict=False):
            yield _answer(answers, text, manner)


@contextlib.contextmanager
def _speaking(asked: Sequence[tuple[str, Manner]]) -> Iterator[IO[bytes]]:
    """A process that says these texts, and what it answers."""
    command = [sys.executable, "-m", "data.espeak", *_library()]
    with tempfile.TemporaryFile() as file:  # a pipe would fill while the answers wait
        file.writelines(json.dumps([text, *manner]).encode() + b"\n" for text, manner in asked)
        file.seek(0)
        root = Path(__file__).resolve().parents[1]
        child = subprocess.Popen(command, cwd=root, stdin=file, stdout=subprocess.PIPE)
        with child:
            assert child.stdout
            try:
                yield child.stdout
            finally:
                child.kill()  # where the rest is not wanted; one that is done does not mind


def _answer(answers, text: str, manner: Manner) -> bytes:
    head = answers.read(HEAD.size)
    length = HEAD.unpack(head)[0] if len(head) == HEAD.size else 0
    samples = answers.read(length)
    if not samples.strip(b"\0") or len(samples) < length:
        raise VermeilError(
            f"espeak-ng {version()} cannot say '{text}' with the voice {manner.voice}",
            "its voices: espeak-ng --voices=en; its variants: espeak-ng --voices=variant",
        )
    return samples


@cache
def version() -> str:
    """The library's version, e.g. "1.52.0"; complains where there is no library."""
    library = ctypes.CDLL(_library()[0])
    library.espeak_Info.restype = ctypes.c_char_p
    return library.espeak_Info(None).decode().split(" ")[0]


def available() -> bool:
    """Whether the library is there."""
    with suppress(VermeilError):
        return bool(_library())
    return False


def rate() -> int:
    """Samples a second, of all its voices but those of MBROLA."""
    return 22_050


@cache
def _library() -> tuple[str, str]:
    """The library, and the folder of its voices ("" for the system's)."""
    try:
        import espeakng_loader  # type: ignore[import-not-found]

        return espeakng_loader.get_library_path(), espeakng_loader.get_data_path()
    except ImportError:
        path = find_library("espeak-ng")
    if path is None:
        raise VermeilError("generated speech takes espeak-ng, which is not installed", INSTALL)
    return path, ""


class _Speaker:
    """The library, opened."""

    def __init__(self, path: str, data: str):
        self._library = ctypes.CDLL(path)
        self._parts: list[bytes] = []
        self._callback = Callback(self._take)  # kept, or it would be called after it is gone
        started = self._library.espeak_Initialize(SYNCHRONOUS, 0, data.encode() or None, DONT_EXIT)
        if started != rate():
            raise SystemExit(f"{path} does not start")
        self._library.espeak_SetSynthCallback(self._callback)
        with suppress(AttributeError):  # breath is noise; from 1.52 on it is seeded with the time
            self._library.espeak_ng_SetRandSeed(ctypes.c_long(1))

    def say(self, text: str, voice: str, *settings: int) -> bytes:
        """The samples, none where that cannot be said."""
        if self._library.espeak_SetVoiceByName(voice.encode()):
            return b""
        for parameter, value in zip((SPEED, PITCH, LIVELINESS), settings, strict=True):
            self._library.espeak_SetParameter(parameter, value, 0)
        content = text.encode() + b"\0"
        self._library.espeak_Synth(
            content, ctypes.c_size_t(len(content)), 0, BY_CHARACTER, 0, UTF_8, None, None
        )
        return b"".join(self._parts)

    def _take(self, samples, number: int, _events) -> int:
        if samples and number > 0:
            self._parts.append(ctypes.string_at(samples, 2 * number))
        return 0


def _serve(path: str, data: str) -> None:
    """Answer requests until there are no more, each in a fork of the untouched library."""
    speaker = _Speaker(path, data)
    gc.disable()
    gc.freeze()  # what a fork does not touch is not copied
    for line in sys.stdin.buffer.readlines():
        child = os.fork()
        if child == 0:
            samples = speaker.say(*json.loads(line))
            with os.fdopen(1, "wb", closefd=False) as out:
                out.write(HEAD.pack(len(samples)) + samples)
            os._exit(0)
        os.waitpid(child, 0)


if __name__ == "__main__":
    _serve(*sys.argv[1:])
