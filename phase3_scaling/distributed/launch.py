"""From `--strategy ddp --processes 2` to an engine, starting the processes where nobody has."""

import logging
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import MutableMapping
from dataclasses import dataclass, field
from importlib import import_module, util
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shared import hardware
from shared.errors import VermeilError, nearest

if TYPE_CHECKING:
    from shared.training import Engine


@dataclass(frozen=True)
class Way:
    """Where an engine is defined, what it is asked for, and the package that it needs.

    `starts`: the module's `command(processes)` starts them; otherwise torchrun does.
    """

    module: str
    arguments: dict[str, Any] = field(default_factory=dict)
    package: str = "torch"
    starts: bool = False


HERE = "phase3_scaling.distributed"
ENGINES = {
    "ddp": Way(f"{HERE}.ddp"),
    "fsdp": Way(f"{HERE}.fsdp"),
    "deepspeed_zero1": Way(f"{HERE}.deepspeed", {"stage": 1}, "deepspeed"),
    "deepspeed_zero2": Way(f"{HERE}.deepspeed", {"stage": 2}, "deepspeed"),
    "deepspeed_zero3": Way(f"{HERE}.deepspeed", {"stage": 3}, "deepspeed"),
    "horovod": Way(f"{HERE}.horovod", starts=True),  # says itself how it is built
}
OWN = {"--offload": "", "--deepspeed_config": ""}  # DeepSpeed's flags and what they default to
FLAGS = {"--strategy": "single", "--processes": "", "--restarts": "0", **OWN}
MOST = 4  # processes a core, beyond which they only wait for each other


def take_engine(arguments: list[str], *, command: list[str]) -> tuple["Engine | None", list[str]]:
    """The engine that the arguments ask for (None: one process), and the other arguments.

    Where nobody has started several processes, `--processes N` does, with the same command, and
    ends this process with their status.
    """
    flags, arguments = _take(arguments)
    strategy = flags["--strategy"]
    if strategy not in ("single", *ENGINES):
        known = ["single", *ENGINES]
        raise VermeilError(f"there is no strategy '{strategy}'", nearest(strategy, known))
    several = take_environment(os.environ, own=bool(flags["--processes"]))
    if strategy == "single":
        if flags["--processes"] not in ("", "1") or several:
            raise VermeilError("the strategy 'single' is one process", "add --strategy ddp")
        return None, arguments
    way = ENGINES[strategy]
    own = {flag.strip("-"): flags[flag] for flag in OWN if flags[flag]}
    if own and way.package != "deepspeed":
        raise VermeilError(f"--{next(iter(own))} is for DeepSpeed", "--strategy deepspeed_zero2")
    if util.find_spec(way.package) is None:
        raise VermeilError(
            f"the package {way.package} is not installed",
            "make scale",
        )
    if several:
        return import_module(way.module).engine(**way.arguments, **own), arguments
    again = [*command, *arguments, "--strategy", strategy]
    again += [word for flag in OWN if flags[flag] for word in (flag, flags[flag])]
    processes = _number("--processes", flags["--processes"] or "1", 1)
    most = MOST * hardware.cores()
    if processes > most:
        raise VermeilError(
            f"--processes {processes} on {hardware.cores()} cores would only wait for each other",
            f"at most {most} here",
        )
    restarts = _number("--restarts", flags["--restarts"], 0)
    raise SystemExit(start(strategy, processes, restarts, again))


