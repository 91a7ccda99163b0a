"""Gaussian paths between a picture and noise, and what a network on them predicts.

x_t = alpha(t) x + sigma(t) noise, from the picture at t = 0 to noise at t = 1. A path says how much
of each there is at a time, which times are trained on, and what an error there weighs.
"""

from abc import ABC, abstractmethod

import torch
from jaxtyping import Float
from torch import Tensor

from shared.draws import Draws
from shared.errors import VermeilError

Time = Float[Tensor, " b"]
Pictures = Float[Tensor, "b c h w"]


class Path(ABC):
    """One way from data to noise. `prediction` names what the network's output means."""

    predictions: tuple[str, ...]

    def __init__(self, prediction: str):
        if prediction not in self.predictions:
            raise VermeilError(
                f"{type(self).__name__} has no prediction '{prediction}'",
                f"choose one of {', '.join(self.predictions)}",
            )
        self.prediction = prediction

    @abstractmethod
    def alpha_sigma(self, t: Time) -> tuple[Tensor, Tensor]:
        """How much picture and how much noise there is at time t."""

    @abstractmethod
    def rates(self, t: Time) -> tuple[Tensor, Tensor]:
        """The time derivatives of alpha and sigma."""

    @abstractmethod
    def training_times(self, n: int, device: torch.device, draws: Draws) -> Time:
        """Times at which an example is trained on, drawn at random."""

    @abstractmethod
    def weight(self, t: Time) -> Tensor:
        """What a squared error of the network's output weighs at time t."""

    def noisy(self, x: Pictures, noise: Pictures, t: Time) -> Pictures:
        alpha, sigma = self._wide(self.alpha_sigma(t))
        return alpha * x + sigma * noise

    def target(self, x: Pictures, noise: Pictures, t: Time) -> Pictures:
        """What the network should answer."""
        if self.prediction == "velocity":
            alpha_rate, sigma_rate = self._wide(self.rates(t))
            return alpha_rate * x + sigma_rate * noise
        return x if self.prediction == "x" else noise

    def denoised(self, output: Pictures, x_t: Pictures, t: Time) -> Pictures:
        """The picture that the network's output at x_t stands for."""
        if self.prediction == "x":
            return output
        alpha, sigma = self._wide(self.alpha_sigma(t))
        if self.prediction == "epsilon":
            return (x_t - sigma * output) / alpha
        alpha_rate, sigma_rate = self._wide(self.rates(t))
        return (sigma_rate * x_t - sigma * output) / (sigma_rate * alpha - sigma * alpha_rate)

    def velocity(self, denoised: Pictures, x_t: Pictures, t: Time) -> Pictures:
        """dx/dt of the path's ordinary differential equation, given the denoised picture; t > 0."""
        alpha, sigma = self._wide(self.alpha_sigma(t))
        alpha_rate, sigma_rate = self._wide(self.rates(t))
        return alpha_rate * denoised + sigma_rate * (x_t - alpha * denoised) / sigma

    @staticmethod
    def _wide(values: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        first, second = (value.view(-1, 1, 1, 1) for value in values)
        return first, second


class FlowMatching(Path):
    """The straight line (Lipman et al., 2023; Liu et al., 2023): x_t = (1 - t) x + t noise.

    Times are logit-normal, so that most work goes where neither end is in sight (Esser et al.,
    2024, 3.1). Their median lies nearer to the picture than the 0.5 of that paper: less noise hides
    a small picture (Karras et al., 2022, take 0.23 for 32 to 64 pixels). A network that
    predicts x is still judged by its velocity, (x_t - x) / t.
    """

    predictions = ("velocity", "x")
    MEAN = -0.6  # of the times' logits: their median is 0.35
    EARLIEST = 0.05  # an error of x at an earlier time weighs no more than at this one

    def alpha_sigma(self, t: Time) -> tuple[Tensor, Tensor]:
        return 1 - t, t

    def rates(self, t: Time) -> tuple[Tensor, Tensor]:
        return -torch.ones_like(t), torch.ones_like(t)

    def training_times(self, n: int, device: torch.device, draws: Draws) -> Time:
        return (draws.normal(torch.empty(n, device=device)) + self.MEAN).sigmoid()

    def weight(self, t: Time) -> Tensor:
        if self.prediction == "velocity":
            return torch.ones_like(t)
        return t.clamp(min=self.EARLIEST) ** -2


class DDPM(Path):
    """The variance-preserving diffusion of Ho et al., 2020, in continuous time.

    alpha(t)^2 + sigma(t)^2 = 1, with noise added at a rate that rises linearly (Song et al., 2021,
    eq. 32: the limit of DDPM's 1,000 steps). Errors weigh min(SNR, 5) in terms of x (Hang et al.,
    2023, Min-SNR).
    """

    predictions = ("epsilon", "x")
    BETA_MIN, BETA_MAX, GAMMA = 0.1, 20.0, 5.0
    EARLIEST = 1e-3

    def alpha_sigma(self, t: Time) -> tuple[Tensor, Tensor]:
        log_alpha = -0.25 * t**2 * (self.BETA_MAX - self.BETA_MIN) - 0.5 * t * self.BETA_MIN
        return log_alpha.exp(), (-torch.expm1(2 * log_alpha)).sqrt()

    def rates(self, t: Time) -> tuple[Tensor, Tensor]:
        alpha, sigma = self.alpha_sigma(t)
        half_beta = 0.5 * (self.BETA_MIN + t * (self.BETA_MAX - self.BETA_MIN))
        return -half_beta * alpha, half_beta * alpha**2 / sigma

    def training_times(self, n: int, device: torch.device, draws: Draws) -> Time:
        return draws.uniform(torch.empty(n, device=device)) * (1 - self.EARLIEST) + self.EARLIEST

    def weight(self, t: Time) -> Tensor:
        alpha, sigma = self.alpha_sigma(t)
        snr = (alpha / sigma) ** 2
        least = snr.clamp(max=self.GAMMA)
        return least if self.prediction == "x" else least / snr


PATHS: dict[str, type[Path]] = {"flow": FlowMatching, "ddpm": DDPM}
