"""What the unified model is trained for: the answers, and letters beside them."""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from phase2_multimodal.vision_language.prompts import Prompter
from phase4_deploy.audio.batches import Batch
from phase4_deploy.speech.alphabet import Alphabet
from phase4_deploy.speech.ctc import ctc_loss, shortest
from phase4_deploy.unified.lessons import Hour, alignment_of
from phase4_deploy.unified.model import Prefix, UnifiedModel
from shared.objective import Objective
from shared.optim import Pace

LETTERS = 0.3  # of the loss: CTC on the encoder's states keeps them about what is said
NOTHING = -100  # is being said, as far as is known
TOKENS = 0.3  # of it: what the ear gives stays near the token that is being said


class Answers(Objective):
    """The mean over the kinds of lessons of the cross-entropy of answers, + 0.3 CTC, + 0.3 of what
    naming the token that is being said costs.

    Of reading, every token is an answer.
    """

    model: UnifiedModel

    def __init__(self, model: UnifiedModel, config: Any, prompter: Prompter):
        super().__init__(model, config)
        self.prompter, self.length_power = prompter, config.length_power
        self.register_buffer("opening", prompter.opening, persistent=False)
        self.paces = {
            "vision.": Pace(config.vision_rate),
            "language.": Pace(config.language_rate),
            "speech.": Pace(config.speech_rate),
        }

    def loss(self, batch: Hour) -> Float[Tensor, ""]:
        model, opening = self.model, self.opening
        answers, letters, tokens = [], [], []
        for pictures, sound, words in (batch.asked, batch.said):
            heard, log_probs, n = model.heard(sound.mels, sound.lengths)
            before = model.before(opening, pictures, heard)  # type: ignore[arg-type]
            answers.append(model.answer_loss(before, *words))
            letters.append(ctc_loss(log_probs, n, spelled(sound)))
            tokens.append(self._naming(heard, log_probs.detach(), n, sound))
        if batch.looking is not None:
            pictures, _, packed = batch.looking
            prefix = model.prefix(pictures, opening)  # type: ignore[arg-type]
            answers.append(model.loss(prefix, *packed, self.length_power))
        if batch.reading is not None:
            answers.append(model.language.loss(batch.reading))
        of_sound = LETTERS * torch.stack(letters).mean() + TOKENS * torch.stack(tokens).mean()
        return torch.stack(answers).mean() + of_sound

    def _naming(
        self, heard: Prefix, letters: Float[Tensor, "b n vocab"], n: Tensor, sound: Batch
    ) -> Float[Tensor, ""]:
        """Cross-entropy of the token that is being said in each embedding, by the best path of the
        letters; the language model's own embeddings are what it is told apart from."""
        said = torch.full(heard.real.shape, NOTHING)  # (B, M)
        for row, (length, text) in enumerate(zip(n.tolist(), sound.texts, strict=True)):
            if has_path(text, length):
                stack = self.model.stack
                named = alignment_of(letters[row, :length], text, self.prompter, stack)
                said[row, : len(named)] = torch.tensor(named)
        table = self.model.language.embed.weight.detach()
        known = said != NOTHING
        logits = heard.embeddings[known.to(table.device)].to(table.dtype) @ table.T  # (N, vocab)
        costs = F.cross_entropy(logits.float(), said[known].to(table.device), reduction="sum")
        return costs / max(1, int(known.sum()))


def has_path(text: str, states: int) -> bool:
    """Whether a text has letters, and a clip of so many states has room for them."""
    return 0 < shortest(Alphabet().encode(text)) <= states


def spelled(sound: Batch) -> list[list[int]]:
    """The clips' texts as letters."""
    return [*map(Alphabet().encode, sound.texts)]


@torch.no_grad()
def begin(model: UnifiedModel, batches: Sequence[Batch], prompter: Prompter) -> None:
    """Fit the ear to clips with texts: see `UnifiedModel.fit_ear`."""
    model.eval()
    seen = []
    for sound in batches:
        states, lengths = model.speech.encoder(sound.mels, sound.lengths)
        letters, readings = model.speech.readings(states, lengths)
        stacked, m = model.ear.stacked(states, lengths)
        rows = zip(stacked, letters, readings.tolist(), m.tolist(), sound.texts, strict=True)
        for row, scores, n, stacks, text in rows:
            if not has_path(text, n):
                continue
            said = alignment_of(scores[:n], text, prompter, model.stack)
            words = model.language.embed(torch.tensor(said, device=row.device))
            seen.append((row[:stacks], words))
    model.fit_ear(seen)
    model.train()
