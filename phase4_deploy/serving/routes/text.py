"""Paths of written answers: completions and chat."""

from typing import Any

import numpy as np
from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import JSONResponse, StreamingResponse

from phase4_deploy.serving import answers, schemas
from phase4_deploy.serving.chat import submitted
from phase4_deploy.serving.responses import EVENTS, ChatCompletion, Completion, told
from phase4_deploy.serving.service import Served, Service
from phase4_deploy.serving.ticket import Ticket

router = APIRouter()


@router.post("/v1/completions", tags=["text"], responses=told(Completion, EVENTS))
async def completions(body: schemas.CompletionRequest, request: Request, service: Served) -> Any:
    """Continue a text."""
    writer = service.engine.writer(body.model)
    prompts = [body.prompt] if isinstance(body.prompt, str) else body.prompt
    tickets: list[Ticket[str]] = []
    try:
        for number, prompt in enumerate(prompts):
            for choice in range(body.n):
                sampling = _sampling(body, service, body.max_tokens, number * body.n + choice)
                tickets.append(writer.write(prompt, sampling, streamed=body.stream))
    except Exception:  # one that is refused takes those before it along
        for ticket in tickets:
            ticket.cancel()
        raise
    echoes = [prompt if body.echo else "" for prompt in prompts for _ in range(body.n)]
    form = answers.Form(False, writer.name)
    return await _answer(request, form, body, tickets, echoes, len(prompts))


@router.post("/v1/chat/completions", tags=["text"], responses=told(ChatCompletion, EVENTS))
async def chat(body: schemas.ChatRequest, request: Request, service: Served) -> Any:
    """Answer the last message: a question about the last picture, typed or spoken; a picture
    alone is described, a recording alone written down, a text alone continued. Earlier turns
    and system messages are not read: the models learned single questions."""
    most = body.max_completion_tokens or body.max_tokens or 64
    samplings = [_sampling(body, service, most, choice) for choice in range(body.n)]
    name, tickets = await submitted(service, body, samplings)
    return await _answer(request, answers.Form(True, name), body, tickets, [""] * body.n, 1)


def _sampling(body: schemas.Generation, service: Service, most: int, choice: int) -> Any:
    from phase1_foundation.language.generate import Sampling

    asks_for_chance = body.temperature is None and isinstance(body, schemas.CompletionRequest)
    seed = int(np.random.default_rng().integers(2**31)) if body.seed is None else body.seed
    return Sampling(
        max_tokens=min(most, service.limits.tokens),
        temperature=1.0 if asks_for_chance else body.temperature or 0.0,
        top_k=body.top_k, top_p=1.0 if body.top_p is None else body.top_p,
        repetition_penalty=body.repetition_penalty, stop=body.stops, seed=seed + choice,
    )  # fmt: skip


async def _answer(
    request: Request, form: answers.Form, body: schemas.Generation, tickets: Any, echoes: Any,
    prompts: int,
) -> Any:  # fmt: skip
    if body.stream:
        events = answers.streamed(request, form, body, tickets, echoes, prompts)
        return StreamingResponse(events, media_type="text/event-stream")
    return JSONResponse(await answers.whole(request, form, tickets, echoes, prompts))
