"""What the model learns from: pictures, each with a caption and questions, by step."""

from collections.abc import Iterator
from functools import cached_property
from itertools import islice
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from data.picture_batches import Augment, to_tensor
from data.pictures import PictureData
from phase2_multimodal.talks import Talk, TalkBatches, Talks, changes, some, talks_of
from phase2_multimodal.vision_language.prompts import CAPTION, Packed, Prompter

FITTED = 32  # batches whose captions say how rare a word is


class Lesson(NamedTuple):
    """Pictures, what each token weighs as a word for what is seen, and the texts about them."""

    pictures: Float[Tensor, "b 3 h w"]
    words: Float[Tensor, "b t"] | None  # None where nobody asks
    packed: Packed


class Lessons:
    """A picture comes with some of its captions and questions: it is encoded once for all of them.

    The answer taught is one that people gave, drawn anew each time. With `naming`, the words of its
    captions come with how rare they are.
    """

    def __init__(
        self, talks: Talks, prompter: Prompter, batch_size: int, seed: int, *, captions: int = 1,
        questions: int = 4, augment: Augment | None = None,
        naming: bool = False,
    ):  # fmt: skip
        self.batches = TalkBatches(talks, batch_size, seed, augment)
        self.prompter, self.captions, self.questions = prompter, captions, questions
        self.naming = naming and captions > 0

    @classmethod
    def of(cls, data: PictureData, split: str, prompter: Prompter, config: Any) -> "Lessons":
        """A split's, as a verb's configuration says."""
        recipe = config.augment if split == "train" else ""
        return cls(
            talks_of(data, split, config.size), prompter, config.batch_size, config.seed,
            captions=config.captions, questions=config.questions,
            augment=changes(recipe, config.size), naming=split == "train" and config.naming > 0,
        )  # fmt: skip

    def rows(self, step: int, rows: slice) -> Lesson:
        """Rows `rows` of the batch of that step."""
        picked = self.batches.pick(step, rows)
        pixels = to_tensor(np.stack([talk.pixels for talk, _ in picked]))
        pairs = [self._pairs(talk, random) for talk, random in picked]
        packed = self.prompter.pack(pairs)
        return Lesson(pixels, self._words(packed, pairs) if self.naming else None, packed)

    def _words(self, packed: Packed, pairs: list[list[tuple[str, str]]]) -> Float[Tensor, "b t"]:
        """By how rare they are in captions; 0 for what stands in no caption here."""
        captions = torch.tensor([sum(asked == CAPTION for asked, _ in row) for row in pairs])
        said = packed.answers & (packed.segments <= captions[:, None])  # captions come first
        return self.rarity[packed.tokens] * said

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
        """The first batches with a caption each: pictures, tokens (B, T), what each token says."""
        found = []
        for talks, packed in self._first_captions(number):
            pixels = to_tensor(np.stack([talk.pixels for talk in talks]))
            found.append((pixels, packed.tokens, self.rarity[packed.tokens] * packed.answers))
        return found

    @cached_property
    def rarity(self) -> Float[Tensor, " vocab"]:
        """How much a token says about a picture, by the captions of the first `FITTED` batches.

        Its inverse document frequency (Sparck Jones, 1972): "dog" says more than "with". What no
        caption there holds, and the end of a text, says nothing.
        """
        holding, rows = torch.zeros(self.prompter.tokenizer.vocab_size), 0
        for _, packed in self._first_captions(FITTED):
            for tokens, real in zip(packed.tokens, packed.answers, strict=True):
                holding[tokens[real].unique()] += 1
            rows += len(packed.tokens)
        holding[self.prompter.end] = 0
        return torch.where(holding > 0, torch.log(rows / holding.clamp(min=1)), 0.0)

    def _first_captions(self, number: int) -> Iterator[tuple[list[Talk], Packed]]:
        for step in range(number):
            picked = self.batches.pick(step, slice(0, self.batches.batch_size))
            talks = [talk for talk, _ in picked if talk.captions]  # some have questions alone
            if talks:
                yield talks, self.prompter.pack([[(CAPTION, talk.captions[0])] for talk in talks])
