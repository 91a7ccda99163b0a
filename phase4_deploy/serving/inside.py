"""An application called in its own process: a loop in a thread, answers streamed out of it."""

import asyncio
import queue
import threading
from collections.abc import Iterator
from typing import Any

import httpx


class Inside(httpx.BaseTransport):
    """Lets a blocking `httpx.Client` talk to an ASGI application; httpx itself wants `async`."""

    def __init__(self, app: Any):
        self.app, self.loop = app, asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever, name="inside", daemon=True)
        self.thread.start()

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        messages: queue.SimpleQueue[dict[str, Any] | Exception | None] = queue.SimpleQueue()
        body, left = request.read(), asyncio.Event()
        task = asyncio.run_coroutine_threadsafe(
            self._call(request, body, messages, left), self.loop
        )
        start = messages.get()
        if not isinstance(start, dict):
            raise httpx.ReadError("the application failed to answer") from start

        def chunks() -> Iterator[bytes]:
            try:
                while isinstance(message := messages.get(), dict):
                    yield message.get("body", b"")
            finally:  # also where the caller reads no further
                self.loop.call_soon_threadsafe(left.set)
                task.cancel()

        return httpx.Response(start["status"], headers=start["headers"], stream=_Stream(chunks()))

    async def _call(
        self, request: httpx.Request, body: bytes, messages: queue.SimpleQueue, left: asyncio.Event
    ) -> None:
        scope = {
            "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1",
            "method": request.method, "scheme": "http", "path": request.url.path,
            "raw_path": request.url.raw_path, "query_string": request.url.query, "root_path": "",
            "headers": [(k.lower(), v) for k, v in request.headers.raw],
            "server": ("inside", 80), "client": ("inside", 0),
        }  # fmt: skip
        told = False

        async def receive() -> dict[str, Any]:
            nonlocal told
            if told:
                await left.wait()
                return {"type": "http.disconnect"}
            told = True
            return {"type": "http.request", "body": body, "more_body": False}

        async def send(message: dict[str, Any]) -> None:
            messages.put(message)

        try:
            await self.app(scope, receive, send)
            messages.put(None)
        except Exception as error:
            messages.put(error)

    def close(self) -> None:
        self.loop.call_soon_threadsafe(self.loop.stop)


class _Stream(httpx.SyncByteStream):
    def __init__(self, chunks: Iterator[bytes]):
        self.chunks = chunks

    def __iter__(self) -> Iterator[bytes]:
        return self.chunks

    def close(self) -> None:
        getattr(self.chunks, "close", lambda: None)()
