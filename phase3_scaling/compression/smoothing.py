"""Activations made even before they are rounded (Xiao et al., 2023, "SmoothQuant").

A gated feed-forward layer multiplies two numbers, so that a few of its hidden channels become a
hundred times larger than the others; with one scale for all, 8 bits leave nothing of the others.
Dividing such a channel where it is made, and multiplying the weights that read it, changes no
output. Weights have a scale for each output and mind it less.
"""

import copy
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from shared.nn import SwiGLU

Example = tuple[Tensor, ...]
SHARE = 0.85  # of a channel's range that its weights take over; .5 and .7 were tried (docs/log.md)
SMALL = 1e-5  # a channel that never spoke


@torch.no_grad()
def smoothed(model: nn.Module, examples: Sequence[Example]) -> nn.Module:
    """A copy that computes the same, with even channels in its gated layers (eq. 4).

    `examples` are what the model is called with; the largest value of each channel is seen there.
    """
    model = copy.deepcopy(model)
    layers = [module for module in model.modules() if isinstance(module, SwiGLU)]
    for layer, largest in zip(layers, _ranges(model, layers, examples), strict=True):
        read = layer.fc2.weight.abs().amax(dim=0).clamp(min=SMALL)  # (H,)
        scale = largest.clamp(min=SMALL) ** SHARE / read ** (1 - SHARE)
        layer.fc2.weight.mul_(scale)
        _, up = layer.fc1.weight.chunk(2)  # (H, C); what the gate is multiplied with
        up.div_(scale[:, None])
        if layer.fc1.bias is not None:
            layer.fc1.bias.chunk(2)[1].div_(scale)
    return model


def _ranges(
    model: nn.Module, layers: Sequence[SwiGLU], examples: Sequence[Example]
) -> list[Tensor]:
    """The largest absolute value of each hidden channel of each layer, (H,)."""
    found = [torch.zeros(layer.fc2.in_features) for layer in layers]

    def watch(number: int):
        def see(_: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            largest = inputs[0].abs().flatten(0, -2).amax(dim=0)
            found[number] = torch.maximum(found[number], largest)

        return see

    hooks = [
        layer.fc2.register_forward_pre_hook(watch(number)) for number, layer in enumerate(layers)
    ]
    for example in examples:
        model(*example)
    for hook in hooks:
        hook.remove()
    return found
