"""What was read before: keys and values of pictures and prompts, the longest unused goes first."""

import threading
from collections import OrderedDict
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

Words = tuple[int, ...]


@dataclass(frozen=True)
class Read:
    """What a model keeps of a picture, a prompt, or both."""

    keys: Float[Tensor, "l h s d"]
    values: Float[Tensor, "l h s d"]
    logits: Float[Tensor, " v"] | None  # of what comes next; None after a picture alone

    @property
    def bytes(self) -> int:
        parts = (self.keys, self.values, self.logits)
        return sum(x.numel() * x.element_size() for x in parts if x is not None)


class Memory:
    """Up to `limit` bytes of what was read, by what stood before (a picture's hash) and words."""

    def __init__(self, limit: int):
        self.limit, self.held = limit, 0
        self._entries: OrderedDict[tuple[str, Words], Read] = OrderedDict()
        self._turn = threading.Lock()  # lanes share it

    def keep(self, before: str, words: Words, read: Read) -> None:
        """Remember it, at the cost of what was not used for longest."""
        with self._turn:
            self._drop((before, words))
            if read.bytes > self.limit:
                return
            self._entries[before, words] = read
            self.held += read.bytes
            while self.held > self.limit:
                self._drop(next(iter(self._entries)))

    def __contains__(self, entry: tuple[str, Words]) -> bool:
        return entry in self._entries

    def longest(self, before: str, words: Words) -> tuple[int, Read] | None:
        """How many of the words were read before, and what is left of that; None: nothing was."""
        with self._turn:
            lengths = {len(w) for b, w in self._entries if b == before and len(w) <= len(words)}
            for n in sorted(lengths, reverse=True):
                if (before, words[:n]) in self._entries:
                    self._entries.move_to_end((before, words[:n]))
                    return n, self._entries[before, words[:n]]
            return None

    def _drop(self, entry: tuple[str, Words]) -> None:
        if entry in self._entries:
            self.held -= self._entries.pop(entry).bytes
