"""Timing side by side: candidates take turns, so that a noisy machine is unfair to none."""

import os
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any, NamedTuple

from shared.errors import VermeilError
from shared.hardware import cores, matrix_speed

if TYPE_CHECKING:  # they bring torch, which a benchmark of tokenizers has no need of
    from shared.objective import Objective
    from shared.training import Batches

SHAPES = ((1024, 1024, 1024), (2048, 2048, 2048), (4096, 256, 1024), (4096, 1024, 256),
          (4096, 704, 256), (2048, 512, 2048))  # fmt: skip


def interleaved(
    candidates: Mapping[str, Callable[[], float | None]], rounds: int, warmup: int = 1
) -> dict[str, float]:
    """Median seconds of each candidate over `rounds` in which every one runs once."""
    return {name: median(times) for name, times in turns(candidates, rounds, warmup).items()}


def turns(
    candidates: Mapping[str, Callable[[], float | None]], rounds: int, warmup: int = 1
) -> dict[str, list[float]]:
    """Seconds of each candidate in every round.

    A candidate may return its own seconds, to leave out its preparation.
    """
    seconds: dict[str, list[float]] = {name: [] for name in candidates}
    for turn in range(warmup + rounds):
        for name, run in candidates.items():
            start = time.perf_counter()
            own = run()
            if turn >= warmup:
                seconds[name].append(time.perf_counter() - start if own is None else own)
    return seconds


def peer_package(name: str) -> Any:
    """A package to compare with, imported; VermeilError where it is not installed."""
    try:
        return import_module(name)
    except ImportError:
        raise VermeilError(
            f"the comparison takes the package {name}, which is not installed",
            'pip install -c constraints.txt -e ".[dev]"',
        ) from None


class FitTimes(NamedTuple):
    """Seconds of a training step, and those of them in which its batch is made."""

    step: float
    batch: float


def time_fit(objective: "Objective", train: "Batches", *, unit: str, amount: int) -> FitTimes:
    """Train with the whole `fit` in a folder of its own and time the steps.

    The first two steps, which warm up, and the last, with its checkpoint, are left out. `unit` and
    `amount` are fit's. Batches are to be made in line (`workers` 0), otherwise their time is 0.
    """
    from shared.training import fit

    starts: list[float] = []
    stream = _TimedBatches(train)

    def mark(*_: Any) -> None:
        starts.append(now())

    objective.on_train_batch_start = mark  # type: ignore[method-assign]
    with tempfile.TemporaryDirectory() as folder:
        fit(objective, stream, [], folder=Path(folder), name="bench", unit=unit,
            amount_per_step=amount, quiet=True)  # fmt: skip
    return FitTimes(seconds_a_step(starts), median(stream.seconds or [0.0]))


class _TimedBatches:
    """A data stream that notes how long each batch took to make."""

    def __init__(self, train: "Batches"):
        self.train = train
        self.seconds: list[float] = []

    def rows(self, step: int, rows: slice) -> Any:
        start = time.perf_counter()
        batch = self.train.rows(step, rows)
        self.seconds.append(time.perf_counter() - start)
        return batch


def seconds_a_step(starts: Sequence[float]) -> float:
    """From when steps began; the first two are left out, of three the first, and the last."""
    first = min(2, len(starts) - 2)
    return (starts[-1] - starts[first]) / (len(starts) - 1 - first)


def now() -> float:
    """The clock in seconds, once a GPU has done what it was asked for."""
    import torch

    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter()


def heading(peer: str) -> str:
    """The head of a table of `beside` lines."""
    return f"{'':<38}{'ours':>12}{peer:>14}{'ratio':>7}"


def beside(name: str, ours: float, peer: float, digits: int = 0) -> str:
    """One line of a table: what is ours, the peer's, and their ratio."""
    return f"{name:<38}{ours:>12,.{digits}f}{peer:>14,.{digits}f}{ours / peer:>7.2f}"


def conditions() -> str:
    """What else decides a timing: threads, cores and load."""
    import torch

    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    return f"{torch.get_num_threads()} threads, {cores()} cores, load {load}"


def matrix_peak(dtype, device: str = "cpu") -> float:
    """The best GFLOP/s of matrix products that this machine shows, over several shapes."""
    return max(matrix_speed(dtype, device, shape) for shape in SHAPES)
