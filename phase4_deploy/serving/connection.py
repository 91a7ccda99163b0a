"""A connection of the server: Uvicorn's, with an end to its patience.

Uvicorn bounds neither the time in which a request's head arrives nor, with httptools, its size, and
it answers what is no HTTP in plain text.
"""

from typing import Any

from uvicorn.protocols.http.auto import AutoHTTPProtocol

from phase4_deploy.serving.errors import refusal

HEAD_BYTES = 64 * 1024
HEAD_SECONDS = 15.0  # at least, and less than twice as many
Protocol: Any = AutoHTTPProtocol  # that of httptools, where it is there, else of h11


class Connection(Protocol):
    """Closed where no request comes of it for a while; bodies and answers take what they need."""

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._head, self._seen = 0, None
        self.loop.call_later(HEAD_SECONDS, self._look)

    @property
    def _idle(self) -> bool:
        return self.cycle is None or self.cycle.response_complete

    def _look(self) -> None:
        """Close it where nothing happened since the last look."""
        if self.transport.is_closing():
            return
        if self._idle and self.cycle is self._seen:
            self.transport.close()
            return
        self._seen = self.cycle
        self.loop.call_later(HEAD_SECONDS, self._look)

    def data_received(self, data: bytes) -> None:
        if not self._idle:
            super().data_received(data)
            return
        last = self.cycle
        self._head += len(data)
        super().data_received(data)
        if self.cycle is not last:
            self._head = 0
        elif self._head > HEAD_BYTES and not self.transport.is_closing():
            self.send_400_response("the head of the request is too large")

    def send_400_response(self, msg: str) -> None:
        """Say in the API's form that this is no HTTP, and hang up."""
        said = refusal(400, msg, "invalid_http", headers={"connection": "close"})
        head = b"".join(b"%s: %s\r\n" % header for header in said.raw_headers)
        self.transport.write(b"HTTP/1.1 400 Bad Request\r\n" + head + b"\r\n" + bytes(said.body))
        self.transport.close()
