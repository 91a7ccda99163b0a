"""Structured pruning: whole layers, heads and feed-forward units go, and an ordinary model is left.

A smaller configuration says how many there will be (`shape`), importance says which. Which tensors
share a width is found by torch-pruning's dependency graph (Fang et al., 2023); what comes out is
loaded strictly into the same class and needs no library.
"""

import copy
from collections.abc import Callable, Sequence
from typing import Any, Literal, TypeVar

import torch
from torch import Tensor, nn

from phase3_scaling.compression.dependencies import Width, widths
from phase3_scaling.compression.shape import CUTS, Run, smaller, trunks
from shared.errors import VermeilError
from shared.nn import Attention

Model = TypeVar("Model", bound=nn.Module)
Loss = Callable[[nn.Module], Tensor]  # the mean loss of a model over a few batches
Tensors = dict[str, Tensor]  # by name in the state dict

# What a block adds to the stream passes through these.
LAST = ("attn.proj.weight", "cross.proj.weight", "mlp.fc2.weight")


def structured(
    model: Model, run: Run, multiply_adds: float = 0.5,
    importance: Literal["magnitude", "taylor"] = "magnitude", loss: Loss | None = None,
    cut: Sequence[str] = CUTS,
) -> Model:  # fmt: skip
    """A smaller model of the same class with at most that share of the multiply-adds.

    `run` calls a model on an example, whose shapes are what is counted. "taylor" needs a `loss`.
    The model itself is left as it was. Raises VermeilError for a share that cannot be had.
    """
    return cut_to(model, smaller(model, run, multiply_adds, cut), run, importance, loss)


@torch.enable_grad()
def cut_to(
    model: Model, config: Any, run: Run,
    importance: Literal["magnitude", "taylor"] = "magnitude", loss: Loss | None = None,
) -> Model:  # fmt: skip
    """The model cut to a smaller configuration of its kind; arguments as in `structured`.

    "magnitude" keeps what has the largest squared weights (Li et al., 2017, section 3.1). "taylor"
    keeps the units whose weights change the loss most, to first order: |weight * gradient|
    (Molchanov et al., 2019, eq. 8); and the layers without which the loss, measured, is worst.
    """
    if importance == "taylor" and loss is None:
        raise VermeilError("importance by Taylor needs a loss", "give batches, or take magnitude")
    loss = loss if importance == "taylor" else None
    rest = copy.deepcopy(model).eval().requires_grad_(True)
    for place, part in trunks(config).items():
        drop_layers(rest, place, part.layers, loss)
    small = type(model)(config)
    shapes = {name: tensor.shape for name, tensor in small.state_dict().items()}
    weights, matters = dict(rest.state_dict()), salience(rest, loss)
    for width in widths(rest, run):
        cut_width(width, shapes, weights, matters)
    fewer = {name: m for name, m in small.named_modules() if isinstance(m, Attention)}
    for name, attention in rest.named_modules():
        if isinstance(attention, Attention):
            cut_heads(name, attention, fewer[name].kv_heads, weights, matters)
    small.load_state_dict(weights, strict=True)
    return small.to(next(model.parameters()).device).train(model.training)


def salience(model: nn.Module, loss: Loss | None) -> Tensors:
    """How much each single weight matters: its square, or |weight * gradient| of a loss."""
    named = dict(model.named_parameters(remove_duplicate=False))
    if loss is None:
        return {name: p.detach().square() for name, p in named.items()}
    loss(model).backward()
    found = {
        name: torch.zeros_like(p) if p.grad is None else (p.detach() * p.grad).abs()
        for name, p in named.items()
    }
    model.zero_grad()
    return found


@torch.no_grad()
def drop_layers(model: nn.Module, place: str, layers: int, loss: Loss | None) -> None:
    """Take the blocks out of a model's part, one after the other, that are missed least.

    With a loss, those without which it is least. Without one, those whose last matrices, through
    which all passes that a block adds, are smallest.
    """
    holder: Any = next(
        part for part in model.get_submodule(place).modules()
        if isinstance(getattr(part, "blocks", None), nn.ModuleList)
    )  # fmt: skip

    def missed(blocks: list[nn.Module], index: int) -> float:
        if loss is None:
            named = blocks[index].named_parameters()
            return sum(p.square().sum().item() for name, p in named if name.endswith(LAST))
        holder.blocks = nn.ModuleList(blocks[:index] + blocks[index + 1 :])
        return loss(model).item()

    blocks = list(holder.blocks)
    while len(blocks) > layers:
        blocks.pop(min(range(len(blocks)), key=lambda index: missed(blocks, index)))
        holder.blocks = nn.ModuleList(blocks)


def cut_width(
    width: Width, shapes: dict[str, torch.Size], weights: Tensors, matters: Tensors
) -> None:
    """Bring a width to what `shapes` say by keeping its most salient units, in every tensor."""
    name, dim = width.root
    wanted, have = shapes[name][dim], weights[name].shape[dim]
    if wanted == have:
        return
    scores = torch.zeros(have)
    for part in width.parts:
        if part.name in matters:
            each = matters[part.name].movedim(part.dim, 0)
            of_place = each.reshape(len(each), -1).sum(dim=1).cpu()
            scores.index_add_(0, torch.tensor(part.units), of_place[torch.tensor(part.places)])
    kept = set(scores.topk(wanted).indices.tolist())
    for part in width.parts:
        places = zip(part.places, part.units, strict=True)
        stay = sorted(place for place, unit in places if unit in kept)
        select(part.name, part.dim, torch.tensor(stay), weights, matters)


def cut_heads(
    name: str, attention: Attention, wanted: int, weights: Tensors, matters: Tensors
) -> None:
    """Keep an attention's most salient keys with the queries that share them.

    Heads lie inside of one module, so there are no dependencies to find.
    """
    groups, dim = attention.kv_heads, attention.head_dim
    if wanted == groups:
        return
    queries = torch.arange(attention.heads * dim).view(groups, -1)  # (G, H / G D)
    keys = attention.heads * dim + torch.arange(groups * dim).view(groups, dim)
    rows = torch.cat([queries, keys, keys + groups * dim], dim=1)  # (G, rows of a group)
    by_row = matters[f"{name}.qkv.weight"].sum(dim=1).cpu()
    by_column = matters[f"{name}.proj.weight"].sum(dim=0).cpu()
    scores = by_row[rows].sum(dim=1) + by_column[queries].sum(dim=1)  # (G)
    kept = scores.topk(wanted).indices.sort().values
    stay = torch.cat([part[kept].flatten() for part in (queries, keys, keys + groups * dim)])
    select(f"{name}.qkv.weight", 0, stay, weights, matters)
    select(f"{name}.qkv.bias", 0, stay, weights, matters)
    select(f"{name}.proj.weight", 1, queries[kept].flatten(), weights, matters)


def select(name: str, dim: int, places: Tensor, weights: Tensors, matters: Tensors) -> None:
    """Keep these places of a tensor, where there is one, and what is known of them."""
    for tensors in (weights, matters):
        if name in tensors:
            tensors[name] = tensors[name].index_select(dim, places.to(tensors[name].device))
