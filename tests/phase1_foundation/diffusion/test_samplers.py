"""Solvers on a case with a closed form, and against diffusers' schedulers."""

import math

import pytest
import torch

from phase1_foundation.diffusion.paths import DDPM, FlowMatching
from phase1_foundation.diffusion.samplers import (
    SOLVERS,
    dpm_solver,
    euler,
    falling_times,
    heun,
)

MEAN, SCALE = 0.7, 0.3  # pictures whose pixels are N(MEAN, SCALE^2): everything is known of them


def best_guess(path):
    """The exact denoiser of those pictures."""

    def denoise(x, t):
        alpha, sigma = (v.view(-1, 1, 1, 1) for v in path.alpha_sigma(t))
        gain = alpha * SCALE**2 / (alpha**2 * SCALE**2 + sigma**2)
        return MEAN + gain * (x - alpha * MEAN)

    return denoise


def exact(path, x, start, end):
    """The differential equation's solution: a point keeps its distance in standard deviations."""
    a, s = path.alpha_sigma(torch.tensor([start, end], dtype=torch.float64))
    spread = (a**2 * SCALE**2 + s**2).sqrt()
    return a[1] * MEAN + spread[1] * (x - a[0] * MEAN) / spread[0]


@pytest.mark.parametrize(("solver", "order"), [("euler", 1), ("heun", 2), ("dpm", 2)])
@pytest.mark.parametrize("path", [FlowMatching("velocity"), DDPM("epsilon")])
def test_halving_the_steps_divides_the_error_by_two_to_the_order(path, solver, order):
    x = torch.tensor([-1.5, -0.2, 0.8, 2.0], dtype=torch.float64).view(4, 1, 1, 1)
    start, end = 0.9, 0.1

    def error(steps: int) -> float:
        times = torch.linspace(start, end, steps + 1, dtype=torch.float64)
        made = SOLVERS[solver](best_guess(path), path, x, times)
        return (made - exact(path, x, start, end)).abs().mean().item()

    measured = math.log2(error(80) / error(160))
    assert measured == pytest.approx(order, abs=0.2)


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("path", [FlowMatching("velocity"), DDPM("epsilon")])
def test_noise_becomes_pictures_of_the_right_mean_and_spread(path, solver):
    torch.manual_seed(0)
    noise = torch.randn(2000, 1, 1, 1, dtype=torch.float64)
    times = falling_times(path, 50).double()
    made = SOLVERS[solver](best_guess(path), path, noise, times)
    assert made.mean().item() == pytest.approx(MEAN, abs=0.02)
    assert made.std().item() == pytest.approx(SCALE, rel=0.05)


def network(x, t):
    """Any function of x and t will do to compare two solvers."""
    return torch.tanh(x) * (1 - t.view(-1, 1, 1, 1)) + 0.1


def by_scheduler(scheduler, steps: int, x: torch.Tensor) -> torch.Tensor:
    """The loop that diffusers' users write; the network's output there is a velocity."""
    scheduler.set_timesteps(steps)
    for i in range(len(scheduler.timesteps)):
        if getattr(scheduler, "step_index", None) is None:
            scheduler._init_step_index(scheduler.timesteps[i])
        sigma = scheduler.sigmas[scheduler.step_index].expand(len(x))
        velocity = (x - network(x, sigma)) / sigma.view(-1, 1, 1, 1)
        x = scheduler.step(velocity, scheduler.timesteps[i], x).prev_sample
    return x


def times_of(scheduler, steps: int) -> torch.Tensor:
    scheduler.set_timesteps(steps)
    return scheduler.sigmas.unique().flip(0)


@pytest.mark.filterwarnings("ignore:__array__:DeprecationWarning")  # diffusers with numpy 2
@pytest.mark.parametrize("solver", ["euler", "heun", "dpm"])
def test_solvers_equal_those_of_diffusers(solver):
    diffusers = pytest.importorskip("diffusers")
    scheduler = {
        "euler": diffusers.FlowMatchEulerDiscreteScheduler,
        "heun": diffusers.FlowMatchHeunDiscreteScheduler,
        "dpm": lambda: diffusers.DPMSolverMultistepScheduler(
            use_flow_sigmas=True, prediction_type="flow_prediction", flow_shift=1.0,
            final_sigmas_type="zero", lower_order_final=False, euler_at_final=False,
        ),
    }[solver]()  # fmt: skip
    torch.manual_seed(0)
    x = torch.randn(2, 3, 4, 4)
    theirs = by_scheduler(scheduler, 10, x)
    ours = SOLVERS[solver](network, FlowMatching("velocity"), x, times_of(scheduler, 10))
    torch.testing.assert_close(ours, theirs, atol=2e-5, rtol=1e-4)


def test_how_often_each_solver_asks():
    asked = []

    def count(x, t):
        asked.append(float(t[0]))
        return x

    path = FlowMatching("velocity")
    for solver, expected in ((euler, 4), (heun, 7), (dpm_solver, 4)):
        asked.clear()
        solver(count, path, torch.zeros(1, 3, 2, 2), falling_times(path, 4))
        assert len(asked) == expected
        assert min(asked) > 0  # nothing is asked where there is no noise
