"""What the vision-language model is trained for: to say what people said about a picture."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float
from torch import Tensor

from data.picture_batches import to_tensor
from phase2_multimodal.parents import paces
from phase2_multimodal.talks import Talks
from phase2_multimodal.vision_language.generate import Speaker
from phase2_multimodal.vision_language.lessons import Lesson
from phase2_multimodal.vision_language.model import VisionLanguageModel
from phase2_multimodal.vision_language.prompts import CAPTION, Prompter
from shared.objective import Objective
from shared.results import texts
from shared.samples import WrittenSamples

if TYPE_CHECKING:
    from phase2_multimodal.train_caption import CaptionConfig
    from phase2_multimodal.train_vqa import VqaConfig


class Answer(Objective):
    """Predict captions and answers, given the picture and what was asked.

    In training, `naming` times what it costs to find the captions' words in the picture's own
    embeddings comes on top: see `VisionLanguageModel.naming_loss`.
    """

    model: VisionLanguageModel

    def __init__(
        self, model: VisionLanguageModel, config: "CaptionConfig | VqaConfig", prompter: Prompter
    ):
        super().__init__(model, config)
        self.register_buffer("opening", prompter.opening, persistent=False)
        self.paces, self.length_power = paces(config), config.length_power
        self.naming = config.naming

    def loss(self, batch: Lesson) -> Float[Tensor, ""]:
        pictures, words, packed = batch
        prefix = self.model.prefix(pictures, self.opening)  # type: ignore[arg-type]
        loss = self.model.loss(prefix, *packed, self.length_power)
        if words is not None and self.training:
            seen = prefix[:, len(self.opening) :]  # type: ignore[arg-type]
            loss = loss + self.naming * self.model.naming_loss(seen, packed.tokens, words)
        return loss


class SamplesInTraining:
    """Captions the same validation pictures at every stage of training."""

    PICTURES = 6

    def __init__(self, model: VisionLanguageModel, prompter: Prompter, talks: Talks, folder: Path):
        self.model, self.prompter, self.written = model, prompter, WrittenSamples(folder)
        self.talks = [talks[number] for number in range(min(self.PICTURES, len(talks)))]

    def __call__(self, step: int) -> dict[str, str]:
        """Caption and keep; returns true caption -> caption for the trackers."""
        speaker = Speaker(self.model, self.prompter)  # weights have changed
        prefix = speaker.look(to_tensor(np.stack([talk.pixels for talk in self.talks])))
        said = speaker.say(prefix, [CAPTION] * len(self.talks))
        true = (talk.captions[0] for talk in self.talks)
        return self.written.keep(step, dict(zip(true, said, strict=True)))

    def exhibit(self) -> dict[str, Any]:
        """What was said at each stage."""
        items = [(stage, f"{true} |", said) for stage, true, said in self.written.items()]
        return texts("What it says as it learns, after what a person might", items)
