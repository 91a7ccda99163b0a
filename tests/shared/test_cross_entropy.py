"""The fused cross-entropy against torch's, and its point: memory."""

import pytest
import torch
import torch.nn.functional as F

from shared import cross_entropy
from shared.cross_entropy import linear_cross_entropy


def problem(n=37, c=8, v=29):
    torch.manual_seed(0)
    hidden, weight = (torch.randn(shape, requires_grad=True) for shape in ((n, c), (v, c)))
    return hidden, weight, torch.randint(v, (n,))


@pytest.mark.parametrize("at_once", [1, 29 * 5, 29 * 37, 2**20])
def test_it_equals_torch_s_whatever_fits_at_once(monkeypatch, at_once):
    monkeypatch.setitem(cross_entropy.LOGITS_AT_ONCE, "cpu", at_once)
    hidden, weight, targets = problem()
    expected = F.cross_entropy(hidden @ weight.T, targets)
    actual = linear_cross_entropy(hidden, weight, targets)
    torch.testing.assert_close(actual, expected)
    wanted = torch.autograd.grad(3 * expected, (hidden, weight))
    torch.testing.assert_close(torch.autograd.grad(3 * actual, (hidden, weight)), wanted)


@pytest.mark.parametrize("at_once", [29 * 5, 2**20])
def test_shares_make_it_a_weighted_mean(monkeypatch, at_once):
    monkeypatch.setitem(cross_entropy.LOGITS_AT_ONCE, "cpu", at_once)
    hidden, weight, targets = problem()
    shares = torch.rand(len(targets)) * 5
    each = F.cross_entropy(hidden @ weight.T, targets, reduction="none")
    expected = (each * shares).sum() / shares.sum()
    actual = linear_cross_entropy(hidden, weight, targets, shares)
    torch.testing.assert_close(actual, expected)
    wanted = torch.autograd.grad(3 * expected, (hidden, weight))
    torch.testing.assert_close(torch.autograd.grad(3 * actual, (hidden, weight)), wanted)


def test_uniform_logits_cost_the_logarithm_of_the_vocabulary():
    loss = linear_cross_entropy(torch.zeros(4, 3), torch.randn(7, 3), torch.tensor([0, 1, 2, 6]))
    assert loss.item() == pytest.approx(1.9459101)  # ln 7


def test_autocast_multiplies_in_bf16_and_sums_in_fp32():
    hidden, weight, targets = problem(n=512, c=64, v=300)
    exact = linear_cross_entropy(hidden, weight, targets)
    with torch.autocast("cpu", torch.bfloat16):
        mixed = linear_cross_entropy(hidden, weight, targets)
    assert mixed.dtype == torch.float32
    assert mixed.item() != exact.item()
    assert mixed.item() == pytest.approx(exact.item(), rel=1e-3)
    for part in torch.autograd.grad(mixed, (hidden, weight)):
        assert part.dtype == torch.float32


def test_a_frozen_half_gets_no_gradient():
    hidden, weight, targets = problem()
    linear_cross_entropy(hidden, weight.detach(), targets).backward()
    assert hidden.grad is not None
    assert weight.grad is None
    with torch.no_grad():
        assert not linear_cross_entropy(hidden, weight, targets).requires_grad


def test_its_gradient_cannot_be_differentiated():
    hidden, weight, targets = problem()
    loss = linear_cross_entropy(hidden, weight, targets)
    (gradient,) = torch.autograd.grad(loss, hidden, create_graph=True)
    with pytest.raises(RuntimeError, match="does not require grad"):
        gradient.sum().backward()
