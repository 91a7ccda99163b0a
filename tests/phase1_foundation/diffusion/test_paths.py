"""Paths: the algebra between picture, noise and what the network says, and peers' schedules."""

import numpy as np
import pytest
import torch

from phase1_foundation.diffusion.paths import DDPM, FlowMatching, Path
from shared.draws import Draws
from shared.errors import VermeilError

EVERY = [FlowMatching("velocity"), FlowMatching("x"), DDPM("epsilon"), DDPM("x")]


def drawn(t: torch.Tensor, path: Path) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    torch.manual_seed(0)
    x, noise = torch.randn(2, len(t), 3, 4, 4, dtype=torch.float64)
    return x, noise, path.noisy(x, noise, t)


@pytest.mark.parametrize("path", EVERY, ids=lambda p: f"{type(p).__name__}-{p.prediction}")
def test_the_right_answer_gives_the_picture_back(path):
    t = torch.tensor([0.02, 0.3, 0.7, 0.98], dtype=torch.float64)
    x, noise, x_t = drawn(t, path)
    torch.testing.assert_close(path.denoised(path.target(x, noise, t), x_t, t), x)


@pytest.mark.parametrize("path", EVERY, ids=lambda p: f"{type(p).__name__}-{p.prediction}")
def test_the_velocity_is_the_slope_of_the_path(path):
    t, h = torch.tensor([0.1, 0.5, 0.9], dtype=torch.float64), 1e-6
    x, noise, x_t = drawn(t, path)
    slope = (path.noisy(x, noise, t + h) - path.noisy(x, noise, t - h)) / (2 * h)
    torch.testing.assert_close(path.velocity(x, x_t, t), slope, atol=1e-6, rtol=1e-6)


def test_ends_are_the_picture_and_noise():
    ends = torch.tensor([0.0, 1.0])
    alpha, sigma = FlowMatching("velocity").alpha_sigma(ends)
    assert alpha.tolist() == [1, 0]
    assert sigma.tolist() == [0, 1]
    alpha, sigma = DDPM("epsilon").alpha_sigma(ends)
    assert (alpha**2 + sigma**2).tolist() == pytest.approx([1, 1])
    assert alpha[1] < 0.01


def test_the_ddpm_path_is_the_limit_of_ho_s_thousand_steps():
    betas = np.linspace(1e-4, 0.02, 1000)
    cumulative = np.cumprod(1 - betas)
    alpha, _ = DDPM("epsilon").alpha_sigma(torch.linspace(0.001, 1, 1000, dtype=torch.float64))
    np.testing.assert_allclose(alpha.numpy() ** 2, cumulative, atol=2e-3)


def test_min_snr_weighs_an_error_of_x_at_most_five():
    """Hang et al., 2023, eq. 8: the same loss whether x or the noise is predicted."""
    t = torch.tensor([0.01, 0.2, 0.5, 0.9], dtype=torch.float64)
    x, noise, x_t = drawn(t, DDPM("x"))
    wrong = x + 0.1
    alpha, sigma = DDPM("x").alpha_sigma(t)
    as_noise = (x_t - alpha.view(-1, 1, 1, 1) * wrong) / sigma.view(-1, 1, 1, 1)
    by_x = DDPM("x").weight(t) * (wrong - x).square().mean((1, 2, 3))
    by_noise = DDPM("epsilon").weight(t) * (as_noise - noise).square().mean((1, 2, 3))
    torch.testing.assert_close(by_x, by_noise)
    expected = [min((a / s) ** 2, 5.0) * 0.01 for a, s in zip(alpha, sigma, strict=True)]
    torch.testing.assert_close(by_x, torch.stack([torch.as_tensor(e) for e in expected]))


def test_predicting_x_on_the_line_is_judged_by_velocity():
    t = torch.tensor([0.2, 0.6], dtype=torch.float64)
    x, noise, x_t = drawn(t, FlowMatching("x"))
    wrong = x + 0.1
    velocity = (x_t - wrong) / t.view(-1, 1, 1, 1)
    expected = (velocity - (noise - x)).square().mean((1, 2, 3))
    actual = FlowMatching("x").weight(t) * (wrong - x).square().mean((1, 2, 3))
    torch.testing.assert_close(actual, expected)


def test_times_of_the_line_are_logit_normal():
    torch.manual_seed(0)
    times = FlowMatching("velocity").training_times(20_000, torch.device("cpu"), Draws())
    logits = times.logit()
    assert logits.mean().item() == pytest.approx(FlowMatching.MEAN, abs=0.03)
    assert logits.std().item() == pytest.approx(1, abs=0.03)


def test_an_unknown_prediction_names_those_that_exist():
    with pytest.raises(VermeilError, match=r"no prediction 'epsilon'"):
        FlowMatching("epsilon")
