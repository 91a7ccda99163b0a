"""How the processes of a run hold the weights: an engine that divides them says so here."""

import contextlib
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn


class Whole:
    """Every process holds all weights; phase 3's engines override everything below."""

    def parts(self, model: nn.Module) -> list[Tensor]:
        """What this process holds of each parameter: writing there changes the weights."""
        return [parameter.detach() for parameter in model.parameters()]

    def join(self, model: nn.Module, parts: Sequence[Tensor]) -> list[Tensor]:
        """Whole tensors out of every process's parts; all processes have to call it."""
        return list(parts)

    def split(self, model: nn.Module, tensors: Sequence[Tensor]) -> list[Tensor]:
        """This process's parts of whole tensors, on its device: the inverse of `join`."""
        return [t.to(p.device) for t, p in zip(tensors, model.parameters(), strict=True)]

    @contextlib.contextmanager
    def shown(self, model: nn.Module, parts: Sequence[Tensor] | None = None) -> Iterator[None]:
        """Inside the `with`, each process has the model whole, with its own weights or `parts`.

        All processes have to enter it; what one of them does inside concerns no other.
        """
        if parts is None:
            yield
            return
        self._swap(model, parts)
        try:
            yield
        finally:
            self._swap(model, parts)

    def settle(self, model: nn.Module, parts: Sequence[Tensor] | None = None) -> None:
        """Leave the model whole for good, with its own weights or `parts`: training is over."""
        if parts is not None:
            self._swap(model, parts)

    @torch.no_grad()
    def _swap(self, model: nn.Module, parts: Sequence[Tensor]) -> None:
        for mine, other in zip(self.parts(model), parts, strict=True):
            held = mine.clone()
            mine.copy_(other)
            other.copy_(held)
