"""Who may ask, how often and how much at once; and how large and how slow a body may be.

Plain ASGI, to be put around the API: `Bodies(Gate(app, ring))`. Limits are those of one server
process: behind two replicas a key has twice as much.
"""

import asyncio
import math
import time
from collections.abc import Callable
from dataclasses import dataclass

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from phase4_deploy.serving import account
from phase4_deploy.serving.account import Usage
from phase4_deploy.serving.errors import refusal
from phase4_deploy.serving.key_ring import KeyRing
from phase4_deploy.serving.keys import Key
from shared.errors import VermeilError

# Without a key: kubelets and load balancers have none to ask for health with, and the pages that
# describe the API hold nothing of anyone's. Whatever is not listed is guarded.
OPEN = {"/health/live", "/health/ready", "/docs", "/openapi.json"}
PAGES = "/docs/"  # with their scripts
SCRIPTS = "/docs/static/"  # what that page loads: files of a package
METRICS = "/metrics"  # numbers, no content; scraped inside the cluster, or with a key by flag
DISCONNECT: Message = {"type": "http.disconnect"}


@dataclass
class Bucket:
    """One key's requests: a minute's worth may come at once, then as fast as they are refilled."""

    tokens: float
    at: float  # s, when the tokens were counted
    running: int = 0

    def enter(self, key: Key, now: float) -> float:
        """Let a request in and return 0, or the seconds after which to ask again."""
        per_second = key.rate / 60
        self.tokens = min(key.rate, self.tokens + (now - self.at) * per_second)
        self.at = now
        if self.running >= key.concurrency:
            return 1.0
        if self.tokens < 1:
            return (1 - self.tokens) / per_second
        self.tokens -= 1
        self.running += 1
        return 0.0

    def headers(self, key: Key) -> dict[str, str]:
        """The limits as OpenAI's clients read them; `reset`: until a minute's worth is there."""
        return {
            "x-ratelimit-limit-requests": str(key.rate),
            "x-ratelimit-remaining-requests": str(int(self.tokens)),
            "x-ratelimit-reset-requests": f"{(key.rate - self.tokens) / key.rate * 60:.3f}s",
        }


class Gate:
    """A key for every path but those above, and each key's limits; without keys open to all."""

    def __init__(
        self,
        app: ASGIApp,
        ring: KeyRing | None,
        *,
        guard_metrics: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ):
        self.app, self.ring, self.clock = app, ring, clock
        self.free = OPEN if guard_metrics else OPEN | {METRICS}
        self.buckets: dict[int, Bucket] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope.get("path", "").removeprefix(scope.get("root_path", ""))
        if (
            self.ring is None
            or scope["type"] == "lifespan"
            or path in self.free
            or path.startswith(PAGES)
        ):
            await self.app(scope, receive, send)
            return
        try:
            found = None if await self.ring.open() else await self._key(self.ring, scope)
        except VermeilError as error:
            again = {"retry-after": "5"}
            found = refusal(503, str(error), "keys_unavailable", headers=again)
        if found is None:
            await self.app(scope, receive, send)
        elif isinstance(found, Key):
            await self._limited(self.ring, found, scope, receive, send)
        else:
            await found(scope, receive, send)

    def _free(self, scope: Scope) -> bool:
        """Whether a path needs no key."""
        path = scope["path"].removeprefix(scope.get("root_path", ""))
        return path in self.free or path.startswith(SCRIPTS)

    async def _key(self, ring: KeyRing, scope: Scope) -> Key | JSONResponse:
        """The key that a request shows, or what it is told."""
        scheme, _, secret = Headers(scope=scope).get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not secret.strip():
            return _unauthorized("no API key was given: send 'Authorization: Bearer vm-...'")
        key = await ring.find(secret.strip())
        if key is None:
            return _unauthorized("this API key is not known here")
        return key if key.revoked is None else _unauthorized("this API key was revoked")

    async def _limited(
        self, ring: KeyRing, key: Key, scope: Scope, receive: Receive, send: Send
    ) -> None:
        scope.setdefault("state", {})["key"] = key.name
        bucket = self.buckets.setdefault(key.id, Bucket(float(key.rate), self.clock()))
        wait = bucket.enter(key, self.clock())
        headers = bucket.headers(key)
        if wait:
            ring.used(key, "refused", Usage(requests=1, errors=1))
            await _too_many(key, wait, headers)(scope, receive, send)
            return
        status = 500

        async def counted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message).update(headers)
            await send(message)

        try:
            await self.app(scope, receive, counted)
        finally:  # also where the client has left
            bucket.running -= 1
            once = Usage(requests=1, errors=int(status >= 400))
            ring.used(key, account.endpoint(scope), once + account.used(scope))


