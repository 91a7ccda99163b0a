"""Pictures and sounds that come with a request: decoded from what was sent, never fetched."""

import base64
import binascii
import re
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from phase4_deploy.serving.models import Pixels
from shared.errors import VermeilError

DATA_URI = re.compile(r"data:([\w.+-]+/[\w.+-]+)?(?:;[\w.+-]+=[\w.+-]+)*;base64,", re.ASCII)


@dataclass(frozen=True)
class Limits:
    """The largest things that a request may bring or ask for."""

    pixels: int = 16_000_000
    audio_seconds: float = 600.0
    tokens: int = 1024  # of an answer


class BadInput(VermeilError):
    """Something in a request that cannot be used; `code` is for programs."""

    def __init__(self, message: str, hint: str, code: str, status: int = 400):
        super().__init__(message, hint)
        self.code, self.status = code, status


def content_of(uri: str, what: str) -> bytes:
    """What a data URI holds. Addresses are refused: nothing is ever fetched."""
    found = DATA_URI.match(uri[:200])
    if not found:
        scheme = re.match(r"[a-zA-Z][\w+.-]{0,15}:", uri)
        if scheme and scheme[0].lower() != "data:":
            raise BadInput(
                f"this server fetches nothing, so it does not follow '{scheme[0]}' addresses",
                f"send the {what} itself: data:{what}/...;base64,...", f"invalid_{what}_url",
            )  # fmt: skip
        raise BadInput(
            f"this is no {what} in a data URI", f"send data:{what}/...;base64,...",
            f"invalid_{what}_url",
        )  # fmt: skip
    return decoded(uri[found.end() :], what)


def decoded(text: str, what: str) -> bytes:
    """Bytes of base64, strictly."""
    try:
        return base64.b64decode(text.strip(), validate=True)
    except (binascii.Error, ValueError):
        raise BadInput(
            f"the {what}'s base64 is damaged", "encode the whole file again", f"invalid_{what}"
        ) from None


def picture(uri: str, limits: Limits) -> Pixels:
    """The pixels of a picture in a data URI, (H, W, 3) uint8."""
    from data.decoding import BadPicture, decode

    content = content_of(uri, "image")
    try:
        return decode(content, "the image", most_pixels=limits.pixels)
    except BadPicture as error:
        status = 413 if error.reason == "too large" else 400
        message = error.message.replace("is no picture to learn from", "cannot be used")
        raise BadInput(message, "send another picture", "invalid_image", status) from None


def sound(content: bytes, limits: Limits) -> Float[Tensor, " n"]:
    """A short recording (a question) as a wave of 16 kHz."""
    import torch

    from phase4_deploy.audio.decode import RATE, BadSound, stream

    pieces, samples = [], 0
    try:
        for piece in stream(content, 10.0, name="the recording"):
            pieces.append(piece)
            samples += len(piece)
            if samples > limits.audio_seconds * RATE:
                raise too_long(limits)
    except BadSound as error:
        raise bad_sound(error) from None
    return torch.cat(pieces)


def too_long(limits: Limits) -> BadInput:
    """The answer to a recording that does not end."""
    most = f"{limits.audio_seconds:g} seconds"
    return BadInput(
        f"the recording is longer than {most}", "cut it up", "audio_too_long", status=413
    )


def bad_sound(error: VermeilError) -> BadInput:
    """A file that cannot be heard, as the API says it."""
    return BadInput(error.message, error.hint or "send another recording", "invalid_audio")
