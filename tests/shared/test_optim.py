"""Muon against torch's own, and the two optimizers as one."""

import copy

import pytest
import torch
from torch import nn

from shared.nn import Attention, Block, Modulation, SwiGLU
from shared.optim import Muon, Together, make_optimizer, orthogonalize
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
