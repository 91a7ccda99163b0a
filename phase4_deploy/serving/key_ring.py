"""What a running server holds of the keys, so that no request waits for the database.

The table is read anew at most every LIFE seconds: that long a new key is unknown and a revoked one
still works. While the database does not answer, the keys read last count for GRACE seconds more;
then every request is refused (503) until it does. Usage is written every few seconds and when the
server stops; what a killed process had not written is lost.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

from phase4_deploy.serving.account import Usage
from phase4_deploy.serving.keys import Bill, Key, KeyStore, match
from shared.errors import VermeilError

LIFE = 3.0  # seconds
GRACE = 60.0
PATIENCE = 5.0  # seconds that a request waits for the keys to be read
WRITE_EVERY = 5.0


class KeyRing:
    """`async with KeyRing(store) as ring:` while the server runs."""

    def __init__(
        self, store: KeyStore, *, life: float = LIFE, clock: Callable[[], float] = time.monotonic
    ):
        self.store, self.life, self.clock = store, life, clock
        self.guarded = False  # never again once there was a key: losing the file opens nothing
        self._known: dict[str, Key] = {}
        self._read_at, self._due = -float("inf"), -float("inf")
        self._reading = asyncio.Lock()
        self._bills: dict[Bill, Usage] = {}
        self._stop = asyncio.Event()
        # Threads of its own: a slow database takes none from the models.
        self._threads = ThreadPoolExecutor(2, "keys")

    async def __aenter__(self) -> "KeyRing":
        await self._read()
        self._writing = asyncio.create_task(self._write())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._stop.set()
        await self._writing
        await self.flush()
        self._threads.shutdown(wait=False)
        self.store.close()

    async def find(self, key: str) -> Key | None:
        """The key with that secret, maybe a revoked one. VermeilError: the database is away."""
        return match(key, await self._current())

    async def open(self) -> bool:
        """Whether there never was a key, so that whoever asks is answered."""
        return not self.guarded and not await self._current()

    def used(self, key: Key, endpoint: str, usage: Usage) -> None:
        """Put an amount on a key's bill of today."""
        bill = (key.id, datetime.now(UTC).date(), endpoint)
        self._bills[bill] = self._bills.get(bill, Usage()) + usage

    async def flush(self) -> None:
        """Write what was used; what cannot be written now is kept for the next time."""
        bills, self._bills = self._bills, {}
        if not bills:
            return
        try:
            await self._call(self.store.record, bills)
        except VermeilError as error:
            logging.getLogger("vermeil").warning("usage is kept until it can be written: %s", error)
            for bill, usage in bills.items():
                self._bills[bill] = self._bills.get(bill, Usage()) + usage

    async def _current(self) -> dict[str, Key]:
        if self.clock() >= self._due:
            async with self._reading:
                if self.clock() >= self._due:  # else another request has just read them
                    await self._read()
        if self.clock() - self._read_at > GRACE:
            raise VermeilError("the keys' database does not answer", "ask again in a few seconds")
        return self._known

    async def _read(self) -> None:
        try:
            async with asyncio.timeout(PATIENCE):
                keys = await self._call(self.store.all)
        except (VermeilError, TimeoutError) as error:
            logging.getLogger("vermeil").warning("keys cannot be read: %s", error)
        else:
            self._known = {key.prefix: key for key in keys}
            self.guarded = self.guarded or bool(keys)
            self._read_at = self.clock()
        self._due = self.clock() + self.life

    async def _write(self) -> None:
        """Until the end: it is told to stop, not cancelled, so that no bill is written twice."""
        while not self._stop.is_set():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stop.wait(), WRITE_EVERY)
            await self.flush()

    async def _call(self, function: Callable[..., Any], *arguments: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._threads, function, *arguments)
