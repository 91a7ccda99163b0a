"""The twin that sees nothing: what questions alone give away.

It has the language model of the one that looks and learns from the same questions. Where the two
answer equally well, looking was not needed (Goyal et al., 2017).
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jaxtyping import Float
from torch import Tensor

from phase2_multimodal.vision_language.generate import Speaker
from phase2_multimodal.vision_language.lessons import Lesson, Lessons
from phase2_multimodal.vision_language.model import VisionLanguageModel
from phase2_multimodal.vision_language.objective import Answer
from phase2_multimodal.vision_language.prompts import Prompter
from shared.training import fit

if TYPE_CHECKING:
    from phase2_multimodal.train_vqa import VqaConfig


class Blind(Answer):
    """Answer without the picture: the prefix ends where it would begin."""

    def loss(self, batch: Lesson) -> Float[Tensor, ""]:
        *_, packed = batch
        prefix = unseen(self.model, self.opening, len(packed.tokens))
        return self.model.loss(prefix, *packed, self.length_power)


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


def trained(
    parent: VisionLanguageModel, config: "VqaConfig", prompter: Prompter, train: Lessons,
    held_out: list[Lesson], run: Path, **fitting: Any,
) -> VisionLanguageModel:  # fmt: skip
    """A twin that began as the model did and learned from the same questions."""
    twin = VisionLanguageModel(parent.config)
    twin.load_state_dict(parent.state_dict())
    shorter, folder = replace(config, steps=config.twin_steps, trackers=()), run / "question_only"
    folder.mkdir(exist_ok=True)
    objective = Blind(twin, shorter, prompter)
    fit(objective, train, held_out, folder=folder, name="question only", **fitting)
    return twin.eval()
