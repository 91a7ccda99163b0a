"""Answers in OpenAI's forms: whole, or streamed as server-sent events."""

import asyncio
import json
import time
import uuid
from collections.abc import AsyncIterator, Coroutine, Sequence
from typing import Any, TypeVar

from starlette.requests import Request

from phase4_deploy.serving import account
from phase4_deploy.serving.schemas import Generation
from phase4_deploy.serving.ticket import Ticket

T = TypeVar("T")
DONE = "data: [DONE]\n\n"


class Left(Exception):
    """The client did not wait for its answer."""


async def unless_left(request: Request, work: Coroutine[Any, Any, T]) -> T:
    """What the work comes to; a client that leaves ends it. Raises Left."""
    working, leaving = asyncio.ensure_future(work), asyncio.ensure_future(_left(request))
    try:
        await asyncio.wait({working, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise Left
        return working.result()
    finally:
        leaving.cancel()
        working.cancel()


async def _left(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


async def over(tickets: Sequence[Ticket]) -> None:
    """The end of all these answers; who stops waiting cancels them."""
    try:
        for ticket in tickets:
            await ticket.over()
    finally:
        for ticket in tickets:
            ticket.cancel()


def usage_of(tickets: Sequence[Ticket], prompts: int = 1) -> dict[str, Any]:
    """Tokens read and written; choices of one prompt have read it once."""
    notes = [ticket.notes for ticket in tickets]
    every = max(1, len(tickets) // prompts)
    read = sum(note.get("prompt_tokens", 0) for note in notes[::every])
    written = sum(note.get("completion_tokens", 0) for note in notes)
    cached = sum(note.get("cached_tokens", 0) for note in notes[::every])
    return {
        "prompt_tokens": read,
        "completion_tokens": written,
        "total_tokens": read + written,
        "prompt_tokens_details": {"cached_tokens": min(cached, read)},
    }


def looked_up(request: Request, tickets: Sequence[Ticket]) -> None:
    """Count whether pictures and prompts were read before."""
    for ticket in tickets:
        hit = ticket.notes.get("cached_tokens", 0) > 0
        request.app.state.metrics.looked_up("prefix", hit)


def report(scope: Any, usage: dict[str, Any]) -> None:
    """Put the tokens on the request's account."""
    account.report(
        scope,
        prompt_tokens=usage["prompt_tokens"],
        completion_tokens=usage["completion_tokens"],
    )


class Form:
    """One of OpenAI's two forms of written answers."""

    def __init__(self, chat: bool, model: str):
        self.chat, self.model = chat, model
        self.id = f"{'chatcmpl' if chat else 'cmpl'}-{uuid.uuid4().hex}"
        self.created = int(time.time())

    def frame(self, streamed: bool, choices: list[dict[str, Any]]) -> dict[str, Any]:
        kind = "text_completion"
        if self.chat:
            kind = "chat.completion.chunk" if streamed else "chat.completion"
        return {"id": self.id, "object": kind, "created": self.created, "model": self.model,
                "choices": choices}  # fmt: skip

    def whole(self, index: int, text: str, reason: str) -> dict[str, Any]:
        """A choice that is complete."""
        choice: dict[str, Any] = {"index": index, "finish_reason": reason, "logprobs": None}
        if self.chat:
            return choice | {"message": {"role": "assistant", "content": text, "refusal": None}}
        return choice | {"text": text}

    def piece(self, index: int, text: str | None, reason: str | None) -> dict[str, Any]:
        """New text of a choice, or, without any, the reason why it has ended."""
        choice: dict[str, Any] = {"index": index, "finish_reason": reason, "logprobs": None}
        if self.chat:
            return choice | {"delta": {} if text is None else {"content": text}}
        return choice | {"text": text or ""}


async def whole(
    request: Request, form: Form, tickets: Sequence[Ticket[str]], echoes: Sequence[str],
    prompts: int = 1,
) -> dict[str, Any]:  # fmt: skip
    """All choices at once. `echoes` stand before their texts."""
    await unless_left(request, over(tickets))
    looked_up(request, tickets)
    usage = usage_of(tickets, prompts)
    report(request.scope, usage)
    choices = [
        form.whole(index, echo + "".join(ticket.items()), ticket.notes["finish_reason"])
        for index, (ticket, echo) in enumerate(zip(tickets, echoes, strict=True))
    ]
    return form.frame(False, choices) | {"usage": usage}


async def streamed(
    request: Request, form: Form, asked: Generation, tickets: Sequence[Ticket[str]],
    echoes: Sequence[str], prompts: int = 1,
) -> AsyncIterator[str]:  # fmt: skip
    """Events with new text as it comes, of all choices in turn of their coming."""

    def event(choices: list[dict[str, Any]], **more: Any) -> str:
        frame = form.frame(True, choices) | more
        if asked.with_usage:
            frame.setdefault("usage", None)
        return f"data: {json.dumps(frame, separators=(',', ':'))}\n\n"

    try:
        for index, echo in enumerate(echoes):
            if form.chat:
                yield event([form.piece(index, "", None) | {"delta": ROLE}])
            elif echo:
                yield event([form.piece(index, echo, None)])
        async for index, text in merged(tickets):
            if text is None:
                reason = tickets[index].notes["finish_reason"]
                yield event([form.piece(index, None, reason)])
            elif text:
                account.first_token(request.scope)
                yield event([form.piece(index, text, None)])
        if asked.with_usage:
            yield event([], usage=usage_of(tickets, prompts))
        yield DONE
    except Exception as error:  # the status is sent: the stream itself has to say it
        from phase4_deploy.serving.refusals import body_of

        yield f"data: {json.dumps(body_of(error))}\n\n"
    finally:
        for ticket in tickets:
            ticket.cancel()
        report(request.scope, usage_of(tickets, prompts))


ROLE = {"role": "assistant", "content": ""}


async def merged(tickets: Sequence[Ticket[str]]) -> AsyncIterator[tuple[int, str | None]]:
    """(which, text) in the order of coming; (which, None) where one has ended."""
    if len(tickets) == 1:
        async for text in tickets[0]:
            yield 0, text
        yield 0, None
        return
    queue: asyncio.Queue[tuple[int, str | Exception | None]] = asyncio.Queue()

    async def forward(index: int) -> None:
        try:
            async for text in tickets[index]:
                queue.put_nowait((index, text))
            queue.put_nowait((index, None))
        except Exception as error:
            queue.put_nowait((index, error))

    tasks = [asyncio.create_task(forward(index)) for index in range(len(tickets))]
    try:
        left = len(tickets)
        while left:
            index, item = await queue.get()
            if isinstance(item, Exception):
                raise item
            left -= item is None
            yield index, item
    finally:
        for task in tasks:
            task.cancel()
