"""Ids, headers, log lines without content, metrics that Prometheus reads, spans by flag."""

import asyncio
import json
import subprocess
import sys
import threading
from contextlib import asynccontextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import httpx
import pytest
from fastapi import APIRouter, FastAPI, Request
from prometheus_client.parser import text_string_to_metric_families
from starlette.responses import JSONResponse, StreamingResponse

from phase4_deploy.serving.account import first_token, report
from phase4_deploy.serving.key_ring import KeyRing
from phase4_deploy.serving.keys import KeyStore
from phase4_deploy.serving.limits import Bodies, Gate
from phase4_deploy.serving.metrics import Metrics
from phase4_deploy.serving.telemetry import Telemetry
from shared.errors import VermeilError

ROOT = Path(__file__).resolve().parents[3]
SECRET = "a very private sentence"


def api() -> FastAPI:
    app, router = FastAPI(), APIRouter(prefix="/v1")

    @router.post("/completions")
    async def completions(request: Request):
        said = (await request.body()).decode()
        report(request.scope, prompt_tokens=7)

        async def words():
            for word in said.split():
                await asyncio.sleep(0.01)
                first_token(request.scope)
                report(request.scope, completion_tokens=1)
                yield word

        return StreamingResponse(words())

    @router.get("/models/{name}")
    async def model(name: str):
        return JSONResponse({"id": name})

    @router.post("/broken")
    async def broken(request: Request):
        raise ValueError(await request.body())

    @router.post("/half")
    async def half(request: Request):
        async def words():
            yield "begun"
            raise ValueError(SECRET)

        return StreamingResponse(words())

    app.include_router(router)
    return app


@asynccontextmanager
async def client(app, **settings):
    transport = httpx.ASGITransport(app, **settings)
    async with httpx.AsyncClient(transport=transport, base_url="http://t") as asks:
        yield asks


def series(metrics: Metrics) -> dict[tuple, float]:
    """(name, labels) -> value, as Prometheus' own parser reads them."""
    families = text_string_to_metric_families(metrics.text())
    return {
        (sample.name, *sorted(sample.labels.items())): sample.value
        for family in families
        for sample in family.samples
    }


def test_a_line_per_request_and_nothing_private_in_it():
    store, lines, metrics = KeyStore(), [], Metrics()
    key = store.add("anna")

    async def check():
        async with KeyRing(store) as ring:
            app = Telemetry(Bodies(Gate(api(), ring)), metrics, log=lines.append)
            async with client(app) as asks:
                bearer = {"authorization": f"Bearer {key}"}
                await asks.post("/v1/completions?q=private", content=SECRET, headers=bearer)
                await asks.post("/v1/broken", content=SECRET, headers=bearer)
                await asks.post("/v1/completions", content=SECRET, headers={"authorization": key})
                await asks.get(f"/v1/{SECRET}", headers=bearer)

    asyncio.run(check())
    read, broken, refused, unknown = map(json.loads, lines)
    assert {
        "key": "anna", "method": "POST", "route": "/v1/completions", "status": 200,
        "bytes_in": len(SECRET), "bytes_out": len(SECRET.replace(" ", "")),
        "prompt_tokens": 7, "completion_tokens": 4,
    }.items() <= read.items()  # fmt: skip
    assert read["ms"] >= 40 and read["time"].endswith("+00:00")
    assert (broken["status"], broken["error"]) == (500, "ValueError")
    assert broken["at"][-1].startswith("test_telemetry.py:")
    assert (refused["status"], refused["key"], refused["route"]) == (401, None, "other")
    assert (unknown["status"], unknown["route"]) == (404, "other")
    everything = "".join(lines) + metrics.text()
    for private in (key, key[3:], "private", SECRET, "?q="):
        assert private not in everything
    used = store.totals()[1][0]
    assert (used.requests, used.errors, used.prompt_tokens, used.completion_tokens) == (3, 2, 7, 4)


