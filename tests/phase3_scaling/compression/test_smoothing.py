"""Even channels: the same outputs, and less lost to rounding."""

import pytest
import torch
from torch import nn

from phase3_scaling.compression.smoothing import smoothed
from shared.nn import SwiGLU


def layer(bias: bool) -> nn.Module:
    """With two channels that are far larger than the others, as trained ones have."""
    torch.manual_seed(0)
    made = nn.Sequential(SwiGLU(16, 32, bias=bias))
    with torch.no_grad():
        made[0].fc1.weight[32:34] *= 200  # the rows of `up`
    return made.eval()


def hidden(model: nn.Module, x: torch.Tensor) -> torch.Tensor:
    seen = []
    hook = model[0].fc2.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    model(x)
    hook.remove()
    return seen[0]


def rounded(x: torch.Tensor) -> torch.Tensor:
    """8 bits with one scale for all."""
    scale = x.abs().amax() / 127
    return (x / scale).round() * scale


@pytest.mark.parametrize("bias", [False, True])
@torch.no_grad()
def test_outputs_stay_and_channels_become_even(bias):
    model, x = layer(bias), torch.randn(64, 16, generator=torch.Generator().manual_seed(1))
    even = smoothed(model, [(x[:32],), (x[32:],)])
    torch.testing.assert_close(even(x), model(x), rtol=1e-4, atol=1e-4)
    before, after = (hidden(each, x).abs().amax(dim=0) for each in (model, even))
    assert (before.amax() / before.median()) > 20 > 5 > (after.amax() / after.median())
    lost = [
        (each[0].fc2(rounded(hidden(each, x))) - model(x)).abs().mean() for each in (model, even)
    ]
    assert lost[1] < lost[0] / 2


@torch.no_grad()
def test_the_model_itself_is_left_alone_and_a_silent_channel_does_no_harm():
    model, x = layer(bias=False), torch.randn(8, 16)
    with torch.no_grad():
        model[0].fc1.weight[40] = 0
    weights = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    even = smoothed(model, [(x,)])
    assert torch.isfinite(even(x)).all()
    torch.testing.assert_close(even(x), model(x), rtol=1e-4, atol=1e-4)
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, weights[name])
    assert not model[0].fc2._forward_pre_hooks and not even[0].fc2._forward_pre_hooks
