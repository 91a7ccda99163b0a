"""Magnitude pruning: the smallest weights become 0 and stay 0 (Han et al., 2015).

Zeros alone make nothing faster: a dense product multiplies by them too. What they save is disk,
once compressed. GPUs with sparse tensor cores are faster at the 2:4 pattern, through
`torch.sparse.to_sparse_semi_structured` (not run here: it takes such a GPU).
"""

from collections.abc import Mapping
from typing import Any, Literal

import torch
from torch import Tensor, nn

from shared.errors import VermeilError
from shared.objective import Objective

Masks = Mapping[str, Tensor]  # parameter's name -> bool of its shape, True: stays


def prunable(model: nn.Module) -> dict[str, Tensor]:
    """The weights of linear layers and convolutions by name.

    Norms, biases and embeddings stay, and an output layer that shares an embedding's weight.
    """
    modules = dict(model.named_modules())
    embedded = {id(m.weight) for m in modules.values() if isinstance(m, nn.Embedding)}
    return {
        f"{name}.weight": module.weight
        for name, module in modules.items()
        if isinstance(module, nn.Linear | nn.modules.conv._ConvNd)
        and id(module.weight) not in embedded
    }


@torch.no_grad()
def magnitude_masks(
    model: nn.Module, sparsity: float, scope: Literal["global", "layer"] = "global"
) -> dict[str, Tensor]:
    """Masks that drop the `sparsity` share of weights that are nearest to 0.

    "global" compares the weights of all layers with each other, "layer" those of each layer alone,
    so that every layer gives the same share. Raises VermeilError unless 0 <= sparsity < 1.
    """
    if not 0 <= sparsity < 1:  # NaN is neither
        raise VermeilError(
            f"a sparsity of {sparsity:g} is no share of weights that leaves some",
            "choose one from 0 on and below 1, such as 0.5",
        )
    weights = prunable(model)
    if scope == "layer":
        return {name: _largest(weight, sparsity) for name, weight in weights.items()}
    kept = _largest(torch.cat([weight.flatten() for weight in weights.values()]), sparsity)
    parts = kept.split([weight.numel() for weight in weights.values()])
    return {
        name: part.view_as(weight)
        for (name, weight), part in zip(weights.items(), parts, strict=True)
    }


def _largest(weight: Tensor, sparsity: float) -> Tensor:
    """All but exactly the given share of a tensor; of equals, any."""
    kept = torch.ones(weight.numel(), dtype=torch.bool, device=weight.device)
    dropped = round(sparsity * weight.numel())
    kept[weight.abs().flatten().topk(dropped, largest=False, sorted=False).indices] = False
    return kept.view_as(weight)


@torch.no_grad()
def two_four_masks(model: nn.Module) -> dict[str, Tensor]:
    """Masks that keep the 2 largest of every 4 neighbouring inputs (Mishra et al., 2021).

    Layers whose inputs do not come in fours have no mask and stay whole.
    """
    masks = {}
    for name, weight in prunable(model).items():
        if weight.shape[1] % 4:
            continue
        fours = weight.abs().movedim(1, -1).unflatten(-1, (-1, 4))  # (out, ..., in / 4, 4)
        kept = torch.zeros_like(fours, dtype=torch.bool)
        kept.scatter_(-1, fours.topk(2, dim=-1).indices, True)
        masks[name] = kept.flatten(-2).movedim(-1, 1)
    return masks


@torch.no_grad()
def apply_masks(model: nn.Module, masks: Masks) -> None:
    """Set what is masked to 0 in place: the model is an ordinary one with zeros in it."""
    for name, mask in masks.items():
        weight = model.get_parameter(name)
        weight.masked_fill_(~mask.to(weight.device), 0.0)


def keep_sparse(objective: Objective, masks: Masks) -> None:
    """Prune the objective's model now, and again after every optimizer step of its fit.

    The optimizer itself sets the weights back, so that averages, validation and checkpoints never
    see others. A resumed run wants the same masks. Sharded parameters (FSDP, ZeRO-3) have other
    shapes and are not supported.
    """
    apply_masks(objective.model, masks)
    configure = objective.configure_optimizers

    def configure_sparse() -> dict[str, Any]:
        made = configure()
        made["optimizer"].register_step_post_hook(lambda *_: apply_masks(objective.model, masks))
        return made

    objective.configure_optimizers = configure_sparse  # type: ignore[method-assign]


def count_zeros(model: nn.Module) -> tuple[int, int]:
    """How many of the prunable weights are 0, and how many there are."""
    weights = prunable(model).values()
    return sum(int((w == 0).sum()) for w in weights), sum(w.numel() for w in weights)
