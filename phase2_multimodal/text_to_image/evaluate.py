"""What a text-to-image model is worth, by what is known of the pictures it learned from."""

from typing import Any

import numpy as np
import torch

from data.pictures import arrays
from data.scenes import Scenes
from phase1_foundation.diffusion.evaluate import NETWORKS, channels_first
from phase1_foundation.diffusion.evaluate import Artist as Painter
from phase1_foundation.train_diffusion import DiffusionTrainConfig
from phase2_multimodal.text_to_image import evaluate_pictures, evaluate_scenes
from phase2_multimodal.text_to_image.draw import Artist, load
from phase2_multimodal.text_to_image.enlarging import small_again
from phase2_multimodal.text_to_image.subject import FLOOR_PICTURES, Measured, Subject
from shared import hardware
from shared.artifact import Artifact, find
from shared.config import override
from shared.errors import VermeilError
from shared.metrics.image_evaluation import evaluate_pictures as compared
from shared.metrics.image_evaluation import reference_statistics
from shared.results import Row

NETWORK = "efficientnet_lite0"  # that phase 1's tiny model was measured with


def measure(subject: Subject, parent: Artifact | None) -> Measured:
    """Draw from captions of test pictures; scenes have an exact judge, others have distances."""
    subject.draw.model.eval()
    if isinstance(subject.pictures, Scenes):
        found = evaluate_scenes.measure(subject, subject.pictures)
    else:
        found = evaluate_pictures.measure(subject)
    return Measured([*found.rows, by_class(subject, parent)], found.exhibits)


def by_class(subject: Subject, parent: Artifact | None) -> Row:
    """Phase 1's KID again: what is left of drawing by class, which nobody asked for since.

    Drawn without a prompt, as phase 1 drew and as small as its pictures were.
    """
    import data

    model, name = subject.draw.model, f"phase1_kid_{NETWORK}"
    fields: dict[str, Any] = {"unit": "", "better": "lower", "split": "train"}
    try:
        if parent is None:
            raise VermeilError("phase 1's artifact is not here", "vermeil train diffusion")
        trained = override(DiffusionTrainConfig(), parent.manifest["config"])
        real = arrays(data.load_pictures(trained.data), "train", trained.size)
        network = NETWORKS[NETWORK]()
    except VermeilError as error:
        return subject.row(name, None, n=0, protocol="", note=f"{error.message}: {error.hint}",
                           **fields)  # fmt: skip
    n = min(subject.draw.config.pictures, FLOOR_PICTURES)
    labels = np.random.default_rng(0).choice(real.labels, n)
    small = small_again(model.diffusion, model.config.enlarged)
    drawn = Painter(small, trained, subject.draw.precision)(torch.from_numpy(labels))
    reference = reference_statistics(channels_first(real.pixels), network)
    score = compared(channels_first(drawn), reference)[f"kid_{NETWORK}"]
    before = {row["metric"]: row["value"] for row in parent.manifest["metrics"]}
    return subject.row(
        name, score.value, low=score.low, high=score.high, n=len(drawn),
        protocol=f"by class, without a prompt; {score.protocol}",
        reference={"phase 1": value} if (value := before.get(f"kid_{NETWORK}")) else None,
        **fields,
    )  # fmt: skip


def evaluate(artifact: Artifact) -> list[Row]:
    """Draw with a published model and measure again."""
    from phase2_multimodal.train_text_to_image import TextToImageTrainConfig, pictures_of

    hardware.set_threads(0)
    manifest = artifact.manifest
    config = override(TextToImageTrainConfig(), manifest["config"])
    model, prompts = load(artifact.folder, hardware.device_name())
    draw = Artist(model, prompts, config, manifest["hardware"]["dtype"])
    subject = Subject(draw, pictures_of(config), artifact.id, manifest["preset"])
    return measure(subject, drawing_parent(artifact)).rows


def drawing_parent(artifact: Artifact) -> Artifact | None:
    """The diffusion model that it began as, where that still is."""
    ids = [parent["id"] for parent in artifact.manifest["parents"]]
    try:
        return find(next(id for id in ids if "/diffusion@" in id))
    except (VermeilError, StopIteration):
        return None
