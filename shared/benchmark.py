"""Timing side by side: candidates take turns, so that a noisy machine is unfair to none."""

import os
import time
from collections.abc import Callable, Mapping
from statistics import median

from shared.hardware import cores, matrix_speed

SHAPES = ((1024, 1024, 1024), (2048, 2048, 2048), (4096, 256, 1024), (4096, 1024, 256),
          (4096, 704, 256), (2048, 512, 2048))  # fmt: skip


def interleaved(
    candidates: Mapping[str, Callable[[], float | None]], rounds: int, warmup: int = 1
) -> dict[str, float]:
    """Median seconds of each candidate over `rounds` in which every one runs once.

    A candidate may return its own seconds, to leave out its preparation.
    """
    seconds: dict[str, list[float]] = {name: [] for name in candidates}
    for turn in range(warmup + rounds):
        for name, run in candidates.items():
            start = time.perf_counter()
            own = run()
            if turn >= warmup:
                seconds[name].append(time.perf_counter() - start if own is None else own)
    return {name: median(times) for name, times in seconds.items()}


def conditions() -> str:
    """What else decides a timing: threads, cores and load."""
    import torch

    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    return f"{torch.get_num_threads()} threads, {cores()} cores, load {load}"


def matrix_peak(dtype, device: str = "cpu") -> float:
    """The best GFLOP/s of matrix products that this machine shows, over several shapes."""
    return max(matrix_speed(dtype, device, shape) for shape in SHAPES)