def start(strategy: str, processes: int, restarts: int, arguments: list[str]) -> int:
    """Run `vermeil` with these arguments in so many processes; returns its exit status."""
    share = max(1, hardware.cores() // processes)
    os.environ.setdefault("OMP_NUM_THREADS", str(share))
    if not ENGINES[strategy].starts:
        with tempfile.TemporaryDirectory(prefix="vermeil-") as folder:
            return _torchrun(processes, restarts, arguments, Path(folder))
    if restarts:
        raise VermeilError("--restarts is torchrun's", "--strategy ddp, or no --restarts")
    return subprocess.run([*starter(strategy, processes), *arguments]).returncode


def starter(strategy: str, processes: int, module: str = "vermeil") -> list[str]:
    """The command that starts so many processes of a module; the module's arguments follow."""
    if strategy == "single":
        return [sys.executable, "-m", module]
    if ENGINES[strategy].starts:
        return [*import_module(ENGINES[strategy].module).command(processes)[:-1], module]
    return [sys.executable, "-m", "torch.distributed.run", "--standalone",
            f"--nproc_per_node={processes}", "-m", module]  # fmt: skip


def _torchrun(processes: int, restarts: int, arguments: list[str], logs: Path) -> int:
    """All processes say the same where the mistake is everyone's: the first one is listened to."""
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.run import main

    logging.getLogger("torch.distributed.elastic").setLevel(logging.CRITICAL)  # we say it ourselves
    others = ",".join(f"{rank}:2" for rank in range(1, processes))
    words = ["--standalone", f"--nproc_per_node={processes}", f"--max-restarts={restarts}",
             f"--log-dir={logs}", *([f"--redirects={others}"] if others else []),
             "-m", "vermeil", *arguments]  # fmt: skip
    try:
        main(words)
    except ChildFailedError as error:
        rank, failure = error.get_first_failure()
        statuses = {number: one.exitcode for number, one in error.failures.items()}
        if failure.exitcode < 0 and failure.exitcode != -signal.SIGTERM:
            name = signal.Signals(-failure.exitcode).name
            raise VermeilError(
                f"rank {rank} of {processes} processes was killed by {name}",
                "the same command goes on from the last checkpoint; --restarts 3 does so by itself",
            ) from None
        if rank and statuses.get(0) in (None, LOST, -signal.SIGTERM):
            print(_said(logs, rank), file=sys.stderr, end="")
        return failure.exitcode if failure.exitcode > 0 else 1
    except SignalException as stop:
        return 128 + stop.sigval
    return 0


LOST = 3  # shared.lost.Lost's, imported with torch only


def _said(logs: Path, rank: int) -> str:
    """What a process other than the first wrote to stderr, in its last attempt."""
    paths = sorted(logs.glob(f"*/attempt_*/{rank}/stderr.log"))
    return paths[-1].read_text(errors="replace") if paths else ""


def take_environment(environment: MutableMapping[str, str], *, own: bool = False) -> bool:
    """Whether this process was started as one of several; fills in what torchrun would have said.

    Known are torchrun, `deepspeed` and others that set RANK and WORLD_SIZE, and Slurm's `srun`,
    unless this process shall start its `own`.
    """
    found = environment.get
    if "WORLD_SIZE" in environment:
        names = {"RANK": "0", "LOCAL_RANK": "0", "LOCAL_WORLD_SIZE": found("LOCAL_SIZE", "1")}
    elif not own and "SLURM_LOCALID" in environment and int(found("SLURM_NTASKS", "1")) > 1:
        from lightning_fabric.plugins.environments import SLURMEnvironment

        nodes, tasks = int(found("SLURM_NNODES", "1")), int(environment["SLURM_NTASKS"])
        first = SLURMEnvironment.resolve_root_node_address(found("SLURM_NODELIST", "127.0.0.1"))
        names = {
            "RANK": environment["SLURM_PROCID"], "LOCAL_RANK": environment["SLURM_LOCALID"],
            "WORLD_SIZE": str(tasks), "LOCAL_WORLD_SIZE": str(tasks // nodes),
            "MASTER_ADDR": first,
            "MASTER_PORT": str(20_000 + int(found("SLURM_JOB_ID", "0")) % 20_000),
        }  # fmt: skip
    else:
        return False
    for name, value in names.items():
        environment.setdefault(name, value)
    return True


def _number(flag: str, text: str, least: int) -> int:
    if not text.isdigit() or int(text) < least:
        raise VermeilError(f"{flag} wants a whole number from {least} on, not '{text}'", "e.g. 2")
    return int(text)


def _take(arguments: list[str]) -> tuple[dict[str, str], list[str]]:
    """The values of the engines' flags, and the arguments without them."""
    values, rest, queue = dict(FLAGS), [], list(arguments)
    while queue:
        word = queue.pop(0)
        flag, equals, value = word.partition("=")
        if flag == "--local_rank":  # DeepSpeed's starter adds it
            continue
        if flag not in FLAGS:
            rest.append(word)
        elif equals:
            values[flag] = value
        elif flag == "--offload" and not (queue and queue[0] in OFFLOADS):
            values[flag] = "optimizer"
        elif queue:
            values[flag] = queue.pop(0)
        else:
            raise VermeilError(f"'{flag}' needs a value", f"{flag} {FLAGS[flag] or 2}")
    return values, rest


OFFLOADS = ("optimizer", "parameters")
