"""`vermeil sample diffusion`, `vermeil eval diffusion` and `vermeil bench diffusion`."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

from shared.config import option, override, parse
from shared.errors import VermeilError, nearest
from shared.remeasure import measure_again


@dataclass(frozen=True)
class SampleConfig:
    """What to draw, with which model and how; None is as the model was measured."""

    POSITIONAL: ClassVar = ("model",)

    model: str = option("diffusion", "artifact: diffusion, diffusion@tiny or its folder")
    class_: tuple[str, ...] = option((), "what to draw, one or several; without it all in turn")
    grid: str = option("grid.png", "PNG file to write")
    number: int = option(36, "how many pictures", low=1)
    columns: int = option(9, "pictures in a row", low=1)
    scale: int = option(3, "screen pixels a pixel", low=1)
    steps: int | None = option(None, "steps from noise to picture", low=1)
    solver: Literal["euler", "heun", "dpm"] | None = option(None, "heun asks twice a step")
    guidance_scale: float | None = option(None, "1: none; more: clearer, less varied", low=0)
    guidance_from: float = option(0.0, "time above which guidance acts", low=0, high=1)
    guidance_until: float = option(1.0, "time below which guidance acts", low=0, high=1)
    overshoot: float | None = option(None, "share by which each step goes on", low=0)
    seed: int = option(0, "of the first picture; the others count on from it", low=0)


def sample(arguments: list[str]) -> None:
    """Draw pictures of some classes and write them as one PNG; None: as the model was measured."""
    config = parse(
        SampleConfig, arguments, command="vermeil sample", about=str(sample.__doc__)
    ).config
    import torch

    from data.picture_batches import to_pixels
    from phase1_foundation.diffusion.model import DiffusionModel
    from shared import hardware
    from shared.artifact import locate
    from shared.grids import enlarged, grid, png
    from shared.home import write_atomically

    out = Path(config.grid)
    if out.suffix.lower() != ".png":
        raise VermeilError(f"--grid {out} is written as PNG", f"--grid {out.with_suffix('.png')}")
    if not out.parent.is_dir():
        raise VermeilError(f"there is no folder {out.parent}", f"mkdir {out.parent}")
    hardware.set_threads(0)
    folder = locate(config.model)
    model = DiffusionModel.from_pretrained(folder, hardware.device_name()).eval()
    chosen = labels_of(config.class_, model.config.classes)
    labels = torch.tensor([chosen[i % len(chosen)] for i in range(config.number)])
    drawn = model.draw(
        model.condition(labels.to(model.null.device)),
        seeds=range(config.seed, config.seed + config.number),
        interval=(config.guidance_from, config.guidance_until),
        **drawing(folder, config),
    )
    sheet = grid(list(to_pixels(drawn)), min(config.columns, config.number))
    write_atomically(out, png(enlarged(sheet, config.scale)))
    names = ", ".join(model.config.classes[label] for label in chosen)
    print(f"wrote {out}: {config.number} pictures of {names}")


def drawing(folder: Path, config: SampleConfig) -> dict[str, Any]:
    """What was asked for, and for the rest how the model in `folder` was measured."""
    from phase1_foundation.train_diffusion import DiffusionTrainConfig
    from shared.artifact import Artifact

    trained = DiffusionTrainConfig()
    if (folder / "manifest.json").exists():
        trained = override(trained, Artifact(folder).manifest["config"])
    asked = {key: getattr(config, key) for key in trained.drawing}
    return trained.drawing | {key: value for key, value in asked.items() if value is not None}


def labels_of(names: Sequence[str], classes: Sequence[str]) -> list[int]:
    """The labels of class names; all of them without any."""
    for name in names:
        if name not in classes:
            raise VermeilError(f"the model knows no class '{name}'", nearest(name, list(classes)))
    return [classes.index(name) for name in names] or list(range(len(classes)))


def eval(arguments: list[str]) -> None:
    """Draw and measure again, beside the floors, and put the numbers into the report."""
    measure_again(arguments, about=eval.__doc__, module="phase1_foundation.diffusion.evaluate")


@dataclass(frozen=True)
class BenchConfig:
    """What to time and how long."""

    POSITIONAL: ClassVar = ("step",)

    step: str = option("diffusion", "what to time")
    shapes: tuple[str, ...] = option(
        ("unet_tiny", "dit_16px", "dit_small"), "which networks, one or several"
    )
    rounds: int = option(3, "turns of every candidate", low=1)
    steps: int = option(8, "training steps a turn", low=3)
    batch_size: int = option(64, "pictures a training step", low=1)
    pictures: int = option(16, "pictures drawn a turn", low=1)
    sampler_steps: int = option(10, "steps from noise to picture", low=1)
    threads: int = option(0, "CPU threads; 0 takes every core", low=0)


def bench(arguments: list[str]) -> None:
    """Time training and drawing beside `diffusers`' networks of the same shape, in turns."""
    config = parse(BenchConfig, arguments, command="vermeil bench", about=str(bench.__doc__)).config
    from phase1_foundation.diffusion.bench import table

    table(config)
