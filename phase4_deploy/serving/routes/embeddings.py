"""The path of embeddings."""

import asyncio
import base64
from typing import Any

import numpy as np
from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import JSONResponse

from phase4_deploy.serving import account, answers, media, schemas
from phase4_deploy.serving.responses import Embeddings, told
from phase4_deploy.serving.service import Served

router = APIRouter()


@router.post("/v1/embeddings", tags=["embeddings"], responses=told(Embeddings))
async def embeddings(body: schemas.EmbeddingRequest, request: Request, service: Served) -> Any:
    """Unit vectors of texts and of pictures (data URIs) in one space."""
    embedder = service.engine.embedder(body.model)
    inputs = [body.input] if isinstance(body.input, str) else body.input
    asked: list[Any] = []
    for each in inputs:
        if each[:11].lower() == "data:image/":
            asked.append(await asyncio.to_thread(media.picture, each, service.limits))
        else:
            asked.append(each)
    tickets = [embedder.embed(what) for what in asked]
    await answers.unless_left(request, answers.over(tickets))
    vectors = [ticket.items()[-1].float().numpy() for ticket in tickets]
    read = sum(embedder.count(what) for what in asked if isinstance(what, str))
    account.report(request.scope, prompt_tokens=read)
    data = [
        {"object": "embedding", "index": i, "embedding": _vector(v, body.encoding_format)}
        for i, v in enumerate(vectors)
    ]
    usage = {"prompt_tokens": read, "total_tokens": read}
    return JSONResponse({"object": "list", "data": data, "model": embedder.name, "usage": usage})


def _vector(vector: np.ndarray, form: str) -> str | list[float]:
    if form == "base64":
        return base64.b64encode(vector.astype("<f4").tobytes()).decode()
    return vector.tolist()
