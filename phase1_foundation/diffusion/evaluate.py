"""A diffusion model's results: how far its pictures are from real ones, and pictures to look at."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from data.picture_batches import to_pixels
from data.pictures import PictureData, arrays
from phase1_foundation.diffusion import floors
from phase1_foundation.diffusion.model import DiffusionModel
from phase1_foundation.diffusion.objective import Denoise, batches
from phase1_foundation.diffusion.samplers import falling_times
from phase1_foundation.train_diffusion import DiffusionTrainConfig
from shared import hardware
from shared.artifact import Artifact
from shared.config import override
from shared.errors import VermeilError
from shared.grids import enlarged, grid, png
from shared.metrics import image_networks
from shared.metrics.image import nearest_neighbours
from shared.metrics.image_evaluation import (
    Score,
    evaluate_pictures,
    real_against_real,
    reference_statistics,
)
from shared.results import Row, curve, images

NETWORKS: dict[str, Callable[[], image_networks.FeatureNetwork]] = {
    "efficientnet_lite0": lambda: image_networks.efficientnet_lite0(size=128),  # 4 times faster
    "inception_v3": lambda: image_networks.inception_v3(),
}
BATCH_SIZE = 64
FLOOR_PICTURES = 256  # KID does not depend on how many there are, and they cost as much as ours
GUIDANCE = (1.0, 1.5, 2.5, 4.0)
SHOWN = 9  # pictures in each row of a sheet
BINS = 10


@dataclass(frozen=True)
class Measured:
    """What the report shows of a diffusion model."""

    rows: list[Row]
    exhibits: list[dict[str, Any]]


def measure(
    model: DiffusionModel, pictures: PictureData, config: Any, *, artifact: str, preset: str,
    precision: str,
) -> Measured:  # fmt: skip
    """Draw `config.pictures` pictures with the classes of the training set, and measure them."""
    model.eval()
    train = arrays(pictures, "train", config.size)
    test = arrays(pictures, "test", config.size)
    draw = Artist(model, config, precision)
    random = np.random.default_rng(config.seed)
    labels = torch.from_numpy(random.choice(train.labels, config.pictures))
    start = time.perf_counter()
    drawn = draw(labels)
    seconds = time.perf_counter() - start
    rows = []
    for name in config.networks:
        common = {"step": "diffusion", "split": "train", "artifact": artifact, "preset": preset}
        rows += distances(name, drawn, train.pixels, model, draw.protocol, common)
    rows.append(
        Row(step="diffusion", metric="pictures_per_second", value=len(drawn) / seconds,
            unit="picture/s", better="higher", n=len(drawn), protocol=draw.protocol, split=None,
            artifact=artifact, preset=preset)
    )  # fmt: skip
    exhibits = [
        guidance_sheets(draw),
        neighbours(drawn[:SHOWN], train.pixels),
        denoising(draw),
        loss_by_time(model, config, test.pixels, test.labels),
    ]
    return Measured(rows, exhibits)


class Artist:
    """Draws labels as a run's configuration says: solver, steps, guidance and number format."""

    def __init__(self, model: DiffusionModel, config: Any, precision: str):
        self.model, self.config = model, config
        self.dtype = torch.bfloat16 if precision == "bf16" else None
        self.protocol = (
            f"{config.solver}, {config.sampler_steps} steps, guidance {config.guidance_scale:g}, "
            f"overshoot {config.overshoot:g}, {precision}"
        )

    def __call__(self, labels: Int[Tensor, " n"], **changes: Any) -> floors.Pixels:
        """Pictures (N, H, W, 3) uint8; seeds are their places."""
        device = self.model.null.device
        options = self.config.drawing | changes
        made = []
        for start in range(0, len(labels), BATCH_SIZE):
            part = labels[start : start + BATCH_SIZE].to(device)
            with torch.autocast(device.type, self.dtype, enabled=self.dtype is not None):
                condition = self.model.condition(part)
                seeds = range(start, start + len(part))
                made.append(to_pixels(self.model.draw(condition, seeds=seeds, **options)))
        return np.concatenate(made)


