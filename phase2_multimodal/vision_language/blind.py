"""The twin that sees nothing: what questions alone give away.

It has the language model of the one that looks and learns from the same questions. Where the two
answer equally well, looking was not needed (Goyal et al., 2017).
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jaxtyping import Float
from torch import Tensor

from phase2_multimodal.vision_language.generate import Speaker
from phase2_multimodal.vision_language.lessons import Lesson
from phase2_multimodal.vision_language.model import VisionLanguageModel
from phase2_multimodal.vision_language.objective import Answer


class Blind(Answer):
    """Answer without the picture: the prefix ends where it would begin."""

    def loss(self, batch: Lesson) -> Float[Tensor, ""]:
        *_, packed = batch
        prefix = unseen(self.model, self.opening, len(packed.tokens))
        return self.model.loss(prefix, *packed)


def unseen(model: VisionLanguageModel, opening: Any, rows: int) -> Float[Tensor, "b o d"]:
    """The prefix without a picture."""
    return model.language.embed(opening).expand(rows, -1, -1)


def answers(speaker: Speaker, questions: Sequence[str], **how: Any) -> list[str]:
    """What is said to the questions by a model that sees nothing."""
    device = speaker.model.language.embed.weight.device
    prefix = unseen(speaker.model, speaker.prompter.opening.to(device), len(questions))
    return speaker.say(prefix.detach(), questions, **how)


TWIN = "question_only.safetensors"  # beside the model, so that it can be measured again


def save(twin: VisionLanguageModel, folder: Path) -> None:
    """The twin's language model; the rest is never used."""
    from safetensors.torch import save_model

    save_model(twin.language, str(folder / TWIN))


def load(model: VisionLanguageModel, folder: Path) -> VisionLanguageModel:
    """The twin of a published model."""
    from safetensors.torch import load_model

    twin = VisionLanguageModel(model.config)
    load_model(twin.language, folder / TWIN, strict=True)
    return twin.eval()


def folder(run: Path) -> Path:
    """Where the twin's own training lies."""
    twin = run / "question_only"
    twin.mkdir(exist_ok=True)
    return twin
