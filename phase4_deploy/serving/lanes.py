"""Lanes: one kind of work each, with a bounded queue and a thread of its own.

A lane's thread is the only one that touches its models. Several lanes share the machine as the
operating system lets them, so that a picture being drawn does not hold up words.
"""

import logging
import threading
from collections import deque
from collections.abc import Callable, Hashable, Sequence
from typing import Any, Generic, TypeVar

from phase4_deploy.serving.ticket import Ticket
from shared.errors import VermeilError

R = TypeVar("R")
log = logging.getLogger("vermeil.serving")


class Busy(VermeilError):
    """The queue is full, or the engine is about to stop: come back in `seconds`."""

    def __init__(self, message: str, seconds: int = 1):
        super().__init__(message, f"try again in {seconds} s")
        self.seconds = seconds


class Lost(Busy):
    """The process that worked on a request has ended; ask again."""


class Broken(Exception):
    """A lane met an error of its own; the log has it, the caller only hears that it happened."""


class Lane(threading.Thread, Generic[R]):
    """Takes requests from its queue and works on them, a step at a time."""

    def __init__(self, name: str, queue: int):
        super().__init__(name=name, daemon=True)
        self.queue = queue
        self.waiting: deque[tuple[R, Ticket]] = deque()
        self._open, self._changed = True, threading.Condition()

    # Called from other threads.

    def submit(self, request: R, ticket: Ticket | None = None) -> Ticket:
        """Queue a request, with a ticket of its own if need be; raises Busy where it is full."""
        ticket = ticket or Ticket()
        with self._changed:
            if not self._open:
                raise Busy("the server is stopping", 5)
            if len(self.waiting) >= self.queue:
                raise Busy(f"{self.queue} requests for {self.name} are waiting already")
            self.waiting.append((request, ticket))
            self._changed.notify()
        return ticket

    @property
    def depth(self) -> int:
        """Requests that wait."""
        return len(self.waiting)

    def close(self, seconds: float) -> None:
        """Take no more, finish what is there; what is not done by then is given up."""
        self.shut()
        self.join(seconds)
        for _, ticket in self.waiting:
            ticket.end(Busy("the server is stopping", 5))

    def shut(self) -> None:
        """Take no more."""
        with self._changed:
            self._open = False
            self._changed.notify()

    # The lane's own thread.

    def run(self) -> None:
        while True:
            with self._changed:
                while not self.waiting and not self.busy() and self._open:
                    self._changed.wait()
                if not self._open and not self.waiting and not self.busy():
                    return
            self.work()

    def busy(self) -> bool:
        """Whether there is work beside what waits."""
        return False

    def work(self) -> None:
        """Take what waits and do one step."""
        raise NotImplementedError

    def taken(
        self, most: int, fits: Callable[[R], bool] = lambda request: True
    ) -> list[tuple[R, Ticket]]:
        """Up to so many from the queue's head, while they fit; those who have left are let go."""
        found: list[tuple[R, Ticket]] = []
        with self._changed:
            while self.waiting and len(found) < most:
                request, ticket = self.waiting[0]
                if ticket.cancelled:
                    ticket.end()
                elif fits(request):
                    found.append((request, ticket))
                else:
                    break
                self.waiting.popleft()
        return found


class Batches(Lane[R]):
    """Requests that wait together are answered together, up to `most` that are alike.

    Nobody is made to wait for company: a batch is what came in while the last one was made.
    `answer` makes a result a request; it is given a function that tells whether all have left.
    """

    def __init__(
        self,
        name: str,
        answer: Callable[[Sequence[R], Callable[[], bool]], Sequence[Any]],
        *,
        most: int,
        queue: int,
        alike: Callable[[R], Hashable] = lambda request: None,
    ):
        super().__init__(name, queue)
        self.answer, self.most, self.alike = answer, most, alike

    def work(self) -> None:
        batch = self.taken(1)
        if not batch:
            return
        kind = self.alike(batch[0][0])
        batch += self.taken(self.most - 1, lambda request: self.alike(request) == kind)
        requests, tickets = zip(*batch, strict=True)
        try:
            answers = self.answer(requests, lambda: all(ticket.cancelled for ticket in tickets))
        except Exception as error:
            fail(tickets, error, self.name)
            return
        for ticket, answer in zip(tickets, answers, strict=True):
            ticket.put(answer)
            ticket.end()


def fail(tickets: Sequence[Ticket], error: Exception, where: str) -> None:
    """End requests with an error: a user's mistake as it is, ours without its inside."""
    if not isinstance(error, VermeilError):
        log.error("%s failed", where, exc_info=error)
        error = Broken(f"{where} failed on this request; the server's log says why")
    for ticket in tickets:
        ticket.end(error)