def distances(
    name: str, drawn: floors.Pixels, real: floors.Pixels, model: DiffusionModel, protocol: str,
    common: dict[str, Any],
) -> list[Row]:  # fmt: skip
    """The rows of one network: every metric beside its floors, and real pictures as the ceiling."""
    start = time.perf_counter()
    try:
        network = NETWORKS[name]()
    except VermeilError as error:  # its weights come in a package of their own
        return [
            Row(metric=f"kid_{name}", value=None, unit="", better="lower", n=len(drawn),
                protocol=protocol, note=f"{error.message}: {error.hint}", **common)
        ]  # fmt: skip
    reference = reference_statistics(channels_first(real), network)
    scores = evaluate_pictures(channels_first(drawn), reference)
    n = min(FLOOR_PICTURES, len(real))
    simple: dict[str, Callable[[], floors.Pixels]] = {
        "pca_gaussian": lambda: floors.pca_gaussian(real, n),
        "blurred": lambda: floors.blurred(real, n),
        "init": lambda: floors.untrained(model, n),
    }
    found = {
        floor: evaluate_pictures(channels_first(make()), reference)
        for floor, make in simple.items()
    }
    ceiling = real_against_real(reference, min(len(drawn), reference.n // 2))
    seconds = round(time.perf_counter() - start, 1)

    def row(metric: str, score: Score) -> Row:
        return Row(
            metric=metric, value=score.value, unit="", better=score.better, n=score.n,
            low=score.low, high=score.high, protocol=f"{score.protocol}; {protocol}",
            baselines={floor: values[metric].value for floor, values in found.items()},
            ceilings={"real": ceiling[metric].value}, seconds=seconds,
            note=f"floors at n = {n}" if "kid" not in metric and n != score.n else "", **common,
        )  # fmt: skip

    return [row(metric, score) for metric, score in scores.items()]


def channels_first(pixels: floors.Pixels) -> Tensor:
    """(N, H, W, 3) -> (N, 3, H, W), as metrics take them."""
    return torch.from_numpy(np.array(pixels)).permute(0, 3, 1, 2)


def guidance_sheets(draw: Artist) -> dict[str, Any]:
    """The same seeds at several guidance scales: clearer and less varied from left to right."""
    labels = torch.arange(4 * SHOWN) % len(draw.model.config.classes)
    scales = GUIDANCE if draw.model.config.condition_dropout else (1.0,)
    items = [(f"guidance {scale:g}", sheet(draw(labels, guidance_scale=scale))) for scale in scales]
    return images("What it draws, by guidance", items, columns=2)


def neighbours(drawn: floors.Pixels, real: floors.Pixels) -> dict[str, Any]:
    """Above what was drawn, below the training picture whose pixels are nearest: is it a copy?"""
    flat = [torch.from_numpy(np.array(p)).flatten(1) for p in (drawn, real)]
    nearest = nearest_neighbours(flat[0], flat[1]).index[:, 0].numpy()
    both = np.concatenate([drawn, real[nearest]])
    return images("Drawn, and the nearest training picture", [("", sheet(both))], columns=1)


def denoising(draw: Artist) -> dict[str, Any]:
    """What the model believes the picture to be, from noise on the left to the end."""
    model = draw.model
    labels = torch.arange(4) % len(model.config.classes)
    beliefs: list[Tensor] = []
    with torch.inference_mode():
        condition = model.condition(labels)
        guided = model.denoiser(
            condition, draw.config.guidance_scale, overshoot=draw.config.overshoot
        )
        x = torch.stack([model.noise(seed) for seed in range(len(labels))])
        times = falling_times(model.path, SHOWN)
        for now, after in pairwise(times):
            t = now.expand(len(x))
            beliefs.append(guided(x, t))
            x = x + (after - now) * model.path.velocity(beliefs[-1], x, t)
    strip = to_pixels(torch.stack(beliefs, dim=1).flatten(0, 1))  # rows are pictures
    return images("From noise to a picture", [("", sheet(strip))], columns=1)


def loss_by_time(
    model: DiffusionModel, config: Any, pixels: floors.Pixels, labels: np.ndarray
) -> dict[str, Any]:
    """The error of the network's answer by how much noise there is, on pictures never seen."""
    objective = Denoise(model, config)
    [(x, labels_), *_] = batches(pixels[:BATCH_SIZE], labels[:BATCH_SIZE], BATCH_SIZE)
    middles = (torch.arange(BINS) + 0.5) / BINS
    torch.manual_seed(0)
    with torch.inference_mode():
        condition = model.condition(labels_)
        losses = [
            objective.errors(x, condition, middle.expand(len(x)), torch.randn_like(x)).mean().item()
            for middle in middles
        ]
    series = {"held-out pictures": (middles.tolist(), losses)}
    return curve("Error by time", "time (0: picture, 1: noise)", "squared error", series)


def sheet(pixels: floors.Pixels) -> bytes:
    """Pictures as one PNG, in rows of nine, each pixel three wide."""
    return png(enlarged(grid(list(pixels), SHOWN), 3))


def evaluate(artifact: Artifact) -> list[Row]:
    """Draw with a published diffusion model and measure again."""
    import data

    hardware.set_threads(0)
    manifest = artifact.manifest
    config = override(DiffusionTrainConfig(), manifest["config"])
    device, pictures = hardware.device_name(), data.load_pictures(config.data)
    model = DiffusionModel.from_pretrained(artifact, device)
    precision = config.precision
    if precision == "auto":
        test = arrays(pictures, "test", config.size)
        batch, *_ = batches(test.pixels[:BATCH_SIZE], test.labels[:BATCH_SIZE], BATCH_SIZE)
        loss = Denoise(model, config).loss
        precision, _ = hardware.faster_precision(loss, batch, device=device)
    return measure(
        model, pictures, config, artifact=artifact.id, preset=manifest["preset"],
        precision=precision,
    ).rows  # fmt: skip
