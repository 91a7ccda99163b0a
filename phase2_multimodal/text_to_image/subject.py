"""Who is measured, and what is measured of any drawings, whatever they should show."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from data.pictures import PictureData
from phase1_foundation.diffusion import floors
from phase1_foundation.diffusion.evaluate import NETWORKS, channels_first
from phase2_multimodal.text_to_image.draw import Artist
from shared.errors import VermeilError
from shared.grids import enlarged, grid, png
from shared.metrics.image_evaluation import (
    LEAST,
    Statistics,
    evaluate_pictures,
    real_against_real,
    reference_statistics,
)
from shared.results import Row, images

FLOOR_PICTURES = 128  # KID does not depend on how many there are, and they cost as much as ours
SHOWN = 12  # prompts on a sheet: the first ones, whatever became of them
GUIDANCE = (1.0, 3.0, 6.0)


@dataclass(frozen=True)
class Measured:
    """What the report shows of a model."""

    rows: list[Row]
    exhibits: list[dict[str, Any]]


@dataclass(frozen=True)
class Subject:
    """Who is measured on which pictures, and what the rows of its results have in common."""

    draw: Artist
    pictures: PictureData
    artifact: str
    preset: str

    def row(self, metric: str, value: float | None, **fields: Any) -> Row:
        """A row of this step."""
        return Row(step="text_to_image", metric=metric, value=value, artifact=self.artifact,
                   preset=self.preset, **fields)  # fmt: skip

    def timed(self, asked: Sequence[str]) -> tuple[floors.Pixels, Row]:
        """A drawing of each prompt, and how fast they were drawn."""
        start = time.perf_counter()
        drawn = self.draw(asked)
        speed = len(asked) / (time.perf_counter() - start)
        row = self.row("pictures_per_second", speed, n=len(asked), split=None, unit="picture/s",
                       better="higher", protocol=self.draw.protocol)  # fmt: skip
        return drawn, row


def distances(subject: Subject, drawn: floors.Pixels, real: floors.Pixels, split: str) -> list[Row]:
    """KID to real pictures, as each of the configured networks sees them."""
    return [
        distance(subject, drawn, real, split, network) for network in subject.draw.config.networks
    ]


def distance(
    subject: Subject, drawn: floors.Pixels, real: floors.Pixels, split: str, network: str
) -> Row:
    """KID to real pictures that nobody saw, beside what blurring leaves of some."""
    start, n, name = time.perf_counter(), len(drawn), f"kid_{network}"
    fields: dict[str, Any] = {"unit": "", "better": "lower", "split": split, "n": n}
    try:
        reference = reference_statistics(channels_first(real), NETWORKS[network]())
        score = evaluate_pictures(channels_first(drawn), reference)[name]
    except VermeilError as error:  # weights come in a package of their own; 9 are too few
        return subject.row(name, None, protocol=subject.draw.protocol,
                           note=f"{error.message}: {error.hint}", **fields)  # fmt: skip
    blurred = evaluate_pictures(
        channels_first(floors.blurred(real, min(n, FLOOR_PICTURES))), reference
    )
    return subject.row(
        name, score.value, low=score.low, high=score.high,
        protocol=f"{score.protocol}; {subject.draw.protocol}",
        baselines={"blurred": blurred[name].value}, ceilings=ceiling(reference, n, name),
        seconds=round(time.perf_counter() - start, 1), **fields,
    )  # fmt: skip


def ceiling(reference: Statistics, n: int, metric: str) -> dict[str, float | None]:
    """Real pictures against others, where there are enough for two sets."""
    n = min(n, reference.n // 2)
    return {"real": real_against_real(reference, n)[metric].value} if n >= LEAST else {}


def guidance_sheets(draw: Artist, asked: Sequence[str]) -> dict[str, Any]:
    """The same prompts and seeds at several guidance scales."""
    scales = GUIDANCE if draw.model.config.condition_dropout else (1.0,)
    items = [
        (f"guidance {scale:g}", sheet(draw(asked[:SHOWN], guidance_scale=scale)))
        for scale in scales
    ]
    return images("What it draws, by guidance", items, columns=1)


def sheet(pixels: floors.Pixels) -> bytes:
    """Pictures side by side as one PNG, each pixel three wide."""
    return png(enlarged(grid(list(pixels), SHOWN), 3))
