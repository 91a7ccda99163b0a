"""What was read before: keys and values of pictures and prompts, the longest unused goes first."""

from collections import Counter, OrderedDict, defaultdict
from typing import NamedTuple

from jaxtyping import Float
from torch import Tensor

from phase1_foundation.language.decode import Past

Words = tuple[int, ...]


class Read(NamedTuple):
    """What a model keeps of a picture, a prompt, or both."""

    past: Past
    logits: Float[Tensor, " v"] | None  # of what comes next; None after a picture alone

    @property
    def bytes(self) -> int:
        parts = (self.past.layers, self.logits)
        return sum(x.numel() * x.element_size() for x in parts if x is not None)


class Memory:
    """Up to `limit` bytes of what was read, by what stood before (a picture's hash) and words."""

    def __init__(self, limit: int):
        self.limit, self.held = limit, 0
        self._entries: OrderedDict[tuple[str, Words], Read] = OrderedDict()
        # How many words the entries behind each beginning have: those alone are looked for.
        self._lengths: defaultdict[str, Counter[int]] = defaultdict(Counter)

    def keep(self, before: str, words: Words, read: Read) -> None:
        """Remember it, at the cost of what was not used for longest."""
        self._drop((before, words))
        if read.bytes > self.limit:
            return
        self._entries[before, words] = read
        self._lengths[before][len(words)] += 1
        self.held += read.bytes
        while self.held > self.limit:
            self._drop(next(iter(self._entries)))

    def __contains__(self, entry: tuple[str, Words]) -> bool:
        return entry in self._entries

    def longest(self, before: str, words: Words) -> tuple[int, Read] | None:
        """How many of the words were read before, and what is left of that; None: nothing was."""
        for n in sorted(self._lengths.get(before, ()), reverse=True):
            if n <= len(words) and (before, words[:n]) in self._entries:
                self._entries.move_to_end((before, words[:n]))
                return n, self._entries[before, words[:n]]
        return None

    def _drop(self, entry: tuple[str, Words]) -> None:
        if entry in self._entries:
            self.held -= self._entries.pop(entry).bytes
            before, words = entry
            lengths = self._lengths[before]
            lengths[len(words)] -= 1
            if not lengths[len(words)]:
                del lengths[len(words)]
            if not lengths:
                del self._lengths[before]
