"""Paths that tell of the server: health, counts, and which models there are."""

import contextlib
from typing import Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response

from phase4_deploy.serving import refusals
from phase4_deploy.serving.engine import Engine
from phase4_deploy.serving.errors import refusal
from phase4_deploy.serving.metrics import CONTENT_TYPE
from phase4_deploy.serving.responses import Alive, Model, Models, Ready, may_be, told
from phase4_deploy.serving.service import Served

router = APIRouter()
health = APIRouter(tags=["health"])


@health.get("/health/live", responses=told(Alive))
async def live() -> dict[str, str]:
    """The process answers."""
    return {"status": "alive"}


@health.get("/health/ready", responses=told(Ready) | may_be(503))
async def ready(service: Served) -> JSONResponse:
    """Every model is at work and takes requests."""
    if not service.engine.ready():
        return refusal(503, "the server is starting or stopping", "not_ready")
    return JSONResponse({"status": "ready", "models": list(service.engine.served)})


@health.get("/metrics", response_class=PlainTextResponse, responses=may_be(401, 429, 503))
async def metrics(request: Request) -> Response:
    """Counts for Prometheus."""
    return Response(request.app.state.metrics.text(), media_type=CONTENT_TYPE)


@router.get("/v1/models", tags=["models"], responses=told(Models))
async def models(service: Served) -> dict[str, Any]:
    """The models that are served here."""
    data = [_model(service.engine, name) for name in service.engine.served]
    return {"object": "list", "data": data}


@router.get("/v1/models/{model:path}", tags=["models"], responses=told(Model) | may_be(404))
async def model(model: str, service: Served) -> dict[str, Any]:
    """One of them."""
    if model not in service.engine.served:
        raise refusals.UnknownModel(
            f"the model '{model[:64]}' is not served here",
            f"known: {', '.join(service.engine.served)}",
        )
    return _model(service.engine, model)


def _model(engine: Engine, name: str) -> dict[str, Any]:
    artifact = engine.served[name].artifact
    made = artifact.manifest.get("created", "")
    with contextlib.suppress(ValueError):
        from datetime import datetime

        made = int(datetime.fromisoformat(made).timestamp())
    return {"id": name, "object": "model", "created": made or 0, "owned_by": "vermeil",
            "artifact": artifact.id}  # fmt: skip
