"""Sound files of every kind as one channel at 16 kHz; what cannot be read says so by name."""

import contextlib
import re
import tempfile
from collections.abc import Iterable, Iterator
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import BinaryIO

import torch
from jaxtyping import Float
from torch import Tensor

from shared.errors import VermeilError

try:
    import soundfile
    from torchaudio.transforms import Resample
except ImportError as error:
    raise VermeilError(
        f"sound takes the package {error.name}, which is not installed",
        "pip install -c constraints.txt -e .",
    ) from None

RATE = 16_000
RATES = (4_000, 768_000)  # Hz
LONGEST = 3600  # seconds that `read` takes at once: 230 MB; `stream` has no limit
BLOCK = 2**18  # values of all channels decoded at a time
SECONDS = 10  # or so many, by torchcodec
LOUDEST = 8.0  # 18 dB over full scale; what is louder was never divided by its full scale
# Samples that may lack at the end: encoders of MP3 pad, and some WAV headers count themselves.
SLACK = 4096
# What a program writes as a WAV's length that does not know it yet, or more.
UNKNOWN_LENGTH = 0x7FFFF000
# 441 keeps all usual rates exact; others are taken for the nearest ratio, a thousandth off at most.
MOST_PHASES = 441
# Against a tone at 9 kHz, which would fold to 7 kHz: -69 dB; torchaudio's default of 6 has -17 dB.
FILTER_WIDTH = 32

Source = Path | bytes  # a sound file, or its content

# How the files begin that soundfile reads, if they are whole.
OURS = re.compile(rb"fLaC|OggS|ID3|\xff[\xfa\xfb\xf2\xf3]|(RIFF|FORM)(?!....AVI )", re.S)
# What the first bytes say of files that soundfile does not read: (offset, bytes, kind).
KINDS = (
    (4, b"ftyp", "an MP4 file: AAC or a video"),
    (0, b"\x1aE\xdf\xa3", "a Matroska or WebM file, mostly a video"),
    (8, b"AVI ", "an AVI video"),
    (0, b"\x00\x00\x01", "an MPEG video"),
    (0, b"\x30\x26\xb2\x75", "a Windows Media file"),
    (0, b"\xff\xf1", "bare AAC"),
    (0, b"\xff\xf9", "bare AAC"),
)
CONVERT = "convert it: ffmpeg -i FILE -ac 1 -ar 16000 NEW.wav; or install torchcodec and FFmpeg"


class BadSound(VermeilError):
    """One sound that cannot be used: passed over and counted, a run goes on without it."""

    def __init__(self, name: str, reason: str, detail: str = "", hint: str = ""):
        said = f"{reason}: {detail}" if detail else reason
        super().__init__(f"{name} cannot be used as sound ({said})",
                         hint or "mend it or take it out")  # fmt: skip
        self.name, self.reason = name, reason  # the reason is one of few, to be counted by


def read(source: Source, name: str = "") -> Float[Tensor, " n"]:
    """A sound file as one channel at 16 kHz, in [-1, 1].

    WAV, FLAC, OGG (Vorbis, Opus), MP3, AIFF, AU and more through soundfile, by content and not by
    suffix; AAC and the sound of videos where torchcodec is installed. Channels are averaged. What
    exceeds full scale is cut off there, as a sound card does; silence and clipped recordings are
    returned as they are (activity.py says whether somebody speaks). Raises BadSound with the file's
    name: empty, damaged, cut short, no sound file, NaN, over an hour (for which there is `stream`).
    An OGG that was cut between two of its pages tells nothing and is read as far as it goes.
    """
    name = name or _name(source)
    pieces, samples = [], 0
    for piece in _sound(source, name):
        pieces.append(piece)
        samples += len(piece)
        if samples > LONGEST * RATE:
            raise BadSound(
                name, "too long", f"over {LONGEST // 60} minutes", "cut it up, or use audio.stream"
            )
    return torch.cat(pieces)


