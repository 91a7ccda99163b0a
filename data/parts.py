"""A stream of documents cut into parts, and parts worked on by several processes."""

import os
import signal
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from itertools import chain, islice
from multiprocessing import get_context, parent_process
from threading import Thread
from typing import Self, TypeVar

from data.text import Document
from shared.errors import VermeilError

Item = TypeVar("Item")
Result = TypeVar("Result")


def cut(documents: Iterable[Document], characters: int) -> Iterator[list[Document]]:
    """Whole documents in a row, at least `characters` of them together, the last part fewer.

    The cuts depend on the documents alone: not on processes, machines or an earlier run.
    """
    part: list[Document] = []
    length = 0
    for document in documents:
        part.append(document)
        length += len(document.text)
        if length >= characters:
            yield part
            part, length = [], 0
    if part:
        yield part


class Workers:
    """Processes that work on items; started when there is a second item, ended with the block."""

    def __init__(self, processes: int):
        self.processes = processes
        self._pool: ProcessPoolExecutor | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)

    def each(self, work: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
        """The results of `work` in the order of the items, a few items in memory at a time.

        `work`, items and results have to be picklable. A single item, or all with one process, are
        worked on here. Raises what `work` raises, and VermeilError when the system kills a worker.
        """
        items = iter(items)
        first = list(islice(items, 2))
        items = chain(first, items)
        if self.processes == 1 or len(first) < 2:
            yield from map(work, items)
            return
        if self._pool is None:
            # Forking would copy threads that torch and SentencePiece hold, and their locks.
            spawn = get_context("spawn")
            self._pool = ProcessPoolExecutor(self.processes, spawn, _follow_the_parent)
        waiting: deque[Future[Result]] = deque()
        try:
            for item in items:
                waiting.append(self._pool.submit(work, item))
                if len(waiting) > self.processes:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        except BrokenProcessPool:
            raise VermeilError(
                "the system killed a worker process, most likely for its memory",
                "run it again with fewer processes; what was finished stays",
            ) from None


def _follow_the_parent() -> None:
    """A worker leaves Ctrl-C to its parent, and does not outlive a parent that was killed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    def watch() -> None:
        parent = parent_process()
        if parent is not None:
            parent.join()
            os._exit(1)

    Thread(target=watch, daemon=True).start()
