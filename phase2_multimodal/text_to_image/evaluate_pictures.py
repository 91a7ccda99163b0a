"""How far drawings are from real pictures with the same captions: no judge knows the truth."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from phase1_foundation.diffusion import floors
from phase2_multimodal.text_to_image import clip
from phase2_multimodal.text_to_image.captioned import held_out
from phase2_multimodal.text_to_image.subject import (
    SHOWN,
    Measured,
    Subject,
    distances,
    guidance_sheets,
)
from shared.grids import enlarged, grid, png
from shared.results import images

SHEET = 192  # screen pixels of a drawing's side, about


def measure(subject: Subject) -> Measured:
    """Draw a caption of each of some test pictures, and compare with these and as many others."""
    draw, config = subject.draw, subject.draw.config
    shown = held_out(subject.pictures, config.size, 2 * config.pictures)
    real = np.stack([talk.pixels for talk in shown])
    some = shown[: config.pictures]
    asked = [draw.prompts.shortened(talk.captions[0]) for talk in some]
    drawn, speed = subject.timed(asked)
    rows = [
        *distances(subject, drawn, real, "test"),
        *clip.scores(subject, asked, drawn, real[: len(asked)]),
        speed,
    ]
    return Measured(rows, [side_by_side(asked, drawn, real), guidance_sheets(draw, asked)])


def side_by_side(asked: Sequence[str], drawn: floors.Pixels, real: floors.Pixels) -> dict[str, Any]:
    """The first prompts with their drawings and, on the right, the pictures they were said of."""
    times = max(1, SHEET // drawn.shape[1])
    items = [
        (prompt, png(enlarged(grid([ours, theirs], 2), times)))
        for prompt, ours, theirs in zip(asked[:SHOWN], drawn, real, strict=False)
    ]
    return images("The first prompts: drawn, and the picture that was described", items, columns=3)
