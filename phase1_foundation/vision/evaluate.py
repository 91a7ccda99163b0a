"""A vision encoder's results: what its frozen features know, beside pixels and random weights."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from data.picture_batches import to_tensor
from data.pictures import SPLITS, PictureArrays, PictureData, arrays
from phase1_foundation.vision.encoders import Encoder, load, untrained
from phase1_foundation.vision.objective import evenly
from phase1_foundation.vision.probes import Features, linear_probe, nearest, nearest_neighbours
from shared import hardware, results
from shared.artifact import Artifact
from shared.errors import VermeilError
from shared.glossary import metric_label
from shared.grids import enlarged, png
from shared.metrics.intervals import wilson
from shared.results import Row

BATCH_SIZE = 256
MOST = 50_000  # pictures of a split that are measured
RAW = 32  # pixels a side of the pictures that "raw_pixels" compares, at most
SHOWN = 6  # test pictures whose neighbours the report shows


@dataclass(frozen=True)
class Measured:
    """What goes into the report."""

    rows: list[Row]
    exhibits: list[dict[str, Any]]


def measure(
    model: Encoder, pictures: PictureData, size: int, *, seed: int, artifact: str, preset: str
) -> Measured:
    """Linear probe and k-NN of pooled features, top-1 accuracy of the head, and what they see.

    `seed` is the run's: it makes the random weights that training began with.
    """
    if model.config.classes not in (0, len(pictures.classes)):
        raise VermeilError(
            f"{pictures.name} has {len(pictures.classes)} classes, the model knows "
            f"{model.config.classes}",
            f"train one on it: vermeil train vision --data {pictures.name}",
        )
    start, device = time.perf_counter(), hardware.device_name()
    model.to(device).eval()
    splits = {split: evenly(arrays(pictures, split, size), MOST) for split in SPLITS}
    labels = {split: torch.from_numpy(part.labels).to(device) for split, part in splits.items()}
    ways = {"model": model.embed, "raw_pixels": raw_pixels,
            "random_init": untrained(model, seed).to(device).embed}  # fmt: skip
    features = {
        way: {split: Features(apply(see, splits[split]), labels[split]) for split in SPLITS}
        for way, see in ways.items()
    }
    probes = {
        way: linear_probe(of["train"], of["validation"], of["test"]) for way, of in features.items()
    }
    linear = {way: right for way, (right, _) in probes.items()}
    near = {way: nearest_neighbours(of["train"], of["test"]) for way, of in features.items()}
    n = f"{len(labels['train']):,} training pictures"
    found = {
        "linear_probe_accuracy": (
            f"logistic regression on {n}, penalty {probes['model'][1]:g} by validation", linear
        ),
        "knn_accuracy": (f"cosine, k = 20 of {n}, votes exp(cosine / 0.07)", near),
    }  # fmt: skip
    if model.config.classes:
        named = apply(model, splits["test"]).argmax(dim=1)
        right = {"model": named == labels["test"], "raw_pixels": linear["raw_pixels"]}
        found["top_1_accuracy"] = ("the trained head", right)
    majority = {"majority": labels["train"].mode().values == labels["test"]}
    common = {"split": "test", "artifact": artifact, "preset": preset,
              "seconds": round(time.perf_counter() - start, 1)}  # fmt: skip
    rows = [
        row(metric, right | majority, protocol=f"{size} px, {protocol}", **common)
        for metric, (protocol, right) in found.items()
    ]
    by_class = {metric: right["model"] for metric, (_, right) in found.items()}
    table = class_table(by_class, labels["test"], pictures.classes)
    return Measured(rows, [table, look_alikes(features["model"], splits)])


def raw_pixels(x: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b pixels"]:
    """The floor that knows nothing: the picture itself, large ones made smaller."""
    return F.adaptive_avg_pool2d(x, min(RAW, x.shape[-1])).flatten(1)


def row(metric: str, right: dict[str, Bool[Tensor, " n"]], **common: Any) -> Row:
    """One accuracy with its 95 % interval, and the others as its floors."""
    value = {way: of.float().mean().item() for way, of in right.items()}
    low, high = wilson(right["model"])
    floors: dict[str, float | None] = {way: of for way, of in value.items() if way != "model"}
    return Row(
        step="vision", metric=metric, value=value["model"], unit="", better="higher",
        n=len(right["model"]), low=low, high=high, baselines=floors, **common,
    )  # fmt: skip


@torch.no_grad()
def apply(way: Callable[[Tensor], Tensor], pictures: PictureArrays) -> Tensor:
    """What a function of pictures (B, 3, H, W) says of them all, in float32."""
    device, parts = hardware.device_name(), []
    for first in range(0, len(pictures.labels), BATCH_SIZE):
        batch = to_tensor(np.array(pictures.pixels[first : first + BATCH_SIZE]))
        parts.append(way(batch.to(device)).float())
    return torch.cat(parts)


def class_table(right: dict[str, Tensor], labels: Tensor, classes: Sequence[str]) -> dict[str, Any]:
    """Each class's accuracies, as an exhibit."""
    rows = []
    for label, name in enumerate(classes):
        of = labels == label
        if of.any():
            rows.append(
                [name, int(of.sum()), *(x[of].float().mean().item() for x in right.values())]
            )
    return results.table(
        "Accuracy by class", ["class", "test pictures", *map(metric_label, right)], rows
    )


def look_alikes(features: dict[str, Features], splits: dict[str, PictureArrays]) -> dict[str, Any]:
    """Some test pictures, each followed by the training pictures that the encoder finds nearest."""
    train, test = features["train"].x, features["test"].x
    shown = np.linspace(0, len(test) - 1, SHOWN).astype(int)
    _, index = nearest(train, test[torch.from_numpy(shown).to(test.device)], 7)
    items = []
    for place, close in zip(shown, index.tolist(), strict=True):
        for split, i in [("test", place), *(("train", i) for i in close)]:
            pixels, texts = splits[split].pixels[i], splits[split].texts[i]
            times = max(1, 64 // len(pixels))
            items.append((texts[0] if texts else "", png(enlarged(np.asarray(pixels), times))))
    return results.images("Test pictures, and their nearest training pictures", items, columns=8)


def evaluate(artifact: Artifact) -> list[Row]:
    """Measure a published vision encoder again."""
    import data

    hardware.set_threads(0)
    config = artifact.manifest["config"]
    return measure(
        load(artifact),
        data.load_pictures(config["data"]),
        config["size"],
        seed=config["seed"],
        artifact=artifact.id,
        preset=artifact.manifest["preset"],
    ).rows
