"""Prompts as numbers: tokens of the language model, or bytes."""

from bisect import bisect
from collections.abc import Callable, Sequence

import torch
from jaxtyping import Int
from torch import Tensor

from phase1_foundation.language.tokenizer import Tokenizer
from phase2_multimodal.text_to_image.model import PAD, TextToImageConfig
from shared.errors import VermeilError

BEGIN = 1  # of a prompt in bytes: so an empty one is something, too


class Prompts:
    """Reads prompts for one model; `encode` is its tokenizer's, begin included."""

    def __init__(self, encode: Callable[[str], list[int]], longest: int, unit: str):
        self.encode, self.longest, self.unit = encode, longest, unit

    @classmethod
    def of(cls, config: TextToImageConfig, tokenizer: Tokenizer | None) -> "Prompts":
        """Those of a model; only "bytes" needs no tokenizer."""
        if tokenizer is None:
            return cls(lambda text: [BEGIN, *text.encode()], config.longest, "bytes")
        return cls(lambda text: [tokenizer.bos, *tokenizer.encode(text)], config.longest, "tokens")

    def shortened(self, text: str) -> str:
        """The beginning of a text that is longer than the model takes, words left whole."""
        if len(self.encode(text)) <= self.longest:
            return text
        fits = bisect(range(1, len(text)), self.longest, key=lambda n: len(self.encode(text[:n])))
        return text[:fits].rpartition(" ")[0] or text[:fits]  # there may be no spaces: 一只狗

    def __call__(self, prompts: Sequence[str]) -> Int[Tensor, "b s"]:
        """Rows padded on the right; VermeilError for a prompt that is too long, or no Unicode."""
        try:
            rows = [self.encode(" ".join(prompt.split())) for prompt in prompts]
        except UnicodeEncodeError:
            raise VermeilError(
                "the prompt is no Unicode, it holds half of a surrogate pair", "type it as UTF-8"
            ) from None
        for prompt, row in zip(prompts, rows, strict=True):
            if len(row) > self.longest:
                raise VermeilError(
                    f"the prompt is {len(row):,} {self.unit} long ({len(prompt):,} characters), "
                    f"the model takes {self.longest}",
                    "ask for it in fewer words",
                )
        width = max(map(len, rows))
        return torch.tensor([[*row, *[PAD] * (width - len(row))] for row in rows])
