"""Random numbers for the rows of a batch.

In training a row's numbers depend on the seed, the step and its place in the whole batch alone: so
processes and accumulation divide a batch without changing what it draws.
"""

from torch import Generator, Tensor


class Draws:
    """What torch's own generator gives next: for evaluation, which seeds it."""

    def normal(self, out: Tensor) -> Tensor:
        """Fill (B, ...) with standard normal numbers; returns it."""
        return out.normal_()

    def uniform(self, out: Tensor) -> Tensor:
        """Fill (B, ...) with numbers from [0, 1); returns it."""
        return out.uniform_()


class RowDraws(Draws):
    """One generator a row, seeded anew at every step and going on within it."""

    def __init__(self, seed: int):
        self.seed, self.step, self.first = seed, 0, 0
        self.generators: list[Generator] = []
        self.seeded = 0  # of the generators, for the rows from `first` on

    def begin(self, step: int, first: int) -> None:
        """From now on rows are those of that step's batch from row `first` on."""
        self.step, self.first, self.seeded = step, first, 0

    def normal(self, out: Tensor) -> Tensor:
        for row, generator in self._rows(out):
            row.normal_(generator=generator)
        return out

    def uniform(self, out: Tensor) -> Tensor:
        for row, generator in self._rows(out):
            row.uniform_(generator=generator)
        return out

    def _rows(self, out: Tensor) -> zip:
        """Each row as a flat view in the order of memory, with its generator."""
        size = out.numel() // len(out)
        while len(self.generators) < len(out):
            self.generators.append(Generator(out.device))
        for row in range(self.seeded, len(out)):
            self.generators[row].manual_seed(self._key(row))
        self.seeded = max(self.seeded, len(out))
        # Also of pictures with channels last: filling them in another order takes twice as long.
        flat = out.as_strided((len(out), size), (size, 1))
        return zip(flat, self.generators, strict=False)

    def _key(self, row: int) -> int:
        """A seed of 32 bits, which is all that torch's generator for CPUs takes."""
        key = self.seed
        for part in (self.step, self.first + row):
            key = (key * 0x9E3779B1 + part + 1) & 0xFFFFFFFF
            key = ((key ^ (key >> 16)) * 0x85EBCA6B) & 0xFFFFFFFF
            key ^= key >> 13
        return key
