"""Servers in processes of their own, for benchmarks, soaks and tests: started, awaited, stopped."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import httpx

ROOT = Path(__file__).resolve().parents[2]


def free_port() -> int:
    """A port of this machine that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextlib.contextmanager
def running(
    words: Sequence[str], port: int, *, ready: str = "/health/ready", seconds: float = 120.0,
    log: Path | None = None,
) -> Iterator[subprocess.Popen]:  # fmt: skip
    """`python -m WORDS` once it answers; at the end SIGTERM, and SIGKILL to what is left."""
    out = log.open("wb") if log else subprocess.DEVNULL
    process = subprocess.Popen(
        [sys.executable, "-m", *words], cwd=ROOT, env=os.environ, stdout=out, stderr=out,
        start_new_session=True,
    )  # fmt: skip
    try:
        end = time.monotonic() + seconds
        while not _answers(port, ready):
            if process.poll() is not None:
                raise RuntimeError(f"{words[0]} ended with {process.returncode}: see {log}")
            if time.monotonic() > end:
                raise RuntimeError(f"{words[0]} did not answer within {seconds:g} s: see {log}")
            time.sleep(0.1)
        yield process
    finally:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(40)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # a server's workers too
        process.wait()


def _answers(port: int, path: str) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}{path}", timeout=5).status_code < 500
    except httpx.HTTPError:
        return False
