"""What a training step spends its time on, operator by operator, from torch.profiler."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch.profiler import ProfilerActivity, profile, schedule

WARMUP, ACTIVE = 3, 4  # steps


class Trace:
    """A profile of a few training steps: a file to open in a trace viewer, and a table."""

    def __init__(self, path: Path):
        self.path = path
        activities = [ProfilerActivity.CPU]
        if torch.cuda.is_available():
            activities.append(ProfilerActivity.CUDA)
        self.profile = profile(
            activities=activities,
            schedule=schedule(wait=1, warmup=WARMUP - 1, active=ACTIVE, repeat=1),
            on_trace_ready=self._write,
        )

    @contextmanager
    def running(self) -> Iterator[None]:
        """Records inside the `with`; `step` is to be called after each training step."""
        with self.profile:
            yield

    def step(self) -> None:
        self.profile.step()

    def _write(self, recorded: profile) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        recorded.export_chrome_trace(str(self.path))

    def operators(self, most: int = 15) -> list[tuple[str, float, float]]:
        """(name, milliseconds a step, calls a step) of the operators' own time, most first."""
        cuda = torch.cuda.is_available()
        rows = [
            (
                event.key,
                (event.self_device_time_total if cuda else event.self_cpu_time_total)
                / 1000
                / ACTIVE,
                event.count / ACTIVE,
            )
            for event in self.profile.key_averages()
            if not event.key.startswith("ProfilerStep")
        ]
        return sorted(rows, key=lambda row: -row[1])[:most]
