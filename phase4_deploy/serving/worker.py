"""What runs in a process that writes: models, their lanes, and a pipe to whoever asks."""

import contextlib
import os
import pickle
import signal
import threading
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING, Any

from phase4_deploy.serving.ticket import Ticket
from shared.errors import VermeilError

if TYPE_CHECKING:
    from phase4_deploy.serving.models import Options, Writes
    from shared.artifact import Artifact

READY = 0  # the number of no request
SECONDS = 120.0  # until a worker has loaded its models, and until it has written what it took


class Sent(Ticket[str]):
    """A ticket whose items go through the pipe; who waits for them is in the other process."""

    def __init__(self, number: int, send: Callable[..., None]):
        super().__init__()
        self.number, self.send = number, send

    def put(self, item: str) -> None:
        self.send(self.number, item)

    def end(self, error: BaseException | None = None) -> None:
        self._over = True
        self.send(self.number, None, self.notes, error)


def _broken(error: threading.ExceptHookArgs) -> None:
    """A lane that ends by an error would hold requests for ever: the process goes, to come anew."""
    threading.__excepthook__(error)
    os._exit(1)


def work(
    pipe: Connection, models: Sequence[tuple[type["Writes"], "Artifact"]], options: "Options"
) -> None:
    """Open models and write what is asked, until the pipe is closed or it is told to stop."""
    from phase4_deploy.serving import trimming
    from shared import hardware

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all; who was asked says when
    threading.excepthook = _broken
    hardware.set_threads(1)
    trimming.start()
    turn = threading.Lock()

    def send(number: int, item: Any, notes: Any = None, error: Any = None) -> None:
        with turn, contextlib.suppress(OSError):
            pipe.send_bytes(pickle.dumps((number, item, notes, error), pickle.HIGHEST_PROTOCOL))

    try:
        served = {}
        for kind, artifact in models:
            model = kind(artifact, options)
            served[model.name] = model.lane
            model.lane.start()
            model.warm_up()
    except VermeilError as error:
        send(READY, None, None, error)
        return
    send(READY, None)
    tickets: dict[int, Sent] = {}
    while True:
        try:
            number, name, request = pickle.loads(pipe.recv_bytes())
        except (EOFError, OSError):
            os._exit(1)  # whoever asked is gone
        if number == READY:
            break
        if name is None:
            if number in tickets:
                tickets[number].cancel()
            continue
        tickets = {n: ticket for n, ticket in tickets.items() if not ticket.ended}
        tickets[number] = Sent(number, send)
        try:
            served[name].submit(request, tickets[number])
        except VermeilError as error:
            tickets[number].end(error)
    for lane in served.values():
        lane.close(SECONDS)
