"""Fully sharded data parallel: parameters, gradients and optimizer are divided (Zhao et al., 2023).

Lightning's own strategy refuses CPUs; this one divides with torch's `fully_shard` and keeps the
ordinary checkpoint, so that a run can go on with any engine and any number of processes.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from pytorch_lightning.overrides.distributed import _sync_module_states
from pytorch_lightning.strategies import DDPStrategy
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor
from torch.optim import Optimizer

from phase3_scaling.distributed.divided import Divided, held
from phase3_scaling.distributed.place import backend, started
from shared.nn import Block
from shared.training import Engine

Convert = Callable[[Any, Any], Any]


def engine() -> Engine:
    """FSDP over the processes that were started; gloo on CPUs, NCCL on GPUs."""
    strategy = FSDPStrategy()
    return started(strategy, holding=strategy.holding)


class Shards(Divided):
    """Every parameter is divided along its first dimension."""

    def divide(self, model: nn.Module, mesh: DeviceMesh) -> None:
        """Each block's parameters travel together when it runs, those outside blocks with all."""
        self.remember(model)
        for module in list(model.modules()):
            if isinstance(module, Block):
                fully_shard(module, mesh=mesh)
        fully_shard(model, mesh=mesh)

    def parts(self, model: nn.Module) -> list[Tensor]:
        return [parameter.detach().to_local() for parameter in held(model)]

    def gather(self, model: nn.Module, parts: Sequence[Tensor]) -> list[Tensor]:
        return [
            DTensor.from_local(
                part, like.device_mesh, like.placements, run_check=False, shape=like.shape,
                stride=like.stride(),
            ).full_tensor()
            for part, like in zip(parts, held(model), strict=True)
        ]  # fmt: skip

    def part(self, tensor: Tensor, like: Any) -> Tensor:
        return divided(tensor, like).to_local()


def divided(tensor: Tensor, like: DTensor) -> DTensor:
    """A whole tensor that every process has, divided as a parameter is."""
    whole = tensor.to(like.device).view(like.shape)
    return distribute_tensor(whole, like.device_mesh, like.placements, src_data_rank=None)


class FSDPStrategy(DDPStrategy):
    """Lightning's loop around a divided model."""

    def __init__(self) -> None:
        super().__init__(process_group_backend=backend())
        self.holding = Shards()

    def configure_ddp(self) -> None:
        """Here Lightning would wrap the model; we divide it."""
        assert self.model is not None
        _sync_module_states(self.model)
        mesh = init_device_mesh(self.root_device.type, (self.world_size,))
        self.holding.divide(self.model, mesh)

    def training_step(self, *args: Any, **kwargs: Any) -> Any:
        """Through the model's `forward`, around which it is put together."""
        module = self.lightning_module
        assert module is not None
        with self.precision_plugin.train_step_context():
            return self._forward_redirection(module, module, "training_step", *args, **kwargs)

    def lightning_module_state_dict(self) -> dict[str, Any]:
        module = self.lightning_module
        assert module is not None
        with self.holding.shown(module):
            return module.state_dict()

    def optimizer_state(self, optimizer: Optimizer) -> dict[str, Any]:
        assert self.model is not None
        shapes = self.holding.shapes(self.model)

        def whole(value: Any, parameter: Tensor) -> Any:
            return value.full_tensor().view(shapes[id(parameter)])

        return converted(optimizer, optimizer.state_dict(), whole)

    def load_optimizer_state_dict(self, checkpoint: Mapping[str, Any]) -> None:
        for optimizer, state in zip(self.optimizers, checkpoint["optimizer_states"], strict=True):
            optimizer.load_state_dict(converted(optimizer, state, divided))


def converted(optimizer: Any, state: dict[str, Any], convert: Convert) -> dict[str, Any]:
    """The state of an optimizer with what belongs to a parameter's numbers (not its step) changed.

    The same for optimizers that step together as one.
    """
    if "parts" in state:
        pairs = zip(optimizer.parts, state["parts"], strict=True)
        return {"parts": [converted(part, part_state, convert) for part, part_state in pairs]}
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    changed = {
        number: {
            name: value if name == "step" or value is None else convert(value, parameters[number])
            for name, value in values.items()
        }
        for number, values in state["state"].items()
    }
    return state | {"state": changed}
