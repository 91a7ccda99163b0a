"""The API in a process: engine, keys, limits and counts put together, and Uvicorn around them."""

import contextlib
import logging
import signal
import socket
import sys
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from phase4_deploy.serving import trimming
from phase4_deploy.serving.api import create_app
from phase4_deploy.serving.engine import Engine
from phase4_deploy.serving.key_ring import KeyRing
from phase4_deploy.serving.keys import KeyStore
from phase4_deploy.serving.media import Limits
from phase4_deploy.serving.models import Options
from phase4_deploy.serving.service import Service
from phase4_deploy.serving.telemetry import to_stderr
from shared import hardware
from shared.errors import VermeilError

if TYPE_CHECKING:
    from fastapi import FastAPI

    from phase4_deploy.serving.commands import ServeConfig


def opened(config: "ServeConfig") -> Engine:
    """The engine that a configuration asks for, warmed up; says what it took."""
    start = time.perf_counter()
    trimming.few_kernels()
    # Words and pictures come from threads beside each other, and HTTP wants some of the machine.
    threads = hardware.set_threads(config.threads or max(1, hardware.cores() // 2))
    device = hardware.device_name()
    options = Options(
        device, config.variant, config.processes, config.rows, config.queue, config.memory_mb
    )
    engine = Engine.open(config.models, options)
    ids = ", ".join(model.artifact.id for model in engine.served.values())
    took = time.perf_counter() - start
    print(f"serving {ids}", file=sys.stderr)
    print(
        f"on {device} ({hardware.cpu_name()}, {hardware.cores()} cores), threads a model: "
        f"{threads}, processes for words: {config.processes}, {config.variant}, "
        f"ready after {took:.1f} s",
        file=sys.stderr,
    )
    return engine


def prepared(config: "ServeConfig", store: KeyStore) -> "FastAPI":
    """The application with everything around it."""
    tracing = None
    if config.trace:
        from phase4_deploy.serving.tracing import Tracing

        tracing = Tracing(config.trace)
    limits = Limits(config.pixels, config.audio_seconds, config.tokens)
    return create_app(
        Service(opened(config), limits, config.drain_seconds), ring=KeyRing(store),
        body_bytes=int(config.body_mb * 2**20), body_seconds=config.body_seconds,
        guard_metrics=config.guard_metrics, allow_origins=config.allow_origins,
        log=to_stderr if config.log else _silent, tracing=tracing,
    )  # fmt: skip


def _silent(line: str) -> None:
    """Where no line a request is wanted."""


def bound(config: "ServeConfig") -> socket.socket:
    """The address, taken before models are loaded: if it is not free, that is said at once."""
    family = socket.AF_INET6 if ":" in config.host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    with _taken(config):
        listener.bind((config.host.strip("[]"), config.port))
    return listener


@contextlib.contextmanager
def _taken(config: "ServeConfig") -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise VermeilError(
            f"cannot listen on {config.host}:{config.port} ({error.strerror})",
            "choose another --port, or stop what listens there",
        ) from None


def listen(config: "ServeConfig", app: Any, listener: socket.socket) -> None:
    """Answer until SIGTERM or Ctrl-C; then finish what is open, and return."""
    import uvicorn

    from phase4_deploy.serving.connection import Connection

    trimming.start()
    with _taken(config):  # two that started at the same time both had the address
        listener.listen(2048)
    host, port = listener.getsockname()[:2]
    logging.getLogger("vermeil").addHandler(logging.StreamHandler())
    shown = f"[{host}]" if ":" in host else host
    print(
        f"http://{shown}:{port}/docs describes the API; Ctrl-C stops it",
        file=sys.stderr,
        flush=True,
    )
    server = uvicorn.Server(
        uvicorn.Config(
            app, log_level="warning", access_log=False, server_header=False, http=Connection,
            ws="none", timeout_graceful_shutdown=int(config.drain_seconds) + 1,
            root_path=config.root_path, timeout_keep_alive=15,
        )
    )  # fmt: skip
    for sent in (signal.SIGTERM, signal.SIGINT):
        # Uvicorn sends it again when all is done, to die of it; to be stopped is no failure.
        signal.signal(sent, lambda *_: None)
    server.run(sockets=[listener])
