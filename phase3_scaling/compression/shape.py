"""What a forward pass costs, and which smaller configuration costs a given share of it.

A cut model is an ordinary one: what can be cut is what a configuration can say. All blocks of a
trunk keep the same width, and heads keep theirs.
"""

import dataclasses
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import nn

from shared.errors import VermeilError, nearest

Run = Callable[[nn.Module], Any]  # calls a model on an example, and returns its output
CUTS = ("layers", "heads", "mlp_dim")  # what a configuration has fewer of

STEP = 16  # feed-forward widths are multiples of what a vector unit takes at once
NEAR = 0.95  # of the multiply-adds that are allowed: less is wasted
LEAST = 1e-3  # what counts for a width of nothing but STEP


@torch.enable_grad()  # attention is then spelled out in products, which can be counted
def multiply_adds(model: nn.Module, run: Run) -> int:
    """Multiply-adds of a forward pass: those of matrix products and convolutions."""
    from torch.utils.flop_counter import FlopCounterMode

    training = model.training
    model.eval()  # batch norms would learn from the example
    with FlopCounterMode(display=False) as counter:
        run(model)
    model.train(training)
    return counter.get_total_flops() // 2


def multiply_adds_of(kind: type[nn.Module], config: Any, run: Run) -> int:
    """Those of a model that need not exist: nothing is computed and no memory taken."""
    from torch._subclasses.fake_tensor import FakeTensorMode

    with FakeTensorMode(allow_non_fake_inputs=True):
        return multiply_adds(kind(config), run)


def trunks(config: Any) -> dict[str, Any]:
    """The configurations of all stacks of blocks, by the name of the model's part; "": itself."""
    if hasattr(config, "layers"):
        return {"": config}
    parts = {field.name: getattr(config, field.name) for field in dataclasses.fields(config)}
    return {name: part for name, part in parts.items() if hasattr(part, "layers")}


def with_trunks(config: Any, changed: Mapping[str, Any]) -> Any:
    """The configuration with those of its trunks exchanged."""
    return changed[""] if "" in changed else dataclasses.replace(config, **changed)


def smaller(model: nn.Module, run: Run, share: float, cut: Sequence[str]) -> Any:
    """The configuration with at most `share` of the multiply-adds whose numbers shrink most alike.

    A network half as deep is half as fast to wait for, one half as wide keeps more steps of
    thought: in between lies the least harm where nothing else is known (compound scaling; Tan &
    Le, 2019, section 3.3). Raises VermeilError where the share is none, or cannot be had.
    """
    if not 0 < share < 1:  # NaN is neither
        raise VermeilError(
            f"{share:g} is no share of multiply-adds to cut a model to",
            "choose one between 0 and 1, such as 0.5",
        )
    for name in cut:
        if name not in CUTS:
            raise VermeilError(f"'{name}' is nothing that can be cut", nearest(name, [*CUTS]))
    kind, config = type(model), model.config
    parts = trunks(config)
    if not parts:
        raise VermeilError(
            f"a {kind.__name__} has no blocks of the trunk to cut", "prune a model that has"
        )
    allowed = share * multiply_adds_of(kind, config, run)
    found: list[tuple[tuple[bool, float, float], Any]] = []
    least = float("inf")
    for heads, skeleton in fewer_heads(config, cut):
        thin, full = (per_layer(kind, skeleton, run, width) for width in (0.0, 1.0))
        depths = [range(1, part.layers + 1) if "layers" in cut else [part.layers]
                  for part in parts.values()]  # fmt: skip
        for layers in itertools.product(*depths):
            low, high = cost(thin, layers), cost(full, layers)
            if high <= allowed or "mlp_dim" not in cut:
                width = 1.0
            else:  # what it costs is linear in the width
                width = max((allowed - low) / (high - low), 0.0)
            costs = low + width * (high - low)
            least = min(least, costs if "mlp_dim" not in cut else low)
            if costs <= allowed:
                left = [n / part.layers for n, part in zip(layers, parts.values(), strict=True)]
                ratios = [*left, heads, max(width, LEAST)]
                rank = (costs < NEAR * allowed, max(ratios) / min(ratios), -costs)
                found.append((rank, resized(skeleton, layers, width)))
    if not found:
        least *= share / allowed
        raise VermeilError(
            f"no {kind.__name__} that is cut in {', '.join(cut)} has {share:g} of the "
            f"multiply-adds; the least is {least:.2f}",
            "ask for more, or cut layers, heads and mlp_dim",
        )
    return min(found, key=lambda one: one[0])[1]


def per_layer(kind: type[nn.Module], config: Any, run: Run, width: float) -> list[int]:
    """Multiply-adds with one layer in each trunk, and what another layer of each adds to them."""
    ones = [1] * len(trunks(config))
    base = multiply_adds_of(kind, resized(config, ones, width), run)
    found = [base]
    for index in range(len(ones)):
        more = [*ones[:index], 2, *ones[index + 1 :]]
        found.append(multiply_adds_of(kind, resized(config, more, width), run) - base)
    return found


def cost(per_layer: Sequence[int], layers: Sequence[int]) -> int:
    """Multiply-adds at these depths."""
    base, *each = per_layer
    return base + sum(more * (n - 1) for more, n in zip(each, layers, strict=True))


def resized(config: Any, layers: Sequence[int], width: float) -> Any:
    """The configuration with these depths, and feed-forward widths from STEP (0) to whole (1).

    They are rounded down to a multiple of STEP.
    """

    def narrow(mlp_dim: int) -> int:
        least = min(STEP, mlp_dim)
        wanted = least + width * (mlp_dim - least)
        return mlp_dim if width == 1 else max(int(wanted / STEP) * STEP, least)

    return with_trunks(
        config,
        {
            place: dataclasses.replace(part, layers=n, mlp_dim=narrow(part.mlp_dim))
            for n, (place, part) in zip(layers, trunks(config).items(), strict=True)
        },
    )


def fewer_heads(config: Any, cut: Sequence[str]) -> Iterator[tuple[float, Any]]:
    """What share of the heads is left, and the configuration that has them.

    They go together with the residual stream, so that dim / heads stays; the queries of one key go
    together. Only of a model that is one trunk: others join theirs to what keeps its width.
    """
    fields = {field.name for field in dataclasses.fields(config)}
    if "heads" not in cut or not fields >= {"layers", "heads", "dim"}:
        yield 1.0, config
        return
    grouped = hasattr(config, "kv_heads")
    groups = config.kv_heads if grouped else config.heads
    for kept in range(1, groups + 1):
        heads = config.heads // groups * kept
        changed = {"heads": heads, "dim": config.dim // config.heads * heads}
        if grouped:
            changed["kv_heads"] = kept
        yield kept / groups, dataclasses.replace(config, **changed)
