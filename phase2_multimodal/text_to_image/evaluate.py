"""What the drawings show, by an independent judge, and how far they are from real pictures."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from data.pictures import arrays
from data.scene_words import captions
from data.scenes import Scenes
from phase1_foundation.diffusion import floors
from phase1_foundation.diffusion.evaluate import NETWORKS, channels_first
from phase1_foundation.diffusion.evaluate import Artist as Painter
from phase1_foundation.train_diffusion import DiffusionTrainConfig
from phase2_multimodal.text_to_image.draw import Artist, load
from phase2_multimodal.text_to_image.enlarging import small_again
from phase2_multimodal.text_to_image.judge import (
    TRUSTED,
    Truth,
    Verdict,
    about_real,
    judged,
    trained_judge,
)
from shared import hardware
from shared.artifact import Artifact, find
from shared.config import override
from shared.errors import VermeilError
from shared.grids import enlarged, grid, png
from shared.metrics.image_evaluation import (
    evaluate_pictures,
    real_against_real,
    reference_statistics,
)
from shared.metrics.intervals import wilson
from shared.results import Row, images

NETWORK = "efficientnet_lite0"
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
    """Who is measured on which scenes, and what the rows of its results have in common."""

    draw: Artist
    scenes: Scenes
    artifact: str
    preset: str

    def row(self, metric: str, value: float | None, **fields: Any) -> Row:
        """A row of this step."""
        return Row(step="text_to_image", metric=metric, value=value, artifact=self.artifact,
                   preset=self.preset, **fields)  # fmt: skip


def measure(subject: Subject, parent: Artifact | None) -> Measured:
    """Draw the first captions of test scenes, judge the drawings, compare them with real scenes."""
    draw, scenes, config = subject.draw, subject.scenes, subject.draw.config
    draw.model.eval()
    judge = trained_judge(scenes, config.judge_steps)
    rows, exhibits = [], []
    for split, n in (("test", config.pictures), ("pairs", config.pictures // 3)):
        shown = [scenes.scene(split, number) for number in range(n)]
        asked = [captions(scene)[0] for scene in shown]
        start = time.perf_counter()
        drawn = draw(asked)
        seconds = time.perf_counter() - start
        truth = Truth.of(shown, scenes.names)
        found, others = (judged(judge, drawn, each) for each in (truth, truth.rolled()))
        trust = about_real(judge, scenes, split)
        rows += accuracies(subject, split, found, others, trust)
        rows.append(judge_row(subject, split, trust))
        if split == "test":
            speed = {"unit": "picture/s", "better": "higher", "protocol": draw.protocol}
            rows += [
                distance(subject, drawn),
                subject.row("pictures_per_second", n / seconds, n=n, split=None, **speed),
            ]
            exhibits += [prompts_and_drawings(asked, drawn, found), guidance_sheets(draw, asked)]
    return Measured([*rows, by_class(subject, parent)], exhibits)


def accuracies(
    subject: Subject, split: str, found: Verdict, others: Verdict, trust: Verdict
) -> list[Row]:
    """How often the ground, and the things, are what the prompt asks for."""
    doubt = (
        f"the judge names {trust.accuracy:.1%} of real pictures right, {TRUSTED:.0%} are asked for"
        if trust.accuracy < TRUSTED
        else ""
    )
    rows = []
    for metric, part in (("object_accuracy", "things"), ("background_accuracy", "ground")):
        right, other, real = (getattr(verdict, part) for verdict in (found, others, trust))
        low, high = wilson(right)
        rows.append(
            subject.row(
                metric, None if doubt else right.float().mean().item(),
                low=None if doubt else low, high=None if doubt else high, note=doubt,
                unit="", better="higher", n=len(right), split=split,
                protocol=f"the first caption of each scene, judged; {subject.draw.protocol}",
                baselines={"shuffled_prompt": other.float().mean().item()},
                ceilings={"real": real.float().mean().item()},
            )
        )  # fmt: skip
    return rows


def judge_row(subject: Subject, split: str, trust: Verdict) -> Row:
    """How right the judge is about real pictures."""
    low, high = wilson(trust.worse)
    return subject.row(
        "judge_accuracy", trust.accuracy, low=low, high=high, unit="", better="higher",
        n=len(trust.worse), split=split,
        protocol="real pictures it never saw, the harder question",
    )  # fmt: skip


def distance(subject: Subject, drawn: floors.Pixels) -> Row:
    """KID to real scenes that nobody saw, beside what blurring leaves of some."""
    start, scenes, n = time.perf_counter(), subject.scenes, len(drawn)
    shown = (scenes.scene("validation", number) for number in range(2 * n))
    real = np.stack([scenes.render(scene) for scene in shown])
    fields: dict[str, Any] = {"unit": "", "better": "lower", "split": "validation"}
    try:
        network = NETWORKS[NETWORK]()
    except VermeilError as error:  # its weights come in a package of their own
        return subject.row(f"kid_{NETWORK}", None, n=n, protocol=subject.draw.protocol,
                           note=f"{error.message}: {error.hint}", **fields)  # fmt: skip
    reference, name = reference_statistics(channels_first(real), network), f"kid_{NETWORK}"
    score = evaluate_pictures(channels_first(drawn), reference)[name]
    blurred = evaluate_pictures(
        channels_first(floors.blurred(real, min(n, FLOOR_PICTURES))), reference
    )
    return subject.row(
        name, score.value, low=score.low, high=score.high, n=n,
        protocol=f"{score.protocol}; {subject.draw.protocol}",
        baselines={"blurred": blurred[name].value},
        ceilings={"real": real_against_real(reference, n)[name].value},
        seconds=round(time.perf_counter() - start, 1), **fields,
    )  # fmt: skip


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
    score = evaluate_pictures(channels_first(drawn), reference)[f"kid_{NETWORK}"]
    before = {row["metric"]: row["value"] for row in parent.manifest["metrics"]}
    return subject.row(
        name, score.value, low=score.low, high=score.high, n=len(drawn),
        protocol=f"by class, without a prompt; {score.protocol}",
        reference={"phase 1": value} if (value := before.get(f"kid_{NETWORK}")) else None,
        **fields,
    )  # fmt: skip


def prompts_and_drawings(
    asked: Sequence[str], drawn: floors.Pixels, found: Verdict
) -> dict[str, Any]:
    """The first prompts with their drawings, and what the judge missed in them."""
    items = []
    for prompt, picture, ground, things in zip(
        asked[:SHOWN], drawn, found.ground.tolist(), found.things.tolist(), strict=False
    ):
        missed = [name for name, right in (("ground", ground), ("thing", things)) if not right]
        label = f"{prompt} (missed: {', '.join(missed)})" if missed else prompt
        items.append((label, png(enlarged(picture, 3))))
    return images("The first prompts and what is drawn", items, columns=4)


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


def evaluate(artifact: Artifact) -> list[Row]:
    """Draw with a published model and measure again."""
    from phase2_multimodal.train_text_to_image import TextToImageTrainConfig, scenes_of

    hardware.set_threads(0)
    manifest = artifact.manifest
    config = override(TextToImageTrainConfig(), manifest["config"])
    model, prompts = load(artifact.folder, hardware.device_name())
    draw = Artist(model, prompts, config, manifest["hardware"]["dtype"])
    subject = Subject(draw, scenes_of(config), artifact.id, manifest["preset"])
    return measure(subject, drawing_parent(artifact)).rows


def drawing_parent(artifact: Artifact) -> Artifact | None:
    """The diffusion model that it began as, where that still is."""
    ids = [parent["id"] for parent in artifact.manifest["parents"]]
    try:
        return find(next(id for id in ids if "/diffusion@" in id))
    except (VermeilError, StopIteration):
        return None
