"""Connectionist temporal classification: loss, decoding and alignment (Graves et al., 2006).

A path names one id a frame; repeated ids and then blanks are taken out of it to get a text. The
probability of a text is the sum over all paths that give it.
"""

from collections import defaultdict
from collections.abc import Callable, Sequence
from functools import lru_cache
from itertools import groupby, pairwise
from math import exp, inf, log, log1p
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from phase1_foundation.language.model import LanguageModel
from phase1_foundation.language.tokenizer import Tokenizer
from phase4_deploy.speech.alphabet import BLANK, Alphabet
from shared.errors import VermeilError

WordScore = Callable[[str, str], float]  # of the words before and a word that has just ended


def ctc_loss(
    log_probs: Float[Tensor, "b n vocab"],
    lengths: Int[Tensor, " b"],
    targets: Sequence[Sequence[int]],
) -> Float[Tensor, ""]:
    """-log p(text), in nats per character of the batch (equations 8 and 12).

    A text with more characters than the clip has states (or as many, with doubled letters between
    which a blank must stand) has no path: its loss is infinite, and one such clip would make every
    weight NaN. It counts as 0 with no gradient, and its characters do not count.
    """
    sizes = torch.tensor([len(target) for target in targets])
    flat = torch.tensor([id for target in targets for id in target], dtype=torch.long)
    each = F.ctc_loss(
        log_probs.transpose(0, 1), flat.to(log_probs.device), lengths.cpu(), sizes,
        blank=BLANK, reduction="none", zero_infinity=True,
    )  # fmt: skip
    needed = torch.tensor([shortest(target) for target in targets])
    counted = sizes[needed <= lengths.cpu()].sum()
    return each.sum() / max(1, int(counted))


def shortest(target: Sequence[int]) -> int:
    """How many states a text needs at least: its characters, and a blank between equal ones."""
    return len(target) + sum(a == b for a, b in pairwise(target))


def greedy(
    log_probs: Float[Tensor, "b n vocab"], lengths: Int[Tensor, " b"], alphabet: Alphabet
) -> list[str]:
    """The text of each clip's likeliest path (section 3.2); another may be likelier as a sum."""
    paths = log_probs.argmax(dim=-1).tolist()
    ends = lengths.tolist()
    return [
        alphabet.decode([id for id, _ in groupby(path[:end])])
        for path, end in zip(paths, ends, strict=True)
    ]


def prefix_beam(
    log_probs: Float[Tensor, "n vocab"],
    alphabet: Alphabet,
    width: int = 16,
    scorer: WordScore | None = None,
    least: float = 1e-4,
) -> list[tuple[str, float]]:
    """The likeliest texts of one clip with their log scores, best first (Hannun et al., 2014).

    Algorithm 1: for each prefix the probabilities of paths that end in a blank and of those that do
    not are kept apart, for only after a blank a letter can double. `scorer` adds its bonus to a
    text's score wherever a word ends. Ids less probable than `least` in a frame are not looked at;
    with `least` 0 and a `width` that holds all prefixes the search is exact.
    """
    space = alphabet.characters.index(" ") + 1
    beams: dict[tuple[int, ...], tuple[float, float]] = {(): (0.0, -inf)}  # after a blank, or not
    bonus: dict[tuple[int, ...], float] = {(): 0.0}
    frames = log_probs.detach().cpu().double().numpy()
    for frame in frames:
        likely = np.flatnonzero(frame >= (log(least) if least else -inf))
        found = [(int(id), float(frame[id])) for id in likely]
        grown: dict[tuple[int, ...], list[float]] = defaultdict(lambda: [-inf, -inf])
        for prefix, (blank, letter) in beams.items():
            both = _add(blank, letter)
            for id, p in found:
                if id == BLANK:
                    grown[prefix][0] = _add(grown[prefix][0], both + p)
                    continue
                longer = grown[(*prefix, id)]
                if prefix and prefix[-1] == id:  # the same letter held, or doubled after a blank
                    grown[prefix][1] = _add(grown[prefix][1], letter + p)
                    longer[1] = _add(longer[1], blank + p)
                else:
                    longer[1] = _add(longer[1], both + p)
                if scorer and (*prefix, id) not in bonus:
                    ended = _last_word(prefix, alphabet, scorer) if id == space else 0.0
                    bonus[*prefix, id] = bonus[prefix] + ended
        best = sorted(grown, key=lambda p: _add(*grown[p]) + bonus.get(p, 0.0), reverse=True)
        beams = {prefix: (grown[prefix][0], grown[prefix][1]) for prefix in best[:width]}
    scores: dict[str, float] = {}
    for prefix, parts in beams.items():
        ended = _last_word(prefix, alphabet, scorer) if scorer else 0.0
        text = alphabet.decode(prefix)
        score = _add(*parts) + bonus.get(prefix, 0.0) + ended
        scores[text] = _add(scores.get(text, -inf), score)
    return sorted(scores.items(), key=lambda item: item[1], reverse=True)


