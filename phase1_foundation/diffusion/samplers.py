"""From noise to a picture: solvers of a path's differential equation.

A solver gets a denoiser, (x_t, t) -> the picture it believes in, and falling times. `euler` and
`dpm_solver` ask it once a step, `heun` twice.
"""

from collections.abc import Callable
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor

from phase1_foundation.diffusion.paths import DDPM, Path, Pictures, Time

Denoiser = Callable[[Pictures, Time], Pictures]
Solver = Callable[[Denoiser, Path, Pictures, Float[Tensor, " n"]], Pictures]


def falling_times(path: Path, steps: int, device: torch.device | None = None) -> Tensor:
    """steps + 1 times from noise to the picture, evenly spaced; (steps + 1,) float32.

    DDPM's noise rate rises with time, so its steps are shortest towards the picture (squares, as
    Karras et al., 2022, space them).
    """
    times = torch.linspace(1, 0, steps + 1, device=device)
    return times**2 if isinstance(path, DDPM) else times


def euler(denoiser: Denoiser, path: Path, x: Pictures, times: Float[Tensor, " n"]) -> Pictures:
    """First order: follow the velocity at the start of each step."""
    for now, after in pairwise(times):
        t = now.expand(len(x))
        x = x + (after - now) * path.velocity(denoiser(x, t), x, t)
    return x


def heun(denoiser: Denoiser, path: Path, x: Pictures, times: Float[Tensor, " n"]) -> Pictures:
    """Second order: the mean of a step's first and last velocity (Karras et al., 2022, alg. 1).

    The last step ends where there is no noise and the velocity is not defined: it is Euler's.
    """
    for now, after in pairwise(times):
        t, end = now.expand(len(x)), after.expand(len(x))
        first = path.velocity(denoiser(x, t), x, t)
        guess = x + (after - now) * first
        if after > 0:
            second = path.velocity(denoiser(guess, end), guess, end)
            guess = x + (after - now) * (first + second) / 2
        x = guess
    return x


def dpm_solver(denoiser: Denoiser, path: Path, x: Pictures, times: Float[Tensor, " n"]) -> Pictures:
    """Second order, one question a step: DPM-Solver++(2M) (Lu et al., 2022, alg. 2).

    In log(alpha / sigma) the equation's linear part is solved exactly; the denoised picture is
    extrapolated from this step's and the last one's.
    """
    alpha, sigma = path.alpha_sigma(times)
    log_snr = alpha.log() - sigma.log()  # -inf at pure noise, +inf at the picture
    before = None
    for i in range(len(times) - 1):
        denoised = denoiser(x, times[i].expand(len(x)))
        step, estimate = log_snr[i + 1] - log_snr[i], denoised
        if before is not None and torch.isfinite(step) and torch.isfinite(log_snr[i - 1]):
            ratio = (log_snr[i] - log_snr[i - 1]) / step
            estimate = denoised + (denoised - before) / (2 * ratio)
        keep = sigma[i + 1] / sigma[i]
        x = keep * x + (alpha[i + 1] - keep * alpha[i]) * estimate
        before = denoised
    return x


SOLVERS: dict[str, Solver] = {"euler": euler, "heun": heun, "dpm": dpm_solver}
