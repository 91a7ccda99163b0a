"""The unified model draws: phase 2's drawer listens to the language model inside from now on.

What it learned to hear were the states of phase 1's language model, and this one has learned to
look and to hear since. So what reads the prompt is replaced, and what listens to it is fitted
again; the rest of the drawer stays as it was.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from jaxtyping import UInt8

from data.scene_words import captions
from data.scenes import Scenes
from phase1_foundation.language.model import LanguageModel
from phase2_multimodal.text_to_image import batches, draw, inside
from phase2_multimodal.text_to_image.draw import Artist
from phase2_multimodal.text_to_image.evaluate_scenes import accuracies, prompts_and_drawings
from phase2_multimodal.text_to_image.judge import (
    Judge,
    Truth,
    Verdict,
    about_real,
    judged,
    trained_judge,
)
from phase2_multimodal.text_to_image.model import TextToImageModel
from phase2_multimodal.text_to_image.objective import DenoiseByPrompt
from phase2_multimodal.text_to_image.subject import Subject
from phase2_multimodal.train_text_to_image import TextToImageTrainConfig, pictures_of, scenes_of
from shared.artifact import Artifact
from shared.config import override
from shared.errors import VermeilError
from shared.objective import mean_loss
from shared.results import Row
from shared.training import fit

if TYPE_CHECKING:
    from shared.step import Run


@dataclass(frozen=True)
class Refitted:
    """The drawer, how it draws, and what became of it."""

    model: TextToImageModel
    manner: dict[str, Any]
    rows: list[Row]
    exhibits: list[dict[str, Any]]

    def save(self, folder: Path) -> None:
        """Beside the unified model's weights, which read its prompts."""
        inside.save(self.model, self.manner, folder)


def refitted(drawer: Artifact, language: LanguageModel, run: "Run", engine: Any = None) -> Refitted:
    """Let the drawer hear `language`; measured before, between and after.

    Raises VermeilError for a drawer that reads bytes, or a language model of another shape.
    """
    config = run.config
    as_it_was = override(TextToImageTrainConfig(), drawer.manifest["config"])
    how = replace(
        as_it_was, steps=config.drawing_steps, warmup=5, validate_every=config.drawing_steps,
        checkpoint_every=config.drawing_steps, sample_every=0, threads=config.threads,
        precision=config.precision, seed=config.seed, loader="torch", workers=0,
    )  # fmt: skip
    if how.text_encoder != "lm":
        raise VermeilError(
            f"{drawer.id} reads bytes, so a language model has nothing to tell it",
            "--drawer none, or one that was trained with --text_encoder lm",
        )
    model, prompts = draw.load(drawer.folder, "cpu")
    data, objective = pictures_of(how), DenoiseByPrompt(model, how)
    validation = batches.validation_batches(data, prompts, how)
    artist = Artist(model, prompts, how, "fp32")  # as `vermeil draw` does, before and after alike
    judgement = _Judgement.of(how, config.drawings) if how.data == "scenes" else None
    losses, looks = [], []

    def look() -> None:
        losses.append(mean_loss(objective, validation))
        if judgement:
            model.eval()
            looks.append(judgement(artist))

    look()
    try:
        model.listen_to(language)
    except RuntimeError:
        raise VermeilError(
            f"{drawer.id} was made for a language model of another shape",
            "--drawer none, or one of the same preset",
        ) from None
    look()
    fit(
        objective, batches.training_batches(data, prompts, how), validation,
        folder=run.folder / "drawing", name="drawing", unit="pictures",
        amount_per_step=how.batch_size, engine=engine,
    )  # fmt: skip
    look()
    rows, exhibits = [_loss_row(losses, how, run)], []
    if judgement:
        rows += judgement.rows(looks, Subject(artist, data, run.id, run.choice.preset))
        exhibits.append(prompts_and_drawings(judgement.asked, looks[-1].drawn, looks[-1].found))
    return Refitted(model, how.drawing, rows, exhibits)


def _loss_row(losses: Sequence[float], how: TextToImageTrainConfig, run: "Run") -> Row:
    before, between, after = losses
    return Row(
        step="unified", artifact=run.id, preset=run.choice.preset, metric="drawing_loss",
        value=after, unit="", better="lower", split="validation", n=how.validation_pictures,
        protocol=f"{how.steps} steps of what listens alone",
        baselines={"not_fitted": between}, reference={"its_own_reader": before},
    )  # fmt: skip


class _Look(NamedTuple):
    """Drawings, what is right about them, and what would be had something else been asked."""

    drawn: UInt8[np.ndarray, "n h w 3"]
    found: Verdict
    others: Verdict


@dataclass(frozen=True)
class _Judgement:
    """Prompts of scenes, and a judge who knows what they should show."""

    scenes: Scenes
    judge: Judge
    asked: list[str]
    truth: Truth

    @classmethod
    def of(cls, how: TextToImageTrainConfig, n: int) -> "_Judgement":
        scenes = scenes_of(how)
        shown = [scenes.scene("test", number) for number in range(n)]
        asked, truth = [captions(scene)[0] for scene in shown], Truth.of(shown, scenes.names)
        return cls(scenes, trained_judge(scenes, how.judge_steps), asked, truth)

    def __call__(self, artist: Artist) -> _Look:
        drawn = artist(self.asked)
        found, others = (judged(self.judge, drawn, t) for t in (self.truth, self.truth.rolled()))
        return _Look(drawn, found, others)

    def rows(self, looks: Sequence[_Look], subject: Subject) -> list[Row]:
        """Phase 2's own rows about the last look, with what was before and between beside them."""
        before, between, after = looks
        trust = about_real(self.judge, self.scenes, "test")
        rows = accuracies(subject, "test", after.found, after.others, trust)
        beside = {"its_own_reader": before.found, "not_fitted": between.found}
        parts = {"object_accuracy": "things", "background_accuracy": "ground"}
        return [
            replace(row, step="unified", reference={
                name: getattr(found, parts[row.metric]).float().mean().item()
                for name, found in beside.items()
            }) for row in rows
        ]  # fmt: skip
