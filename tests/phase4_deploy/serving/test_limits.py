"""Who is let in, floods, and bodies that are too large, too slow or not what they say."""

import asyncio
import re
import socket
import threading
import time
from contextlib import asynccontextmanager

import httpx
import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, StreamingResponse
from starlette.routing import Route

from phase4_deploy.serving.account import Usage, report
from phase4_deploy.serving.key_ring import KeyRing
from phase4_deploy.serving.keys import KeyStore
from phase4_deploy.serving.limits import OPEN, Bodies, Gate
from shared.errors import VermeilError


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


async def count(request: Request) -> JSONResponse:
    """How many bytes came, read piece by piece."""
    total = 0
    async for chunk in request.stream():
        total += len(chunk)
    report(request.scope, prompt_tokens=total)
    return JSONResponse({"bytes": total, "key": getattr(request.state, "key", None)})


async def fine(request: Request) -> PlainTextResponse:
    return PlainTextResponse("fine")


API = [Route("/v1/count", count, methods=["POST"]), Route("/v1/models", fine)]
API += [Route(path, fine) for path in (*sorted(OPEN), "/metrics", "/docs/static/{file}")]


@asynccontextmanager
async def client(app, key: str = "", root: str = ""):
    headers = {"authorization": f"Bearer {key}"} if key else {}
    transport = httpx.ASGITransport(app, root_path=root)
    async with httpx.AsyncClient(transport=transport, base_url="http://t", headers=headers) as asks:
        yield asks


def error(response: httpx.Response) -> str:
    body = response.json()
    assert set(body) == {"error"} and set(body["error"]) == {"message", "type", "param", "code"}
    return body["error"]["code"]


def test_wrong_missing_and_revoked_keys():
    store = KeyStore()
    good, gone = store.add("anna"), store.add("gone")
    store.revoke("gone")

    async def check():
        async with KeyRing(store) as ring, client(Gate(Starlette(routes=API), ring)) as asks:
            for header in ("", good, f"Basic {good}", "Bearer", "Bearer ", "Bearer vm-x",
                           f"Bearer {good[:-1]}", f"Bearer {good}x", f"Bearer {gone}"):  # fmt: skip
                answer = await asks.get("/v1/models", headers={"authorization": header})
                assert answer.status_code == 401 and error(answer) == "invalid_api_key", header
                assert answer.headers["www-authenticate"].startswith("Bearer")
                assert good[11:40] not in answer.text and gone[11:40] not in answer.text
            assert "revoked" in answer.json()["error"]["message"]
            for scheme in ("Bearer", "bearer"):
                answer = await asks.get("/v1/models", headers={"authorization": f"{scheme} {good}"})
                assert answer.text == "fine"
            for path in ("/v1/unknown", "/unknown", "//docs", "/docs/../v1/models", "/V1/models"):
                assert (await asks.get(path)).status_code == 401, path

    asyncio.run(check())


def test_what_needs_no_key_and_metrics_by_flag():
    store = KeyStore()
    key = store.add("anna")

    async def check():
        async with KeyRing(store) as ring:
            async with client(Gate(Starlette(routes=API), ring)) as asks:
                for path in (*OPEN, "/metrics", "/docs/static/page.js"):
                    assert (await asks.get(path)).text == "fine"
                assert (await asks.get("/docs/static/../../v1/models")).status_code == 401
            async with client(Gate(Starlette(routes=API), ring), root="/api") as asks:
                assert (await asks.get("/api/health/live")).text == "fine"
                assert (await asks.get("/api/v1/models")).status_code == 401
            async with client(Gate(Starlette(routes=API), ring, guard_metrics=True)) as asks:
                assert (await asks.get("/health/live")).text == "fine"
                assert (await asks.get("/metrics")).status_code == 401
            async with client(Gate(Starlette(routes=API), ring, guard_metrics=True), key) as asks:
                assert (await asks.get("/metrics")).text == "fine"

    asyncio.run(check())


def test_without_keys_it_is_open_and_a_lost_database_does_not_open_it():
    async def check():
        store = KeyStore()
        async with KeyRing(store) as ring:
            for gate in (Gate(Starlette(routes=API), None), Gate(Starlette(routes=API), ring)):
                async with client(gate) as asks:
                    answer = await asks.post("/v1/count", content=b"abc")
                    assert answer.json() == {"bytes": 3, "key": None}

        def away():
            raise VermeilError("the keys' database does not answer")

        store.all = away
        async with KeyRing(store) as ring, client(Gate(Starlette(routes=API), ring)) as asks:
            answer = await asks.get("/v1/models")
            assert (answer.status_code, error(answer)) == (503, "keys_unavailable")
            assert answer.headers["retry-after"] == "5"

    asyncio.run(check())


