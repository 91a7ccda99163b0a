"""What the paths of the API have in common."""

from dataclasses import dataclass, field
from typing import Annotated

from fastapi import Depends
from starlette.requests import Request

from phase4_deploy.serving.engine import Engine
from phase4_deploy.serving.media import Limits


@dataclass(frozen=True)
class Service:
    """What answers, and the largest that it may be asked for."""

    engine: Engine
    limits: Limits = field(default_factory=Limits)
    drain_seconds: float = 30.0


async def _service(request: Request) -> Service:
    return request.app.state.service


Served = Annotated[Service, Depends(_service)]
