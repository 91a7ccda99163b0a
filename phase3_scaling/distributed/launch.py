"""From `--strategy ddp --processes 2` to an engine, starting the processes where nobody has."""

import os
import subprocess
import sys
from importlib import import_module
from typing import TYPE_CHECKING

from shared.errors import VermeilError, nearest

if TYPE_CHECKING:
    from shared.training import Engine

ENGINES = {"ddp": "phase3_scaling.distributed.ddp"}


def take_engine(arguments: list[str], *, command: list[str]) -> tuple["Engine | None", list[str]]:
    """The engine that the arguments ask for (None: one process), and the other arguments.

    Outside torchrun, `--processes N` starts `torchrun -m vermeil` with the same command and ends
    this process with its status.
    """
    strategy, arguments = _take(arguments, "--strategy", "single")
    processes, arguments = _take(arguments, "--processes", "1")
    if strategy not in ("single", *ENGINES):
        known = ["single", *ENGINES]
        raise VermeilError(f"there is no strategy '{strategy}'", nearest(strategy, known))
    if strategy == "single":
        if processes != "1" or "WORLD_SIZE" in os.environ:
            raise VermeilError("the strategy 'single' is one process", "add --strategy ddp")
        return None, arguments
    if "WORLD_SIZE" not in os.environ:
        if not processes.isdigit() or int(processes) < 1:
            raise VermeilError(f"--processes wants a whole number, not '{processes}'", "e.g. 2")
        torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone",
                    f"--nproc_per_node={processes}", "-m", "vermeil"]  # fmt: skip
        again = [*torchrun, *command, *arguments, "--strategy", strategy]
        raise SystemExit(subprocess.run(again).returncode)
    return import_module(ENGINES[strategy]).engine(), arguments


def _take(arguments: list[str], flag: str, default: str) -> tuple[str, list[str]]:
    """The value of one flag and the arguments without it."""
    value, rest, queue = default, [], list(arguments)
    while queue:
        word = queue.pop(0)
        if word.startswith(f"{flag}="):
            value = word.partition("=")[2]
        elif word == flag:
            if not queue:
                raise VermeilError(f"'{flag}' needs a value", f"{flag} {default}")
            value = queue.pop(0)
        else:
            rest.append(word)
    return value, rest
