"""What the towers are trained for, and the batches they see."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from data.picture_batches import Augment, to_tensor
from phase1_foundation.language.tokenizer import Tokenizer
from phase2_multimodal.alignment.model import AlignmentModel
from phase2_multimodal.parents import paces
from phase2_multimodal.talks import TalkBatches, Talks, some
from shared.objective import Objective

if TYPE_CHECKING:
    from phase2_multimodal.train_alignment import AlignmentTrainConfig

Batch = tuple[Float[Tensor, "b 3 h w"], Int[Tensor, "b t"], Int[Tensor, " b"]]


class Align(Objective):
    """Each picture finds its caption among those of the batch, and each caption its picture."""

    model: AlignmentModel

    def __init__(self, model: AlignmentModel, config: "AlignmentTrainConfig"):
        super().__init__(model, config)
        self.paces = paces(config)

    def loss(self, batch: Batch) -> Float[Tensor, ""]:
        pictures, tokens, lengths = batch
        return self.model.loss(
            self.model.embed_pictures(pictures), self.model.embed_texts(tokens, lengths)
        )


class Pairs:
    """Pictures, each with one of its captions."""

    def __init__(
        self, talks: Talks, tokenizer: Tokenizer, batch_size: int, seed: int,
        augment: Augment | None = None,
    ):  # fmt: skip
        self.batches, self.tokenizer = TalkBatches(talks, batch_size, seed, augment), tokenizer

    def rows(self, step: int, rows: slice) -> Batch:
        """Rows `rows` of the batch of that step."""
        picked = self.batches.pick(step, rows)
        texts = [some(talk.captions, 1, random)[0] for talk, random in picked]
        pixels = to_tensor(np.stack([talk.pixels for talk, _ in picked]))
        return pixels, *encode(self.tokenizer, texts)

    def first(self, number: int) -> list[Batch]:
        """The batches of the first steps."""
        whole = slice(0, min(self.batches.batch_size, len(self.batches.talks)))
        return [self.rows(step, whole) for step in range(number)]


def encode(
    tokenizer: Tokenizer, texts: Sequence[str]
) -> tuple[Int[Tensor, "b t"], Int[Tensor, " b"]]:
    """Tokens of texts, each closed by the end of a document, padded on the right; their lengths."""
    ids = [[tokenizer.bos, *tokenizer.encode(text), tokenizer.eos] for text in texts]
    longest = max(map(len, ids))
    tokens = torch.tensor([[*row, *[0] * (longest - len(row))] for row in ids])
    return tokens, torch.tensor([len(row) for row in ids])
