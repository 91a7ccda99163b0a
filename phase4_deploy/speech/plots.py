"""What a recogniser heard, for people: the spectrogram, where each letter was, what was wrong."""

import io
import wave as wav_files
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from phase4_deploy.audio.decode import RATE
from phase4_deploy.speech.ctc import Span
from phase4_deploy.speech.encoder import STRIDE
from shared import results
from shared.metrics.speech import marks

ACROSS, UP = 3, 2  # pixels of a frame and of a mel band
LINE = 34  # pixels below the spectrogram, for the letters
DARK, LIGHT = (31, 28, 26), (252, 251, 249)  # the report's ink and paper
# Quiet to loud: dark, the report's red, light; evenly brighter, so that grey prints tell as much.
COLOURS = np.array([[23, 21, 28], [94, 38, 74], [200, 62, 52], [240, 150, 80], [252, 240, 210]])


class Heard(NamedTuple):
    """One clip of an exhibit; sound and picture may be missing."""

    label: str
    said: str
    heard: str
    wave: Float[Tensor, " n"] | None = None
    picture: bytes | None = None


def spectrogram(
    mels: Float[Tensor, "t mels"], spans: Sequence[Span] = (), frames: float = STRIDE
) -> bytes:
    """Log-mel frames as a PNG, low sounds below; under it each letter where it was heard.

    The spans' places are `frames` apart. A letter the model was less sure of is paler; a line
    marks where it begins, a space shows as _.
    """
    picture = Image.fromarray(_coloured(mels))
    width, height = picture.width * ACROSS, picture.height * UP
    sheet = Image.new("RGB", (width, height + LINE * bool(spans)), LIGHT)
    sheet.paste(picture.resize((width, height), Image.Resampling.NEAREST))
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(16)
    for span in spans:
        left, right = (place * frames * ACROSS for place in (span.first, span.last))
        shade = 0.25 + 0.75 * span.probability
        ink = tuple(
            round(shade * dark + (1 - shade) * light)
            for dark, light in zip(DARK, LIGHT, strict=True)
        )
        draw.line([(left, height), (left, height + 6)], fill=ink)
        letter = "_" if span.character == " " else span.character
        draw.text(((left + right) / 2, height + 8), letter, fill=ink, font=font, anchor="ma")
    buffer = io.BytesIO()
    sheet.save(buffer, "PNG")
    return buffer.getvalue()


def _coloured(mels: Tensor) -> UInt8[np.ndarray, "mels t 3"]:
    """Frames as a picture; the quietest 2 % are all dark, the loudest 0.5 % all light."""
    values = mels.float().cpu().numpy().T[::-1]  # low bands below
    low, high = np.percentile(values, [2, 99.5])
    level = ((values - low) / max(high - low, 1e-6)).clip(0, 1) * (len(COLOURS) - 1)
    below = np.minimum(level.astype(int), len(COLOURS) - 2)
    part = (level - below)[..., None]
    mixed = COLOURS[below] * (1 - part) + COLOURS[below + 1] * part
    return mixed.round().astype(np.uint8)


def wav(wave: Float[Tensor, " n"]) -> bytes:
    """Sound of 16 kHz in [-1, 1] as the bytes of a WAV file of 16 bits."""
    buffer = io.BytesIO()
    with wav_files.open(buffer, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        samples = (wave.cpu().numpy().clip(-1, 1) * 32767).round().astype("<i2")
        file.writeframes(samples.tobytes())
    return buffer.getvalue()


def exhibit(title: str, clips: Iterable[Heard]) -> dict[str, Any]:
    """Transcripts beside the truth with their errors marked, each clip to be played."""
    items = [
        (clip.label, marks(clip.said, clip.heard), None if clip.wave is None else wav(clip.wave),
         clip.picture)
        for clip in clips
    ]  # fmt: skip
    return results.transcripts(title, items)
