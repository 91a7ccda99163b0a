"""What phase 2 builds on: earlier artifacts found, checked, taken over, and the proof of it."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import nn

from phase1_foundation.language.model import LanguageModel
from phase1_foundation.language.tokenizer import Tokenizer
from phase1_foundation.vision import encoders
from phase1_foundation.vision.vit import VisionTransformer
from shared.artifact import Artifact, find
from shared.errors import VermeilError
from shared.objective import Objective
from shared.optim import Pace

CONTEXT = 192  # tokens of a picture with a text about it, at least


def parent(flag: str, reference: str, preset: str, *steps: str) -> Artifact:
    """The artifact that `--flag` names, or the preset's own of the first of `steps`.

    What prune and distill made can stand for what they made it from.
    """
    found = find(reference or f"{steps[0]}@{preset}")
    if found.role not in steps:
        raise VermeilError(
            f"--{flag} {reference} is a {found.role}, not a {' or '.join(steps)}",
            f"vermeil train {steps[0]} {preset}",
        )
    return found


def same_tokenizer(*artifacts: Artifact) -> None:
    """Refuse artifacts whose words are not the same tokens."""
    files = [artifact.manifest["files"].get("tokenizer.model") for artifact in artifacts]
    for artifact, file in zip(artifacts, files, strict=True):
        if file != files[0]:
            raise VermeilError(
                f"{artifact.id} has another tokenizer than {artifacts[0].id}",
                "name two that were trained with the same one",
            )


def same_size(artifact: Artifact, theirs: int, ours: int) -> None:
    """Refuse a model that looks at pictures of another size."""
    if theirs != ours:
        raise VermeilError(
            f"{artifact.id} looks at pictures of {theirs} pixels, here they are {ours}",
            f"--size {theirs}",
        )


def load_language(artifact: Artifact) -> tuple[LanguageModel, Tokenizer]:
    """A language model with its tokenizer, and room for a picture beside the words."""
    model = LanguageModel.from_pretrained(artifact)
    roomy = LanguageModel(replace(model.config, context=max(CONTEXT, model.config.context)))
    roomy.load_state_dict(model.state_dict())  # positions are rotations, no weights
    return roomy, Tokenizer.from_pretrained(artifact)


def load_vision(artifact: Artifact, size: int) -> VisionTransformer:
    """A vision encoder, or the one inside an aligned pair, for pictures of `size` pixels."""
    if artifact.manifest["step"] == "alignment":
        from phase2_multimodal.alignment.model import AlignmentModel

        return AlignmentModel.from_pretrained(artifact).vision.at_size(size)
    encoder = encoders.load(artifact)
    if not isinstance(encoder, VisionTransformer):
        raise VermeilError(
            f"{artifact.id} is a {type(encoder).__name__}, which has no patches to talk about",
            "train one with --model vit",
        )
    return encoder.at_size(size)


def paces(config: Any) -> dict[str, Pace]:
    """How the two towers learn, as a verb's configuration says."""
    begin = getattr(config, "frozen_steps", 0)
    return {
        "vision.": Pace(config.vision_rate, begin),
        "language.": Pace(config.language_rate, begin),
    }


def take_over(
    objective: Objective, parts: Mapping[str, nn.Module], loss: Callable[[], float]
) -> dict[str, Any]:
    """Put parents in their places in a new model, strictly, and prove that it helps.

    `parts` maps the places' names to the parents. `loss` measures the model before a first step,
    and is called with the random weights and with the parents'. What has no share of the learning
    rate is frozen.
    """
    model, random = objective.model, loss()
    for name, part in parts.items():
        model.get_submodule(name).load_state_dict(part.state_dict(), strict=True)
    taken = sum(len([*part.parameters()]) for part in parts.values())
    names = [name for name, _ in model.named_parameters()]
    still = tuple(start for start, pace in objective.paces.items() if not pace.scale)
    frozen = sum(name.startswith(still) for name in names)
    counts = {"taken": taken, "new": len(names) - taken, "frozen": frozen}
    return counts | {"loss_with_parent": loss(), "loss_with_random": random}


def save_with_tokenizer(model: Any, tokenizer: Tokenizer) -> Callable[[Path], None]:
    """What `Run.publish` calls."""

    def save(folder: Path) -> None:
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)

    return save
