"""What the diffusion model is trained for."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from phase1_foundation.diffusion.model import DiffusionModel
from shared.objective import Objective
from shared.train_config import TrainConfig


class Denoise(Objective):
    """Answer the path's question at a random time; a tenth of the conditions are left out.

    What was left out teaches the unconditional model that guidance needs.
    """

    model: DiffusionModel

    def __init__(self, model: DiffusionModel, config: TrainConfig, condition_dropout: float = 0.1):
        super().__init__(model, config)
        self.condition_dropout = condition_dropout

    def loss(self, batch: Any) -> Float[Tensor, ""]:
        pixels, labels = batch  # (B, 3, H, W), (B,)
        path, n = self.model.path, len(pixels)
        t, noise = path.training_times(n, pixels.device), torch.randn_like(pixels)
        return (path.weight(t) * self.errors(pixels, labels, t, noise)).mean()

    def errors(
        self, pixels: Tensor, labels: Tensor, t: Tensor, noise: Tensor
    ) -> Float[Tensor, " b"]:
        """Mean squared error of each picture's prediction."""
        dropped = torch.rand(len(t), device=t.device) < self.condition_dropout
        condition = self.model.without(self.model.condition(labels), dropped)
        x_t = self.model.path.noisy(pixels, noise, t)
        output = self.model(x_t, t, condition.tokens, condition.mask)
        target = self.model.path.target(pixels, noise, t)
        return (output.float() - target).square().mean(dim=(1, 2, 3))
