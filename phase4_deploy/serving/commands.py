"""`vermeil serve`: the API over HTTP."""

import contextlib
import ipaddress
from dataclasses import dataclass
from typing import Literal

from shared.config import option, parse
from shared.errors import VermeilError


@dataclass(frozen=True)
class ServeConfig:
    """What is served, where, to whom and how much of it."""

    models: tuple[str, ...] = option((), "artifacts, e.g. lm,unified@tiny; by default all kinds")
    host: str = option("127.0.0.1", "address to listen on; beyond loopback it takes keys")
    port: int = option(8000, "0 takes a free one", low=0, high=65_535)
    keys: str = option("", "an SQLAlchemy URL; empty: $VERMEIL_KEYS, or in $VERMEIL_HOME")
    variant: Literal["fp16", "fp32", "bf16", "int8"] = option(
        "fp16", "number format of the weights of what writes words"
    )
    threads: int = option(0, "CPU threads of a model at work; 0: one, or half of the cores", low=0)
    processes: int = option(1, "that write words; 0: a thread of this one does", low=0)
    rows: int = option(32, "answers that a model writes side by side", low=1, high=1024)
    queue: int = option(64, "requests that may wait for a model", low=1)
    memory_mb: int = option(256, "of pictures and prompts that were read, for each model", low=0)
    body_mb: float = option(32.0, "largest body of a request", low=0.001)
    body_seconds: float = option(60.0, "time that a body may take to arrive", low=0.1)
    pixels: int = option(16_000_000, "largest picture", low=1)
    audio_seconds: float = option(600.0, "longest recording", low=1)
    tokens: int = option(1024, "longest answer", low=1)
    drain_seconds: float = option(30.0, "time for open requests when the server is stopped", low=0)
    guard_metrics: bool = option(False, "ask for a key at /metrics, too")
    allow_origins: tuple[str, ...] = option((), "web pages that may call (CORS); none by default")
    trace: str = option("", "OpenTelemetry collector, e.g. http://localhost:4318; empty: none")
    root_path: str = option("", "path under which a proxy offers this, e.g. /vermeil")
    log: bool = option(True, "a line of JSON for each request, on stderr")


def serve(arguments: list[str]) -> None:
    """Serve what was trained, by an API shaped like OpenAI's."""
    config = parse(ServeConfig, arguments, command="vermeil serve", about=str(serve.__doc__)).config
    from phase4_deploy.serving.keys import KeyStore

    store = KeyStore(config.keys)
    _allowed(config, guarded=bool(store.all()))
    from phase4_deploy.serving.server import bound, listen, prepared

    listener = bound(config)
    listen(config, prepared(config, store), listener)


def _allowed(config: ServeConfig, guarded: bool) -> None:
    """Without keys, nobody from outside is let in."""
    if not guarded and not is_loopback(config.host):
        raise VermeilError(
            f"there are no keys yet, and {config.host} can be reached from outside",
            "vermeil keys add NAME, or serve on 127.0.0.1",
        )


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches an address."""
    with contextlib.suppress(ValueError):
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    return host == "localhost"
