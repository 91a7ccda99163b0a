"""Muon against torch's own, the two optimizers as one, and parents that learn slower or later."""

import copy

import pytest
import torch
from torch import nn
from torch.optim.lr_scheduler import LambdaLR

from shared.nn import Attention, Block, Modulation, SwiGLU
from shared.optim import Muon, Pace, Together, make_optimizer, orthogonalize, schedules
from shared.train_config import TrainConfig

SHAPES = [(12, 12), (12, 12), (30, 12), (12, 30)]


def test_orthogonalize_sets_singular_values_near_one():
    torch.manual_seed(0)
    for shape in ((3, 20, 8), (3, 8, 20)):
        values = torch.linalg.svdvals(orthogonalize(torch.randn(shape)).float())
        assert values.min() > 0.5  # the quintic trades exactness for speed
        assert values.max() < 1.5
    matrices = torch.randn(2, 8, 20)
    u, _, v = torch.linalg.svd(matrices, full_matrices=False)
    agreement = (orthogonalize(matrices) * (u @ v)).sum((-2, -1)) / 8
    assert (agreement > 0.8).all()


def test_muon_is_torchs_own():
    torch.manual_seed(0)
    ours = [nn.Parameter(torch.randn(shape)) for shape in SHAPES]
    theirs = [nn.Parameter(p.detach().clone()) for p in ours]
    settings = {"lr": 0.02, "momentum": 0.95, "weight_decay": 0.1}
    first, second = Muon(ours, **settings), torch.optim.Muon(theirs, **settings)
    for step in range(5):
        for a, b in zip(ours, theirs, strict=True):
            a.grad = torch.randn(a.shape, generator=torch.Generator().manual_seed(step))
            b.grad = a.grad.clone()
        first.step()
        second.step()
    for a, b in zip(ours, theirs, strict=True):
        # Both iterate in bf16, which keeps 8 bits; five updates of at most 0.02 * sqrt(2.5).
        torch.testing.assert_close(a, b, atol=2e-3, rtol=0)


def test_a_convolution_is_the_matrix_of_a_patch():
    torch.manual_seed(0)
    kernel = nn.Parameter(torch.randn(6, 4, 3, 3))
    matrix = nn.Parameter(kernel.detach().flatten(1).clone())
    kernel.grad = torch.randn(6, 4, 3, 3)
    matrix.grad = kernel.grad.flatten(1)
    for parameter in (kernel, matrix):
        Muon([parameter], lr=0.1, momentum=0.95, weight_decay=0.1).step()
    assert torch.equal(kernel.flatten(1), matrix)


def model() -> nn.Module:
    torch.manual_seed(0)
    block = Block(nn.RMSNorm(8), Attention(8, 2), nn.RMSNorm(8), SwiGLU(8, 16))
    return nn.ModuleDict({"embed": nn.Embedding(5, 8), "block": block})


def test_who_gets_what():
    net = model()
    net["block"].steering = Modulation(8, 40)
    optimizer = make_optimizer(net, TrainConfig(optimizer="muon", weight_decay=0.3))
    assert isinstance(optimizer, Together)
    muon, matrices, vectors = optimizer.param_groups
    assert {p.shape for p in muon["params"]} == {(24, 8), (8, 8), (32, 8), (8, 16)}
    assert [p.shape for p in matrices["params"]] == [(5, 8), (40, 8)]
    assert {p.shape for p in vectors["params"]} == {(8,), (40,)}
    assert [g["weight_decay"] for g in (muon, matrices, vectors)] == [0.3, 0.3, 0.0]


def test_together_saves_and_loads():
    def run(net, optimizer, steps):
        for step in steps:
            for p in net.parameters():
                p.grad = torch.randn(p.shape, generator=torch.Generator().manual_seed(step))
            optimizer.step()

    config = TrainConfig(optimizer="muon")
    whole, cut = model(), model()
    run(whole, make_optimizer(whole, config), range(6))
    first = make_optimizer(cut, config)
    run(cut, first, range(3))
    state = copy.deepcopy(first.state_dict())
    second = make_optimizer(cut, config)
    second.load_state_dict(state)
    schedule = torch.optim.lr_scheduler.LambdaLR(second, lambda step: 1.0)
    run(cut, second, range(3, 6))
    schedule.step()
    for a, b in zip(whole.parameters(), cut.parameters(), strict=True):
        assert torch.equal(a, b)


