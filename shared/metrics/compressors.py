"""Compressors as language models: the bits they need for a byte of text are floors to beat.

Alone, a compressor learns from the text it packs. Primed, it has first read other text (the
training split): the fair comparison with a trained model.

    python -m shared.metrics.compressors NAME FILE PRIMED LENGTH...     for `_sizes` alone
"""

import lzma
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from shared.errors import VermeilError

ROOT = Path(__file__).resolve().parents[2]
CHUNK = 2**16  # bytes
PPM_ORDER = 16
PPM_MEMORY_PER_BYTE = 64
PPM_MEMORY_LIMITS = (2**24, 2**32 - 2**10)


def xz_bits_per_byte(texts: Sequence[bytes], primed_with: bytes = b"") -> list[float]:
    """Bits xz spends on a byte of each text, beyond what it spends on `primed_with` alone.

    Preset 9 extreme, with a dictionary that spans everything read. The stream is raw LZMA2, the
    payload of an .xz file without its container: 5 bytes of framing and no more. Takes about 0.8 s
    and 13 MB a megabyte read, `primed_with` once for all texts. Raises ValueError for an empty one.
    """
    _check(texts)
    # After the empty text stands what of `primed_with` had not been written yet.
    [held, *sizes] = _sizes("xz", [b"", *texts], primed_with)
    held = held if primed_with else 0
    return [8 * (size - held) / len(text) for size, text in zip(sizes, texts, strict=True)]


def ppm_bits_per_byte(texts: Sequence[bytes], primed_with: bytes = b"") -> list[float]:
    """Bits PPMd (variant H) spends on a byte of each text, after it has read `primed_with`.

    Order 16, where the gain levels off: on 0.56 MB of State of the Union addresses primed with
    10.2 MB of others, orders 4, 6, 8, 12, 16, 32 give 1.760, 1.521, 1.438, 1.392, 1.386, 1.386.
    A model that runs out of memory starts afresh and forgets what it was primed with; 24 times the
    input was enough on prose and on random digits, so it may take 64 times (and takes up about 20),
    up to the 4 GiB that the format allows. Takes about 0.3 s a megabyte, `primed_with` once for all
    texts. Raises ValueError for an empty one.

    Source: Cleary and Witten 1984 (PPM); Shkarin 2002 (PPMd).
    """
    _check(texts)
    sizes = _sizes("ppm", texts, primed_with)
    return [8 * size / len(text) for size, text in zip(sizes, texts, strict=True)]


class _Encoder(Protocol):
    """A compressor that has read something."""

    def read(self, text: bytes) -> int:
        """Bytes that this adds to what it has written."""
        ...

    def end(self) -> int:
        """Bytes that ending adds."""
        ...


class _Xz:
    def __init__(self, length: int):
        preset, dictionary = 9 | lzma.PRESET_EXTREME, max(4096, length)
        filters = [{"id": lzma.FILTER_LZMA2, "preset": preset, "dict_size": dictionary}]
        self.encoder = lzma.LZMACompressor(format=lzma.FORMAT_RAW, filters=filters)

    def read(self, text: bytes) -> int:
        # It takes in all that it is given, and encodes it when it is called again.
        parts = (text[start : start + CHUNK] for start in range(0, len(text), CHUNK))
        return sum(len(self.encoder.compress(part)) for part in parts)

    def end(self) -> int:
        return len(self.encoder.flush())


class _Ppm:
    def __init__(self, length: int):
        import pyppmd

        low, high = PPM_MEMORY_LIMITS
        memory = min(max(low, PPM_MEMORY_PER_BYTE * length), high)
        self.encoder = pyppmd.Ppmd7Encoder(PPM_ORDER, memory)

    def read(self, text: bytes) -> int:
        return len(self.encoder.encode(text))

    def end(self) -> int:
        return len(self.encoder.flush())


ENCODERS = {"xz": _Xz, "ppm": _Ppm}


def _sizes(name: str, texts: Sequence[bytes], primed_with: bytes) -> list[int]:
    """Bytes that a compressor still writes when each text follows `primed_with`, its end included.

    A process of its own reads `primed_with` once and forks for each text: the priming takes longer
    than all that follows, and its state cannot be copied otherwise.
    """
    with tempfile.NamedTemporaryFile() as file:
        file.writelines([primed_with, *texts])
        file.flush()
        lengths = map(str, [len(primed_with), *map(len, texts)])
        command = [sys.executable, "-m", __name__, name, file.name, *lengths]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        said = done.stderr.strip().splitlines() or [f"status {done.returncode}"]
        raise VermeilError(f"the compressor {name} ended early: {said[-1]:.200}",
                           "is there enough memory?")  # fmt: skip
    return [*map(int, done.stdout.split())]


def _check(texts: Sequence[bytes]) -> None:
    if not all(texts):
        raise ValueError("an empty text has no bits per byte")


def _serve(name: str, path: str, primed: int, *lengths: int) -> None:
    with open(path, "rb") as file:
        encoder: _Encoder = ENCODERS[name](primed + max(lengths))
        encoder.read(file.read(primed))
        for text in [file.read(length) for length in lengths]:
            child = os.fork()
            if child == 0:
                os.write(1, f"{encoder.read(text) + encoder.end()}\n".encode())
                os._exit(0)
            if status := os.waitpid(child, 0)[1]:
                raise SystemExit(f"its copy ended with status {status}")


if __name__ == "__main__":
    _serve(sys.argv[1], sys.argv[2], *map(int, sys.argv[3:]))