def test_an_answer_that_breaks_in_the_middle_is_broken_off_without_its_reason():
    lines = []

    async def check():
        async with client(Telemetry(api(), Metrics(), log=lines.append)) as asks:
            with pytest.raises(Exception) as error:
                await asks.post("/v1/half")
            assert SECRET not in str(error.value) and error.value.__suppress_context__

    asyncio.run(check())
    [line] = map(json.loads, lines)
    assert line["error"] == "ValueError" and SECRET not in lines[0]


def test_ids_are_taken_over_where_they_are_plain():
    lines = []

    async def check():
        async with client(Telemetry(api(), Metrics(), log=lines.append)) as asks:
            for given, kept in (("job-7.a_B", True), ("x" * 64, True), ("x" * 65, False),
                                ("a b", False), ('a"b', False), ("", False)):  # fmt: skip
                answer = await asks.get("/v1/models/lm", headers={"x-request-id": given})
                assert (answer.headers["x-request-id"] == given) == kept, given
                assert json.loads(lines[-1])["id"] == answer.headers["x-request-id"]
            made = {(await asks.get("/v1/models/lm")).headers["x-request-id"] for _ in range(3)}
            assert len(made) == 3 and all(len(name) == 32 for name in made)

    asyncio.run(check())


def test_security_headers_on_every_path_and_error():
    async def check():
        app = api()  # the other way to put them around: inside of FastAPI's own answer to errors
        app.add_middleware(Bodies, most_bytes=10)
        app.add_middleware(Telemetry, metrics=Metrics(), log=lambda line: None)
        async with client(app) as asks:
            answers = [await asks.get(path) for path in ("/v1/models/lm", "/nowhere", "/docs")]
            answers += [await asks.post("/v1/broken", content=b"x" * n) for n in (5, 50)]
            assert [answer.status_code for answer in answers] == [200, 404, 200, 500, 413]
            for answer in answers:
                assert answer.headers["x-content-type-options"] == "nosniff"
                assert answer.headers["referrer-policy"] == "no-referrer"
                assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]
                assert answer.headers["x-request-id"]
            policies = [answer.headers["content-security-policy"] for answer in answers]
            assert ["default-src 'none'" in policy for policy in policies] == [1, 1, 0, 1, 1]
            stored = [answer.headers.get("cache-control") for answer in answers]
            assert stored == ["no-store", None, None, "no-store", "no-store"]
            assert answers[3].json()["error"]["code"] == "internal_error"

    asyncio.run(check())


def test_metrics_count_and_their_labels_are_bounded():
    waiting = {"text": 3, "pictures": 0}
    metrics, lines = Metrics(lambda: waiting), []

    async def check():
        app = Telemetry(api(), metrics, log=lines.append)
        async with client(app) as asks:
            for n in range(30):
                await asks.get(f"/v1/models/m{n}")
                await asks.get(f"/nowhere/{n}")
                await asks.request(f"M{n}", f"/v1/models/{n}")
            await asks.post("/v1/completions", content="one two three")

    asyncio.run(check())
    assert {json.loads(line)["method"] for line in lines} == {"GET", "POST", "other"}
    metrics.looked_up("prefix", True)
    metrics.looked_up("prefix", False)
    metrics.looked_up("prefix", True)
    found = series(metrics)
    models, written = ("route", "/v1/models/{name}"), ("route", "/v1/completions")
    assert found["vermeil_requests_total", models, ("status", "200")] == 30
    assert found["vermeil_requests_total", models, ("status", "405")] == 30
    assert found["vermeil_requests_total", ("route", "other"), ("status", "404")] == 30
    assert found["vermeil_request_seconds_count", models] == 60
    assert found["vermeil_first_token_seconds_count", written] == 1
    assert 0.01 <= found["vermeil_first_token_seconds_sum", written] < 60
    assert found["vermeil_tokens_total", ("kind", "prompt")] == 7
    assert found["vermeil_tokens_total", ("kind", "completion")] == 3
    assert found["vermeil_queue_depth", ("lane", "text")] == 3
    assert found["vermeil_cache_total", ("cache", "prefix"), ("result", "hit")] == 2
    assert found[("vermeil_requests_in_flight",)] == 0
    assert len(found) < 120
    waiting["text"] = 5
    assert series(metrics)["vermeil_queue_depth", ("lane", "text")] == 5