def stream(
    source: Source, seconds: float, overlap: float = 0.0, name: str = ""
) -> Iterator[Float[Tensor, " _"]]:
    """`read` in chunks of so many seconds, the last one shorter; each begins with the last seconds
    of the one before it, as many as `overlap` says. Memory does not grow with the file."""
    length, again = round(seconds * RATE), round(overlap * RATE)
    if not 0 <= again < length:
        raise VermeilError(
            f"chunks of {seconds} s that overlap by {overlap} s", "overlap less than a chunk"
        )
    return _chunks(_sound(source, name or _name(source)), length, again)


def _chunks(pieces: Iterable[Tensor], length: int, again: int) -> Iterator[Tensor]:
    held, new = torch.empty(0), 0  # of what is held, the last `new` samples were in no chunk yet
    for piece in pieces:
        held, new = torch.cat([held, piece]), new + len(piece)
        start = 0
        while len(held) - start >= length:
            yield held[start : start + length].clone()
            start += length - again
            new = len(held) - start - again
        held = held[start:].clone()  # a view would keep all before it
    if new > 0:
        yield held


@cache
def resampler(old: int, new: int) -> Resample:
    """Makes `new` samples of each `old` ones."""
    return Resample(old, new, lowpass_filter_width=FILTER_WIDTH)


