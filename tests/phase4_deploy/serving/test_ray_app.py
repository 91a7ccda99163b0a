"""The API on Ray Serve: two real replicas of a real model, one of which is killed, and scaling."""

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from phase4_deploy.serving.ray_app import Replicas, application
from shared.errors import VermeilError

# Ray's own, of the packages that it stands on.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")
ROOT = Path(__file__).resolve().parents[3]
COMMAND = [sys.executable, "-m", "phase4_deploy.serving.ray_app"]
LONG = {"model": "lm", "prompt": "The", "max_tokens": 100, "temperature": 1, "seed": 7}


def test_no_replicas_are_refused():
    with pytest.raises(VermeilError, match="between 3 and 2"):
        application(lambda: None, Replicas(fewest=3, most=2))  # type: ignore[arg-type]


def test_without_keys_nobody_from_outside_is_let_in():
    done = subprocess.run(
        [*COMMAND, "--host", "0.0.0.0"], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 2 and "there are no keys yet" in done.stderr


@pytest.fixture(scope="module")
def folder(command, tmp_path_factory):
    """The artifact of a language model that learned for a moment."""
    home = tmp_path_factory.mktemp("served")
    for step in ("tokenizer", "lm"):
        done = command("train", step, "smoke", home=home)
        assert done.returncode == 0, done.stderr
    return str(next(home.glob("artifacts/*/lm/*")))


def builder(folder: str):
    """A function that replicas call; it goes to them by value, so all it needs is inside."""

    def build():
        import os

        import torch

        from phase4_deploy.serving.api import create_app
        from phase4_deploy.serving.engine import Engine
        from phase4_deploy.serving.service import Service

        torch.set_num_threads(1)
        app = create_app(Service(Engine.open([folder])))

        @app.get("/pid")
        async def pid() -> int:
            return os.getpid()

        return app

    return build


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


@pytest.fixture(scope="module")
def api(folder):
    """Its address, and what changes its replicas."""
    from phase4_deploy.serving import ray_app

    port = free_port()

    def deploy(replicas: Replicas) -> str:
        ray_app.start(builder(folder), replicas, port=port)
        return f"http://127.0.0.1:{port}"

    deploy(Replicas(fewest=2, most=2, cpus=0.5))
    yield deploy
    ray_app.stop()


def ask(address: str, path: str, body: dict | None = None, key: str = "") -> tuple[int, dict]:
    """Status and answer; status 0 where the connection broke."""
    data = None if body is None else json.dumps(body).encode()
    headers = {"content-type": "application/json", "authorization": f"Bearer {key}"}
    request = urllib.request.Request(address + path, data, headers)
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, json.loads(answer.read())
    except urllib.error.HTTPError as error:
        return error.code, {}
    except OSError:
        return 0, {}


def pids(address: str, seconds: float, many: int = 2) -> set[int]:
    """The processes that answer; waits until there are that many."""
    found: set[int] = set()
    until = time.monotonic() + seconds
    while len(found) < many and time.monotonic() < until:
        status, pid = ask(address, "/pid")
        if status == 200:
            found.add(pid)  # type: ignore[arg-type]
    return found


@pytest.mark.full
def test_two_replicas_answer_alike(api):
    address = api(Replicas(fewest=2, most=2, cpus=0.5))
    assert len(pids(address, 30)) == 2
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: ask(address, "/v1/completions", LONG), range(16)))
    assert {status for status, _ in answers} == {200}
    assert len({answer["choices"][0]["text"] for _, answer in answers}) == 1


@pytest.mark.full
def test_text_comes_as_it_is_written(api):
    address = api(Replicas(fewest=2, most=2, cpus=0.5))
    body = json.dumps(LONG | {"stream": True}).encode()
    request = urllib.request.Request(
        f"{address}/v1/completions", body, {"content-type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=60) as answer:
        lines = [line for line in answer if line.startswith(b"data: ")]
    assert lines[-1].strip() == b"data: [DONE]" and len(lines) > 10


@pytest.mark.full
def test_a_replica_that_is_killed_takes_along_only_what_it_was_answering(api):
    address = api(Replicas(fewest=2, most=2, cpus=0.5))
    victim, other = sorted(pids(address, 30))
    with ThreadPoolExecutor(8) as pool:
        waiting = [pool.submit(ask, address, "/v1/completions", LONG) for _ in range(64)]
        time.sleep(0.5)
        os.kill(victim, signal.SIGKILL)
        statuses = Counter(each.result()[0] for each in waiting)
    lost = 64 - statuses[200]
    assert lost <= 8, statuses  # at most what was under way
    assert set(statuses) <= {200, 0, 500, 503}, statuses
    again = pids(address, 60)
    assert len(again) == 2 and other in again and victim not in again


@pytest.mark.full
def test_there_are_more_replicas_when_there_is_more_to_do(api):
    address = api(Replicas(fewest=1, most=2, busy=2, cpus=0.5, calm_seconds=1.0))
    before = time.monotonic()
    while len(pids(address, 1)) > 1 and time.monotonic() < before + 60:
        pass
    with ThreadPoolExecutor(9) as pool, contextlib.ExitStack() as stack:
        go_on = [True]
        stack.callback(lambda: go_on.__setitem__(0, False))

        def keep_asking(_):
            while go_on[0]:
                ask(address, "/v1/completions", LONG)

        for number in range(8):
            pool.submit(keep_asking, number)
        assert len(pids(address, 60)) == 2


@pytest.mark.full
def test_served_by_replicas_with_keys_until_it_is_told_to_stop(folder, tmp_path):
    """The real command."""
    from phase4_deploy.serving.keys import KeyStore

    url = f"sqlite:///{tmp_path / 'keys.sqlite'}"
    key = KeyStore(url).add("me")
    words = ["--models", folder, "--port", str(free_port()), "--threads", "1", "--cpus", "0.5"]
    log = tmp_path / "log"
    with log.open("w") as file:
        process = subprocess.Popen(
            [*COMMAND, *words, "--keys", url], cwd=ROOT, stderr=file, stdout=file
        )
    try:
        until = time.monotonic() + 120
        while not (said := re.search(r"(http://\S+)/docs", log.read_text())):
            assert process.poll() is None and time.monotonic() < until, log.read_text()
            time.sleep(0.2)
        assert ask(said[1], "/v1/completions", LONG)[0] == 401
        assert ask(said[1], "/v1/completions", LONG, key)[0] == 200
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0, log.read_text()
    finally:
        process.kill()
    assert ask(said[1], "/health/live")[0] == 0
