"""Show that several processes train as one does: the same batches in parts, the weights compared.

Small models of each kind train 50 steps with every engine named, on two processes, and on one. With
SGD differences are those of rounding; AdamW's curves are shown beside. Time and efficiency are
`vermeil bench scaling`, for they want a quiet machine.
"""

import json
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shared.config import Choice, Preset, option
from shared.step import Inputs, Run, Step

if TYPE_CHECKING:
    from phase3_scaling.distributed.equality import Equality
    from shared.results import Row

TOLERANCE = 1e-5  # of losses and weights after 50 steps in fp32


@dataclass(frozen=True)
class ScalingConfig:
    """Which engines are compared with one process, on what."""

    engines: tuple[str, ...] = option(("ddp",), "as --strategy names them")
    models: tuple[str, ...] = option(("lm", "diffusion", "alignment"), "small ones of each kind")
    optimizers: tuple[str, ...] = option(("sgd",), "sgd, adamw")
    processes: int = option(2, "that share a batch of 16", low=2)
    steps: int = option(50, "optimizer steps", low=1)


ALL = ("ddp", "fsdp", "deepspeed_zero1", "deepspeed_zero2", "deepspeed_zero3")
PRESETS = {
    "smoke": Preset(ScalingConfig(models=("lm",), steps=10), "15 s", "equal", seconds=15,
                    memory_gb=2, disk_mb=1),
    "tiny": Preset(ScalingConfig(), "30 s", "equal", seconds=30, memory_gb=2, disk_mb=1),
    "small": Preset(ScalingConfig(engines=ALL, optimizers=("sgd", "adamw")), "5 min", "equal",
                    memory_gb=4, disk_mb=1),
    "base": Preset(ScalingConfig(engines=ALL, optimizers=("sgd", "adamw")), "5 min", "equal",
                   memory_gb=8, disk_mb=1),
}  # fmt: skip


def inputs(choice: Choice[ScalingConfig]) -> Inputs:
    """The embedded text and pictures."""
    import data

    return Inputs(data=(data.load("embedded_sample"),
                        data.load_pictures("embedded_pictures_sample")))  # fmt: skip


def main(run: Run, engine=None):
    """Train alone and in company, compare, publish the differences."""
    from phase3_scaling.distributed.equality import equal
    from shared import hardware

    config = run.config
    pairs = equal(config.engines, config.models, steps=config.steps, processes=config.processes,
                  optimizers=config.optimizers)  # fmt: skip
    about = {"step": "scaling", "artifact": run.id, "preset": run.choice.preset}
    rows = [row for pair in pairs if pair.optimizer == "sgd" for row in rows_of(pair, about)]
    exhibits = [differences(pairs), *(curves(pair) for pair in pairs if pair.optimizer == "adamw")]
    found = run.results(hardware.describe("fp32"), rows=rows, exhibits=exhibits)

    def save(folder: Path) -> None:
        text = json.dumps([asdict(pair) for pair in pairs], indent=1)
        (folder / "equality.json").write_text(text)

    return run.publish(save, found, about="Losses of several processes and of one, side by side.")


def rows_of(pair: "Equality", about: dict[str, Any]) -> list["Row"]:
    """How far losses and weights are apart, beside what rounding may do."""
    from shared.results import Row

    protocol = (f"{pair.engine}, {pair.processes} processes, {len(pair.losses)} steps of SGD with "
                "momentum, fp32")  # fmt: skip
    return [
        Row(metric=f"{what}_difference", value=value, unit="", better="lower",
            n=len(pair.losses), protocol=f"{pair.model}: {protocol}", split=None,
            baselines={"tolerance": TOLERANCE}, **about)
        for what, value in (("loss", pair.loss), ("weight", pair.weight))
    ]  # fmt: skip


def differences(pairs: list["Equality"]) -> dict[str, Any]:
    """All of it."""
    from shared.results import table

    rows = [[p.engine, p.model, p.optimizer, p.loss, p.weight] for p in pairs]
    columns = ["engine", "model", "optimizer", "largest difference of losses", "of weights"]
    return table("Several processes against one, on the same batches", columns, rows)


def curves(pair: "Equality") -> dict[str, Any]:
    """AdamW's losses, of which the same cannot be asked."""
    from shared.results import curve

    steps = [float(step) for step in range(1, len(pair.losses) + 1)]
    series = {pair.engine: (steps, [*pair.losses]), "single": (steps, [*pair.losses_alone])}
    return curve(f"{pair.model} with AdamW", "step", "loss", series)


STEP = Step("scaling", "phase3", "Several processes", ScalingConfig, PRESETS, inputs, main)

if __name__ == "__main__":
    STEP.command_line(sys.argv[1:])