def _unauthorized(message: str) -> JSONResponse:
    challenge = {"www-authenticate": 'Bearer realm="vermeil"'}
    return refusal(401, message, "invalid_api_key", headers=challenge)


def _too_many(key: Key, wait: float, headers: dict[str, str]) -> JSONResponse:
    message = f"this key may ask {key.rate} times a minute, {key.concurrency} at once"
    headers = headers | {"retry-after": str(math.ceil(wait))}
    return refusal(429, message, "rate_limit_exceeded", headers=headers)


class Bodies:
    """Bodies of at most so many bytes that arrive within so many seconds; none is kept here.

    What says that it is larger is refused unread. A connection that was answered before its body
    had arrived is closed, so that nobody holds one by trickling.
    """

    def __init__(self, app: ASGIApp, *, most_bytes: int = 32 * 2**20, most_seconds: float = 60.0):
        self.app, self.most_bytes, self.most_seconds = app, most_bytes, most_seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        body = _Body(self, scope, receive, send)
        declared = Headers(scope=scope).get("content-length", "0").strip()
        if not (declared.isascii() and declared.isdigit()):
            body.refuse(400, "Content-Length is not a number", "invalid_content_length")
        elif len(declared) > 18 or int(declared) > self.most_bytes:
            body.too_large()
        else:
            try:
                await self.app(scope, body.receive, body.send)
            except Exception:
                if body.refused is None:  # else it is what a client that left has caused
                    raise
        if body.refused and not body.answered:
            await body.refused(scope, receive, body.pass_on)


class _Body:
    """One request's body on its way, and the refusal that takes the place of the app's answer."""

    def __init__(self, limits: Bodies, scope: Scope, receive: Receive, send: Send):
        self.limits, self.inner_receive, self.inner_send = limits, receive, send
        headers = Headers(scope=scope)
        self.whole = (
            headers.get("content-length", "0") == "0" and "transfer-encoding" not in headers
        )
        self.one_connection = scope.get("http_version", "1.1").startswith("1")
        self.deadline = asyncio.get_running_loop().time() + limits.most_seconds
        self.arrived, self.answered = 0, False
        self.refused: JSONResponse | None = None

    async def receive(self) -> Message:
        if self.refused:
            return DISCONNECT
        if self.whole:
            return await self.inner_receive()
        try:
            async with asyncio.timeout_at(self.deadline):
                message = await self.inner_receive()
        except TimeoutError:
            seconds = f"{self.limits.most_seconds:g} seconds"
            return self.refuse(408, f"the body did not arrive within {seconds}", "request_timeout")
        if message["type"] == "http.request":
            self.arrived += len(message.get("body", b""))
            self.whole = not message.get("more_body", False)
            if self.arrived > self.limits.most_bytes:
                self.whole = False
                return self.too_large()
        return message

    async def send(self, message: Message) -> None:
        if self.answered or not self.refused:
            await self.pass_on(message)

    async def pass_on(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.answered = True
            if not self.whole and self.one_connection:
                MutableHeaders(scope=message)["connection"] = "close"
        await self.inner_send(message)

    def refuse(self, status: int, message: str, code: str) -> Message:
        """Answer with this, and tell the app that its client has left."""
        self.refused = refusal(status, message, code)
        return DISCONNECT

    def too_large(self) -> Message:
        most = f"{self.limits.most_bytes:,} bytes"
        return self.refuse(413, f"the body is larger than {most}", "request_too_large")
