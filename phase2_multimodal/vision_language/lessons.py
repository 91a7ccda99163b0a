"""What the model learns from: pictures, each with a caption and questions, by step."""

from itertools import islice
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from data.picture_batches import Augment, to_tensor
from data.pictures import PictureData
from phase2_multimodal.talks import Talk, TalkBatches, Talks, changes, some, talks_of
from phase2_multimodal.vision_language.prompts import CAPTION, Packed, Prompter

Lesson = tuple[Float[Tensor, "b 3 h w"], Packed]


class Lessons:
    """A picture comes with some of its captions and questions: it is encoded once for all of them.

    The answer taught is one that people gave, drawn anew each time.
    """

    def __init__(
        self, talks: Talks, prompter: Prompter, batch_size: int, seed: int, *, captions: int = 1,
        questions: int = 4, augment: Augment | None = None,
    ):  # fmt: skip
        self.batches = TalkBatches(talks, batch_size, seed, augment)
        self.prompter, self.captions, self.questions = prompter, captions, questions

    @classmethod
    def of(cls, data: PictureData, split: str, prompter: Prompter, config: Any) -> "Lessons":
        """A split's, as a verb's configuration says."""
        recipe = config.augment if split == "train" else ""
        return cls(
            talks_of(data, split, config.size), prompter, config.batch_size, config.seed,
            captions=config.captions, questions=config.questions,
            augment=changes(recipe, config.size),
        )  # fmt: skip

    def rows(self, step: int, rows: slice) -> Lesson:
        """Rows `rows` of the batch of that step."""
        picked = self.batches.pick(step, rows)
        pixels = to_tensor(np.stack([talk.pixels for talk, _ in picked]))
        return pixels, self.prompter.pack([self._pairs(talk, random) for talk, random in picked])

    def _pairs(self, talk: Talk, random: np.random.Generator) -> list[tuple[str, str]]:
        captions = some(talk.captions, self.captions, random)
        drawn = talk.taught(random)
        asked = [*islice((q for q in drawn if self.prompter.takes(q.text)), self.questions)]
        answered = [(q.text, q.answers[random.integers(len(q.answers))]) for q in asked]
        return [*((CAPTION, caption) for caption in captions), *answered]

    def first(self, most: int) -> list[Lesson]:
        """Batches of the first so many pictures, for validation."""
        talks, size = len(self.batches.talks), self.batches.batch_size
        size = min(size, talks)
        return [self.rows(step, slice(0, size)) for step in range(max(1, min(most, talks) // size))]

    def captioned(self, number: int) -> list[tuple[Tensor, Tensor, Tensor]]:
        """The first batches with a caption each: pictures, tokens (B, T), what each token says.

        A token counts by how rare it is (its inverse document frequency; Sparck Jones, 1972):
        "dog" says more about a picture than "with".
        """
        found = []
        for step in range(number):
            picked = self.batches.pick(step, slice(0, self.batches.batch_size))
            packed = self.prompter.pack([[(CAPTION, talk.captions[0])] for talk, _ in picked])
            real = packed.answers & (packed.tokens != self.prompter.end)
            pixels = to_tensor(np.stack([talk.pixels for talk, _ in picked]))
            found.append((pixels, packed.tokens, real))
        rows = [
            row[real] for _, tokens, reals in found for row, real in zip(tokens, reals, strict=True)
        ]
        holding = torch.zeros(self.prompter.tokenizer.vocab_size)
        for row in rows:
            holding[row.unique()] += 1
        weight = torch.log(len(rows) / holding.clamp(min=1))
        return [(pixels, tokens, weight[tokens] * real) for pixels, tokens, real in found]
