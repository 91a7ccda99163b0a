"""The HTTP API, shaped like OpenAI's, so that its client works unchanged with another base URL.

`create_app(engine)` is the whole service: the paths, and around them the limits, keys and counts.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from fastapi import Depends, FastAPI
from fastapi.security import HTTPBearer
from starlette.requests import Request
from starlette.responses import Response

from phase4_deploy.serving import refusals
from phase4_deploy.serving.key_ring import KeyRing
from phase4_deploy.serving.limits import Bodies, Gate
from phase4_deploy.serving.metrics import Metrics
from phase4_deploy.serving.responses import MEANINGS, may_be
from phase4_deploy.serving.routes import embeddings, models, pictures, speech, text
from phase4_deploy.serving.service import Service
from phase4_deploy.serving.telemetry import Telemetry

ABOUT = """Trained from scratch by one curriculum: small models, honest about what they can do.
Each answers what it was taught: `lm` continues prose, `unified` (or `vqa`, `caption`) describes
pictures and answers questions about them, typed or spoken, `text_to_image` draws, `speech` writes
down, `alignment` embeds texts and pictures. Errors have OpenAI's form on every path."""

KEY = Depends(
    HTTPBearer(
        auto_error=False, scheme_name="key",
        description="vermeil keys add NAME; a server without keys takes requests without one",
    )
)  # fmt: skip


def create_app(
    service: Service, *, ring: KeyRing | None = None, metrics: Metrics | None = None,
    body_bytes: int = 32 << 20, body_seconds: float = 60.0, guard_metrics: bool = False,
    allow_origins: tuple[str, ...] = (), **telemetry: Any,
) -> FastAPI:  # fmt: skip
    """The application. Without `ring` it is open to whoever reaches it.

    `telemetry` holds arguments of `Telemetry`: `log`, `tracing`. CORS is off unless origins are
    named.
    """
    engine = service.engine
    metrics = metrics or Metrics(engine.depths, engine.rows)

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with ring or contextlib.nullcontext():
            yield
            await asyncio.to_thread(engine.close, service.drain_seconds)

    app = FastAPI(
        title="Vermeil", version="1", description=ABOUT, lifespan=lifespan, docs_url=None,
        redoc_url=None,
    )  # fmt: skip
    app.state.service, app.state.metrics = service, metrics
    _pages(app)
    app.include_router(models.health)
    app.include_router(models.router, dependencies=[KEY], responses=may_be(401, 429, 500, 503))
    every = may_be(*MEANINGS)
    for kind in (text, pictures, speech, embeddings):
        app.include_router(kind.router, dependencies=[KEY], responses=every)
    refusals.install(app)
    app.add_middleware(Gate, ring=ring, guard_metrics=guard_metrics)
    app.add_middleware(Bodies, most_bytes=body_bytes, most_seconds=body_seconds)
    if allow_origins:
        from starlette.middleware.cors import CORSMiddleware

        app.add_middleware(
            CORSMiddleware, allow_origins=allow_origins, allow_methods=["GET", "POST"],
            allow_headers=["authorization", "content-type"],
        )  # fmt: skip
    app.add_middleware(Telemetry, metrics=metrics, **telemetry)
    return app


def _pages(app: FastAPI) -> None:
    """The page that describes the API, its scripts from a package and not from the network."""
    import fastapi_offline
    from fastapi.openapi.docs import get_swagger_ui_html
    from starlette.staticfiles import StaticFiles

    assert fastapi_offline.__file__
    app.mount(
        "/docs/static", StaticFiles(directory=Path(fastapi_offline.__file__).parent / "static")
    )

    @app.get("/docs", include_in_schema=False)
    def docs(request: Request) -> Response:
        root = request.scope.get("root_path", "")
        return get_swagger_ui_html(
            openapi_url=f"{root}/openapi.json", title="Vermeil",
            swagger_js_url=f"{root}/docs/static/swagger-ui-bundle.js",
            swagger_css_url=f"{root}/docs/static/swagger-ui.css",
            swagger_favicon_url="data:,",
        )  # fmt: skip
