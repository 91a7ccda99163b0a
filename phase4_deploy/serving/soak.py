"""A server under mixed load for as long as you like: nothing may be lost, nothing may pile up.

    python -m phase4_deploy.serving.soak --minutes 30

Some clients leave before they are answered. At the end it says how many requests failed, how the
server's memory grew, and whether all rows and queues are empty again; exit status 1 if not.
"""

import asyncio
import contextlib
import json
import sys
import time
from collections import Counter
from dataclasses import dataclass
from typing import Any

import httpx
import psutil

from phase4_deploy.serving.load import MIXED, Load, Outcome, summary
from phase4_deploy.serving.processes import free_port, running
from shared.benchmark import conditions
from shared.config import option, parse
from shared.hardware import cpu_name
from shared.home import home, write_atomically
from shared.step import user_errors

GROWTH = 0.02  # of memory, after the warm-up
EVERY = 10.0  # seconds between looks at memory


@dataclass(frozen=True)
class SoakConfig:
    """How long, how many, and how many of them leave."""

    minutes: float = option(30.0, "of load", low=0.1)
    warm_up: float = option(5.0, "minutes before memory counts", low=0.0)
    clients: int = option(12, "that ask at once", low=1)
    leaving: float = option(0.1, "share of requests whose client leaves", low=0, high=1)
    models: tuple[str, ...] = option((), "artifacts; by default all kinds")
    variant: str = option("fp16", "fp16, fp32, bf16 or int8")


def soak(config: SoakConfig) -> dict[str, Any]:
    """Run it and return what was seen."""
    port, folder = free_port(), home() / "bench" / "serve"
    folder.mkdir(parents=True, exist_ok=True)
    models = ["--models", ",".join(config.models)] if config.models else []
    words = ["vermeil", "serve", "--port", str(port), "--no-log", "--threads", "1",
             "--variant", config.variant, *models]  # fmt: skip
    print(f"{cpu_name()}, {conditions()}, {config.clients} clients", flush=True)
    with running(words, port, log=folder / "soak.log") as process:
        outcomes, memory = asyncio.run(_watched(config, port, psutil.Process(process.pid)))
        left = settled(port)
    return seen(config, outcomes, memory, left)


async def _watched(
    config: SoakConfig, port: int, process: psutil.Process
) -> tuple[list[Outcome], list[tuple[float, float]]]:
    """The outcomes, and (minutes, MB) of the server's memory."""
    start, memory = time.monotonic(), []

    async def watch() -> None:
        while True:
            minutes = (time.monotonic() - start) / 60
            with contextlib.suppress(psutil.NoSuchProcess):  # one that just ended, to come anew
                memory.append((round(minutes, 2), round(held(process), 1)))
            if len(memory) % 6 == 1:
                print(f"{minutes:6.1f} min  {memory[-1][1]:8,.0f} MB", flush=True)
            await asyncio.sleep(EVERY)

    watching = asyncio.create_task(watch())
    load = Load(f"http://127.0.0.1:{port}", MIXED)
    outcomes = await load.run(config.clients, 60 * config.minutes, config.leaving)
    watching.cancel()
    return outcomes, memory


def held(process: psutil.Process) -> float:
    """MB of memory of a process and of those that it started, pages that they share once."""
    family = [process, *process.children(recursive=True)]
    return sum(one.memory_full_info().pss for one in family) / 1e6


def settled(port: int, seconds: float = 10.0) -> float:
    """Requests, rows and queues that are not empty some seconds after the last client has gone."""
    until, left = time.monotonic() + seconds, 1.0
    while left and time.monotonic() < until:
        text = httpx.get(f"http://127.0.0.1:{port}/metrics").text
        names = ("vermeil_rows{", "vermeil_queue_depth{")
        left = sum(float(line.split()[-1]) for line in text.splitlines() if line.startswith(names))
        time.sleep(0.2)
    return left


def seen(
    config: SoakConfig, outcomes: list[Outcome], memory: list[tuple[float, float]], left: float
) -> dict[str, Any]:
    """The facts, and whether they are as they should be."""
    statuses = Counter(outcome.status for outcome in outcomes)
    lost = sum(n for status, n in statuses.items() if status not in (200, -1))
    counted = [mb for minutes, mb in memory if minutes >= config.warm_up] or [memory[-1][1]]
    tenth = max(1, len(counted) // 10)
    first, last = sum(counted[:tenth]) / tenth, sum(counted[-tenth:]) / tenth
    growth = last / first - 1
    whole = summary(outcomes, 60 * config.minutes)
    return {
        "minutes": config.minutes, "clients": config.clients, "requests": len(outcomes),
        "left_on_purpose": statuses[-1], "lost": lost,
        "lost_said": [o.said for o in outcomes if o.status not in (200, -1)][:5],
        "memory_mb": [round(first, 1), round(last, 1)], "growth": round(growth, 4),
        "still_busy": left, "requests_per_second": round(whole.requests_per_second, 1),
        "p50_ms": round(whole.p50_ms), "p95_ms": round(whole.p95_ms), "memory": memory,
        "good": lost == 0 and growth < GROWTH and left == 0,
    }  # fmt: skip


def main() -> None:
    with user_errors():
        config = parse(
            SoakConfig, sys.argv[1:], command="python -m phase4_deploy.serving.soak",
            about=str(__doc__),
        ).config  # fmt: skip
        found = soak(config)
        write_atomically(home() / "bench" / "serve" / "soak.json", json.dumps(found, indent=1))
        print(json.dumps({k: v for k, v in found.items() if k != "memory"}, indent=1))
        sys.exit(0 if found["good"] else 1)


if __name__ == "__main__":
    main()
