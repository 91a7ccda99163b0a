"""What every answer carries and what is known of it afterwards: id, headers, log line, metrics.

Outermost around the API: `Telemetry(Bodies(Gate(app, ring)), metrics)`. Nothing that a client wrote
or was answered is ever logged, and of its key only the name.
"""

import asyncio
import contextlib
import json
import re
import sys
import time
import traceback
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from phase4_deploy.serving import account
from phase4_deploy.serving.errors import refusal
from phase4_deploy.serving.metrics import Metrics

if TYPE_CHECKING:
    from phase4_deploy.serving.tracing import Tracing

LEFT = 499  # nginx' status of a request whose client did not wait for the answer
METHODS = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}
NOSNIFF = {"x-content-type-options": "nosniff", "referrer-policy": "no-referrer"}
NO_FRAMES = "frame-ancestors 'none'"
NOTHING = f"default-src 'none'; {NO_FRAMES}"  # an answer of the API loads nothing
PAGES = "/docs"  # loads its scripts and styles


def to_stderr(line: str) -> None:
    """The log: one line of JSON a request."""
    print(line, file=sys.stderr, flush=True)


class Telemetry:
    """Request ids, security headers, a JSON log line and metrics; spans where `tracing` is given.

    An exception that reaches it is answered with 500, where the API has not done so, and ends here:
    logged by its class and lines of code, for its message may hold what a client wrote.
    """

    def __init__(
        self,
        app: ASGIApp,
        metrics: Metrics,
        *,
        log: Callable[[str], None] = to_stderr,
        tracing: "Tracing | None" = None,
    ):
        self.app, self.metrics, self.log, self.tracing = app, metrics, log, tracing

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        request = _Request(scope, receive, send)
        span = contextlib.nullcontext()
        if self.tracing:
            span = self.tracing.span(request.method, Headers(scope=scope))
        with self.metrics.in_flight.track_inprogress(), span as request.span:
            try:
                await self._answer(request)
            finally:
                self._finish(request)

    async def _answer(self, request: "_Request") -> None:
        try:
            await self.app(request.scope, request.receive, request.send)
        except asyncio.CancelledError:
            request.left = True
            raise
        except Exception as error:
            request.failure = failure(error)
            if request.status is None:
                response = refusal(500, "the server failed to answer", "internal_error")
                await response(request.scope, request.receive, request.send)
            elif not request.whole:  # the server has to break the connection off
                raise _BrokenOff from None

    def _finish(self, request: "_Request") -> None:
        """Count the request, finish its span and write its line."""
        route, usage = account.endpoint(request.scope), account.used(request.scope)
        status, seconds = request.outcome, time.perf_counter() - request.started
        self.metrics.answered(route, status, seconds, usage)
        if (first := request.state.get("first_token")) is not None:
            self.metrics.first_token.labels(route).observe(first - request.started)
        if self.tracing and request.span:
            self.tracing.finish(request.span, request.id, request.method, route, status, usage)
        line = {
            "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
            "id": request.id,
            "key": request.state.get("key"),
            "method": request.method,
            "route": route,
            "status": status,
            "ms": round(seconds * 1000, 1),
            "bytes_in": request.bytes_in,
            "bytes_out": request.bytes_out,
            "prompt_tokens": usage.prompt_tokens,
            "completion_tokens": usage.completion_tokens,
        }
        self.log(json.dumps(line | request.failure))


class _BrokenOff(Exception):
    """An answer that ended in the middle; its cause stands in the log."""


class _Request:
    """What is seen of one request on its way in and out."""

    def __init__(self, scope: Scope, receive: Receive, send: Send):
        self.scope, self.inner_receive, self.inner_send = scope, receive, send
        self.started = time.perf_counter()
        self.state: dict[str, Any] = scope.setdefault("state", {})
        self.id = self.state["request_id"] = request_id(Headers(scope=scope).get("x-request-id"))
        # Now: a mounted application changes the root.
        self.path = scope["path"].removeprefix(scope.get("root_path", ""))
        self.method = scope["method"] if scope["method"] in METHODS else account.OTHER
        self.bytes_in = self.bytes_out = 0
        self.status: int | None = None
        self.whole = self.left = False
        self.failure: dict[str, Any] = {}
        self.span: Any = None

    @property
    def outcome(self) -> int:
        """The status for log and metrics."""
        return LEFT if self.left else self.status or 500

    async def receive(self) -> Message:
        message = await self.inner_receive()
        if message["type"] == "http.request":
            self.bytes_in += len(message.get("body", b""))
        elif message["type"] == "http.disconnect" and not self.whole:
            self.left = True
        return message

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self.dress(MutableHeaders(scope=message))
        elif message["type"] == "http.response.body":
            self.bytes_out += len(message.get("body", b""))
            self.whole = not message.get("more_body", False)
        await self.inner_send(message)

    def dress(self, headers: MutableHeaders) -> None:
        """Add the id and what keeps browsers from guessing, framing and caching."""
        headers["x-request-id"] = self.id
        headers.update(NOSNIFF)
        page = self.path == PAGES or self.path.startswith(PAGES + "/")
        headers["content-security-policy"] = NO_FRAMES if page else NOTHING
        if self.path.startswith("/v1/"):
            headers["cache-control"] = "no-store"


def request_id(given: str | None) -> str:
    """A client's own id where it is a short plain token, else a new one."""
    sane = given is not None and re.fullmatch(r"[\w.-]{1,64}", given, re.ASCII)
    return given if given and sane else uuid.uuid4().hex


def failure(error: Exception) -> dict[str, Any]:
    """An exception's class and the last lines of code that it came through."""
    frames = traceback.extract_tb(error.__traceback__)[-5:]
    lines = [f"{Path(frame.filename).name}:{frame.lineno}" for frame in frames]
    return {"error": type(error).__name__, "at": lines}
