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
from phase1_foundation.language.model import LanguageModel
from phase2_multimodal.text_to_image import batches, draw, inside
from phase2_multimodal.text_to_image.draw import Artist
from phase2_multimodal.text_to_image.evaluate_scenes import prompts_and_drawings
from phase2_multimodal.text_to_image.judge import (
    TRUSTED,
    Judge,
    Truth,
    Verdict,
    about_real,
    judged,
    trained_judge,
)
from phase2_multimodal.text_to_image.model import TextToImageModel
from phase2_multimodal.text_to_image.objective import DenoiseByPrompt
from phase2_multimodal.train_text_to_image import TextToImageTrainConfig, pictures_of, scenes_of
from shared.artifact import Artifact
from shared.config import override
from shared.errors import VermeilError
from shared.metrics.intervals import wilson
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
    config, folder = run.config, run.folder
    common = {"step": "unified", "artifact": run.id, "preset": run.choice.preset, "unit": ""}
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
    test = _Test.of(how, config.drawings) if how.data == "scenes" else None
    losses, looks = [], []

    def look(precision: str) -> None:
        losses.append(mean_loss(objective, validation))
        if test:
            looks.append(test(Artist(model.eval(), prompts, how, precision)))

    look("fp32")
    try:
        model.listen_to(language)
    except RuntimeError:
        raise VermeilError(
            f"{drawer.id} was made for a language model of another shape",
            "--drawer none, or one of the same preset",
        ) from None
    look("fp32")
    history = fit(
        objective, batches.training_batches(data, prompts, how), validation,
        folder=folder / "drawing", name="drawing", unit="pictures",
        amount_per_step=how.batch_size, engine=engine,
    )  # fmt: skip
    look(history.precision)
    rows = [_loss_row(losses, how, common)]
    exhibits = []
    if test:
        rows += test.rows(looks, common)
        exhibits.append(test.exhibit(looks[-1]))
    return Refitted(model, how.drawing, rows, exhibits)


def _loss_row(losses: Sequence[float], how: TextToImageTrainConfig, common: dict[str, Any]) -> Row:
    before, between, after = losses
    return Row(
        metric="drawing_loss", value=after, better="lower", split="validation",
        n=how.validation_pictures, protocol=f"{how.steps} steps of what listens alone",
        baselines={"not_fitted": between}, ceilings={"its_own_reader": before}, **common,
    )  # fmt: skip


@dataclass(frozen=True)
class _Test:
    """Prompts of scenes, and a judge who knows what they should show."""

    judge: Judge
    asked: list[str]
    truth: Truth
    trust: float

    @classmethod
    def of(cls, how: TextToImageTrainConfig, n: int) -> "_Test":
        scenes = scenes_of(how)
        judge = trained_judge(scenes, how.judge_steps)
        shown = [scenes.scene("test", number) for number in range(n)]
        asked, truth = [captions(scene)[0] for scene in shown], Truth.of(shown, scenes.names)
        return cls(judge, asked, truth, about_real(judge, scenes, "test").accuracy)

    def __call__(self, artist: Artist) -> "_Look":
        drawn = artist(self.asked)
        found = judged(self.judge, drawn, self.truth)
        return _Look(drawn, found, judged(self.judge, drawn, self.truth.rolled()), artist.protocol)

    def rows(self, looks: Sequence["_Look"], common: dict[str, Any]) -> list[Row]:
        """How often ground and things are right, beside what was before and between."""
        note = ""
        if self.trust < TRUSTED:
            note = f"the judge is right about {self.trust:.1%} of real pictures, not {TRUSTED:.0%}"
        rows = []
        for metric, part in (("object_accuracy", "things"), ("background_accuracy", "ground")):
            right = [getattr(look.found, part) for look in looks]
            before, between, value = (each.float().mean().item() for each in right)
            other = getattr(looks[-1].others, part).float().mean().item()
            low, high = wilson(right[-1])
            rows.append(Row(
                metric=metric, value=None if note else value, low=None if note else low,
                high=None if note else high, better="higher", split="test", n=len(right[-1]),
                note=note, protocol=f"first captions of scenes, judged; {looks[-1].protocol}",
                baselines={"shuffled_prompt": other}, reference={"not_fitted": between},
                ceilings={"its_own_reader": before}, **common,
            ))  # fmt: skip
        return rows

    def exhibit(self, look: "_Look") -> dict[str, Any]:
        """The first prompts and drawings, and what the judge missed."""
        return prompts_and_drawings(self.asked, look.drawn, look.found)


class _Look(NamedTuple):
    """Drawings, what is right about them, what would be for other prompts, and how it was done."""

    drawn: UInt8[np.ndarray, "n h w 3"]
    found: Verdict
    others: Verdict
    protocol: str
