"""Weights of which each process holds a part, and the model made whole again to be used."""

import contextlib
import copy
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from shared.holding import Whole

# What engines change of a module: its class, where parameters stand, what runs around `forward`.
CHANGED = ("_parameters", "_forward_hooks", "_forward_pre_hooks", "_backward_hooks",
           "_backward_pre_hooks", "_state_dict_hooks", "_state_dict_pre_hooks",
           "_load_state_dict_pre_hooks", "_forward_hooks_with_kwargs",
           "_forward_pre_hooks_with_kwargs", "_forward_hooks_always_called")  # fmt: skip


def _picture(model: nn.Module) -> dict[nn.Module, tuple[type, dict[str, Any]]]:
    """What engines change, of every module."""
    return {
        module: (type(module), {name: vars(module)[name] for name in CHANGED})
        for module in model.modules()
    }


class Divided(Whole, ABC):
    """The base of engines that divide parameters; `remember` comes before they do.

    While it is evaluated, a model has to fit a process whole: ordinary tensors stand where the
    parts were, and nothing of the engine runs, so that one process may do what the others do not.
    """

    def remember(self, model: nn.Module) -> None:
        """Note how the model is before an engine changes it.

        Parameters that are numbers become vectors of one: engines divide along the first dimension.
        """
        self.before = {
            module: (kind, {name: copy.copy(value) for name, value in values.items()})
            for module, (kind, values) in _picture(model).items()
        }
        self._shapes = [parameter.shape for parameter in model.parameters()]
        for parameter in model.parameters():
            if not parameter.dim():
                parameter.data = parameter.data.view(1)

    def shapes(self, model: nn.Module) -> dict[int, torch.Size]:
        """What shape each parameter, by its identity, has when it is whole."""
        return dict(zip(map(id, model.parameters()), self._shapes, strict=True))

    @contextlib.contextmanager
    def shown(self, model: nn.Module, parts: Sequence[Tensor] | None = None) -> Iterator[None]:
        now = _picture(model)
        self.settle(model, parts)
        try:
            yield
        finally:
            _put(now)

    @torch.no_grad()
    def settle(self, model: nn.Module, parts: Sequence[Tensor] | None = None) -> None:
        wholes = self.join(model, self.parts(model) if parts is None else parts)
        ordinary = {
            id(parameter): nn.Parameter(whole, requires_grad=parameter.requires_grad)
            for parameter, whole in zip(model.parameters(), wholes, strict=True)
        }
        parameters = {  # tied ones stay tied
            module: {name: ordinary.get(id(p)) for name, p in module._parameters.items()}
            for module in model.modules()
        }
        _put(self.before)
        for module, own in parameters.items():
            module._parameters = own

    def split(self, model: nn.Module, tensors: Sequence[Tensor]) -> list[Tensor]:
        return [self.part(t, p) for t, p in zip(tensors, held(model), strict=True)]

    @abstractmethod
    def part(self, tensor: Tensor, like: Any) -> Tensor:
        """What this process holds of a whole tensor that is divided as a parameter is."""

    def join(self, model: nn.Module, parts: Sequence[Tensor]) -> list[Tensor]:
        shapes = self.shapes(model).values()
        pairs = zip(self.gather(model, parts), shapes, strict=True)
        # In memory of their own, not at the beginning of something padded: files want it so.
        return [whole.view(shape).clone() for whole, shape in pairs]

    @abstractmethod
    def gather(self, model: nn.Module, parts: Sequence[Tensor]) -> list[Tensor]:
        """The parameters as they are now, whole, out of every process's parts."""


def held(model: nn.Module) -> list[Any]:
    """The parameters, to which engines add attributes of their own."""
    return list(model.parameters())


def _put(picture: dict[nn.Module, tuple[type, dict[str, Any]]]) -> None:
    for module, (kind, values) in picture.items():
        module.__class__ = kind
        vars(module).update(values)
