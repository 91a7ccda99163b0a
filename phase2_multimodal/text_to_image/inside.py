"""A drawer that lives in a larger model, whose language model reads its prompts.

All but the reader lies in a file of its own beside the larger model's weights, so that there is one
set of them. What it is like, and how it draws, lies in two small ones.
"""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from phase2_multimodal.text_to_image.model import TextToImageConfig, TextToImageModel
from shared.artifact import read_config
from shared.errors import VermeilError

WEIGHTS, SHAPE, MANNER = "drawing.safetensors", "drawing.json", "drawing_manner.json"
READER, INSIDE = "text.", "language."  # where the same weights are called what


def is_inside(folder: Path) -> bool:
    """Whether the model in this folder has a drawer."""
    return (folder / SHAPE).exists()


def save(model: TextToImageModel, manner: dict[str, Any], folder: Path) -> None:
    """Write the drawer without its reader; `manner` are arguments of `draw`."""
    from safetensors.torch import save_file

    own = {n: x.contiguous() for n, x in model.state_dict().items() if not n.startswith(READER)}
    save_file(own, folder / WEIGHTS)
    (folder / SHAPE).write_text(json.dumps(asdict(model.config), indent=2))
    (folder / MANNER).write_text(json.dumps(manner, indent=2))


def load(folder: Path, device: str = "cpu") -> TextToImageModel:
    """The drawer with the larger model's language model as its reader."""
    from safetensors.torch import load_file

    model = TextToImageModel(read_config(folder / SHAPE, TextToImageConfig))
    own, larger = load_file(folder / WEIGHTS), load_file(folder / "model.safetensors")
    read = {READER + n.removeprefix(INSIDE): x for n, x in larger.items() if n.startswith(INSIDE)}
    missing, unknown = model.load_state_dict(own | read, strict=False)
    tied = {f"{READER}head.weight"} if model.config.text.tie_embeddings else set()
    if unknown or set(missing) - tied:
        first = [*unknown, *missing][0]
        raise VermeilError(
            f"{folder} holds no whole drawer: {first} does not fit", "train it again"
        )
    return model.to(device).eval()


def manner(folder: Path) -> dict[str, Any]:
    """How it drew when it was measured: arguments of `draw`."""
    return json.loads((folder / MANNER).read_text())