def test_a_client_that_leaves_is_counted_as_such():
    metrics, lines = Metrics(), []
    held = asyncio.Event()

    async def check():
        async def waits(scope, receive, send):
            held.set()
            while (await receive())["type"] != "http.disconnect":
                pass

        scope = {"type": "http", "method": "POST", "path": "/v1/x", "headers": []}
        messages = [{"type": "http.request", "body": b"ab"}, {"type": "http.disconnect"}]

        async def receive():
            return messages.pop(0)

        async def send(message):
            raise AssertionError

        await Telemetry(waits, metrics, log=lines.append)(scope, receive, send)

        async def forever(scope, receive, send):
            held.set()
            await asyncio.sleep(3600)

        held.clear()
        app = Telemetry(forever, metrics, log=lines.append)
        running = asyncio.create_task(app(scope | {"state": {}}, receive, send))
        await held.wait()
        assert series(metrics)[("vermeil_requests_in_flight",)] == 1
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)

    asyncio.run(check())
    assert [json.loads(line)["status"] for line in lines] == [499, 499]
    found = series(metrics)
    assert found["vermeil_requests_total", ("route", "other"), ("status", "499")] == 2
    assert found[("vermeil_requests_in_flight",)] == 0


@pytest.fixture
def collector():
    """An OTLP/HTTP collector: the paths and bodies that were posted to it."""
    received = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["content-length"]))
            received.append((self.path, body))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_):
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", received
    server.shutdown()
    thread.join()
    server.server_close()


def test_spans_reach_a_collector_and_hold_no_content(collector):
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

    from phase4_deploy.serving.tracing import Tracing

    endpoint, received = collector
    tracing, store = Tracing(endpoint), KeyStore()
    key, trace = store.add("anna"), "0af7651916cd43dd8448eb211c80319c"

    async def check():
        async with KeyRing(store) as ring:
            app = Gate(api(), ring)
            app = Telemetry(app, Metrics(), log=lambda line: None, tracing=tracing)
            headers = {"authorization": f"Bearer {key}", "traceparent": f"00-{trace}-{'b7' * 8}-01"}
            async with client(app) as asks:
                await asks.post("/v1/completions?q=private", content=SECRET, headers=headers)
                await asks.post("/v1/broken", content=SECRET, headers=headers)
                with pytest.raises(Exception):  # noqa: B017
                    await asks.post("/v1/half", headers=headers)

    asyncio.run(check())
    tracing.close()
    assert {path for path, _ in received} == {"/v1/traces"}
    spans = [
        span
        for _, body in received
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans
        for scope in resource.scope_spans
        for span in scope.spans
    ]
    assert [span.name for span in spans] == [
        "POST /v1/completions",
        "POST /v1/broken",
        "POST /v1/half",
    ]
    assert {span.trace_id.hex() for span in spans} == {trace}
    numbers = {item.key: item.value.int_value for item in spans[0].attributes}
    assert numbers["http.response.status_code"] == 200
    assert numbers["gen_ai.usage.output_tokens"] == 4
    assert [span.status.code for span in spans] == [0, 2, 0] and not any(s.events for s in spans)
    for private in (SECRET, "private", key[3:], "anna"):
        assert not any(private.encode() in body for _, body in received)


def test_tracing_is_imported_only_when_asked_for():
    code = (
        "import sys, phase4_deploy.serving.telemetry, phase4_deploy.serving.limits\n"
        "assert not {'opentelemetry', 'torch', 'fastapi'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)
    from phase4_deploy.serving.tracing import Tracing

    for wrong in ("localhost:4318", "ftp://x", ""):
        with pytest.raises(VermeilError, match="is no collector"):
            Tracing(wrong)
