"""Runs of a few milliseconds for tests that start real processes: `line.py JOB FOLDER ...`."""

import contextlib
import math
import os
import resource
import signal
import sys
from pathlib import Path

import torch
from torch import nn

from phase3_scaling.distributed.launch import take_engine
from shared.errors import Stopped, VermeilError
from shared.nn import Attention, Block, SwiGLU
from shared.objective import Objective
from shared.train_config import TrainConfig
from shared.training import fit

RANK = int(os.environ.get("RANK", 0))
CONFIG = {
    "steps": 40, "batch_size": 8, "accumulate": 2, "learning_rate": 0.01, "warmup": 2, "clip": 0.5,
    "ema": 0.9, "validate_every": 5, "checkpoint_every": 40, "sample_every": 5,
    "precision": "fp32", "threads": 1, "trackers": (),
}  # fmt: skip


class Net(nn.Module):
    """With what is hard to divide: a block, a number, first dimensions of one, three and five."""

    def __init__(self):
        super().__init__()
        self.gain, self.start = nn.Parameter(torch.tensor(1.0)), nn.Parameter(torch.zeros(1, 3))
        self.block = Block(nn.RMSNorm(3), Attention(3, 1), nn.RMSNorm(3), SwiGLU(3, 5))
        self.head = nn.Linear(3, 1)

    def forward(self, x):
        return self.gain * self.head(self.block((x + self.start)[:, None])[:, 0])


class Line(Objective):
    """Fits y = 2x, x with noise."""

    def loss(self, batch):
        x, y = batch
        noise = self.draws.normal(torch.empty_like(x))
        return (self.model(x + 0.01 * noise) - y).square().mean()


class Points:
    def rows(self, step, rows):
        x = torch.randn(8, 3, generator=torch.Generator().manual_seed(step))[rows]
        return x, 2 * x.sum(dim=1, keepdim=True)


def train(folder: Path, strategy: str, *, sample=None, data=None, **changes) -> nn.Module:
    """The model after a fit with that engine, in the processes that there are."""
    torch.manual_seed(0)
    objective = Line(Net(), TrainConfig(**(CONFIG | changes)))
    made = (lambda _: sample(objective.model)) if sample else None
    fit(
        objective, data or Points(), [Points().rows(999, slice(None))], folder=folder, name="line",
        unit="points", amount_per_step=8, sample=made, quiet=True,
        engine=take_engine(["--strategy", strategy], command=[])[0],
    )  # fmt: skip
    return objective.model


def chain(folder: str, *strategies: str) -> None:
    """Five steps with each engine: the first process is told to stop, and all do."""

    def stop(model: nn.Module) -> dict:
        for value in model.state_dict().values():
            assert type(value) is torch.Tensor
            assert value.untyped_storage().nbytes() == value.nbytes, "a file would hold more"
        os.kill(os.getpid(), signal.SIGTERM)
        return {}

    for strategy in strategies:
        with contextlib.suppress(Stopped):
            train(Path(folder), strategy, sample=stop)
            raise AssertionError(f"{strategy} did not stop")


def faults(folder: str) -> None:
    """What each process says; the last fault ends the first process."""

    class Uneven:
        """A process's own data, of which the second has less."""

        def rows(self, step, rows):
            return Points().rows(step % (7 - 4 * RANK), rows)

    class Broken(Points):
        def rows(self, step, rows):
            x, y = super().rows(step, rows)
            return x, y * (math.nan if (step, RANK) == (5, 1) else 1)

    def said(name: str, **options) -> None:
        text = "done"
        try:
            train(Path(folder) / name, "ddp", steps=12, **options)
        except SystemExit:
            pass
        except VermeilError as error:
            text = str(error)
        (Path(folder) / f"{name}-{RANK}.txt").write_text(text)

    said("uneven", data=Uneven())
    said("nan", data=Broken())
    if RANK == 0:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, resource.RLIM_INFINITY))
    said("disk", checkpoint_every=4)
    raise SystemExit(2)


def port(folder: str) -> None:
    """One process of one, at a port that somebody else has."""
    train(Path(folder), "ddp")


if __name__ == "__main__":
    {"chain": chain, "faults": faults, "port": port}[sys.argv[1]](*sys.argv[2:])
