"""`vermeil bench serve`: requests, first tokens and waiting, beside what a user would pick instead.

Servers with the same language model, each with one thread for it, asked in turns by the same
clients: ours in each number format that is named, FastAPI around one call at a time, and LitServe
with batches. Then ours alone under all kinds of requests, and what HTTP adds to the bare engine.
"""

import asyncio
import contextlib
import random
import time
from collections import defaultdict
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import ClassVar

from phase4_deploy.serving.load import LENGTHS, MIXED, Load, Outcome, Summary, Task, summary, write
from phase4_deploy.serving.processes import free_port, running
from shared.benchmark import conditions
from shared.config import option, parse
from shared.hardware import cpu_name
from shared.home import home

HEALTH = {"plain FastAPI": "/docs", "LitServe": "/health"}
COLUMNS = "requests/s  tokens/s  first ms   p50 ms   p95 ms   p99 ms  failed      n"


@dataclass(frozen=True)
class BenchConfig:
    """What to time and how long."""

    POSITIONAL: ClassVar = ("step",)

    step: str = option("serve", "what to time")
    model: str = option("lm", "artifact of the language model that all three serve")
    clients: tuple[int, ...] = option((1, 8, 32), "that ask at once")
    rounds: int = option(3, "turns of every server", low=1)
    seconds: float = option(5.0, "of a turn", low=0.5)
    threads: int = option(1, "CPU threads of a model", low=1)
    variants: tuple[str, ...] = option(("fp16", "fp32"), "of ours; peers write in fp32")
    processes: int = option(1, "of ours that write words; 0: a thread does", low=0)
    peers: tuple[str, ...] = option(("plain FastAPI", "LitServe"), "to compare with")
    mixed: bool = option(True, "ask ours for everything, too")


def bench(arguments: list[str]) -> None:
    """Time the server under load, beside FastAPI and LitServe with the same model, in turns."""
    config = parse(BenchConfig, arguments, command="vermeil bench", about=str(bench.__doc__)).config
    print(f"{cpu_name()}, {conditions()}, {config.threads} threads a model, "
          f"{config.processes} processes for words")  # fmt: skip
    lengths = ", ".join(map(str, LENGTHS))
    print(f"{lengths} new tokens by chance, temperature 0.8; turns of {config.seconds:g} s\n")
    logs = home() / "bench" / "serve"
    logs.mkdir(parents=True, exist_ok=True)
    _beside_peers(config, logs)
    if config.mixed:
        _all_kinds(config, logs)
    _overhead(config, logs)


def command(name: str, config: BenchConfig, port: int, models: str = "") -> list[str]:
    """How a server is started; ours go by "ours VARIANT"."""
    rest = ["--port", str(port), "--threads", str(config.threads)]
    ours, _, variant = name.partition(" ")
    if ours == "ours":
        what = ["--models", models or config.model] if models != "all" else []
        return ["vermeil", "serve", *what, *rest, "--variant", variant, "--queue", "256",
                "--processes", str(config.processes), "--no-log"]  # fmt: skip
    kind = "plain" if name == "plain FastAPI" else "litserve"
    return ["phase4_deploy.serving.peers", kind, "--model", config.model, *rest]


def _beside_peers(config: BenchConfig, logs: Path) -> None:
    names = [*(f"ours {variant}" for variant in config.variants), *config.peers]
    found = defaultdict(list)
    with contextlib.ExitStack() as stack:
        ports = {name: free_port() for name in names}
        for name, port in ports.items():
            log = logs / f"{name.replace(' ', '_')}.log"
            words = command(name, config, port)
            stack.enter_context(
                running(words, port, ready=HEALTH.get(name, "/health/ready"), log=log)
            )
        for turn in range(config.rounds):
            for clients in config.clients:
                for name in names:
                    got = asked(ports[name], {write: 1}, clients, config.seconds, seed=turn)
                    found[name, clients].append(summary(got, config.seconds))
    for clients in config.clients:
        print(f"{clients} clients{'':<16}{COLUMNS}")
        first = middle(found[names[0], clients])
        for name in names:
            row = middle(found[name, clients])
            ratio = f"   {first.tokens_per_second / max(row.tokens_per_second, 1e-9):.2f} x"
            print(f"  {name:<22}{line(row)}{'' if name == names[0] else ratio}")
    print()


