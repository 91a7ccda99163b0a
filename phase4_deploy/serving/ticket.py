"""A request on its way: a lane's thread makes items of it, whoever asked reads them, or leaves."""

import asyncio
import threading
from collections import deque
from collections.abc import AsyncIterator, Iterator
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class Ticket(Generic[T]):
    """Items that come one by one, read by `for`, by `async for`, or as the last of them.

    It belongs to the event loop that runs where it is made, or, where none runs, to a thread that
    waits. `notes` is what the lane says of the answer as a whole, complete at its end.
    """

    def __init__(self):
        self.cancelled = False
        self.notes: dict[str, Any] = {}
        self._items: deque[T] = deque()
        self._over, self._error = False, None
        self._told = False  # the loop is already going to look
        try:
            self._loop: asyncio.AbstractEventLoop | None = asyncio.get_running_loop()
            self._news: Any = asyncio.Event()
        except RuntimeError:
            self._loop, self._news = None, threading.Event()

    # The lane's side.

    def put(self, item: T) -> None:
        """Hand over an item."""
        self._items.append(item)
        self._tell()

    def end(self, error: BaseException | None = None) -> None:
        """Nothing more comes; an error is raised where the items are read."""
        self._error, self._over = error, True
        self._tell()

    def _tell(self) -> None:
        if self._loop is None:
            self._news.set()
        elif not self._told:
            self._told = True
            try:
                self._loop.call_soon_threadsafe(self._news.set)
            except RuntimeError:  # the loop is closed: nobody reads any more
                self.cancelled = True

    # The side of who asked.

    @property
    def ended(self) -> bool:
        """Whether nothing more comes."""
        return self._over

    def cancel(self) -> None:
        """Nobody reads any more; the lane stops working on it at its next step."""
        self.cancelled = True

    def __iter__(self) -> Iterator[T]:
        while True:
            self._news.wait()
            self._news.clear()
            over = self._over  # before the items: none comes after it
            while self._items:
                yield self._items.popleft()
            if over:
                break
        self._raise()

    async def __aiter__(self) -> AsyncIterator[T]:
        while True:
            await self._news.wait()
            self._news.clear()
            self._told = False
            over = self._over
            while self._items:
                yield self._items.popleft()
            if over:
                break
        self._raise()

    async def over(self) -> None:
        """Wait for the end and leave the items where they are; raises what went wrong."""
        while not self._over:
            await self._news.wait()
            self._news.clear()
            self._told = False
        self._news.set()
        self._raise()

    def items(self) -> list[T]:
        """What has come so far and was not read."""
        return list(self._items)

    def result(self) -> T:
        """The last item, waited for."""
        *_, last = self
        return last

    async def answer(self) -> T:
        """The last item, awaited; who stops waiting cancels the work."""
        try:
            return [item async for item in self][-1]
        finally:
            self.cancel()

    def _raise(self) -> None:
        if self._error is not None:
            raise self._error
