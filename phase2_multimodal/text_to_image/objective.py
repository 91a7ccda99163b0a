"""What the model learns from, what for, and what it draws meanwhile."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from data.picture_batches import to_tensor
from data.scene_words import captions
from data.scenes import Scenes
from phase2_multimodal.text_to_image.draw import Artist
from phase2_multimodal.text_to_image.model import TextToImageModel
from phase2_multimodal.text_to_image.prompts import Prompts
from shared.grids import enlarged, grid, png
from shared.home import write_atomically
from shared.objective import Objective
from shared.optim import Pace
from shared.results import images

EARLIEST = 1e-3  # time that is trained on

Batch = tuple[Float[Tensor, "b 3 h w"], Int[Tensor, "b s"]]


class SceneBatches:
    """Scenes with one of their captions each, made as they are needed.

    A batch depends on the seed and the step alone: however it is divided among processes, it holds
    the same scenes and words.
    """

    def __init__(
        self, scenes: Scenes, prompts: Prompts, batch_size: int, seed: int, split: str = "train"
    ):
        self.scenes, self.prompts, self.split = scenes, prompts, split
        self.batch_size, self.seed = batch_size, seed
        self.first = int(np.random.default_rng(seed).integers(scenes.length(split)))

    def rows(self, step: int, rows: slice) -> Batch:
        """Rows `rows` of the batch of that step: pictures in [-1, 1] and their prompts."""
        places = step * self.batch_size + np.arange(self.batch_size)[rows]
        pixels, texts = [], []
        for place in places.tolist():
            number = (self.first + place) % self.scenes.length(self.split)
            scene = self.scenes.scene(self.split, number)
            said, random = captions(scene), np.random.default_rng((self.seed, place))
            pixels.append(self.scenes.render(scene))
            texts.append(said[random.integers(len(said))])
        return to_tensor(np.stack(pixels)), self.prompts(texts)


def validation_batches(scenes: Scenes, prompts: Prompts, config: Any) -> list[Batch]:
    """The first scenes of the validation split."""
    size, n = config.batch_size, config.validation_pictures
    batches = SceneBatches(scenes, prompts, size, config.seed, "validation")
    return [batches.rows(step, slice(0, size)) for step in range(-(-n // size))]


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
        path, n = model.diffusion.path, len(pixels)
        t = model.shifted(torch.rand(n, device=pixels.device).clamp(min=EARLIEST))
        noise = torch.randn_like(pixels)
        dropped = torch.rand(n, device=t.device) < model.config.condition_dropout
        text = model.read(tokens).without(dropped, model.empty)
        output = model(path.noisy(pixels, noise, t), t, text)
        errors = (output.float() - path.target(pixels, noise, t)).square().mean(dim=(1, 2, 3))
        return (path.weight(t) * errors).mean()


class SamplesInTraining:
    """Draws the first test prompts with the same seeds at every stage of training."""

    PICTURES, COLUMNS = 12, 12

    def __init__(self, draw: Artist, scenes: Scenes, folder: Path):
        self.draw, self.folder = draw, folder / "samples"
        shown = (scenes.scene("test", number) for number in range(self.PICTURES))
        self.asked = [captions(scene)[0] for scene in shown]

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
