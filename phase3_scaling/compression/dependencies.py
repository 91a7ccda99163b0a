"""Which dimensions of which tensors are one width, and have to be cut alike.

torch-pruning follows a forward pass and finds them (Fang et al., 2023, "DepGraph"). It is asked
for this alone: it changes no model.
"""

import copy
from typing import Any, NamedTuple

from torch import Tensor, nn

from phase3_scaling.compression.shape import Run
from shared.nn import Attention


class Part(NamedTuple):
    """A dimension of a tensor in the state dict, and the unit of a width at each place of it."""

    name: str
    dim: int
    places: list[int]
    units: list[int]


class Width(NamedTuple):
    """All dimensions that are one width, counted in the units of the first, `root`."""

    root: tuple[str, int]
    parts: list[Part]


class StandIn(nn.Linear):
    """Attention as its neighbours know it: a stream in and one out, heads unseen.

    The graph takes a split of heads for one of channels.
    """

    def forward(self, input: Tensor, **_: Any) -> Tensor:
        return super().forward(input)


def widths(model: nn.Module, run: Run) -> list[Width]:
    """Every width that a linear layer or a convolution reads, whole.

    Those of heads are not among them: they lie inside of an `Attention`.
    """
    from torch_pruning import DependencyGraph
    from torch_pruning.ops import OPTYPE

    traced = with_stand_ins(copy.deepcopy(model))
    graph: Any = DependencyGraph().build_dependency(
        traced, [], forward_fn=lambda module, _: run(module), verbose=False
    )
    for node in graph.module2node.values():
        if node.type == OPTYPE.SPLIT:  # not believed behind learned positions otherwise
            node.enable_index_mapping = True
    names: dict[int, str] = {id(module): name for name, module in traced.named_modules()}
    names |= {id(parameter): name for name, parameter in traced.named_parameters()}
    found: list[Width] = []
    seen: set[tuple[str, int]] = set()
    for module in graph.module2node:
        if not isinstance(module, nn.Linear | nn.Conv2d):
            continue
        reads = graph.get_pruner_of_module(module).prune_in_channels
        size = graph.get_in_channels(module)
        group = graph.get_pruning_group(module, reads, list(range(size)))
        parts = [
            Part(name, dim, item.idxs, item.root_idxs)
            for item in group
            for name, dim in tensors(item.dep, names, graph)
        ]
        root = parts[0].name, parts[0].dim
        if root not in seen:
            found.append(Width(root, parts))
            seen |= {(part.name, part.dim) for part in parts}
    return found


def tensors(dependency: Any, names: dict[int, str], graph: Any) -> list[tuple[str, int]]:
    """The tensors, with their dimension, that a dependency speaks of; none for what has none."""
    module = dependency.target.module
    if id(module) not in names:  # an operation
        return []
    name, writes = names[id(module)], graph.is_out_channel_pruning_fn(dependency.handler)
    if isinstance(module, StandIn):
        both = [("proj.weight", 0), ("proj.bias", 0)] if writes else [("qkv.weight", 1)]
    elif isinstance(module, nn.Parameter):
        return [(name, dependency.target.pruning_dim)]
    elif isinstance(module, nn.Linear | nn.Conv2d):
        both = [("weight", 0), ("bias", 0)] if writes else [("weight", 1)]
    elif isinstance(module, nn.Embedding):
        both = [("weight", 1)]
    else:  # norms
        both = [(name, 0) for name in ("weight", "bias", "running_mean", "running_var")]
    return [(f"{name}.{tensor}", dim) for tensor, dim in both]


def with_stand_ins(model: nn.Module) -> nn.Module:
    """The model with what the graph does not know exchanged for what has the same neighbours."""
    for parent in list(model.modules()):
        for name, child in parent.named_children():
            if isinstance(child, Attention):
                stream = child.qkv.in_features
                setattr(parent, name, StandIn(stream, stream))
            elif isinstance(child, nn.RMSNorm):
                setattr(parent, name, nn.LayerNorm([*child.normalized_shape]))
    return model
