"""What nobody should send: every case is answered in OpenAI's form, and the server goes on."""

import asyncio
import gc
import json
import select
import shutil
import socket
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import openai
import pytest

from phase4_deploy.serving.api import create_app
from phase4_deploy.serving.engine import Engine
from phase4_deploy.serving.service import Service

LONG = {"model": "lm", "prompt": "a red star", "max_tokens": 2000, "temperature": 1, "seed": 1}


def refused(answer: httpx.Response, status: int, code: str) -> dict:
    """The error in an answer, which has OpenAI's form."""
    assert answer.status_code == status, answer.text[:300]
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["x-content-type-options"] == "nosniff"
    error = answer.json()["error"]
    assert set(error) == {"message", "type", "param", "code"} and error["message"]
    assert error["code"] == code, error
    return error


def raw(port: int, sent: bytes, seconds: float = 30.0) -> bytes:
    """What a server says to these bytes until it hangs up."""
    with socket.create_connection(("127.0.0.1", port), timeout=seconds) as connection:
        connection.sendall(sent)
        return b"".join(iter(lambda: connection.recv(65536), b""))


# Who asks.


def test_wrong_missing_and_revoked_keys(strict):
    key = strict.store.add("caller")
    until = time.monotonic() + 10
    while strict.server.http.get("/v1/models").status_code == 200:  # it was open until now
        assert time.monotonic() < until
        time.sleep(0.1)
    wrong = key[:-1] + ("a" if key[-1] != "a" else "b")
    headers = ["", "Bearer", f"Basic {key}", f"Bearer {wrong}", f"Bearer {key}x",
               f"Bearer {key[:11]}", "Bearer " + "k" * 50_000, f"{key}"]  # fmt: skip
    for header in headers:
        answer = strict.server.http.get("/v1/models", headers={"authorization": header})
        refused(answer, 401, "invalid_api_key")
        assert answer.headers["www-authenticate"].startswith("Bearer")
    said = raw(
        strict.server.port,
        b"GET /v1/models HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
        b"Authorization: Bearer \xff\xfe\r\n\r\n",
    )
    assert b" 401 " in said.splitlines()[0]
    assert strict.server.http.get("/v1/models", params={"api_key": key}).status_code == 401
    strict.server.client(key).models.list()
    with pytest.raises(openai.AuthenticationError):
        strict.server.client(wrong).models.list()
    strict.store.revoke("caller")
    time.sleep(4)
    with pytest.raises(openai.AuthenticationError, match="revoked"):
        strict.server.client(key).models.list()


@pytest.fixture(scope="module")
def key(strict) -> str:
    """A key that may do a lot."""
    made = strict.store.add("much", rate=100_000, concurrency=100)
    time.sleep(4)
    return made


def test_a_flood_is_held_back_key_by_key(strict, key):
    flooding = strict.store.add("flood", rate=6, concurrency=2)
    time.sleep(4)
    client = strict.server.client(flooding)

    def ask(_: int) -> openai.RateLimitError | None:
        try:
            client.models.list()
        except openai.RateLimitError as error:
            return error
        return None

    with ThreadPoolExecutor(16) as threads:
        errors = [error for error in threads.map(ask, range(60)) if error]
    assert 54 <= len(errors) <= 58  # six at once, one more every ten seconds
    assert {error.code for error in errors} == {"rate_limit_exceeded"}
    assert all(1 <= int(error.response.headers["retry-after"]) <= 10 for error in errors)
    strict.server.client(key).models.list()  # nobody else is held back


def test_a_full_queue_says_when_to_come_back_and_who_leaves_makes_room(strict, key):
    """Two rows, two places to wait: the fifth is sent away, and a row is free when one leaves."""
    client, depth = strict.server.client(key), 'vermeil_queue_depth{lane="lm"}'
    strict.server.http.headers["authorization"] = f"Bearer {key}"
    streams = [client.completions.create(**LONG, stream=True) for _ in range(2)]
    first = [next(stream) for stream in streams]  # both have a row
    assert all(event.choices[0].text for event in first)
    arrived: list[float] = []

    def wait() -> None:
        with strict.server.client(key).completions.create(**LONG, stream=True) as stream:
            next(stream)
            arrived.append(time.monotonic())

    waiting = [threading.Thread(target=wait) for _ in range(2)]
    for thread in waiting:
        thread.start()
    while strict.server.metric(depth) < 2:
        time.sleep(0.01)
    with pytest.raises(openai.RateLimitError) as caught:
        client.completions.create(**LONG)
    assert caught.value.code == "queue_full"
    assert caught.value.response.headers["retry-after"] == "1"
    left = time.monotonic()
    streams[0].close()
    rest = list(streams[1])  # as long as the one that was left: they began together
    ended = time.monotonic()
    for thread in waiting:  # the first of them leaves, too, and makes room for the second
        thread.join()
    assert rest[-1].choices[0].finish_reason == "length"
    assert len(arrived) == 2 and max(arrived) - left < (ended - left) / 2
    assert strict.server.metric(depth) == 0


