"""Paths of pictures: drawn, described, asked about."""

import asyncio
import base64
import time
from typing import Any

import numpy as np
from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import JSONResponse

from phase4_deploy.serving import account, answers, media, schemas
from phase4_deploy.serving.media import BadInput
from phase4_deploy.serving.responses import Caption, Images, VqaAnswer, told
from phase4_deploy.serving.service import Served, Service

router = APIRouter()
USUAL_SIDE, MOST_SIDE = 256, 1024  # pixels of a drawing when it is sent


@router.post("/v1/images/generations", tags=["pictures"], responses=told(Images))
async def images(body: schemas.ImageRequest, request: Request, service: Served) -> Any:
    """Draw what a prompt says. Drawings are small; `size` enlarges them by whole pixels."""
    drawer = service.engine.drawer(body.model)
    seed = int(np.random.default_rng().integers(2**31)) if body.seed is None else body.seed
    own = drawer.model.config.diffusion.size
    times = _times(body.size, own)
    how = {"guidance_scale": body.guidance_scale, "steps": body.steps,
           "negative_prompt": body.negative_prompt or None}  # fmt: skip
    tickets = [drawer.draw(body.prompt, seed=seed + i, **how) for i in range(body.n)]
    await answers.unless_left(request, answers.over(tickets))
    account.report(request.scope, images=body.n)
    from shared.grids import enlarged, png

    drawn = [png(enlarged(ticket.items()[-1], times)) for ticket in tickets]
    data = [{"b64_json": base64.b64encode(each).decode(), "seed": seed + i}
            for i, each in enumerate(drawn)]  # fmt: skip
    return JSONResponse({"created": int(time.time()), "data": data})


@router.post("/v1/captions", tags=["pictures"], responses=told(Caption))
async def captions(body: schemas.CaptionRequest, request: Request, service: Served) -> Any:
    """Say what a picture shows."""
    return await _told(request, service, body, "caption")


@router.post("/v1/vqa", tags=["pictures"], responses=told(VqaAnswer))
async def vqa(body: schemas.VqaRequest, request: Request, service: Served) -> Any:
    """Answer a question about a picture, typed or spoken."""
    return await _told(request, service, body, "answer")


def _times(size: str | None, own: int) -> int:
    """How many times a drawing is enlarged for the size that was asked for."""
    if size in (None, "auto"):
        return max(1, USUAL_SIDE // own)
    sizes = {f"{own * n}x{own * n}": n for n in range(1, MOST_SIDE // own + 1)}
    if size not in sizes:
        few = ", ".join(name for name, n in sizes.items() if n & (n - 1) == 0)
        raise BadInput(f"a drawing cannot have the size {size}", f"ask for {few}", "invalid_size")
    return sizes[size]


async def _told(
    request: Request, service: Service, body: schemas.CaptionRequest, name: str
) -> JSONResponse:
    """What a model says of a picture."""
    from phase1_foundation.language.generate import Sampling

    talker = service.engine.talker(body.model)
    picture = await asyncio.to_thread(media.picture, body.image, service.limits)
    question, wave = "", None
    if isinstance(body, schemas.VqaRequest):
        question = body.question
        if body.audio:
            content = media.decoded(body.audio, "audio")
            wave = await asyncio.to_thread(media.sound, content, service.limits)
    sampling = Sampling(
        max_tokens=min(body.max_tokens, service.limits.tokens), temperature=body.temperature,
        seed=body.seed,
    )  # fmt: skip
    asked = await asyncio.to_thread(talker.prepared, question, picture, wave)
    ticket = talker.ask(asked, sampling)
    await answers.unless_left(request, answers.over([ticket]))
    answers.looked_up(request, [ticket])
    answers.report(request.scope, answers.usage_of([ticket]))
    return JSONResponse({name: "".join(ticket.items()).strip(), "model": talker.name})
