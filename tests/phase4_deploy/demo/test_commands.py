"""`vermeil demo`: what it opens, where it listens, how it ends; and what it refuses."""

import os
import signal
import socket
import subprocess
import sys
import urllib.request
from types import SimpleNamespace

import pytest

from phase4_deploy.demo import commands
from shared.errors import VermeilError

# The command with an assistant of known answers in the place of the models.
SCRIPT = """
import runpy, sys, types
from pathlib import Path
fake = runpy.run_path(sys.argv[1])["Fake"](Path(sys.argv[2]))
fake.close = lambda: print("the assistant was closed", flush=True)
local = types.SimpleNamespace(open=lambda models: fake)
sys.modules["phase4_deploy.serving.assistant"] = types.SimpleNamespace(Local=local, Remote=None)
from phase4_deploy.demo.commands import demo
from shared.step import user_errors
with user_errors():
    demo(sys.argv[3:])
"""


def refused(call, *words: str) -> VermeilError:
    with pytest.raises(VermeilError) as error:
        call([*words])
    return error.value


def test_what_does_not_go_together_is_refused():
    error = refused(commands.demo, "--url", "http://127.0.0.1:1", "--models", "lm")
    assert error.message == "--models are opened here, --url asks an API"
    assert "asks an API" in refused(commands.demo, "--page", "streamlit").message
    assert refused(commands.demo, "--port", "70000").message.startswith("--port")
    error = refused(commands.export, "space")
    assert (error.message, error.hint) == ("which folder?", "vermeil export space --out DIR")


def test_the_assistant_is_local_or_the_api(monkeypatch):
    opened = []
    module = SimpleNamespace(
        Local=SimpleNamespace(open=lambda models: opened.append(models)),
        Remote=lambda url, key: opened.append((url, key)),
    )
    monkeypatch.setitem(sys.modules, "phase4_deploy.serving.assistant", module)
    monkeypatch.setenv("VERMEIL_KEY", "of the environment")
    commands._assistant(commands.DemoCommand(models=("lm@tiny", "speech")))
    commands._assistant(commands.DemoCommand(url="http://api"))
    commands._assistant(commands.DemoCommand(url="http://api", key="mine"))
    assert opened == [
        ("lm@tiny", "speech"), ("http://api", "of the environment"), ("http://api", "mine")
    ]  # fmt: skip


@pytest.fixture
def start(tmp_path, demo_script):
    """Starts the command on a port."""
    processes = []

    def run(port: int) -> subprocess.Popen:
        command = [sys.executable, "-c", SCRIPT, demo_script, tmp_path / "calls", "--port", port]
        root = demo_script.parents[3]
        environment = os.environ | {"PYTHONPATH": str(root), "VERMEIL_HOME": str(tmp_path)}
        process = subprocess.Popen(
            [*map(str, command)], cwd=root, env=environment, text=True, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )  # fmt: skip
        processes.append(process)
        return process

    yield run
    for process in processes:
        process.kill()
        process.communicate()


def test_it_says_where_it_is_and_ends_when_it_is_told_to(start):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process = start(port)
    said = process.stdout.readline()
    assert said == f"Vermeil's demo: http://127.0.0.1:{port}/ (Ctrl-C ends it)\n"
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/") as answer:
        assert "Vermeil" in answer.read().decode()
    process.send_signal(signal.SIGTERM)
    rest, errors = process.communicate(timeout=120)
    assert (process.returncode, rest, errors) == (0, "the assistant was closed\n", "")


def test_a_port_that_is_taken_is_told(start):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        process = start(port)
        _, errors = process.communicate(timeout=120)
    assert process.returncode == 2
    assert errors == f"error: port {port} is taken\n  -> vermeil demo --port {port + 1}\n"