def test_a_flood_is_told_when_to_come_back():
    store, clock = KeyStore(), Clock()
    key, other = store.add("anna", rate=6), store.add("ben", rate=6)
    app = Starlette(routes=API)

    async def check():
        async with KeyRing(store) as ring:
            gate = Gate(app, ring, clock=clock)
            async with client(gate, key) as asks, client(gate, other) as others:
                left = [await asks.post("/v1/count", content=b"abc") for _ in range(6)]
                assert [answer.json()["key"] for answer in left] == ["anna"] * 6
                remaining = [a.headers["x-ratelimit-remaining-requests"] for a in left]
                assert remaining == ["5", "4", "3", "2", "1", "0"]
                assert left[2].headers["x-ratelimit-limit-requests"] == "6"
                assert left[2].headers["x-ratelimit-reset-requests"] == "30.000s"
                clock.now += 0.5
                for _ in range(20):
                    answer = await asks.get("/v1/models")
                    assert (answer.status_code, error(answer)) == (429, "rate_limit_exceeded")
                assert answer.headers["retry-after"] == "10"  # 9.5 s, in whole ones
                assert answer.headers["x-ratelimit-remaining-requests"] == "0"
                assert (await others.get("/v1/models")).status_code == 200
                clock.now += int(answer.headers["retry-after"])
                assert (await asks.get("/v1/models")).status_code == 200
                assert (await asks.get("/v1/models")).status_code == 429
                clock.now += 3600  # what is not used is not saved beyond a minute's worth
                many = [(await asks.get("/v1/models")).status_code for _ in range(7)]
                assert many == [200] * 6 + [429]

    asyncio.run(check())
    anna, ben = store.totals()[1][0], store.totals()[2][0]
    assert anna == Usage(35, 22, 18) and ben == Usage(1)


def test_requests_at_once_and_a_client_that_leaves_gives_its_place_back():
    store = KeyStore()
    key = store.add("anna", concurrency=2)

    async def check():
        go = asyncio.Event()

        async def slow(request: Request) -> PlainTextResponse:
            await go.wait()
            return PlainTextResponse("slow")

        async def broken(request: Request) -> PlainTextResponse:
            raise RuntimeError

        routes = [*API, Route("/v1/slow", slow), Route("/v1/broken", broken)]
        async with KeyRing(store) as ring:
            gate = Gate(Starlette(routes=routes), ring)
            async with client(gate, key) as asks:
                first, second = (asyncio.create_task(asks.get("/v1/slow")) for _ in range(2))
                async with asyncio.timeout(5):
                    while not any(bucket.running == 2 for bucket in gate.buckets.values()):
                        await asyncio.sleep(0.01)
                answer = await asks.get("/v1/models")
                assert (answer.status_code, answer.headers["retry-after"]) == (429, "1")
                first.cancel()
                await asyncio.gather(first, return_exceptions=True)
                assert (await asks.get("/v1/models")).status_code == 200
                for _ in range(3):
                    with pytest.raises(RuntimeError):
                        await asks.get("/v1/broken")
                go.set()
                assert (await second).text == "slow"
                [bucket] = gate.buckets.values()
                assert bucket.running == 0

    asyncio.run(check())


# Bodies: by hand, message for message, so that what is read can be counted.


async def sent(app, messages, headers=(), most=None):
    """The status, headers and body that an app answers, and how many messages it took."""
    taken, out = 0, []

    async def receive():
        nonlocal taken
        if taken < len(messages):
            taken += 1
            return messages[taken - 1]
        await asyncio.sleep(3600)

    async def send(message):
        out.append(message)

    scope = {
        "type": "http", "http_version": "1.1", "method": "POST", "path": "/v1/count",
        "query_string": b"", "headers": list(headers), "root_path": "", "scheme": "http",
    }  # fmt: skip
    await asyncio.wait_for(app(scope, receive, send), 30)
    body = b"".join(message.get("body", b"") for message in out[1:])
    return out[0]["status"], dict(out[0]["headers"]), body, taken


def piece(n: int, more: bool = True) -> dict:
    return {"type": "http.request", "body": b"x" * n, "more_body": more}


def length(n: object) -> list[tuple[bytes, bytes]]:
    return [(b"content-length", str(n).encode())]


CHUNKED = [(b"transfer-encoding", b"chunked")]
LIMITED = Bodies(Starlette(routes=API), most_bytes=1000, most_seconds=0.2)


