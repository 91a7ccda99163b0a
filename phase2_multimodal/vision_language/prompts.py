"""What is asked of the model, as tokens: one prompt for captions, and questions as they come."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from phase1_foundation.language import chat
from phase1_foundation.language.tokenizer import Tokenizer
from shared.errors import VermeilError

CAPTION = "describe the picture"
MOST_TOKENS = 64  # of a question, and of an answer that is learned


class Packed(NamedTuple):
    """Texts about one picture a row; see `VisionLanguageModel.hidden_states`."""

    tokens: Int[Tensor, "b t"]
    segments: Int[Tensor, "b t"]
    answers: Bool[Tensor, "b t"]


@dataclass(frozen=True)
class Prompter:
    """The chat template around a picture: <s><|user|>PICTURE question<|end|><|assistant|>."""

    tokenizer: Tokenizer

    @property
    def opening(self) -> Int[Tensor, " o"]:
        """What stands before the picture."""
        special = self.tokenizer.special
        return torch.tensor([special[chat.BOS], special[chat.USER]])

    @property
    def like_newlines(self) -> dict[int, int]:
        """The turns' symbols, and the end of a line: what divides texts in what phase 1 read."""
        line = self.tokenizer.encode("\n")[0]
        return {
            self.tokenizer.special[symbol]: line for symbol in (chat.USER, chat.ASSISTANT, chat.END)
        }

    @property
    def end(self) -> int:
        return self.tokenizer.special[chat.END]

    def question(self, text: str) -> list[int]:
        """Tokens after the picture, up to where the answer begins."""
        if not text.strip():
            raise VermeilError("the question is empty", 'ask something: "what is this?"')
        special = self.tokenizer.special
        ids = self.tokenizer.encode(text.strip())
        if len(ids) > MOST_TOKENS:
            raise VermeilError(
                f"the question is {len(ids):,} tokens long ({len(text):,} characters), the model "
                f"takes {MOST_TOKENS}",
                "ask it shorter",
            )
        return [*ids, special[chat.END], special[chat.ASSISTANT]]

    def answer(self, text: str) -> list[int]:
        """An answer, as a word after others, with the symbol that ends it."""
        return [*self.tokenizer.encode(f" {text.strip()}")[:MOST_TOKENS], self.end]

    def takes(self, text: str) -> bool:
        """Whether a text can be asked."""
        return 0 < len(self.tokenizer.encode(text.strip())) <= MOST_TOKENS

    def pack(self, rows: Sequence[Sequence[tuple[str, str]]]) -> Packed:
        """(question, answer) pairs of each picture side by side, rows padded on the right."""
        packed = [self._row(pairs) for pairs in rows]
        longest = max(len(tokens) for tokens, _, _ in packed)
        columns = (
            torch.tensor([[*part, *[0] * (longest - len(part))] for part in parts])
            for parts in zip(*packed, strict=True)
        )
        tokens, segments, answers = columns
        return Packed(tokens, segments, answers.bool())

    def _row(self, pairs: Sequence[tuple[str, str]]) -> tuple[list[int], list[int], list[int]]:
        tokens, segments, answers = [], [], []
        for number, (question, answer) in enumerate(pairs, start=1):
            asked, told = self.question(question), self.answer(answer)
            tokens += [*asked, *told]
            segments += [number] * (len(asked) + len(told))
            answers += [0] * len(asked) + [1] * len(told)
        return tokens, segments, answers
