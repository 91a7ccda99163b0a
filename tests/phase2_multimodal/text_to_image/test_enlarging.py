"""Enlarged, phase 1's model believes of the whole what it believed of small pictures."""

import dataclasses

import pytest
import torch

from phase1_foundation.diffusion.dit import DiT
from phase1_foundation.diffusion.model import DiffusionModel
from phase1_foundation.diffusion.paths import FlowMatching
from phase2_multimodal.text_to_image.enlarging import DETAIL, Enlarging, at_size, small_again
from phase2_multimodal.text_to_image.listening import listening
from shared.errors import VermeilError


def enlarged(x: torch.Tensor, times: int) -> torch.Tensor:
    return x.repeat_interleave(times, -1).repeat_interleave(times, -2)


def stem(model, x: torch.Tensor) -> torch.Tensor:
    network = model.network
    if isinstance(network, DiT):
        return network.embed(x)
    return network.stem(torch.nn.functional.pixel_unshuffle(x, network.patch))


@pytest.mark.parametrize("kind", ["unet", "dit"])
@pytest.mark.parametrize("times", [2, 3])
def test_an_enlarged_picture_gets_the_enlarged_answer(painter, kind, times):
    parent, x, t = painter(kind), torch.randn(2, 3, 8, 8), torch.tensor([0.2, 0.7])
    larger = at_size(parent, 8 * times)
    assert larger.config.patch == times * parent.config.patch
    torch.testing.assert_close(
        stem(larger, enlarged(x, times)), stem(parent, x), atol=1e-5, rtol=1e-5
    )
    tokens = parent.condition(torch.tensor([0, 1])).tokens
    answer = larger(enlarged(x, times), t, tokens)
    torch.testing.assert_close(answer, enlarged(parent(x, t, tokens), times), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("kind", ["unet", "dit"])
def test_details_reach_the_first_layer(painter, kind):
    """Two pictures with the same means: without random differences it could not tell them apart."""
    larger = at_size(painter(kind), 16)
    checks = torch.tensor([[1.0, -1.0], [-1.0, 1.0]]).repeat(8, 8).expand(1, 3, -1, -1)
    assert (stem(larger, checks) - stem(larger, 0 * checks)).abs().mean() > 0.01


def test_the_same_size_is_the_same_model(painter):
    parent = painter("unet")
    again = at_size(parent, 8)
    for name, weight in parent.state_dict().items():
        torch.testing.assert_close(again.state_dict()[name], weight)


@pytest.mark.parametrize("kind", ["unet", "dit"])
def test_a_larger_model_is_small_again(painter, kind):
    """After any change: the mean of what it answers enlarged pictures."""
    larger = listening(at_size(painter(kind), 16))
    for parameter in larger.parameters():
        parameter.data += 0.02 * torch.randn_like(parameter)
    small = small_again(larger, 2)
    assert small.config == painter(kind).config
    x, t = torch.randn(2, 3, 8, 8), torch.tensor([0.2, 0.7])
    tokens = larger.condition(torch.tensor([0, 1])).tokens
    answer = torch.nn.functional.avg_pool2d(larger(enlarged(x, 2), t, tokens), 2)
    torch.testing.assert_close(small(x, t, tokens), answer, atol=1e-5, rtol=1e-4)


def test_a_size_that_is_no_multiple_is_refused(painter):
    with pytest.raises(VermeilError, match="of 8 pixels cannot become one of 12"):
        at_size(painter("unet"), 12)


@pytest.mark.parametrize("change", [{"prediction": "x"}, {"path": "ddpm", "prediction": "x"}])
def test_only_the_straight_path_is_enlarged(painter, change):
    parent = DiffusionModel(dataclasses.replace(painter("unet").config, **change))
    with pytest.raises(VermeilError, match="predicts x cannot be enlarged"):
        at_size(parent, 16)
    assert at_size(parent, 8).config == parent.config


def test_of_an_enlarged_picture_the_same_is_believed_as_of_the_small_one(painter):
    """x_t = w z, z at time s with s / (1 - s) half of t / (1 - t): half of the noise is left."""
    parent, flow, times = painter("unet"), FlowMatching("velocity"), 2
    larger, rule = at_size(parent, 16), Enlarging(times)
    z, t = torch.randn(2, 3, 8, 8), torch.tensor([0.3, 0.9])
    s = t / (2 - t)
    tokens = parent.condition(torch.tensor([0, 1])).tokens
    small = flow.denoised(parent(z, s, tokens), z, s)
    x_t = enlarged(z, times) * (1 - t / 2)[:, None, None, None]
    seen, time = rule.seen(x_t, t)
    torch.testing.assert_close(time, s)
    torch.testing.assert_close(seen, enlarged(z, times))
    velocity = rule.velocity(larger(seen, time, tokens), x_t, t)
    torch.testing.assert_close(
        flow.denoised(velocity, x_t, t), enlarged(small, times), atol=1e-5, rtol=1e-4
    )


@pytest.mark.parametrize("t", [0.05, 0.5, 0.95])
def test_no_other_linear_rule_is_nearer_to_the_details(t):
    """Details of variance DETAIL under noise: the least squares of a large sample."""
    torch.manual_seed(0)

    def centred(x):
        return x - enlarged(torch.nn.functional.avg_pool2d(x, 2), 2)

    # A pixel's difference from the mean of four has 3/4 of what it had.
    detail = centred(torch.randn(1, 3, 256, 256)) * (DETAIL / 0.75) ** 0.5
    noise = centred(torch.randn(1, 3, 256, 256)) / 0.75**0.5
    y = (1 - t) * detail + t * noise
    best = (y * (noise - detail)).sum() / (y * y).sum()
    c = Enlarging(2).velocity(torch.zeros_like(y), y, torch.tensor([t])) / y
    torch.testing.assert_close(c.median(), best, rtol=0.03, atol=0.01)


def test_nothing_changes_where_nothing_is_enlarged():
    x, t = torch.randn(3, 3, 8, 8), torch.tensor([0.001, 0.37, 1.0])
    rule, output = Enlarging(1), torch.randn(3, 3, 8, 8)
    seen, time = rule.seen(x, t)
    assert torch.equal(seen, x) and torch.equal(time, t)
    assert torch.equal(rule.velocity(output, x, t), output)
