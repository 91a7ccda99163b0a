"""`vermeil submit slurm|kubernetes [--key value ...] -- train lm base --strategy ddp`."""

import sys
from importlib import import_module
from typing import Any

from shared.errors import VermeilError, nearest

TARGETS = {
    "slurm": "phase3_scaling.distributed.slurm",
    "kubernetes": "phase3_scaling.distributed.kubernetes",
}
USAGE = "vermeil submit slurm|kubernetes [--key value ...] -- train lm base --strategy ddp"


def submit(arguments: list[str]) -> None:
    """Hand a training to a cluster; what stands behind `--` is what each node runs."""
    cut = arguments.index("--") if "--" in arguments else len(arguments)
    own, training = arguments[:cut], arguments[cut + 1 :]
    if own and own[0] in ("-h", "--help", "help"):
        print(f"usage: {USAGE}\n\n`vermeil submit slurm --help` shows the keys")
        return
    if not own or own[0] not in TARGETS:
        what = f"cannot submit to '{own[0]}'" if own else "submit to what?"
        raise VermeilError(what, nearest(own[0], list(TARGETS)) if own else USAGE)
    import_module(TARGETS[own[0]]).submit(own[1:], training)


def check(training: list[str], processes: int) -> None:
    """Refuse what every node would refuse, before a queue has been waited through."""
    if training[:1] != ["train"] or len(training) < 2:
        words = " ".join(training) or "nothing"
        raise VermeilError(f"behind -- stands '{words}', not a training", USAGE)
    flags = [word.partition("=")[0] for word in training]
    if "--processes" in flags:
        raise VermeilError(
            "--processes stands behind --, but here the cluster starts the processes",
            "put it before --: vermeil submit slurm --nodes 2 --processes 8 -- train ...",
        )
    strategy = strategy_of(training)
    if strategy == "horovod":
        raise VermeilError(
            "Horovod starts its own processes, a cluster's nodes start torchrun", "--strategy ddp"
        )
    if processes > 1 and strategy == "single":
        raise VermeilError(
            f"{processes} processes are asked for, and the training is for one",
            f"vermeil submit ... -- {' '.join(training)} --strategy ddp",
        )


def strategy_of(training: list[str]) -> str:
    """What `--strategy` says in a command line."""
    for word, following in zip(training, [*training[1:], ""], strict=True):
        if word == "--strategy":
            return following
        if word.startswith("--strategy="):
            return word.partition("=")[2]
    return "single"


def node_command(
    training: list[str], processes: int, rendezvous: list[str], python: str = sys.executable
) -> list[str]:
    """What one node runs: torchrun with its flags for the rendezvous, or one plain process."""
    if strategy_of(training) == "single":
        return [python, "-m", "vermeil", *training]
    return [python, "-m", "torch.distributed.run", f"--nproc_per_node={processes}", *rendezvous,
            "-m", "vermeil", *training]  # fmt: skip


def package(name: str) -> Any:
    """A package of the extra `scale`, imported."""
    try:
        return import_module(name)
    except ImportError:
        raise VermeilError(f"the package {name} is not installed", "make scale") from None
