"""What was heard, in OpenAI's five formats, whole or as it comes."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any, NamedTuple

from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response

from phase4_deploy.audio.decode import RATE, BadSound
from phase4_deploy.serving import account, answers, media
from phase4_deploy.serving.media import Limits
from phase4_deploy.serving.models import Hearer


class Piece(NamedTuple):
    """Words and when they were said, in seconds."""

    start: float
    end: float
    text: str


class Heard:
    """One recording, heard piece by piece: memory does not grow with it."""

    def __init__(self, request: Request, hearer: Hearer, content: bytes, limits: Limits):
        self.request, self.hearer, self.content, self.limits = request, hearer, content, limits
        self.seconds = 0.0
        self._pieces = self.pieces()

    async def pieces(self) -> AsyncIterator[Piece]:
        """Those with words in them; raises BadInput for what is no sound, or goes on too long."""
        from phase4_deploy.speech.transcribe import pieces

        waves = pieces(self.content, "the recording")
        while True:
            try:
                wave = await asyncio.to_thread(next, waves, None)
            except BadSound as error:
                raise media.bad_sound(error) from None
            if wave is None:
                return
            start, self.seconds = self.seconds, self.seconds + len(wave) / RATE
            if self.seconds > self.limits.audio_seconds:
                raise media.too_long(self.limits)
            if text := await self.hearer.hear(wave).answer():
                yield Piece(start, self.seconds, text)

    async def whole(self, form: str) -> Response:
        """All of it in one of json, text, verbose_json, srt, vtt."""
        found = await answers.unless_left(self.request, self._all())
        account.report(self.request.scope, audio_seconds=self.seconds)
        text = " ".join(piece.text for piece in found)
        if form == "json":
            return JSONResponse({"text": text, "usage": self._usage()})
        if form == "verbose_json":
            return JSONResponse(
                {"task": "transcribe", "language": "english", "duration": round(self.seconds, 3),
                 "text": text, "segments": [_segment(i, p) for i, p in enumerate(found)],
                 "usage": self._usage()}
            )  # fmt: skip
        if form == "srt":
            return PlainTextResponse(srt(found))
        if form == "vtt":
            return PlainTextResponse(vtt(found), media_type="text/vtt")
        return PlainTextResponse(text + "\n")

    async def _all(self) -> list[Piece]:
        return [piece async for piece in self._pieces]

    def _usage(self) -> dict[str, Any]:
        return {"type": "duration", "seconds": round(self.seconds, 3)}

    async def first(self) -> Piece | None:
        """The first piece, or None where there are no words; errors come before the stream."""
        return await anext(self._pieces, None)

    async def events(self, first: Piece | None) -> AsyncIterator[str]:
        """Server-sent events: text as it is heard, and all of it at the end."""
        from phase4_deploy.serving.refusals import body_of

        texts: list[str] = []
        try:
            piece = first
            while piece is not None:
                account.first_token(self.request.scope)
                texts.append(piece.text)
                delta = piece.text if len(texts) == 1 else f" {piece.text}"
                yield _event({"type": "transcript.text.delta", "delta": delta})
                piece = await anext(self._pieces, None)
            done = {"type": "transcript.text.done", "text": " ".join(texts), "usage": self._usage()}
            yield _event(done)
        except Exception as error:  # the status is sent
            yield _event(body_of(error))
        finally:
            account.report(self.request.scope, audio_seconds=self.seconds)


def _event(body: dict[str, Any]) -> str:
    return f"data: {json.dumps(body)}\n\n"


def _segment(number: int, piece: Piece) -> dict[str, Any]:
    return {"id": number, "start": round(piece.start, 3), "end": round(piece.end, 3),
            "text": piece.text}  # fmt: skip


def srt(pieces: list[Piece]) -> str:
    """SubRip: numbered, with commas in the times."""
    return "\n".join(
        f"{number}\n{_clock(p.start, ',')} --> {_clock(p.end, ',')}\n{p.text}\n"
        for number, p in enumerate(pieces, 1)
    )


def vtt(pieces: list[Piece]) -> str:
    """WebVTT."""
    cues = (f"{_clock(p.start, '.')} --> {_clock(p.end, '.')}\n{p.text}\n" for p in pieces)
    return "WEBVTT\n\n" + "\n".join(cues)


def _clock(seconds: float, point: str) -> str:
    thousandths = round(seconds * 1000)
    minutes, thousandths = divmod(thousandths, 60_000)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02}:{minutes:02}:{thousandths // 1000:02}{point}{thousandths % 1000:03}"