def test_the_schedule_reaches_every_part():
    optimizer = make_optimizer(model(), TrainConfig(optimizer="muon", learning_rate=0.004))
    torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 0.5)
    rates = [group["lr"] for part in optimizer.parts for group in part.param_groups]
    assert rates == pytest.approx([0.01, 0.002, 0.002])


PACES = {"embed.": Pace(0.0), "block.": Pace(0.5, 3)}


def trained(kind: str, paces, steps: int = 6, cut: int | None = None) -> nn.Module:
    """A model after some steps of made-up gradients; at `cut` all is saved and loaded anew."""
    config = TrainConfig(steps=10, optimizer=kind, warmup=2, cooldown=0.2, weight_decay=0.3)

    def optimizer_of(net):
        optimizer = make_optimizer(net, config, paces)
        return optimizer, LambdaLR(optimizer, schedules(optimizer, config))

    net = model()
    optimizer, schedule = optimizer_of(net)
    for step in range(steps):
        if step == cut:
            states = copy.deepcopy([part.state_dict() for part in (net, optimizer, schedule)])
            net = model()
            optimizer, schedule = optimizer_of(net)
            for part, state in zip((net, optimizer, schedule), states, strict=True):
                part.load_state_dict(state)
        for p in net.parameters():
            p.grad = torch.randn(p.shape, generator=torch.Generator().manual_seed(step))
        optimizer.step()
        schedule.step()
    return net


def weights(net: nn.Module, start: str) -> list[torch.Tensor]:
    return [p.detach() for name, p in net.named_parameters() if name.startswith(start)]


def alike(one: nn.Module, two: nn.Module, start: str) -> bool:
    pairs = zip(weights(one, start), weights(two, start), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


def none_alike(one: nn.Module, two: nn.Module, start: str) -> bool:
    return not any(map(torch.equal, weights(one, start), weights(two, start)))


@pytest.mark.parametrize("kind", ["adamw", "muon"])
def test_a_pace_of_zero_freezes_and_the_rest_learns_as_without(kind):
    plain, frozen = trained(kind, None), trained(kind, {"embed.": Pace(0.0)})
    assert alike(frozen, model(), "embed.")
    assert alike(frozen, plain, "block.")
    assert none_alike(plain, model(), "")


@pytest.mark.parametrize("kind", ["adamw", "muon"])
def test_a_pace_begins_when_it_says(kind):
    before, after = (trained(kind, {"block.": Pace(1.0, 3)}, steps) for steps in (3, 4))
    assert alike(before, model(), "block.")
    assert none_alike(after, model(), "block.")
    assert alike(after, trained(kind, None, 4), "embed.")


@pytest.mark.parametrize("kind", ["adamw", "muon"])
def test_paces_of_one_are_no_paces(kind):
    assert alike(trained(kind, {"block.": Pace(), "embed.": Pace(1.0, 0)}), trained(kind, None), "")


@pytest.mark.parametrize("kind", ["adamw", "muon"])
def test_resuming_keeps_the_paces(kind):
    assert alike(trained(kind, PACES), trained(kind, PACES, cut=2), "")
    assert alike(trained(kind, PACES), trained(kind, PACES, cut=4), "")


def test_rates_by_hand():
    """Warm-up of 2 and cooldown of 2 in 10 steps; half the rate, from step 3 on, for the block."""
    config = TrainConfig(steps=10, warmup=2, cooldown=0.2, learning_rate=0.01)
    net = model()
    optimizer = make_optimizer(net, config, PACES)
    block = {id(p) for p in net["block"].parameters()}
    for group, factor in zip(optimizer.param_groups, schedules(optimizer, config), strict=True):
        rates = [factor(step) for step in range(10)]
        if {id(p) for p in group["params"]} & block:
            assert rates == [0, 0, 0, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.25]
        else:
            assert rates == [0] * 10
    free, *_ = schedules(make_optimizer(net, config), config)
    assert [free(step) for step in range(10)] == [0.5, 1, 1, 1, 1, 1, 1, 1, 1, 0.5]