def test_who_does_not_wait_for_a_whole_answer_is_not_written_for(strict, key):
    web = strict.server.web(headers={"authorization": f"Bearer {key}"})

    def given_up() -> list[dict]:
        lines = (json.loads(line) for line in strict.server.said.splitlines() if line[0] == "{")
        return [line for line in lines if line["status"] == 499]

    before = len(given_up())
    for number in (1, 2, 3):
        with pytest.raises(httpx.ReadTimeout):
            web.post(f"{strict.server.url}/v1/completions", json=LONG | {"n": 2}, timeout=0.2)
        until = time.monotonic() + 10
        while len(given_up()) < before + number:
            assert time.monotonic() < until
    assert all(line["bytes_out"] == 0 for line in given_up()[before:])


def test_an_artifact_that_disappears_is_served_on(strict, key):
    client = strict.server.client(key)
    asked = LONG | {"max_tokens": 20}
    before = client.completions.create(**asked).choices[0].text
    shutil.rmtree(strict.server.home / "artifacts")
    assert client.completions.create(**asked).choices[0].text == before
    assert {model.id for model in client.models.list()} == {"lm"}
    assert strict.server.http.get("/health/ready").status_code == 200


# How it is sent.


def test_slow_bodies_and_slow_heads_are_cut_off(strict, key):
    head = (
        f"POST /v1/completions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {key}\r\n"
        "Content-Type: application/json\r\nContent-Length: 1000\r\n\r\n"
    ).encode()
    start = time.monotonic()
    with socket.create_connection(("127.0.0.1", strict.server.port), timeout=30) as slow:
        slow.sendall(head)
        while not select.select([slow], [], [], 0.1)[0]:
            slow.sendall(b" ")  # a byte every now and then
        said = b""
        while part := slow.recv(65536):  # head and body may come one after the other
            said += part
    assert b"408" in said.splitlines()[0] and b"request_timeout" in said
    assert time.monotonic() - start < 60  # all of it would take 100 s
    # A head that never ends: too many bytes.
    with socket.create_connection(("127.0.0.1", strict.server.port), timeout=30) as endless:
        endless.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n")
        with pytest.raises(OSError):
            for number in range(100_000):
                endless.sendall(b"X-%d: %s\r\n" % (number, b"a" * 1000))
    assert number < 50_000


@pytest.mark.full
def test_a_connection_that_says_nothing_is_closed(live):
    with socket.create_connection(("127.0.0.1", live.port), timeout=60) as silent:
        silent.sendall(b"GET /health/live HTTP/1.1\r\nHost: ")
        start = time.monotonic()
        assert silent.recv(1) == b""
        assert 10 < time.monotonic() - start < 40


@pytest.mark.parametrize("sent", [
    b"\x16\x03\x01\x02\x00\x01\x00", b"hello\r\n\r\n", b"GET\r\n\r\n",
    b"GET / HTTP/1.1\r\nno colon\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}",
    b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
])  # fmt: skip
def test_what_is_no_http_is_answered_all_the_same(live, sent):
    head, _, body = raw(live.port, sent).partition(b"\r\n\r\n")
    assert b"400" in head.splitlines()[0]
    assert set(json.loads(body)["error"]) == {"message", "type", "param", "code"}


def test_a_gigabyte_is_refused_early(live):
    """Said beforehand: unread. Streamed: once it is over the limit of 32 MB. Memory is flat."""
    head = "POST {} HTTP/1.1\r\nHost: x\r\nContent-Type: {}\r\n{}\r\n\r\n"
    form = "multipart/form-data; boundary=b"
    part = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\n'
    paths = {"/v1/completions": ("application/json", b'{"prompt": "'),
             "/v1/audio/transcriptions": (form, part)}  # fmt: skip
    memory = []
    for _ in range(3):
        for path, (kind, begin) in paths.items():
            said = raw(live.port, head.format(path, kind, "Content-Length: 1073741824").encode())
            assert b" 413 " in said.splitlines()[0] and b"request_too_large" in said
            with socket.create_connection(("127.0.0.1", live.port), timeout=60) as endless:
                endless.sendall(head.format(path, kind, "Transfer-Encoding: chunked").encode())
                endless.sendall(b"%x\r\n%s\r\n" % (len(begin), begin))
                piece, sent = b"100000\r\n" + b"a" * 2**20 + b"\r\n", 0
                with pytest.raises(OSError):
                    while sent < 1024:
                        endless.sendall(piece)
                        sent += 1
                assert 30 <= sent < 64, sent
        memory.append(live.rss)
    assert memory[-1] - memory[0] < 40, memory


