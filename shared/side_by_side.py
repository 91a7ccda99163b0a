"""Steps of the walk in processes of their own, several beside each other, each with its cores.

A small model leaves a second core idle for a quarter of the time: Python speaks, a compressor
packs, pictures are drawn for the next batch. Another step can use it (docs/log.md has the times).
"""

import contextlib
import io
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from itertools import pairwise
from multiprocessing.connection import Connection, wait
from pathlib import Path
from shutil import get_terminal_size
from typing import Any

from shared.config import Choice
from shared.errors import Stopped, VermeilError
from shared.home import home
from shared.step import Step

PRELOADED = ["shared.training"]  # once, in the process that all others are forked from
PATIENCE = 60.0  # seconds for steps to save what they have, once they were asked to stop
SLOWER = 1.6  # a step takes that much longer on one core than on two


def can_share() -> bool:
    """Whether steps can be given cores of their own, and gain by it: a GPU takes one at a time."""
    from shared import hardware

    return hasattr(os, "sched_setaffinity") and hardware.device_name() == "cpu"


def urgency(steps: Sequence[Step], seconds: Mapping[str, float]) -> dict[str, float]:
    """How long the longest chain of steps takes that begins with each."""
    found: dict[str, float] = {}
    for step in reversed(steps):
        after = [found[other.name] for other in steps if step.name in other.needs]
        found[step.name] = seconds[step.name] + max(after, default=0.0)
    return found


@dataclass
class Lanes:
    """Which steps can begin now, and on which cores. `jobs` is the most at a time.

    A step waits for those it needs; one that is `alone` has the machine for itself.
    """

    steps: Sequence[Step]
    seconds: Mapping[str, float]
    jobs: int
    cores: Sequence[int]
    made: set[str] = field(default_factory=set)
    running: dict[str, tuple[int, ...]] = field(default_factory=dict)

    def begin(self) -> list[tuple[Step, tuple[int, ...]]]:
        """The steps to begin with, each with its cores; what the others wait for longest, first."""
        chain = urgency(self.steps, self.seconds)
        ready = sorted(filter(self.ready, self.steps), key=lambda step: -chain[step.name])
        together = [step for step in ready if not step.alone]
        if not self.running and ready and (ready[0].alone or len(together) < 2):
            chosen = [(ready[0], tuple(self.cores))]
        else:
            taken = {core for cores in self.running.values() for core in cores}
            free = [share for share in self._shares() if not taken & {*share}]
            chosen = [*zip(together, free, strict=False)]
        self.running |= {step.name: cores for step, cores in chosen}
        return chosen

    def end(self, name: str) -> None:
        """A step is made, or was before."""
        self.running.pop(name, None)
        self.made.add(name)

    def ready(self, step: Step) -> bool:
        """Whether it could begin now."""
        known = {other.name for other in self.steps}
        missing = ({*step.needs} & known) - self.made
        return not missing and step.name not in self.made and step.name not in self.running

    def _shares(self) -> list[tuple[int, ...]]:
        n, jobs = len(self.cores), self.jobs
        ends = [nth * n // jobs for nth in range(jobs + 1)]
        return [tuple(self.cores[first:end]) for first, end in pairwise(ends)]


class Wire(io.TextIOBase):
    """What a step prints, sent to the walk a line at a time; its threads may all print."""

    encoding = "utf-8"

    def __init__(self, pipe: Connection, live: bool):
        self.pipe, self.live, self.held = pipe, live, ""
        self.turn = threading.RLock()

    def isatty(self) -> bool:
        return self.live

    def writable(self) -> bool:
        return True

    def write(self, text: str) -> int:
        with self.turn:
            self.held += text
            *lines, self.held = self.held.split("\n")
            for line in lines:
                self.pipe.send(("said", line))
        return len(text)

    def flush(self) -> None:
        with self.turn:
            if self.held:
                self.pipe.send(("said", self.held))
            self.held = ""

    def end(self, kind: str, what: Any) -> None:
        """The last word."""
        with self.turn:
            self.flush()
            self.pipe.send((kind, what))


def work(
    pipe: Connection, module: str, choice: Choice, cores: Sequence[int], place: Path, live: bool
) -> None:
    """Make a step's artifact on these cores; says by the pipe where it lies, or what was wrong."""
    from threadpoolctl import threadpool_limits

    from shared import hardware

    def asked(number: int, _: Any) -> None:
        for each in (signal.SIGINT, signal.SIGTERM):  # what cleans up is not interrupted again
            signal.signal(each, signal.SIG_IGN)
        raise KeyboardInterrupt

    sys.stdout = sys.stderr = wire = Wire(pipe, live)
    try:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, asked)
        os.sched_setaffinity(0, cores)
        os.environ["VERMEIL_HOME"] = str(place)
        hardware.set_threads(0)
        with threadpool_limits(len(cores)):  # numpy's products
            end = "made", import_module(module).STEP.train(choice).folder
    except (VermeilError, ModuleNotFoundError) as error:
        end = "failed", error
    except KeyboardInterrupt:
        message = f"{module.rpartition('.train_')[2]} stopped; what was saved stays"
        end = "failed", Stopped(message, "", signal.SIGINT)
    wire.end(*end)


