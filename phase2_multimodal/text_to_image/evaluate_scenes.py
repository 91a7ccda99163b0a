"""What drawings of scenes show, by an independent judge who knows what they should."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from data.scene_words import captions
from data.scenes import Scenes
from phase1_foundation.diffusion import floors
from phase2_multimodal.text_to_image import clip
from phase2_multimodal.text_to_image.judge import (
    TRUSTED,
    Truth,
    Verdict,
    about_real,
    judged,
    trained_judge,
)
from phase2_multimodal.text_to_image.subject import (
    SHOWN,
    Measured,
    Subject,
    distances,
    guidance_sheets,
)
from shared.grids import enlarged, png
from shared.metrics.intervals import wilson
from shared.results import Row, images


def measure(subject: Subject, scenes: Scenes) -> Measured:
    """Draw the first captions of test scenes, judge the drawings, compare them with real scenes."""
    config = subject.draw.config
    judge = trained_judge(scenes, config.judge_steps)
    rows, exhibits = [], []
    for split, n in (("test", config.pictures), ("pairs", config.pictures // 3)):
        shown = [scenes.scene(split, number) for number in range(n)]
        asked = [captions(scene)[0] for scene in shown]
        drawn, speed = subject.timed(asked)
        truth = Truth.of(shown, scenes.names)
        found, others = (judged(judge, drawn, each) for each in (truth, truth.rolled()))
        trust = about_real(judge, scenes, split)
        rows += accuracies(subject, split, found, others, trust)
        rows.append(judge_row(subject, split, trust))
        if split == "test":
            unseen = (scenes.scene("validation", number) for number in range(2 * n))
            real = np.stack([scenes.render(scene) for scene in unseen])
            rows += [*distances(subject, drawn, real, "validation"), speed]
            if config.clip_model:
                own = np.stack([scenes.render(scene) for scene in shown])
                rows += clip.scores(subject, asked, drawn, own)
            exhibits += [
                prompts_and_drawings(asked, drawn, found),
                guidance_sheets(subject.draw, asked),
            ]
    return Measured(rows, exhibits)


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
