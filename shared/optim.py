"""Optimizer and schedule: AdamW, or Muon for the hidden matrices and AdamW for the rest; SGD."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor, distribute_tensor
from torch.optim import SGD, AdamW, Optimizer

from shared.nn import Hidden, Modulation
from shared.train_config import TrainConfig


@dataclass(frozen=True)
class Pace:
    """How a parent's parameters learn: a share of the learning rate, from a step on."""

    scale: float = 1.0
    begin: int = 0  # frozen until then


def make_optimizer(
    model: nn.Module, config: TrainConfig, paces: Mapping[str, Pace] | None = None
) -> Optimizer:
    """The optimizer of a run; weight decay is for matrices alone.

    `paces` says by the beginning of parameters' names which of them learn otherwise than the rest.
    """
    by_pace: dict[Pace, list[nn.Parameter]] = defaultdict(list)
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            fitting = (pace for start, pace in (paces or {}).items() if name.startswith(start))
            by_pace[next(fitting, Pace())].append(parameter)
    inner = _for_muon(model) if config.optimizer == "muon" else set()
    adamw, muon = [], []
    for pace, parameters in by_pace.items():
        rest = [p for p in parameters if id(p) not in inner]
        matrices = [p for p in parameters if id(p) in inner]
        adamw += [
            {"params": [p for p in rest if p.dim() >= 2], "weight_decay": config.weight_decay,
             **vars(pace)},
            {"params": [p for p in rest if p.dim() < 2], "weight_decay": 0.0, **vars(pace)},
        ]  # fmt: skip
        muon += [{"params": matrices, **vars(pace)}] if matrices else []
    if config.optimizer == "sgd":
        return SGD(adamw, lr=config.learning_rate, momentum=0.9)
    plain = AdamW(adamw, lr=config.learning_rate, betas=(0.9, config.beta2), fused=True)
    if not muon:
        return plain
    return Together([Muon(muon, config.muon_learning_rate, 0.95, config.weight_decay), plain])


def _for_muon(model: nn.Module) -> set[int]:
    """The hidden matrices, by identity."""
    modules = list(model.modules())
    steering = {id(m.weight) for m in modules if isinstance(m, Modulation)}
    hidden = (p for m in modules if isinstance(m, Hidden) for p in m.parameters())
    return {id(p) for p in hidden if p.dim() >= 2} - steering


def schedules(optimizer: Optimizer, config: TrainConfig) -> list[Callable[[int], float]]:
    """The learning rate's factor by step, of each group of the optimizer."""
    factor = learning_rate_factor(config)

    def paced(scale: float, begin: int) -> Callable[[int], float]:
        return lambda step: scale * factor(step) if step >= begin else 0.0

    return [paced(group["scale"], group["begin"]) for group in optimizer.param_groups]


def learning_rate_factor(config: TrainConfig) -> Callable[[int], float]:
    """Warm-up, constant, linear cooldown to 0 (trapezoid; Haegele et al., 2024).

    Unlike a cosine it has a constant part that a longer run shares with a shorter one.
    """
    cooldown = max(1, round(config.cooldown * config.steps))

    def factor(step: int) -> float:
        rise = (step + 1) / config.warmup if config.warmup else 1.0
        return max(0.0, min(1.0, rise, (config.steps - step) / cooldown))

    return factor


# Jordan et al., 2024: a quintic whose iteration drives every singular value to about 1.
A, B, C = 3.4445, -4.7750, 2.0315
STEPS = 5


def orthogonalize(matrices: Tensor) -> Tensor:
    """The nearest (semi-)orthogonal matrices, about: (N, rows, columns) -> the same shape.

    Newton-Schulz iteration in bf16, all matrices of a shape in one batched product.
    """
    tall = matrices.shape[-2] > matrices.shape[-1]
    x = (matrices.mT if tall else matrices).bfloat16()
    x = x / (x.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    for _ in range(STEPS):
        gram = x @ x.mT
        polynomial = torch.baddbmm(gram, gram, gram, beta=B, alpha=C)
        x = torch.baddbmm(x, polynomial, x, beta=A)
    return (x.mT if tall else x).to(matrices.dtype)


class Muon(Optimizer):
    """Momentum, orthogonalized (Jordan et al., 2024), on matrices and convolutions.

    A convolution (out, in, h, w) is the matrix (out, in h w) of what it does to one patch.
    The step is scaled by sqrt(max(1, rows / columns)), so that its effect on a layer's output does
    not depend on the layer's shape. torch.optim.Muon computes the same, one matrix at a time; here
    matrices of a shape go together, which small models need. Divided matrices are put together for
    it in every process.
    """

    def __init__(self, matrices: Iterable[Any], lr: float, momentum: float, weight_decay: float):
        super().__init__(matrices, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Callable | None = None) -> Any:
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            by_shape: dict[torch.Size, list[Tensor]] = defaultdict(list)
            for matrix in group["params"]:
                if matrix.grad is not None:
                    by_shape[matrix.shape].append(matrix)
            for matrices in by_shape.values():
                self._step_together(matrices, **{k: v for k, v in group.items() if k in ARGUMENTS})
        return loss

    def _step_together(
        self, matrices: list[Tensor], *, lr: float, momentum: float, weight_decay: float
    ) -> None:
        gradients = [matrix.grad for matrix in matrices if matrix.grad is not None]
        averages = [self._momentum(matrix) for matrix in matrices]
        torch._foreach_lerp_(averages, gradients, 1 - momentum)
        nesterov = torch._foreach_lerp(gradients, averages, momentum)
        whole = [u.full_tensor() if isinstance(u, DTensor) else u for u in nesterov]
        flat = torch.stack([update.flatten(1) for update in whole])  # (N, rows, columns)
        updates = [_like(u, m) for u, m in zip(orthogonalize(flat), matrices, strict=True)]
        _, rows, columns = flat.shape
        torch._foreach_mul_(matrices, 1 - lr * weight_decay)
        torch._foreach_add_(matrices, updates, alpha=-lr * max(1, rows / columns) ** 0.5)

    def _momentum(self, matrix: Tensor) -> Tensor:
        state = self.state[matrix]
        if "momentum" not in state:
            state["momentum"] = torch.zeros_like(matrix)
        return state["momentum"]


ARGUMENTS = ("lr", "momentum", "weight_decay")


def _like(update: Tensor, matrix: Tensor) -> Tensor:
    """An update in its matrix's shape and, where the matrix is divided, divided as it is."""
    update = update.view(matrix.shape)
    if not isinstance(matrix, DTensor):
        return update
    mesh, placements = matrix.device_mesh, matrix.placements
    return distribute_tensor(update, mesh, placements, src_data_rank=None)


class Together(Optimizer):
    """Several optimizers that step as one; the groups are theirs, so a schedule reaches all."""

    def __init__(self, parts: list[Optimizer]):
        self.parts = parts
        super().__init__([p for part in parts for g in part.param_groups for p in g["params"]], {})
        self.param_groups = [group for part in parts for group in part.param_groups]

    def step(self, closure: Callable | None = None) -> Any:
        loss = closure() if closure is not None else None
        for part in self.parts:
            part.step()
        return loss

    def state_dict(self) -> dict[str, Any]:
        return {"parts": [part.state_dict() for part in self.parts]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        for part, state in zip(self.parts, state_dict["parts"], strict=True):
            part.load_state_dict(state)
        self.param_groups = [group for part in self.parts for group in part.param_groups]