class Board:
    """What steps say: on a terminal how far each is, in one line; in a log line by line."""

    def __init__(self):
        self.live = sys.stderr.isatty()
        self.far: dict[str, str] = {}

    def say(self, name: str, line: str) -> None:
        """Show a line of a step; one that rewrites itself says how far it is."""
        if line.startswith("\r"):
            self.far[name] = line.removeprefix("\r\x1b[K")
            self._draw()
        elif line.strip():
            self.keep(line if line.startswith(name) else f"{name}: {line}", to=sys.stderr)

    def keep(self, line: str, to: Any = None) -> None:
        """A line that stays."""
        if self.live:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)
        print(line, file=to or sys.stdout, flush=True)
        self._draw()

    def end(self, name: str) -> None:
        """A step says no more."""
        if self.far.pop(name, None) and self.live:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)
            self._draw()

    def _draw(self) -> None:
        if self.live and self.far:
            together = " | ".join(self.far.values())[: get_terminal_size().columns - 1]
            print(f"\r\x1b[K{together}", end="", file=sys.stderr, flush=True)


class Family:
    """The processes of the steps that run."""

    def __init__(self, board: Board):
        self.board = board
        self.context = multiprocessing.get_context("forkserver")
        self.context.set_forkserver_preload(PRELOADED)
        self.members: dict[Connection, tuple[Step, Any]] = {}
        self.signal = 0  # that came; looked at where nothing is half done

    def begin(self, step: Step, choice: Choice, cores: Sequence[int]) -> None:
        """Start a step."""
        ours, theirs = self.context.Pipe(duplex=False)
        given = (theirs, step.main.__module__, choice, cores, home(), self.board.live)
        process = self.context.Process(target=work, args=given, name=step.name)
        process.start()
        theirs.close()
        self.members[ours] = step, process

    def listen(self) -> Iterator[tuple[Step, Path]]:
        """Wait a little for what steps say; those that are made. VermeilError where one is not.

        Stopped, once, after Ctrl-C or SIGTERM.
        """
        for pipe, (step, process) in self._ready():
            kind, what = "lost", None
            with contextlib.suppress(EOFError, OSError):
                if pipe.poll():
                    kind, what = pipe.recv()
            if kind == "said":
                self.board.say(step.name, str(what))
                continue
            process.join()
            self.board.end(step.name)
            del self.members[pipe]
            if kind == "made":
                yield step, what  # type: ignore[misc]
            elif isinstance(what, Stopped) and self.signal:  # by the same Ctrl-C as the walk
                self.board.keep(what.message, to=sys.stderr)
            elif kind == "failed":
                raise what  # type: ignore[misc]
            else:
                raise VermeilError(
                    f"the process of {step.name} ended without a word (exit code "
                    f"{process.exitcode}; -9 is what a machine short of memory sends)",
                    f"its last lines are above; the same command goes on; vermeil run --jobs 1 "
                    f"takes less memory, vermeil train {step.name} shows it alone",
                )
        if self.signal:
            number, self.signal = self.signal, 0
            raise Stopped("the walk was stopped", "the same command goes on", number)

    def _ready(self) -> list[tuple[Connection, tuple[Step, Any]]]:
        """Who has said something, or has ended: a child of its own may still hold the pipe."""
        ends = {process.sentinel: pipe for pipe, (_, process) in self.members.items()}
        heard = wait([*self.members, *ends], timeout=0.5) if self.members else ()
        pipes: dict[Any, None] = {ends.get(each, each): None for each in heard}
        return [(pipe, self.members[pipe]) for pipe in pipes]

    def stop(self) -> None:
        """Ask all to save and end, and wait until they have."""
        for _, process in self.members.values():
            process.terminate()
        patience = time.monotonic() + PATIENCE
        while self.members:
            if time.monotonic() > patience:
                for _, process in self.members.values():
                    process.kill()
            # One that measured had nothing to save; a terminal that is gone cannot be told.
            with contextlib.suppress(VermeilError, ModuleNotFoundError, OSError):
                try:
                    for _ in self.listen():
                        pass
                except Stopped as stopped:
                    self.board.keep(stopped.message, to=sys.stderr)


@contextlib.contextmanager
def family(board: Board) -> Iterator[Family]:
    """Processes that end with the walk; where it is stopped, they save what they have."""
    own = Family(board)

    def note(number: int, _: Any) -> None:
        own.signal = number

    before = {number: signal.signal(number, note) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield own
    except BaseException:
        own.stop()
        raise
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
