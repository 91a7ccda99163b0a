""" "Is my loss normal?": the validation curves that presets ship, and the band around them.

A reference is made from finished runs of one preset with different seeds
(`make reference STEP=lm PRESET=tiny`): the band reaches from their lowest to their highest
loss, widened on both sides by 2 % of the loss for other machines and number formats. It is kept
beside the verb, in `phaseN_*/reference/STEP-PRESET.json`.
"""

import json
import sys
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

from shared.artifact import ROOT, fingerprint
from shared.config import as_dict, find_preset
from shared.errors import VermeilError
from shared.home import home, write_atomically

TOLERANCE = 0.02
# What may differ from the reference without making the loss another one.
FREE = {
    "seed", "threads", "workers", "precision", "trackers", "accumulate", "compile",
    "gradient_checkpointing", "checkpoint_every", "sample_every",
}  # fmt: skip


@dataclass(frozen=True)
class Reference:
    """Expected validation loss: steps, middle of the runs, and the band."""

    steps: list[int]
    middle: list[float]
    low: list[float]
    high: list[float]
    runs: int
    recorded: str
    hardware: str
    recipe: str

    @property
    def band(self) -> dict[str, list]:
        """The band as a curve exhibit takes it."""
        return {"x": self.steps, "low": self.low, "high": self.high}

    def verdict(self, steps: list[int], losses: list[float]) -> dict[str, Any]:
        """Whether every measured point lies in the band, in words."""
        expected = dict(zip(self.steps, zip(self.low, self.high, strict=True), strict=True))
        points = [(s, loss, *expected[s]) for s, loss in zip(steps, losses, strict=True)
                  if s in expected]  # fmt: skip
        outside = [p for p in points if not p[2] <= p[1] <= p[3]]
        step, loss, low, high = (outside or points)[-1]
        place = "outside" if outside else "inside"
        text = f"validation loss {loss:.3f} at step {step:,} lies {place} the reference band "
        runs = "1 run" if self.runs == 1 else f"{self.runs} runs"
        text += f"{low:.3f}-{high:.3f} ({runs}, {self.recorded}, {self.hardware})"
        return {"normal": not outside, "text": text}


def recipe(config: Any) -> str:
    """The hash of everything in a configuration that the loss depends on."""
    return fingerprint({k: v for k, v in as_dict(config).items() if k not in FREE})


def path_of(module_file: str, step: str, preset: str) -> Path:
    """Where the verb in `module_file` keeps the reference of a preset."""
    return Path(module_file).parent / "reference" / f"{step}-{preset}.json"


def load(path: Path, config: Any) -> Reference | None:
    """The reference for this configuration; None where there is none or the recipe differs."""
    if not path.exists():
        return None
    reference = Reference(**json.loads(path.read_text()))
    return reference if reference.recipe == recipe(config) else None


def compare(run: Any, history: Any) -> tuple[dict[str, Any], dict[str, Any] | None]:
    """A finished run's loss curve as an exhibit with its band, and the verdict if there is one."""
    from shared.results import curve

    module = sys.modules[run.step.main.__module__]
    path = path_of(str(module.__file__), run.step.name, run.choice.preset)
    expected = load(path, run.config)
    steps, losses = history.series("validation_loss")
    lines = {"train": history.series("train_loss"), "validation": (steps, losses)}
    band = expected.band if expected else None
    exhibit = curve("Loss", "optimizer step", "loss", lines, band=band)
    return exhibit, expected.verdict(steps, losses) if expected else None


def record(runs: list[Path], config: Any, path: Path) -> Reference:
    """Make the reference from the folders of finished runs."""
    from shared.hardware import cores, cpu_name
    from shared.trackers import read_metrics

    curves = []
    for run in runs:
        lines = read_metrics(run / "metrics.jsonl")
        curves.append({m["step"]: m["validation_loss"] for m in lines if "validation_loss" in m})
    steps = sorted(set.intersection(*(set(curve) for curve in curves)))
    columns = [sorted(curve[step] for curve in curves) for step in steps]
    reference = Reference(
        steps=steps,
        middle=[round(column[len(column) // 2], 4) for column in columns],
        low=[round(column[0] * (1 - TOLERANCE), 4) for column in columns],
        high=[round(column[-1] * (1 + TOLERANCE), 4) for column in columns],
        runs=len(curves),
        recorded=date.today().isoformat(),
        hardware=f"{cpu_name()}, {cores()} cores",
        recipe=recipe(config),
    )
    write_atomically(path, json.dumps(vars(reference)) + "\n")
    return reference


def main(step: Any, preset: str) -> None:
    """Record a reference from this home's finished runs of a preset."""
    config = find_preset(step.presets, preset).config
    module = sys.modules[step.main.__module__]
    finished = [
        path.parent
        for path in (home() / "runs" / step.name).glob(f"{preset}-*/results.json")
        if _recipe_of(path.parent, step) == recipe(config)
    ]
    if not finished:
        raise VermeilError(
            f"no finished run of {step.name} {preset} is in {home()}",
            f"vermeil train {step.name} {preset} --seed 1",
        )
    path = path_of(str(module.__file__), step.name, preset)
    made = record(finished, config, path)
    print(f"{path.relative_to(ROOT)}: {made.runs} runs, final loss {made.low[-1]}-{made.high[-1]}")


def _recipe_of(run: Path, step: Any) -> str:
    return recipe(step.parse(["--config", str(run / "config.yaml")]).config)