@pytest.mark.parametrize("headers, pieces, status, taken", [
    (length(1000), [piece(600), piece(400, False)], 200, 2),
    (CHUNKED, [piece(600), piece(400, False)], 200, 2),
    (length(1001), [piece(1001, False)], 413, 0),  # refused unread
    (length(2**30), [piece(2**16)] * 9, 413, 0),
    (length("9" * 5000), [piece(1)], 413, 0),
    (CHUNKED, [piece(600)] * 9, 413, 2),  # refused as soon as it is too much
    (length(10), [piece(600)] * 9, 413, 2),  # a length that lies
    (length(-1), [piece(1)], 400, 0),
    (length("1e3"), [piece(1)], 400, 0),
    (length("²"), [piece(1)], 400, 0),
    (length(900), [piece(300)], 408, 1),  # and then nothing comes
    (CHUNKED, [], 408, 0),
])  # fmt: skip
def test_bodies(headers, pieces, status, taken):
    answered, answer_headers, body, read = asyncio.run(sent(LIMITED, pieces, headers))
    assert (answered, read) == (status, taken)
    closes = answer_headers.get(b"connection") == b"close"
    assert closes == (status != 200)
    if status != 200:
        assert re.search(rb'"code":"(request_|invalid_content_length)', body)


def test_the_time_counts_for_all_pieces_together_but_not_for_the_answer():
    async def trickle():
        for _ in range(100):
            await asyncio.sleep(0.04)
            yield b"x"

    async def in_pieces(request: Request) -> StreamingResponse:
        await request.body()

        async def words():
            for _ in range(10):
                await asyncio.sleep(0.04)
                yield b"word "

        return StreamingResponse(words())

    async def check():
        app = Bodies(Starlette(routes=[*API, Route("/v1/words", in_pieces, methods=["POST"])]),
                     most_seconds=0.2)  # fmt: skip
        async with client(app) as asks:
            begin = time.monotonic()
            answer = await asks.post("/v1/count", content=trickle())
            assert (answer.status_code, error(answer)) == (408, "request_timeout")
            assert time.monotonic() - begin < 3
            answer = await asks.post("/v1/words", content=b"abc")
            assert answer.text == "word " * 10

    asyncio.run(check())


@pytest.fixture
def live():
    """The limits behind a real server on a real socket."""
    app = Bodies(Starlette(routes=API), most_bytes=1_000_000, most_seconds=0.5)
    listening = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning", lifespan="off"))
    thread = threading.Thread(target=server.run, args=([listening],))
    thread.start()
    yield listening.getsockname()
    server.should_exit = True
    thread.join(10)
    listening.close()


def raw(address, head: str, body: bytes = b"", path: str = "/v1/count") -> tuple[str, float]:
    """What comes back to these bytes until the server closes, and after how long."""
    with socket.create_connection(address, timeout=5) as line:
        begin = time.monotonic()
        line.sendall(f"POST {path} HTTP/1.1\r\nHost: t\r\n{head}\r\n\r\n".encode() + body)
        answer = b""
        while part := line.recv(65536):
            answer += part
        return answer.decode(), time.monotonic() - begin


def test_a_gigabyte_is_refused_before_it_is_sent(live):
    answer, seconds = raw(live, "Content-Length: 1073741824\r\nExpect: 100-continue")
    assert answer.startswith("HTTP/1.1 413 ") and "100 Continue" not in answer and seconds < 4


def test_whoever_trickles_is_cut_off(live):
    answer, seconds = raw(live, "Content-Length: 1000", b"abc")
    assert answer.startswith("HTTP/1.1 408 ") and 0.4 < seconds < 4
    answer, seconds = raw(live, "Transfer-Encoding: chunked", b"3\r\nabc\r\n")
    assert answer.startswith("HTTP/1.1 408 ") and 0.4 < seconds < 4


def test_whoever_is_answered_before_the_body_came_cannot_hold_the_line(live):
    answer, seconds = raw(live, "Content-Length: 1000", b"abc", path="/v1/models")
    assert answer.startswith("HTTP/1.1 405 ") and seconds < 4


def test_a_client_that_streams_too_much_reads_why(live):
    sent_bytes = 0

    def zeros():
        nonlocal sent_bytes
        for _ in range(16_384):  # 1 GB
            sent_bytes += 65_536
            yield bytes(65_536)

    url = "http://{}:{}/v1/count".format(*live)
    answer = httpx.post(url, content=zeros())
    assert (answer.status_code, error(answer)) == (413, "request_too_large")
    assert sent_bytes < 100_000_000
