"""A conversation as a question: which picture, which recording, which words."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

from phase1_foundation.language.generate import Sampling
from phase4_deploy.serving import media
from phase4_deploy.serving.engine import UnknownModel
from phase4_deploy.serving.media import BadInput
from phase4_deploy.serving.models import Writer
from phase4_deploy.serving.schemas import AudioPart, ChatRequest, ImagePart, Message
from phase4_deploy.serving.service import Service
from phase4_deploy.serving.ticket import Ticket

PROSE = {"temperature": 0.8, "top_p": 0.95}  # the likeliest words go in circles


class Question(NamedTuple):
    """What the last message of the user asks; media as they were sent."""

    text: str
    image: str = ""  # a data URI
    audio: str = ""  # base64


def question_of(messages: Sequence[Message]) -> Question:
    """The last user's message, about the last picture that was shown.

    An audio part is the question itself. System messages and earlier turns ask nothing: the models
    learned single questions.
    """
    said = [message for message in messages if message.role == "user"]
    if not said or messages[-1].role != "user":
        raise BadInput(
            "the last message is not the user's", "end with what is asked", "no_question"
        )
    pictures = [
        part.image_url.url
        for message in said
        if isinstance(message.content, list)
        for part in message.content
        if isinstance(part, ImagePart)
    ]
    last = said[-1].content
    parts = last if isinstance(last, list) else []
    sounds = [part.input_audio.data for part in parts if isinstance(part, AudioPart)]
    if len(sounds) > 1:
        raise BadInput("a message has two recordings", "one question at a time", "two_recordings")
    text = last if isinstance(last, str) else " ".join(
        part.text for part in parts if part.type == "text"
    )  # fmt: skip
    found = Question((text or "").strip(), pictures[-1] if pictures else "", *sounds)
    if not any(found):
        raise BadInput("the last message is empty", "ask something", "no_question")
    return found


async def submitted(
    service: Service, body: ChatRequest, samplings: Sequence[Sampling]
) -> tuple[str, list[Ticket[str]]]:
    """The answering model's name, and a ticket for each choice."""
    asked, engine = question_of(body.messages), service.engine
    words_alone = not (asked.image or asked.audio)
    if words_alone and body.temperature is None:
        samplings = [replace(sampling, **PROSE) for sampling in samplings]
    writer = _writer(service, body.model, words_alone)
    if writer is not None:
        if not words_alone:
            raise UnknownModel(
                f"the model '{writer.name}' only reads",
                "ask a model that looks, e.g. unified, vqa or caption",
            )
        return writer.name, [writer.write(asked.text, s, streamed=body.stream) for s in samplings]
    talker = engine.talker(body.model)
    picture = wave = None
    if asked.image:
        picture = await asyncio.to_thread(media.picture, asked.image, service.limits)
    if asked.audio:
        content = media.decoded(asked.audio, "audio")
        wave = await asyncio.to_thread(media.sound, content, service.limits)
    prepared = await asyncio.to_thread(talker.prepared, asked.text, picture, wave)
    return talker.name, [talker.ask(prepared, s, body.stream) for s in samplings]


def _writer(service: Service, name: str, words_alone: bool) -> Writer | None:
    """The language model, where it is asked for by name, or nothing else is to be looked at."""
    models = service.engine.served.values()
    if not name and words_alone:
        return next((model for model in models if isinstance(model, Writer)), None)
    model = service.engine.served.get(name)
    return model if isinstance(model, Writer) else None