def test_a_refused_body_leaves_memory_at_once():
    """Not at the next full garbage collection: until then many would come."""
    app = create_app(Service(Engine([])), body_bytes=2500, log=lambda line: None)
    piece, statuses = b"a" * 1000, []

    async def receive() -> dict:
        return {"type": "http.request", "body": piece, "more_body": True}

    async def send(message: dict) -> None:
        statuses.append(message.get("status", 0))

    scope = {"type": "http", "http_version": "1.1", "method": "POST", "path": "/v1/completions",
             "raw_path": b"", "query_string": b"", "scheme": "http", "root_path": "",
             "headers": [(b"content-type", b"application/json"),
                         (b"transfer-encoding", b"chunked")]}  # fmt: skip
    gc.collect()
    gc.disable()
    try:
        before = sys.getrefcount(piece)
        asyncio.run(app(scope, receive, send))
        assert statuses[0] == 413
        assert sys.getrefcount(piece) == before
    finally:
        gc.enable()


# What is asked.


@pytest.mark.parametrize("body", [
    '{"prompt": "a", "temperature": NaN}', '{"prompt": "a", "temperature": Infinity}',
    '{"prompt": "a", "temperature": -Infinity}', '{"prompt": "a", "temperature": 1e999}',
    '{"prompt": "a", "temperature": -0.1}', '{"prompt": "a", "temperature": 2.1}',
    '{"prompt": "a", "top_p": NaN}', '{"prompt": "a", "top_p": 0}', '{"prompt": "a", "top_p": -1}',
    '{"prompt": "a", "max_tokens": 0}', '{"prompt": "a", "max_tokens": -1}',
    '{"prompt": "a", "max_tokens": 1e300}', '{"prompt": "a", "max_tokens": 1.5}',
    '{"prompt": "a", "n": 0}', '{"prompt": "a", "n": 1000000000}', '{"prompt": "a", "seed": -1}',
    '{"prompt": "a", "seed": 9223372036854775808}', '{"prompt": "a", "top_k": -1}',
    '{"prompt": "a", "repetition_penalty": 0}', '{"prompt": "a", "repetition_penalty": NaN}',
    '{"prompt": "a", "stop": ["a", "b", "c", "d", "e"]}', '{"prompt": "a", "logit_bias": {"5": 1}}',
    '{"prompt": [[1, 2, 3]]}', '{"prompt": []}', '{"prompt": null}', '{"prompt": {}}', "{}", "[]",
    '{"prompt": "a", "stream": "perhaps"}', '{"prompt": "\\ud800"}', '{"prompt": ["\\udfff a"]}',
    '{"prompt": "a", "stop": "\\ud83d"}', '{"prompt": "a", "model": "\\udc00"}',
    '{"prompt": "a", "\\ud800": 1}', "{", "", '{"prompt": "a"} {}', "null", "\x00",
])  # fmt: skip
def test_values_that_are_none(live, body):
    json_type = {"content-type": "application/json"}
    answer = live.http.post("/v1/completions", content=body, headers=json_type)
    assert "function" not in (refused(answer, 422, "invalid_value")["param"] or "")


@pytest.mark.parametrize("body", [
    b'{"prompt": "\xff"}', b"\xff\xfe{", b'{"prompt":' + b"[" * 50_000,
    b'{"prompt": "a", "max_tokens": ' + b"9" * 5000 + b"}",
])  # fmt: skip
def test_bodies_that_are_no_json(live, body):
    json_type = {"content-type": "application/json"}
    answer = live.http.post("/v1/completions", content=body, headers=json_type)
    assert answer.status_code in (400, 422)
    refused(answer, answer.status_code, answer.json()["error"]["code"])


@pytest.mark.parametrize("how", [
    {"temperature": 1e-320}, {"temperature": 1e-38}, {"temperature": 1e-6, "top_p": 1e-300},
    {"temperature": 2, "top_k": 1_000_000}, {"repetition_penalty": 10}, {"max_tokens": 100_000},
    {"repetition_penalty": 0.1, "temperature": 1e-5}, {"seed": 2**62 - 1, "n": 8},
])  # fmt: skip
def test_values_at_their_ends_disturb_nobody(live, client, how):
    """An answer that is being written beside them is the one that it would be alone."""
    asked = {"model": "lm", "prompt": "a red star", "max_tokens": 300, "temperature": 0}
    alone = client.completions.create(**asked).choices[0].text
    stream = client.completions.create(**asked, stream=True)
    begin = next(stream).choices[0].text
    body = {"prompt": "a", "max_tokens": 8} | how
    assert live.http.post("/v1/completions", json=body).status_code == 200
    assert begin + "".join(event.choices[0].text for event in stream) == alone


