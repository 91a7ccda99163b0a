"""What the diffusion model is trained for, and what it draws while it learns."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from data.picture_batches import to_pixels, to_tensor
from phase1_foundation.diffusion.model import Condition, DiffusionModel
from shared.grids import enlarged, grid, png
from shared.home import write_atomically
from shared.objective import Objective
from shared.results import images


class Denoise(Objective):
    """Answer the path's question at a random time; some conditions are left out.

    What was left out teaches the unconditional model that guidance needs.
    """

    model: DiffusionModel

    def loss(self, batch: Any) -> Float[Tensor, ""]:
        pixels, labels = batch  # (B, 3, H, W), (B,)
        path, n, draws = self.model.path, len(pixels), self.draws
        t = path.training_times(n, pixels.device, draws)
        noise = draws.normal(torch.empty_like(pixels))
        dropped = draws.uniform(torch.empty_like(t)) < self.model.config.condition_dropout
        condition = self.model.without(self.model.condition(labels), dropped)
        return (path.weight(t) * self.errors(pixels, condition, t, noise)).mean()

    def errors(
        self, pixels: Tensor, condition: Condition, t: Tensor, noise: Tensor
    ) -> Float[Tensor, " b"]:
        """Mean squared error of each picture's prediction."""
        x_t = self.model.path.noisy(pixels, noise, t)
        output = self.model(x_t, t, condition.tokens, condition.mask)
        target = self.model.path.target(pixels, noise, t)
        return (output.float() - target).square().mean(dim=(1, 2, 3))


def batches(pixels: np.ndarray, labels: np.ndarray, size: int) -> list[tuple[Tensor, Tensor]]:
    """Pictures (N, H, W, 3) uint8 with labels in batches of `size`, as training sees them."""
    places = [slice(start, start + size) for start in range(0, len(pixels), size)]
    return [(to_tensor(pixels[p].copy()), torch.from_numpy(labels[p].copy())) for p in places]


class SamplesInTraining:
    """Draws the same seeds of the same classes at every stage of training."""

    PICTURES, COLUMNS = 18, 9

    def __init__(self, model: DiffusionModel, folder: Path, drawing: dict[str, Any]):
        self.model, self.folder, self.drawing = model, folder / "samples", drawing

    def __call__(self, step: int) -> dict[str, np.ndarray]:
        """Draw and keep; returns label -> picture for the trackers."""
        device = self.model.null.device
        labels = torch.arange(self.PICTURES, device=device) % len(self.model.config.classes)
        condition = self.model.condition(labels)
        drawn = self.model.draw(condition, seeds=range(len(labels)), **self.drawing)
        sheet = enlarged(grid(list(to_pixels(drawn)), self.COLUMNS), 2)
        self.folder.mkdir(exist_ok=True)
        write_atomically(self.folder / f"{step:07}.png", png(sheet))
        return {"samples": sheet}

    def exhibit(self) -> dict[str, Any]:
        """The sheets in order of steps."""
        sheets = sorted(self.folder.glob("*.png"))
        items = [(f"step {int(sheet.stem):,}", sheet.read_bytes()) for sheet in sheets]
        return images("What it draws as it learns", items, columns=2)
