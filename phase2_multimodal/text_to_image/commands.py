"""`vermeil draw` and `vermeil eval text_to_image`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

from shared.config import option, override, parse
from shared.errors import VermeilError
from shared.remeasure import measure_again


@dataclass(frozen=True)
class DrawConfig:
    """What to draw, with which model and how; None is as the model was measured."""

    POSITIONAL: ClassVar = ("prompt",)

    prompt: str = option("", "what to draw, in words; empty: whatever comes")
    model: str = option("text_to_image", "artifact: text_to_image, unified, or a folder")
    out: str = option("out.png", "PNG file to write")
    number: int = option(1, "how many pictures", low=1)
    columns: int = option(6, "pictures in a row", low=1)
    scale: int = option(4, "screen pixels a pixel", low=1)
    negative_prompt: str = option("", "what not to draw; guidance leads away from it")
    guidance_scale: float | None = option(None, "1: none; more: closer to the prompt", low=0)
    steps: int | None = option(None, "steps from noise to picture", low=1)
    solver: Literal["euler", "heun", "dpm"] | None = option(None, "heun asks twice a step")
    overshoot: float | None = option(None, "share by which each step goes on", low=0)
    seed: int = option(0, "of the first picture; the others count on from it", low=0)


def draw(arguments: list[str]) -> None:
    """Draw what a prompt says and write it as PNG; several pictures side by side."""
    config = parse(DrawConfig, arguments, command="vermeil draw", about=str(draw.__doc__)).config
    out = Path(config.out)
    if out.suffix.lower() != ".png":
        raise VermeilError(f"--out {out} is written as PNG", f"--out {out.with_suffix('.png')}")
    if not out.parent.is_dir():
        raise VermeilError(f"there is no folder {out.parent}", f"mkdir {out.parent}")
    if config.negative_prompt and config.guidance_scale == 1:
        raise VermeilError(
            "--negative_prompt does nothing at guidance 1", "--guidance_scale 3, or leave it out"
        )
    from data.picture_batches import to_pixels
    from phase2_multimodal.text_to_image.draw import draw as drawn_by
    from phase2_multimodal.text_to_image.draw import load
    from shared import hardware
    from shared.artifact import locate
    from shared.grids import enlarged, grid, png
    from shared.home import write_atomically

    hardware.set_threads(0)
    folder = locate(config.model)
    model, prompts = load(folder, hardware.device_name())
    pictures = to_pixels(
        drawn_by(
            model, prompts, [config.prompt] * config.number,
            seeds=range(config.seed, config.seed + config.number),
            negative_prompt=config.negative_prompt, **drawing(folder, config),
        )
    )  # fmt: skip
    sheet = pictures[0]
    if config.number > 1:
        sheet = grid(list(pictures), min(config.columns, config.number))
    write_atomically(out, png(enlarged(sheet, config.scale)))
    print(f"wrote {out}: {config.prompt or 'whatever came'}")


def drawing(folder: Path, config: DrawConfig) -> dict[str, Any]:
    """What was asked for, and for the rest how the model in `folder` was measured."""
    measured = as_measured(folder)
    asked = {key: getattr(config, key) for key in measured}
    return measured | {key: value for key, value in asked.items() if value is not None}


def as_measured(folder: Path) -> dict[str, Any]:
    """How the model in `folder` drew when it was measured: arguments of `draw`."""
    from phase2_multimodal.text_to_image import inside
    from phase2_multimodal.train_text_to_image import TextToImageTrainConfig
    from shared.artifact import Artifact

    if inside.is_inside(folder):
        return inside.manner(folder)
    trained = TextToImageTrainConfig()
    if (folder / "manifest.json").exists():
        trained = override(trained, Artifact(folder).manifest["config"])
    return trained.drawing


def eval(arguments: list[str]) -> None:
    """Draw and have it judged again, beside the floors, and put the numbers into the report."""
    measure_again(arguments, about=eval.__doc__, module="phase2_multimodal.text_to_image.evaluate")