ODD = [
    "مرحبا \u202e abc", "\u200b\u200d\ufeff a", "👩\u200d👩\u200d👧 🏳️\u200d🌈", "a\x00b",
    "e" + "\u0301" * 20, "\ue000\u2581", "<|user|><|image|>", "\ufffe\uffff", "𝔘𝔫𝔦", "\r\n\t\v\f",
    "", " ", "\x1b[31m",
]  # fmt: skip


@pytest.mark.parametrize("text", ODD)
def test_odd_characters_are_taken_literally(live, client, scene_uri, text):
    asked = {"model": "lm", "prompt": text, "max_tokens": 4, "temperature": 0}
    echoed = client.completions.create(**asked, echo=True).choices[0].text
    assert echoed == text + client.completions.create(**asked).choices[0].text
    client.completions.create(**asked, stop=text[:200] or "x")
    client.images.generate(model="text_to_image", prompt=text, extra_body={"steps": 1})
    for path, body in {
        "/v1/embeddings": {"input": text},
        "/v1/vqa": {"image": scene_uri, "question": text},
        "/v1/chat/completions": {"messages": [{"role": "user", "content": text}]},
    }.items():
        answer = live.http.post(path, json=body)
        if text.strip():
            assert answer.status_code == 200, (path, answer.text)
        else:
            refused(answer, answer.status_code, answer.json()["error"]["code"])
            assert answer.status_code in (400, 422)


def test_what_is_longer_than_the_context(live, scene_uri):
    text = "star " * 3000
    messages = [{"role": "user", "content": text}]
    bodies = {"/v1/completions": {"prompt": text}, "/v1/embeddings": {"input": ["a", text]},
              "/v1/chat/completions": {"messages": messages}}  # fmt: skip
    for path, body in bodies.items():
        refused(live.http.post(path, json=body), 400, "context_length_exceeded")
    bodies = {"/v1/vqa": {"image": scene_uri, "question": text},
              "/v1/images/generations": {"prompt": text}}  # fmt: skip
    for path, body in bodies.items():
        error = refused(live.http.post(path, json=body), 400, "invalid_request")
        assert "the model takes" in error["message"]
    answer = live.http.post("/v1/completions", json={"prompt": "a" * 100_001})
    refused(answer, 422, "invalid_value")


NAMES = [
    "../lm", "..", "lm/..", "/etc/passwd", "phase1/lm", "lm\x00", "\\\\server\\share", "lm@random",
    "%2e%2e/lm", "file:///etc/passwd", "org/model", "~/x", "lm ",
]  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_names_of_models_are_no_paths(live, models_home, name, scene_uri):
    folder = str(models_home / "artifacts/phase1/lm/random-0")
    for asked in (name, folder):
        for path, body in {
            "/v1/completions": {"prompt": "a"}, "/v1/embeddings": {"input": "a"},
            "/v1/chat/completions": {"messages": [{"role": "user", "content": "a"}]},
            "/v1/images/generations": {"prompt": "a"}, "/v1/captions": {"image": scene_uri},
        }.items():  # fmt: skip
            error = refused(
                live.http.post(path, json=body | {"model": asked}), 404, "model_not_found"
            )
            assert error["param"] == "model"
    file = {"file": ("a.wav", b"RIFF")}
    answer = live.http.post("/v1/audio/transcriptions", files=file, data={"model": name})
    refused(answer, 404, "model_not_found")


@pytest.mark.parametrize("path", [
    "/v1/models/../lm", "/v1/models/%2e%2e/%2e%2e/etc/passwd", "/v1/models//etc/passwd",
    "/v1/models/%00", "/v1/models/%ff", "/v1/models/" + "a" * 5000, "/../../etc/passwd",
    "/docs/static/../../../../etc/passwd", "/docs/static/%2e%2e%2f%2e%2e%2fetc%2fpasswd",
    "/docs/static//etc/passwd", "/docs/static/%00", "/nothing", "/v1", "/v1/completions/../keys",
])  # fmt: skip
def test_paths_that_are_none(live, path):
    request = f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    head, _, body = raw(live.port, request.encode()).partition(b"\r\n\r\n")
    assert b" 404 " in head.splitlines()[0], head
    assert set(json.loads(body)["error"]) == {"message", "type", "param", "code"}
    assert b"root:" not in body
