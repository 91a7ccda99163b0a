"""The encoders there are: made, loaded, and continued from another's weights."""

import json
from typing import TYPE_CHECKING, Any

import torch
from safetensors.torch import load_file
from torch import nn

from phase1_foundation.vision.resnet import ResNet, ResNetConfig
from phase1_foundation.vision.vit import VisionTransformer, VisionTransformerConfig
from shared.artifact import Artifact
from shared.config import common
from shared.errors import VermeilError

if TYPE_CHECKING:
    from phase1_foundation.train_vision import VisionConfig

Encoder = VisionTransformer | ResNet
KINDS: dict[str, type[Encoder]] = {kind.__name__: kind for kind in (VisionTransformer, ResNet)}


def make(config: "VisionConfig", classes: int) -> Encoder:
    """A new encoder with a head for so many classes; 0: without."""
    if config.model == "resnet18":
        return ResNet(ResNetConfig(config.size, classes))
    shape = common(config, VisionTransformerConfig)
    return VisionTransformer(VisionTransformerConfig(classes=classes, **shape))


def load(artifact: Artifact) -> Encoder:
    """The encoder of an artifact, of whichever kind it is."""
    kind = json.loads((artifact.folder / "config.json").read_text())["class"]
    return KINDS[kind].from_pretrained(artifact)


def untrained(model: Encoder, seed: int) -> Encoder:
    """The same network with the random weights of that seed."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return type(model)(model.config).eval()  # type: ignore[arg-type]


def take_over(model: Encoder, parent: Artifact) -> dict[str, Any]:
    """Put a parent's weights into a new encoder, all but its head; returns how many tensors.

    Every tensor has to fit, or it says which does not.
    """
    theirs = load_file(parent.folder / "model.safetensors")
    theirs = {name: tensor for name, tensor in theirs.items() if not name.startswith("head.")}
    ours = model.state_dict()
    new = [name for name in ours if name.startswith("head.")]
    for name in sorted({*theirs, *ours} - {*new}):
        shapes = [list(of[name].shape) if name in of else None for of in (theirs, ours)]
        if shapes[0] != shapes[1]:
            raise VermeilError(
                f"{name} of {parent.id} is {shapes[0]}, here {shapes[1]}",
                f"give the shape that it was trained with: see {parent.folder / 'config.json'}",
            )
    model.load_state_dict(theirs, strict=False)
    return {"taken": len(theirs), "new": len(new), "frozen": 0}


def parameters(model: nn.Module) -> int:
    """How many numbers it learns."""
    return sum(p.numel() for p in model.parameters())
