"""DeepSpeed's ZeRO: optimizer, gradients and parameters are divided (Rajbhandari et al., 2020).

Stage 1 divides the optimizer's state, stage 2 gradients too, stage 3 parameters too. Lightning's
own strategy refuses CPUs and keeps a checkpoint of its own kind; this one runs on both and keeps
the ordinary one, so that a run can go on with any engine and any number of processes.
"""

import json
import os
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from pytorch_lightning.strategies import DDPStrategy
from torch import Tensor, nn
from torch.optim import Optimizer

from phase3_scaling.distributed.divided import Divided, held
from phase3_scaling.distributed.place import backend, started
from shared import hardware
from shared.errors import VermeilError
from shared.train_config import TrainConfig
from shared.training import Engine


def engine(stage: int, offload: str = "", deepspeed_config: str = "") -> Engine:
    """ZeRO of that stage over the processes that were started; gloo on CPUs, NCCL on GPUs.

    `offload` ("optimizer" or "parameters") keeps a GPU's in the memory of its CPU.
    """
    own = read(Path(deepspeed_config), stage) if deepspeed_config else {}
    strategy = ZeroStrategy(stage, offload, own)
    return started(strategy, holding=strategy.holding, whole_matrices=False)


OURS = {  # keys of DeepSpeed's JSON that our configuration decides
    "train_batch_size": "--batch_size",
    "train_micro_batch_size_per_gpu": "--batch_size and --accumulate",
    "gradient_accumulation_steps": "--accumulate",
    "gradient_clipping": "--clip",
    "optimizer": "--optimizer",
    "scheduler": "--warmup and --cooldown",
    "fp16": "--precision",
    "bf16": "--precision",
}


def read(path: Path, stage: int) -> dict[str, Any]:
    """A user's own JSON; VermeilError where it is none, or wants what our flags decide."""
    try:
        own = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise VermeilError(f"cannot read DeepSpeed's configuration {path}", str(error)) from None
    if not isinstance(own, dict):
        raise VermeilError(f"{path} is not DeepSpeed's configuration", "it begins with {")
    own = {key: value for key, value in own.items() if not _left_open(value)}
    for key in own.keys() & OURS.keys():
        raise VermeilError(f"{path} sets '{key}'", f'"auto" there, and {OURS[key]} here')
    theirs = own.get("zero_optimization", {}).get("stage", stage)
    if theirs != stage:
        raise VermeilError(f"{path} wants stage {theirs}", f"--strategy deepspeed_zero{theirs}")
    return own


def _left_open(value: Any) -> bool:
    return value == "auto" or (isinstance(value, dict) and value.get("enabled") in (False, "auto"))


def configuration(
    config: TrainConfig, stage: int, processes: int, *, bf16: bool = False, offload: str = "",
    own: Mapping[str, Any] | None = None,
) -> dict[str, Any]:  # fmt: skip
    """DeepSpeed's JSON for a run; a user's `own` is merged into it."""
    zero: dict[str, Any] = {"stage": stage}
    if offload:
        zero["offload_optimizer"] = {"device": "cpu"}
    if offload == "parameters":
        zero["offload_param"] = {"device": "cpu"}
    own = dict(own or {})
    return {
        "train_batch_size": config.batch_size,
        "train_micro_batch_size_per_gpu": config.batch_size // (config.accumulate * processes),
        "gradient_accumulation_steps": config.accumulate,
        "gradient_clipping": config.clip,
        "torch_autocast": {"enabled": bf16, "dtype": "bfloat16"},
        "zero_allow_untested_optimizer": True,
        "zero_force_ds_cpu_optimizer": False,  # ours stays, whatever is offloaded
        **own,
        "zero_optimization": own.get("zero_optimization", {}) | zero,
    }