@torch.no_grad()
def text_log_probs(
    log_probs: Float[Tensor, "n vocab"], targets: Sequence[Sequence[int]]
) -> Float[Tensor, " texts"]:
    """log p of each of several texts of one clip, over all its paths (equation 8); -inf for one
    that is too long for the clip."""
    sizes = torch.tensor([len(target) for target in targets])
    flat = torch.tensor([id for target in targets for id in target], dtype=torch.long)
    return -F.ctc_loss(
        log_probs.float().cpu()[:, None].expand(-1, len(targets), -1), flat,
        torch.full_like(sizes, len(log_probs)), sizes, blank=BLANK, reduction="none",
    )  # fmt: skip


def likeliest(log_probs: Float[Tensor, "n vocab"], targets: Sequence[Sequence[int]]) -> int | None:
    """Which of several texts one clip holds: that of the greatest probability.

    None where all are too long for the clip. The sum over all paths is exact, and there is nothing
    to search: for a closed vocabulary.
    """
    each = text_log_probs(log_probs, targets)
    best = int(each.argmax())
    return best if each[best].isfinite() else None


def _add(a: float, b: float) -> float:
    """log(exp(a) + exp(b)); numpy's takes ten times as long for single numbers."""
    if a < b:
        a, b = b, a
    return a if b == -inf else a + log1p(exp(b - a))


def _last_word(prefix: tuple[int, ...], alphabet: Alphabet, scorer: WordScore) -> float:
    """What the scorer says of the word that a prefix ends with; 0 after a space."""
    text = "".join(alphabet.characters[id - 1] for id in prefix)
    before, _, word = text.rpartition(" ")
    return scorer(" ".join(before.split()), word) if word else 0.0


class WordScorer:
    """What phase 1's language model makes of a word: alpha log p(word | words before) + beta.

    `beta` makes up for what every further word costs (Hannun et al., 2014, equation 10). The model
    learned from written text, with capitals and points; a transcript has neither, so that alpha is
    to be tuned: the defaults are, on ARCTIC's validation sentences (docs/log.md).
    """

    def __init__(
        self, model: LanguageModel, tokenizer: Tokenizer, alpha: float = 0.1, beta: float = 1.5
    ):
        self.model, self.tokenizer, self.alpha, self.beta = model.eval(), tokenizer, alpha, beta
        self._score = lru_cache(2**16)(self._log_probability)

    def __call__(self, before: str, word: str) -> float:
        return self.alpha * self._score(before, word) + self.beta

    @torch.no_grad()
    def _log_probability(self, before: str, word: str) -> float:
        """In nats, over all tokens of the word with the space before it."""
        context = [self.tokenizer.bos, *self.tokenizer.encode(before)]
        new = self.tokenizer.encode(f" {word}" if before else word)
        most = self.model.config.context
        tokens = torch.tensor([*context, *new][-most - 1 :], device=self.model.embed.weight.device)
        scores = self.model(tokens[None, :-1])[0].float().log_softmax(dim=-1)  # (T, vocab)
        picked = scores.gather(1, tokens[1:, None])[-len(new) :]
        return picked.sum().item()


class Span(NamedTuple):
    """A character's place in a clip: states `first` up to `last`, and its mean probability."""

    character: str
    first: int
    last: int
    probability: float


def align(log_probs: Float[Tensor, "n vocab"], text: str, alphabet: Alphabet) -> list[Span]:
    """Where each character of a text is said, by its likeliest path (Viterbi).

    VermeilError for a text that needs more states than the clip has.
    """
    from torchaudio.functional import forced_align

    target = alphabet.encode(text)
    if shortest(target) > len(log_probs):
        raise VermeilError(
            f"the text {text[:60]!r} needs {shortest(target)} states, the clip has "
            f"{len(log_probs)}",
            "is it this clip's text?",
        )
    if not target:
        return []
    path, _ = forced_align(log_probs[None].cpu(), torch.tensor([target]), blank=BLANK)
    spans, at = [], 0
    for id, run in groupby(path[0].tolist()):
        n = len(list(run))
        if id != BLANK:
            probability = log_probs[at : at + n, id].exp().mean().item()
            spans.append(Span(alphabet.characters[id - 1], at, at + n, probability))
        at += n
    return spans
