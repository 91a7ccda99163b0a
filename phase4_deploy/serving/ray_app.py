"""The same API on Ray Serve: as many replicas as there is work for, on as many machines as Ray has.

Each replica is a process with an engine of its own; Ray's proxy hands every request to one that
has room, and starts a new one in the place of one that died. What a replica counts for itself (a
key's rate, /metrics) is one replica's.

    python -m phase4_deploy.serving.ray_app --fewest 2
"""

import os
import signal
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any

from phase4_deploy.serving.commands import ServeConfig, _allowed
from shared.config import option, parse
from shared.errors import VermeilError

if TYPE_CHECKING:
    from fastapi import FastAPI

NAME = "vermeil"


@dataclass(frozen=True)
class Replicas:
    """How many, and what each is given."""

    fewest: int = 1
    most: int = 4
    busy: int = 8  # requests at once for each: with more there will be more replicas
    at_once: int = 64  # the most that one replica is handed; the others wait in the proxy
    cpus: float = 1.0
    gpus: float = 0.0
    drain_seconds: float = 30.0
    calm_seconds: float = 300.0  # with less to do before a replica is taken away

    def check(self) -> None:
        """What Ray would refuse with a page of its own."""
        if not 1 <= self.fewest <= self.most:
            raise VermeilError(
                f"between {self.fewest} and {self.most} replicas are none", "--replicas 1 or more"
            )


@dataclass(frozen=True)
class RayConfig(ServeConfig):
    """What `vermeil serve` takes, and how many serve it."""

    fewest: int = option(Replicas.fewest, "replicas that are always there", low=1)
    most: int = option(Replicas.most, "replicas where there is much to do", low=1)
    busy: int = option(Replicas.busy, "requests at once for each; with more there are more", low=1)
    cpus: float = option(Replicas.cpus, "cores that Ray sets aside for each", low=0)
    gpus: float = option(Replicas.gpus, "cards, or parts of one, for each", low=0)
    address: str = option("", "of a Ray cluster, e.g. auto; empty: Ray is started here")


def main(arguments: list[str]) -> None:
    """Serve what was trained by several replicas on Ray."""
    config = parse(
        RayConfig, arguments, command="python -m phase4_deploy.serving.ray_app",
        about=str(main.__doc__),
    ).config  # fmt: skip
    replicas = Replicas(
        config.fewest, config.most, config.busy, cpus=config.cpus, gpus=config.gpus,
        drain_seconds=config.drain_seconds,
    )  # fmt: skip
    serve(config, replicas, address=config.address)


def application(build: Callable[[], "FastAPI"], replicas: Replicas) -> Any:
    """The Ray Serve application whose replicas each call `build` for an API of their own.

    `build` is sent to them by value: a plain function, and what it closes over can be pickled.
    """
    replicas.check()
    serve = _ray("ray.serve")

    deployment = serve.deployment(
        name=NAME,
        autoscaling_config={
            "min_replicas": replicas.fewest,
            "max_replicas": replicas.most,
            "target_ongoing_requests": replicas.busy,
            "upscale_delay_s": 3.0,
            "downscale_delay_s": replicas.calm_seconds,
        },
        max_ongoing_requests=replicas.at_once,
        ray_actor_options={"num_cpus": replicas.cpus, "num_gpus": replicas.gpus},
        graceful_shutdown_timeout_s=replicas.drain_seconds,
        health_check_period_s=5.0,
    )
    return deployment(serve.ingress(build)()).bind()


def start(
    build: Callable[[], "FastAPI"], replicas: Replicas, *, host: str = "127.0.0.1",
    port: int = 8000, address: str = "",
) -> None:  # fmt: skip
    """Start Ray here, or join the cluster at `address` ("auto": this machine's), and the API on it.

    Returns when the first replicas are ready.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing leaves the machine unasked
    ray, serve = _ray("ray"), _ray("ray.serve")
    if not ray.is_initialized():
        where = {"address": address} if address else {"include_dashboard": False}
        ray.init(**where, log_to_driver=False, logging_level="WARNING", namespace=NAME)
    serve.start(http_options={"host": host, "port": port})
    serve.run(application(build, replicas), name=NAME, route_prefix="/")


def serve(config: ServeConfig, replicas: Replicas, *, address: str = "") -> None:
    """What `vermeil serve` does, by replicas: each opens models and keys for itself.

    On other machines than this one they are looked for in the same places.
    """

    def build() -> "FastAPI":
        from phase4_deploy.serving.keys import KeyStore
        from phase4_deploy.serving.server import prepared

        return prepared(config, KeyStore(config.keys))

    from phase4_deploy.serving.keys import KeyStore

    _allowed(config, guarded=bool(KeyStore(config.keys).all()))
    run(build, replicas, host=config.host, port=config.port, address=address)


def stop() -> None:
    """Let the replicas answer what they took in, then end them, and a Ray that was started here."""
    _ray("ray.serve").shutdown()
    _ray("ray").shutdown()


def run(build: Callable[[], "FastAPI"], replicas: Replicas, **where: Any) -> None:
    """`start`, until SIGTERM or Ctrl-C; then `stop`."""
    told = threading.Event()
    try:
        start(build, replicas, **where)
        for number in (signal.SIGTERM, signal.SIGINT):  # Ray has set its own
            signal.signal(number, lambda *_: told.set())
        host, port = where.get("host", "127.0.0.1"), where.get("port", 8000)
        print(f"http://{host}:{port}/docs describes the API; Ctrl-C stops it", file=sys.stderr)
        told.wait()
    finally:
        stop()


def _ray(name: str) -> Any:
    try:
        return import_module(name)
    except ImportError:
        raise VermeilError(
            "Ray Serve is not installed", 'pip install -c constraints.txt -e ".[cluster]"'
        ) from None


if __name__ == "__main__":
    # By its name: what is sent to replicas must not belong to __main__.
    from phase4_deploy.serving import ray_app
    from shared.step import user_errors

    with user_errors("--debug" in sys.argv):
        ray_app.main([word for word in sys.argv[1:] if word != "--debug"])