class Resampler:
    """Sound of one rate as 16 kHz, piece by piece: together the same as in one piece.

    Band-limited interpolation (Smith 2020) by torchaudio; pieces overlap by the filter's reach.
    """

    def __init__(self, rate: int):
        ratio = Fraction(RATE, rate).limit_denominator(MOST_PHASES)
        self.new, self.old = ratio.as_integer_ratio()
        self.filter = resampler(self.old, self.new)
        self.reach = self.filter.width if self.old != self.new else 0  # samples to either side
        self.past = -(-self.reach // self.old)  # periods of `old` samples that the filter looks at
        self.held, self.done = torch.empty(0), 0  # of the held periods so many were given out

    def __call__(self, wave: Float[Tensor, " n"], last: bool = False) -> Float[Tensor, " m"]:
        """What is certain of the output by now; after the `last` piece, all the rest."""
        held = torch.cat([self.held, wave])
        ready = (len(held) - self.reach) // self.old  # periods whose future is known
        if not last and ready <= self.done:
            self.held = held
            return held[:0]
        found = self.filter(held[None])[0]
        found = found[self.done * self.new : None if last else ready * self.new]
        past = max(ready - self.past, 0)
        self.held, self.done = held[past * self.old :].clone(), ready - past
        return found


def _sound(source: Source, name: str) -> Iterator[Tensor]:
    """The file in pieces at 16 kHz, in [-1, 1]."""
    resample, samples, rate = None, 0, RATE
    for rate, block in _decoded(source, name):
        resample = resample or Resampler(rate)
        if not block.isfinite().all():
            at = samples + int((~block.isfinite()).nonzero()[0, 0])
            raise BadSound(name, "not a number", f"NaN or infinity at {at / rate:.2f} s")
        if (peak := float(block.abs().max())) > LOUDEST:
            raise BadSound(
                name, "too loud", f"samples reach {peak:,.0f}, where 1 is full scale",
                "divide them by their full scale, which is 32,768 for 16 bits",
            )  # fmt: skip
        samples += len(block)
        yield resample(block.mean(1)).clamp(-1, 1)
    if resample is None:
        raise BadSound(name, "empty", "no samples")
    yield resample(torch.empty(0), last=True).clamp(-1, 1)


def _decoded(source: Source, name: str) -> Iterator[tuple[int, Tensor]]:
    """Blocks (n, channels), none of them empty, with their rate."""
    with opened(source, name) as file:
        beginning = file.read(64)
        if not beginning:
            raise BadSound(name, "empty", "0 bytes")
        file.seek(0)
        try:
            # By its number: of a name, soundfile would believe the suffix.
            sound = _Forward(file.fileno(), closefd=False)
        except soundfile.LibsndfileError as error:
            if OURS.match(beginning):
                raise BadSound(name, "damaged", _said(error)) from None
            yield from _by_torchcodec(source, name, _kind(beginning))
            return
        with sound:
            yield from _blocks(sound, name)


class _Forward(soundfile.SoundFile):
    """Never seeks; soundfile does after each block, which spoils the next one of an MP3."""

    def seekable(self) -> bool:
        return False


def _blocks(sound: soundfile.SoundFile, name: str) -> Iterator[tuple[int, Tensor]]:
    rate, frames = sound.samplerate, 0
    if not RATES[0] <= rate <= RATES[1]:
        raise BadSound(name, "unusual rate", f"{rate:,} Hz, not {RATES[0]:,} to {RATES[1]:,}")
    if missing := _missing(sound.extra_info):
        raise BadSound(name, "cut short", f"its last {missing:,} bytes are missing",
                       "copy or download it again")  # fmt: skip
    try:
        while len(block := sound.read(BLOCK // sound.channels, "float32", always_2d=True)):
            frames += len(block)
            yield rate, torch.from_numpy(block)
    except soundfile.LibsndfileError as error:
        at = f"after {frames / rate:.1f} of {sound.frames / rate:.1f} s"
        raise BadSound(name, "cut short or damaged", f"{at}, {_said(error)}",
                       "copy or download it again") from None  # fmt: skip
    if frames + SLACK < sound.frames:
        raise BadSound(name, "cut short", f"{frames / rate:.1f} of {sound.frames / rate:.1f} s",
                       "copy or download it again")  # fmt: skip


def _missing(notes: str) -> int:
    """Bytes of sound that the header of a WAV or AIFF promises and the file does not hold."""
    found = re.search(r"^\s*(?:data|SSND) : (\d+) \(should be (\d+)\)", notes, re.M)
    promised, there = map(int, found.groups()) if found else (0, 0)
    return promised - there if promised - there > SLACK and promised < UNKNOWN_LENGTH else 0


def _by_torchcodec(source: Source, name: str, kind: str) -> Iterator[tuple[int, Tensor]]:
    """What soundfile does not know, where torchcodec and FFmpeg are on this machine."""
    try:
        from torchcodec.decoders import AudioDecoder  # type: ignore[reportMissingImports]

        decoder = AudioDecoder(source)
    except (ImportError, RuntimeError, ValueError) as error:
        missing = isinstance(error, ImportError) or "libtorchcodec" in str(error)  # or its FFmpeg
        said = kind if missing else f"{kind}; torchcodec finds no sound in it either"
        raise BadSound(name, "not a sound file", f"it is {said}", CONVERT) from None
    rate, at = decoder.metadata.sample_rate, decoder.metadata.begin_stream_seconds or 0.0
    samples = SECONDS * rate
    while samples == SECONDS * rate:  # lengths in headers are guessed for some kinds
        try:
            block = decoder.get_samples_played_in_range(at, at + SECONDS).data.T  # (n, channels)
        except RuntimeError:  # nothing there
            return
        samples, at = len(block), at + SECONDS
        if samples:
            yield rate, block


def _kind(beginning: bytes) -> str:
    for offset, magic, kind in KINDS:
        if beginning[offset:].startswith(magic):
            return kind
    with contextlib.suppress(UnicodeDecodeError):
        if b"\0" not in beginning:
            return f"text that begins with {beginning.decode()[:20]!r}"
    return (
        f"of an unknown kind, it begins with {beginning[:12].decode('ascii', 'backslashreplace')!r}"
    )


@contextlib.contextmanager
def opened(source: Source, name: str = "") -> Iterator[BinaryIO]:
    """The file, open; bytes take the way over the disk, since libsndfile reads files by number."""
    if isinstance(source, bytes):
        with tempfile.TemporaryFile(buffering=0) as file:
            file.write(source)
            file.seek(0)
            yield file
        return
    try:
        file = source.open("rb", buffering=0)
    except OSError as error:
        raise VermeilError(
            f"{name or source} cannot be read ({error.strerror})", "look whether it is there"
        ) from None
    with file:
        yield file


def _name(source: Source) -> str:
    return str(source) if isinstance(source, Path) else f"a sound of {len(source):,} bytes"


def _said(error: Exception) -> str:
    """What a library says of a file, in one short line."""
    return " ".join(str(getattr(error, "error_string", error)).split())[:100].rstrip(".")
