"""From prompts to pictures."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import UInt8

from data.picture_batches import to_pixels
from phase1_foundation.diffusion.model import Condition, Predict, guided
from phase1_foundation.diffusion.paths import Pictures
from phase1_foundation.diffusion.samplers import SOLVERS, falling_times
from phase1_foundation.language.tokenizer import Tokenizer
from phase2_multimodal.text_to_image import inside
from phase2_multimodal.text_to_image.model import TextToImageModel
from phase2_multimodal.text_to_image.prompts import Prompts
from shared.errors import VermeilError

BATCH_SIZE = 64


@torch.inference_mode()
def draw(
    model: TextToImageModel,
    prompts: Prompts,
    asked: Sequence[str],
    *,
    seeds: Sequence[int],
    negative_prompt: str = "",
    guidance_scale: float = 3.0,
    steps: int = 20,
    solver: Literal["euler", "heun", "dpm"] = "dpm",
    overshoot: float = 0.0,
    predict: Predict | None = None,
) -> Pictures:
    """Pictures (B, 3, size, size) in [-1, 1], one a prompt; row i is seeds[i]'s in any batch.

    Guidance leads away from what the negative prompt would draw; an empty one is what the model
    draws unasked. `predict` stands in for the network, e.g. the same one with fewer bits.
    VermeilError for a prompt that is too long.
    """
    if guidance_scale != 1 and not model.config.condition_dropout:
        raise VermeilError(
            f"guidance {guidance_scale:g} needs a model that draws without a prompt, and this one "
            "never trained without",
            "guidance 1, or train with --condition_dropout 0.1",
        )
    diffusion, device = model.diffusion, model.empty.device
    wanted, unwanted = conditions(model, prompts, asked, negative_prompt)
    denoise = guided(predict or model, diffusion.path, wanted, unwanted, guidance_scale,
                     overshoot=overshoot)  # fmt: skip
    noise = torch.stack([diffusion.noise(seed) for seed in seeds]).to(device)
    times = model.shifted(falling_times(diffusion.path, steps, device))
    return SOLVERS[solver](denoise, diffusion.path, noise, times).clamp(-1, 1)


def conditions(
    model: TextToImageModel, prompts: Prompts, asked: Sequence[str], negative_prompt: str
) -> tuple[Condition, Condition]:
    """What is asked for, and for each what guidance leads away from."""
    texts = [*asked, *[negative_prompt] * len(asked)]
    empty = torch.tensor([not text.strip() for text in texts])
    text = model.read(prompts(texts).to(model.empty.device)).without(empty, model.empty)
    assert text.mask is not None
    halves = zip(text.tokens.chunk(2), text.mask.chunk(2), strict=True)
    wanted, unwanted = (Condition(*half) for half in halves)
    return wanted, unwanted


def load(folder: Path, device: str) -> tuple[TextToImageModel, Prompts]:
    """A saved model, or the one inside a larger model, and what reads its prompts."""
    if inside.is_inside(folder):
        model = inside.load(folder, device)
    else:
        model = TextToImageModel.from_pretrained(folder, device)
    reads_tokens = model.config.text_encoder == "lm"
    tokenizer = Tokenizer.from_pretrained(folder) if reads_tokens else None
    return model, Prompts.of(model.config, tokenizer)


class Artist:
    """Draws prompts as a run's configuration says: solver, steps, guidance and number format."""

    def __init__(self, model: TextToImageModel, prompts: Prompts, config: Any, precision: str):
        self.model, self.prompts, self.config, self.precision = model, prompts, config, precision
        self.dtype = torch.bfloat16 if precision == "bf16" else None
        self.protocol = (
            f"{config.solver}, {config.sampler_steps} steps, guidance {config.guidance_scale:g}, "
            f"overshoot {config.overshoot:g}, {precision}"
        )

    def __call__(self, asked: Sequence[str], **changes: Any) -> UInt8[np.ndarray, "n h w 3"]:
        """One picture a prompt; seeds are their places."""
        options, device = self.config.drawing | changes, self.model.empty.device
        made = []
        for start in range(0, len(asked), BATCH_SIZE):
            part = asked[start : start + BATCH_SIZE]
            seeds = range(start, start + len(part))
            with torch.autocast(device.type, self.dtype, enabled=self.dtype is not None):
                made.append(to_pixels(draw(self.model, self.prompts, part, seeds=seeds, **options)))
        return np.concatenate(made)