def _all_kinds(config: BenchConfig, logs: Path) -> None:
    port, found = free_port(), defaultdict(list)
    words = command(f"ours {config.variants[0]}", config, port, "all")
    with running(words, port, log=logs / "mixed.log"):
        asked(port, MIXED, 1, 1.0, seed=99)
        for turn in range(config.rounds):
            for clients in config.clients:
                got = asked(port, MIXED, clients, config.seconds, seed=turn)
                found[clients].append(got)
    print(f"all kinds of requests{'':<3}{COLUMNS}")
    for clients, turns in found.items():
        row = middle([summary(got, config.seconds) for got in turns])
        print(f"  {clients} clients{'':<{13 - len(str(clients))}} {line(row)}")
        for task in sorted({outcome.task for got in turns for outcome in got}):
            of_task = [[o for o in got if o.task == task] for got in turns]
            print(f"    {task:<20}{line(middle([summary(o, config.seconds) for o in of_task]))}")
    print()


def _overhead(config: BenchConfig, logs: Path) -> None:
    """One client's requests over HTTP and to the engine itself, in turns."""
    import httpx

    from phase1_foundation.language.generate import Sampling
    from phase4_deploy.serving.engine import Engine
    from phase4_deploy.serving.models import Options
    from shared import hardware

    hardware.set_threads(config.threads)
    variant = config.variants[0]
    engine = Engine.open([config.model], Options(variant=variant, processes=config.processes))
    port, dice, times = free_port(), random.Random(0), defaultdict(list)
    words = command(f"ours {variant}", config, port)
    with running(words, port, log=logs / "overhead.log"), httpx.Client(
        base_url=f"http://127.0.0.1:{port}"
    ) as http:  # fmt: skip
        for _ in range(40 * config.rounds):
            body = write(dice).body or {}
            tokens, seed = body["max_tokens"], body["seed"]
            sampling = Sampling(max_tokens=tokens, temperature=0.8, seed=seed)
            start = time.perf_counter()
            engine.writer().write(body["prompt"], sampling).result()
            between = time.perf_counter()
            http.post("/v1/completions", json=body).raise_for_status()
            times["engine"].append(1000 * (between - start))
            times["HTTP"].append(1000 * (time.perf_counter() - between))
    engine.close(1.0)
    more = median(h - e for h, e in zip(times["HTTP"], times["engine"], strict=True))
    print(f"one client: {median(times['HTTP']):.1f} ms over HTTP, {median(times['engine']):.1f} ms "
          f"by the engine itself; {more:.1f} ms more for the same request (medians of "
          f"{len(times['HTTP'])})")  # fmt: skip


def asked(
    port: int, tasks: dict[Task, int] | object, clients: int, seconds: float, seed: int
) -> list[Outcome]:
    """What becomes of the requests of so many clients."""
    load = Load(f"http://127.0.0.1:{port}", tasks, seed=seed)  # type: ignore[arg-type]
    return asyncio.run(load.run(clients, seconds))


def middle(rows: list[Summary]) -> Summary:
    """The median of each number over the turns; failures and requests in all."""
    values = {key: median(asdict(row)[key] for row in rows) for key in asdict(rows[0])}
    values |= {key: sum(asdict(row)[key] for row in rows) for key in ("failed", "n")}
    return Summary(**values)


def line(row: Summary) -> str:
    """A row of the table."""
    return (
        f"{row.requests_per_second:>10.1f}{row.tokens_per_second:>10,.0f}{row.first_ms:>10.0f}"
        f"{row.p50_ms:>9.0f}{row.p95_ms:>9.0f}{row.p99_ms:>9.0f}{row.failed:>8}{row.n:>7}"
    )