class ZeroStrategy(DDPStrategy):
    """Lightning's loop around DeepSpeed's engine, which averages, clips and steps."""

    def __init__(self, stage: int, offload: str, own: Mapping[str, Any]):
        super().__init__(process_group_backend=backend())
        self.stage, self.offload, self.own = stage, offload, own
        self.holding = Partitions() if stage == 3 else Copies()

    @property
    def handles_gradient_accumulation(self) -> bool:
        return True

    def setup(self, trainer: Any) -> None:
        deepspeed = package()
        module: Any = self.lightning_module
        assert self.accelerator is not None
        self.accelerator.setup(trainer)
        self.model_to_device()
        self.setup_optimizers(trainer)
        [self.optimizer] = self.optimizers
        self.groups = [list(group["params"]) for group in self.optimizer.param_groups]
        self.holding.remember(module)
        deepspeed.init_distributed(backend(), dist_init_required=False)
        self.engine, self.zero, _, _ = deepspeed.initialize(
            model=module, optimizer=self.optimizer, dist_init_required=False,
            config=configuration(
                module.train_config, self.stage, self.world_size,
                bf16=trainer.precision.startswith("bf16"), offload=self.offload, own=self.own,
            ),
        )  # fmt: skip
        self.model = self.engine
        self.setup_precision_plugin()
        module.optimizer_zero_grad = lambda *_: None  # the engine's step does it

    def training_step(self, *args: Any, **kwargs: Any) -> Any:
        # The engine has autocast of its own and is not amused by another one around it.
        module: Any = self.lightning_module
        return self._forward_redirection(self.engine, module, "training_step", *args, **kwargs)

    def backward(self, closure_loss: Tensor, optimizer: Any, *_: Any, **__: Any) -> Tensor:
        self.engine.backward(closure_loss, scale_wrt_gas=False)  # Lightning has divided it
        return closure_loss.detach()

    def block_backward_sync(self) -> Any:
        return nullcontext()

    def optimizer_step(self, optimizer: Any, closure: Any, *_: Any, **__: Any) -> Any:
        loss = closure()
        self.engine.step()
        norm = self.engine.get_global_grad_norm()
        if norm is not None:
            module: Any = self.lightning_module
            module.grad_norm = torch.as_tensor(norm, device=self.root_device).detach().clone()
        return loss

    def lightning_module_state_dict(self) -> dict[str, Any]:
        module = self.lightning_module
        assert module is not None
        with self.holding.shown(module):
            return module.state_dict()

    def optimizer_state(self, optimizer: Optimizer) -> dict[str, Any]:
        """The state as the optimizer itself would save it on one process."""
        from deepspeed.utils import safe_get_full_optimizer_state

        self._link_state()
        module: Any = self.lightning_module
        shapes = self.holding.shapes(module)
        kinds = next(iter(self.optimizer.state.values()), {})

        def whole(parameter: Tensor, name: str) -> Tensor:
            if name == "step":  # a copy each: whoever loads it counts on for each parameter
                return kinds[name].clone()
            found: Any = safe_get_full_optimizer_state(parameter, name)
            return found.view(shapes[id(parameter)])

        state = {
            number: {name: whole(parameter, name) for name in kinds}
            for number, parameter in enumerate(p for group in self.groups for p in group)
        }
        groups, first = [], 0
        for group, parameters in zip(self.optimizer.param_groups, self.groups, strict=True):
            numbers = list(range(first, first + len(parameters)))
            groups.append({k: v for k, v in group.items() if k != "params"} | {"params": numbers})
            first += len(parameters)
        return {"state": state, "param_groups": groups}

    def load_optimizer_state_dict(self, checkpoint: Mapping[str, Any]) -> None:
        [saved] = checkpoint["optimizer_states"]
        for group, values in zip(self.optimizer.param_groups, saved["param_groups"], strict=True):
            group |= {name: value for name, value in values.items() if name != "params"}
        self._create_state()
        parameters = [p for group in self.groups for p in group]
        for number, values in saved["state"].items():
            for name, value in values.items():
                if name != "step":
                    self._put(parameters[number], name, value.to(self.root_device))
        for state in self.optimizer.state.values():
            if "step" in state:
                state["step"].copy_(saved["state"][0]["step"])

    def _create_state(self) -> None:
        """Optimizers create their state in their first step: one that changes nothing."""
        rates = [group["lr"] for group in self.optimizer.param_groups]
        for group in self.optimizer.param_groups:
            group["lr"] = 0.0
        slices = (
            self.zero.fp32_partitioned_groups_flat
            if self.stage == 3
            else self.zero.single_partition_of_fp32_groups
        )
        for number, flat in enumerate(slices):
            held, flat.grad = flat.grad, torch.zeros_like(flat)
            self.zero._optimizer_step(number)
            flat.grad = held
        for group, rate in zip(self.optimizer.param_groups, rates, strict=True):
            group["lr"] = rate
        self._link_state()

    def _link_state(self) -> None:
        """Stages 1 and 2 do it after the first group's first step, when other groups have none."""
        if self.stage < 3:
            self.zero._hp_optimizer_states_linked = False
            self.zero._lazy_init_hp_params_optimizer_state()

    def _put(self, parameter: Any, name: str, value: Tensor) -> None:
        from deepspeed.utils import safe_set_full_optimizer_state, safe_set_local_optimizer_state

        if isinstance(self.holding, Partitions):
            safe_set_local_optimizer_state(parameter, partition(value, parameter), name)
        else:
            safe_set_full_optimizer_state(parameter, value, name)

    def on_train_end(self) -> None:
        self.model = self.lightning_module
        self.engine.destroy()


class Copies(Divided):
    """Stages 1 and 2: every process has all parameters."""

    def parts(self, model: nn.Module) -> list[Tensor]:
        return [parameter.detach() for parameter in model.parameters()]

    def gather(self, model: nn.Module, parts: Sequence[Tensor]) -> list[Tensor]:
        return list(parts)

    def part(self, tensor: Tensor, like: Any) -> Tensor:
        return tensor.to(like.device).view(like.shape)


class Partitions(Divided):
    """Stage 3: of every parameter each process has an equal slice, the last one filled with 0."""

    def parts(self, model: nn.Module) -> list[Tensor]:
        return [parameter.ds_tensor.data for parameter in held(model)]

    def gather(self, model: nn.Module, parts: Sequence[Tensor]) -> list[Tensor]:
        world, wholes = torch.distributed.get_world_size(), []
        for part, parameter in zip(parts, held(model), strict=True):
            all_parts = part.new_empty(world * part.numel())
            torch.distributed.all_gather_into_tensor(all_parts, part.contiguous())
            wholes.append(all_parts[: parameter.ds_numel].view(parameter.ds_shape))
        return wholes

    def part(self, tensor: Tensor, like: Any) -> Tensor:
        return partition(tensor, like).clone()


def partition(tensor: Tensor, parameter: Any) -> Tensor:
    """This process's slice of a whole tensor, as stage 3 slices the parameter."""
    size, rank = parameter.ds_tensor.numel(), torch.distributed.get_rank()
    flat = tensor.flatten().to(parameter.ds_tensor.device)[rank * size : (rank + 1) * size]
    return torch.cat([flat, flat.new_zeros(size - flat.numel())])


def package() -> Any:
    """DeepSpeed, told whether it runs on CPUs; there without its own shared memory.

    That is compiled at its first use, which several processes do at the same time, and one fails.
    """
    if hardware.device_name() == "cpu":
        os.environ.setdefault("DS_ACCELERATOR", "cpu")
    import deepspeed
    import deepspeed.ops

    deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False
    deepspeed.utils.logging.logger.setLevel("ERROR")
    return deepspeed
