"""The API in a process: engine, keys, limits and counts put together, and Uvicorn around them."""

import logging
import socket
import sys
import time
from typing import TYPE_CHECKING, Any

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
    # Words and pictures come from threads beside each other, and HTTP wants some of the machine.
    threads = hardware.set_threads(config.threads or max(1, hardware.cores() // 2))
    device = hardware.device_name()
    options = Options(device, config.variant, config.rows, config.queue, config.memory_mb)
    engine = Engine.open(config.models, options)
    ids = ", ".join(model.artifact.id for model in engine.served.values())
    took = time.perf_counter() - start
    print(f"serving {ids}", file=sys.stderr)
    print(
        f"on {device} ({hardware.cpu_name()}, {hardware.cores()} cores), {threads} threads a "
        f"model, {config.variant}, ready after {took:.1f} s",
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


def listen(config: "ServeConfig", app: Any) -> None:
    """Answer until SIGTERM or Ctrl-C; then finish what is open, and stop."""
    import uvicorn

    family = socket.AF_INET6 if ":" in config.host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((config.host.strip("[]"), config.port))
    except OSError as error:
        raise VermeilError(
            f"cannot listen on {config.host}:{config.port} ({error.strerror})",
            "choose another --port, or stop what listens there",
        ) from None
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
            app, log_level="warning", access_log=False, server_header=False,
            timeout_graceful_shutdown=int(config.drain_seconds) + 1, root_path=config.root_path,
            h11_max_incomplete_event_size=64 * 1024, timeout_keep_alive=15,
        )
    )  # fmt: skip
    server.run(sockets=[listener])
