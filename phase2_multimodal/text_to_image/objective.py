"""What the model learns for, and what it draws meanwhile."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from phase2_multimodal.text_to_image.batches import Batch
from phase2_multimodal.text_to_image.draw import Artist
from phase2_multimodal.text_to_image.model import TextToImageModel
from shared.grids import enlarged, grid, png
from shared.home import write_atomically
from shared.objective import Objective
from shared.optim import Pace
from shared.results import images

EARLIEST = 1e-3  # time that is trained on


class DenoiseByPrompt(Objective):
    """Answer the path's question at a random time; some prompts are left out.

    What was left out teaches what an empty prompt draws, which guidance needs. A scene's colours
    show through almost any noise, so that only the very noisiest pictures teach to listen: times
    are even and shifted up, where phase 1's stay in the middle.
    """

    model: TextToImageModel

    def __init__(self, model: TextToImageModel, config: Any):
        super().__init__(model, config)
        self.paces = {"diffusion.": Pace(config.diffusion_rate)}

    def loss(self, batch: Batch) -> Float[Tensor, ""]:
        (pixels, tokens), model = batch, self.model
        path, draws = model.diffusion.path, self.draws
        drawn = draws.uniform(torch.empty(len(pixels), device=pixels.device))
        t = model.shifted(drawn.clamp(min=EARLIEST))
        noise = draws.normal(torch.empty_like(pixels))
        dropped = draws.uniform(torch.empty_like(t)) < model.config.condition_dropout
        text = model.read(tokens).without(dropped, model.empty)
        output = model(path.noisy(pixels, noise, t), t, text)
        errors = (output.float() - path.target(pixels, noise, t)).square().mean(dim=(1, 2, 3))
        return (path.weight(t) * errors).mean()


class SamplesInTraining:
    """Draws the same prompts with the same seeds at every stage of training."""

    PICTURES, COLUMNS = 12, 12

    def __init__(self, draw: Artist, asked: Sequence[str], folder: Path):
        self.draw, self.asked, self.folder = draw, asked, folder / "samples"

    def __call__(self, step: int) -> dict[str, np.ndarray]:
        """Draw and keep; returns label -> picture for the trackers."""
        sheet = enlarged(grid(list(self.draw(self.asked)), self.COLUMNS), 2)
        self.folder.mkdir(exist_ok=True)
        write_atomically(self.folder / f"{step:07}.png", png(sheet))
        return {"samples": sheet}

    def exhibit(self) -> dict[str, Any]:
        """The sheets in order of steps."""
        sheets = sorted(self.folder.glob("*.png"))
        items = [(f"step {int(sheet.stem):,}", sheet.read_bytes()) for sheet in sheets]
        return images("What it draws as it learns", items, columns=1)
