"""For every test: shapes are checked, one thread, no network, and a home folder of its own."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import hypothesis
import jaxtyping
import pytest
import torch

ROOT = Path(__file__).resolve().parents[1]
# Before the modules are imported: their annotations of shapes become checks.
CHECKED = ["shared.nn", "phase1_foundation", "phase2_multimodal", "phase4_deploy"]
jaxtyping.install_import_hook(CHECKED, "beartype.beartype")
os.environ["HF_HUB_OFFLINE"] = "1"
torch.set_num_threads(1)
hypothesis.settings.register_profile("repeatable", deadline=None, derandomize=True)
hypothesis.settings.load_profile("repeatable")


@pytest.fixture(autouse=True, scope="session")
def home_of_the_session(tmp_path_factory):
    """What fixtures of a wider scope write to."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VERMEIL_HOME", str(tmp_path_factory.mktemp("home")))
        yield


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    """An empty $VERMEIL_HOME."""
    folder = tmp_path / "home"
    monkeypatch.setenv("VERMEIL_HOME", str(folder))
    return folder


@pytest.fixture(scope="session")
def command() -> Callable[..., subprocess.CompletedProcess]:
    """Runs `vermeil ...` in a process of its own: command("train", "lm", home=FOLDER)."""

    def run(*words: str, home: Path) -> subprocess.CompletedProcess:
        environment = os.environ | {"VERMEIL_HOME": str(home), "VERMEIL_PROGRESS_SECONDS": "0"}
        return subprocess.run(
            [sys.executable, "-m", "vermeil", *words], cwd=ROOT, env=environment,
            capture_output=True, text=True, timeout=600,
        )  # fmt: skip

    return run
