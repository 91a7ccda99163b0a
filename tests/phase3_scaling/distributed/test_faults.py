"""What happens to the others when one process fails: a sentence, soon, and nothing is lost."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
import torch

from shared.trackers import read_metrics

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[2]
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]


def environment(**more: str) -> dict[str, str]:
    return os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)} | more


@pytest.fixture(scope="module")
def said(tmp_path_factory) -> dict[str, str]:
    """What each of two processes said to each of `line.py`'s faults."""
    folder = tmp_path_factory.mktemp("faults")
    done = subprocess.run(
        [*TORCHRUN, str(HERE / "line.py"), "faults", str(folder)], env=environment(),
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    texts = {path.stem: path.read_text() for path in folder.glob("*.txt")}
    assert len(texts) == 6, done.stderr[-3000:]
    return texts


def test_ranks_with_data_of_different_lengths_do_not_wait_for_each_other(said):
    assert said["uneven-0"] == said["uneven-1"] == "done"


def test_a_nan_stops_all_and_names_step_and_rank(said):
    assert said["nan-0"] == said["nan-1"]
    assert "the loss became nan at step 6 on rank 1" in said["nan-0"]


def test_a_full_disk_on_one_rank_ends_the_others(said):
    assert "could not write" in said["disk-0"]
    assert "checkpoint.ckpt" in said["disk-0"]
    assert "lost another of its processes after step 4" in said["disk-1"]


def test_a_port_in_use_is_named(tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        done = subprocess.run(
            [sys.executable, str(HERE / "line.py"), "port", str(tmp_path)], timeout=120,
            env=environment(WORLD_SIZE="1", RANK="0", MASTER_ADDR="127.0.0.1", MASTER_PORT=port),
            capture_output=True, text=True,
        )  # fmt: skip
    assert f"port {port} of this machine is in use" in done.stderr.splitlines()[-1]


@pytest.fixture(scope="module")
def home(command, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("home")
    done = command("train", "tokenizer", "smoke", home=folder)
    assert done.returncode == 0, done.stderr
    return folder


def started(home: Path, *words: str) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-m", "vermeil", "train", "lm", "smoke", "--strategy", "ddp",
         "--processes", "2", "--checkpoint_every", "5", "--sample_every", "9999",
         "--validate_every", "9999", *words],
        cwd=ROOT, env=environment(VERMEIL_HOME=str(home), VERMEIL_PROGRESS_SECONDS="0"),
        stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip


def kill_a_worker(home: Path, process: subprocess.Popen, already: int = 0) -> int:
    """SIGKILL for the second process once a new checkpoint is there; how many there were."""
    while True:
        assert process.poll() is None, process.communicate()
        found = list(home.glob("runs/lm/*/checkpoint.ckpt"))
        if found and found[0].stat().st_mtime_ns > already:
            break
        time.sleep(0.02)
    [worker] = [p for p in psutil.Process(process.pid).children() if p.environ()["RANK"] == "1"]
    worker.kill()
    return found[0].stat().st_mtime_ns


def test_a_killed_worker_ends_the_run_or_is_started_again(home):
    """Without --restarts the others end within a minute; the same command with it goes on.

    Then Ctrl-C, which reaches the processes at different steps, stops all of them at the same one.
    """
    process = started(home, "--steps", "5000")
    saved = kill_a_worker(home, process)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 2
    assert "error: rank 1 of 2 processes was killed by SIGKILL" in stderr
    assert "--restarts 3" in stderr
    assert "Traceback" not in stderr
    assert "closing signal" not in stderr, "torchrun's own words"

    process = started(home, "--steps", "5000", "--restarts", "1")
    kill_a_worker(home, process, saved)
    path = next(home.glob("runs/lm/*/checkpoint.ckpt"))
    survivor = psutil.Process(process.pid).children()
    while set(survivor) & set(psutil.Process(process.pid).children()):  # it may save once more
        time.sleep(0.02)
    saved = path.stat().st_mtime_ns
    while path.stat().st_mtime_ns <= saved:  # a save by those who were started again
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "lm stopped at step" in stderr
    assert "Traceback" not in stderr
    steps = [m["step"] for m in read_metrics(path.with_name("metrics.jsonl")) if "train_loss" in m]
    assert sorted(set(steps)) == list(range(1, steps[-1] + 1))
    assert torch.load(path, weights_only=True)["global_step"] == steps[-1]
