"""Processes that write words, beside the one that speaks HTTP.

Python lets one thread at a time speak to torch, so a second core that writes wants a process of its
own. Each worker has all models that write and a lane for each; a request goes to the worker that
has least to do, by a pipe, and what is written comes back by it. A worker that dies loses what it
was writing, says so to whoever waits for it, and is started anew.
"""

import contextlib
import itertools
import multiprocessing
import pickle
import threading
import time
import zlib
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from phase4_deploy.serving.continuous import Writing
from phase4_deploy.serving.lanes import Busy, Lost
from phase4_deploy.serving.ticket import Ticket
from phase4_deploy.serving.worker import READY, SECONDS, work
from shared.errors import VermeilError

if TYPE_CHECKING:
    from phase4_deploy.serving.models import Options, Writes
    from shared.artifact import Artifact

# What the process from which workers are forked imports once for all of them.
LOADED = [
    "phase2_multimodal.vision_language.model", "phase3_scaling.compression.fp16_product",
    "phase3_scaling.compression.int8_product", "phase4_deploy.audio.log_mel",
    "phase4_deploy.serving.talker", "phase4_deploy.unified.model",
]  # fmt: skip


class Handed(Ticket[str]):
    """A ticket that another process works on; `leave` tells it that nobody reads any more."""

    def __init__(self, leave: Callable[[], object]):
        super().__init__()
        self._leave = leave

    def cancel(self) -> None:
        if not (self.cancelled or self.ended):
            self._leave()
        super().cancel()


class Worker:
    """One process, seen from here: what it was asked and has not answered."""

    def __init__(self, name: str, given: tuple[Any, ...]):
        self.name, self._given = name, given
        self.pending: dict[int, tuple[str, Ticket]] = {}
        self.ready, self.error = threading.Event(), None
        self._numbers, self._turn, self._open = itertools.count(READY + 1), threading.Lock(), True
        self._start()

    def _start(self) -> None:
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(LOADED)
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(target=work, args=(theirs, *self._given), name=self.name)
        self.process.daemon = True  # ends with this one, whatever comes
        self.process.start()
        theirs.close()
        threading.Thread(target=self._listen, name=self.name, daemon=True).start()

    def ask(self, model: str, request: Writing) -> Ticket[str]:
        """Send a request; raises Lost where the process is gone."""
        number = next(self._numbers)
        ticket = Handed(lambda: self._send((number, None, None)))
        self.pending[number] = model, ticket
        if not self._send((number, model, request)):
            self.pending.pop(number, None)
            raise Lost(f"{self.name} has ended and is being started again")
        return ticket

    def close(self) -> None:
        """Take no more, finish what is there."""
        self._open = False
        self._send((READY, None, None))

    def _send(self, message: tuple[int, str | None, Writing | None]) -> bool:
        with self._turn, contextlib.suppress(OSError):
            self.pipe.send_bytes(pickle.dumps(message, pickle.HIGHEST_PROTOCOL))
            return True
        return False

    def _listen(self) -> None:
        """Take in what the process writes, until it ends; then see to what it leaves."""
        with contextlib.suppress(EOFError, OSError):
            while True:
                self._heard(*pickle.loads(self.pipe.recv_bytes()))
        again = self._open and self.ready.is_set()  # else it never began, and never would
        self.ready.clear()
        self.process.join()
        for number in list(self.pending):
            if found := self.pending.pop(number, None):
                found[1].end(Lost(f"{self.name} ended while it wrote this"))
        if again:
            self._start()
        else:
            self._open = False
            self.ready.set()

    def _heard(self, number: int, item: Any, notes: dict[str, Any] | None, error: Any) -> None:
        if number == READY:
            self.error, self._open = error, self._open and error is None
            self.ready.set()
        elif number in self.pending:
            ticket = self.pending[number][1]
            if notes is None:
                ticket.put(item)
            else:
                ticket.notes |= notes
                ticket.end(error)
                del self.pending[number]

    @property
    def alive(self) -> bool:
        """Whether it takes requests, or will when it has started again."""
        return self._open


class Crew:
    """Workers, and a lane of each model in which any of them writes."""

    def __init__(self, models: Sequence[tuple[type["Writes"], "Artifact"]], options: "Options"):
        number = options.processes
        self.rows, self.queue = -(-options.rows // number), -(-options.queue // number)
        own = replace(
            options, processes=0, rows=self.rows, queue=self.rows + self.queue,
            memory_mb=options.memory_mb // number,
        )  # fmt: skip
        self.workers = [Worker(f"writer-{n}", (models, own)) for n in range(1, number + 1)]

    def wait(self) -> None:
        """Until all have loaded their models; raises what went wrong with one."""
        for worker in self.workers:
            if not worker.ready.wait(SECONDS):
                raise VermeilError(f"{worker.name} was not ready after {SECONDS:g} s")
            if error := worker.error or (not worker.alive and Lost(f"{worker.name} has ended")):
                raise error

    def lane(self, model: str) -> "CrewLane":
        return CrewLane(model, self)

    def close(self, seconds: float) -> None:
        """Take no more, finish what is there; what is not done by then is given up."""
        until = time.monotonic() + seconds
        for worker in self.workers:
            worker.close()
        for worker in self.workers:
            worker.process.join(max(0.0, until - time.monotonic()))
            worker.process.kill()


class CrewLane:
    """What a `TextLane` is to the engine, in the processes of a crew."""

    def __init__(self, name: str, crew: Crew):
        self.name, self.crew = name, crew
        self._open = True

    def submit(self, request: Writing) -> Ticket[str]:
        """Queue a request; raises Busy where even the shortest queue is full."""
        if not self._open:
            raise Busy("the server is stopping", 5)
        alive = [worker for worker in self.crew.workers if worker.ready.is_set() and worker.alive]
        if not alive:
            raise Lost(f"the processes that write for {self.name} are being started")
        # Who may have looked at the same picture before has an answer or two ahead of the others.
        known = alive[zlib.crc32(request.name.encode()) % len(alive)] if request.name else None
        worker = min(alive, key=lambda worker: len(worker.pending) - 2 * (worker is known))
        if self._asked(worker) >= self.crew.rows + self.crew.queue:
            raise Busy(f"{self.crew.queue} requests for {self.name} are waiting already")
        return worker.ask(self.name, request)

    def _asked(self, worker: Worker) -> int:
        return Counter(name for name, _ in list(worker.pending.values()))[self.name]

    @property
    def writing(self) -> int:
        """Answers that are being written."""
        return sum(min(self._asked(worker), self.crew.rows) for worker in self.crew.workers)

    @property
    def depth(self) -> int:
        """Requests that wait."""
        return sum(max(self._asked(w) - self.crew.rows, 0) for w in self.crew.workers)

    def start(self) -> None:
        """Nothing: its workers were started with the crew."""

    def is_alive(self) -> bool:
        """Whether somebody writes now, and nobody has gone for good."""
        workers = self.crew.workers
        return all(w.alive for w in workers) and any(w.ready.is_set() for w in workers)

    def busy(self) -> bool:
        return self.writing > 0

    def close(self, seconds: float) -> None:
        """As `Lane.close`, for all lanes of the crew."""
        self._open = False
        self.crew.close(seconds)
