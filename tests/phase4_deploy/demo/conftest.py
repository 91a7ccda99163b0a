"""A demo of an assistant with known answers, on a real port, and files to give it."""

import json
import os
import runpy
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile
from PIL import Image

HERE = Path(__file__).parent
ROOT = HERE.parents[2]
REPORT = """<!doctype html><title>numbers</title><h1 id="n">"1" &amp; ${value} {{two}}</h1>
<script>document.getElementById("n").append(" the script ran")</script>"""


@pytest.fixture(scope="session")
def files(tmp_path_factory) -> dict[str, Path]:
    """A picture, a recording, silence, and a text that says it is a picture."""
    folder = tmp_path_factory.mktemp("files")
    Image.new("RGB", (48, 40), (10, 20, 30)).save(folder / "scene.png")
    tone = 0.2 * np.sin(np.arange(8_000) * 0.2)
    soundfile.write(folder / "tone.wav", tone, 16_000)
    soundfile.write(folder / "silence.wav", np.zeros(8_000), 16_000)
    (folder / "text.png").write_text("I am no picture")
    (folder / "notes.pdf").write_text("neither")
    (folder / "report.html").write_text(REPORT)
    return {path.name: path for path in folder.iterdir()}


@pytest.fixture(scope="session")
def fake() -> type:
    """The class of the assistant with known answers: fake(FILE_OF_CALLS)."""
    return runpy.run_path(str(HERE / "fake_demo.py"))["Fake"]


@pytest.fixture(scope="session")
def demo_script() -> Path:
    """The file of the fake assistant."""
    return HERE / "fake_demo.py"


@pytest.fixture(scope="session")
def demo(files, tmp_path_factory) -> Iterator[tuple[str, Callable[[], list]]]:
    """The address of the demo, and what its assistant was asked so far."""
    calls = tmp_path_factory.mktemp("calls") / "calls.jsonl"
    calls.touch()
    command = [sys.executable, HERE / "fake_demo.py", calls, files["report.html"]]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    )
    assert process.stdout and process.stderr
    address = process.stdout.readline().strip()
    if not address.startswith("http"):
        process.kill()
        pytest.fail(f"the demo did not start: {process.communicate()}")
    yield address, lambda: [json.loads(line) for line in calls.read_text().splitlines()]
    process.terminate()
    process.communicate(timeout=120)
