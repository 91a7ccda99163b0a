"""How well a language model predicts text: strided perplexity and bits per byte, with intervals.

Perplexity depends on the tokenizer, so it compares models that share one. Bits per byte divides by
the length of the text itself and compares any two models, compressors included.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from typing import Protocol, runtime_checkable

import numpy as np
import torch
import torch.nn.functional as F
from torch.nn.utils.rnn import pad_sequence

from shared.errors import VermeilError

BLOCK_BYTES = 4096
RESAMPLES = 1000
NOT_SCORED = -100

Tokens = Sequence[int] | np.ndarray | torch.Tensor
LogitsOf = Callable[[torch.Tensor], torch.Tensor]  # (B, T) token ids -> (B, T, V)
Interval = tuple[float, float]


@runtime_checkable
class Choosy(Protocol):
    """A model that need not make logits where none are asked for: after half of all tokens."""

    def logits_at(self, tokens: torch.Tensor, where: torch.Tensor) -> torch.Tensor:
        """Of tokens (B, T), the logits (N, V) after those that are marked."""
        ...


@dataclass(frozen=True)
class TextScore:
    """What a model pays for a text, and how far that would move on other text of the same kind.

    The intervals (95 %) come from a percentile bootstrap over blocks of about 4096 bytes of one
    document (Carlstein 1986; Efron 1979): neighbouring tokens share topic and author, so drawing
    them one by one would feign an interval some four times too narrow. A block's bytes are its
    document's, in proportion to its tokens. The intervals speak of more text like these documents;
    documents by others differ more. They are None for a text of a single block.
    """

    nats: float
    bytes: int
    tokens: int
    bits_per_byte_interval: Interval | None
    perplexity_interval: Interval | None

    @classmethod
    def from_documents(
        cls, nlls: Sequence[np.ndarray], n_bytes: Sequence[int], *, seed: int = 0
    ) -> "TextScore":
        """Join documents: each one's negative log-likelihoods (tokens,) in nats, and its bytes.

        The likelihoods may come from anything that predicts: a network or an n-gram model. Raises
        VermeilError where there is no text at all.
        """
        documents = zip(nlls, n_bytes, strict=True)
        blocks = np.concatenate([np.empty((0, 3)), *(_blocks(*d) for d in documents)])  # (n, 3)
        nats, size, tokens = blocks.sum(0)
        if not (size and tokens):
            raise VermeilError("there is no text to score", "hold out at least one document")
        bits_per_byte, perplexity = _bootstrap(blocks, seed) if len(blocks) > 1 else (None, None)
        return cls(float(nats), int(sum(n_bytes)), int(tokens), bits_per_byte, perplexity)

    @property
    def perplexity(self) -> float:
        """exp of the mean nats a token (Jelinek et al. 1977)."""
        return math.exp(self.nats / self.tokens)

    @property
    def bits_per_byte(self) -> float:
        """Bits a UTF-8 byte of the text (Gao et al. 2020, The Pile, section 3.1)."""
        return self.nats / math.log(2) / self.bytes


@torch.no_grad()
def score_tokens(
    logits_of: LogitsOf | Choosy, tokens: Tokens, *, context: int, stride: int, batch_size: int
) -> np.ndarray:
    """Negative log-likelihood in nats of every token but the first: (n,) -> (n - 1,) float64.

    The model sees windows of `context` tokens, each `stride` further on, and each token is scored
    once, in the first window that predicts it: after the first window every token is predicted
    from at least context - stride + 1 tokens. stride = context is fastest, stride = 1 gives every
    token all the context the model can take. The first token has nothing to be predicted from:
    prepend BOS.

    `logits_of`, a function or a `Choosy` model, gets the tokens on the device they came on; it must
    be causal (windows are padded on the right) and in evaluation mode. At most batch_size windows'
    logits exist at a time. Raises VermeilError unless 1 <= stride <= context.

    Source: "Perplexity of fixed-length models", transformers documentation. Its windows of L
    tokens predict L - 1, so they are these at context = L - 1.
    """
    return _score_windows(logits_of, _windows(tokens, context, stride), batch_size)


@torch.no_grad()
def score_documents(
    logits_of: LogitsOf | Choosy,
    documents: Sequence[tuple[Tokens, int]],
    *,
    context: int,
    stride: int,
    batch_size: int,
    seed: int = 0,
) -> TextScore:
    """Score documents, each (token ids from BOS on, bytes of its text), and join them.

    No window spans two documents; windows of different documents share batches. The protocol and
    its errors are those of `score_tokens`.
    """
    windows = chain.from_iterable(_windows(tokens, context, stride) for tokens, _ in documents)
    nll = _score_windows(logits_of, windows, batch_size)
    ends = np.cumsum([max(len(tokens) - 1, 0) for tokens, _ in documents])
    n_bytes = [size for _, size in documents]
    return TextScore.from_documents(np.split(nll, ends)[:-1], n_bytes, seed=seed)


def _windows(
    tokens: Tokens, context: int, stride: int
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Yield (inputs, targets), both (T,) with T <= context; targets are scored once overall."""
    if not 1 <= stride <= context:
        raise VermeilError(
            f"stride {stride} is not between 1 and the context of {context} tokens",
            "take half the context",
        )
    if not isinstance(tokens, torch.Tensor):
        tokens = torch.from_numpy(np.array(tokens, np.int64))
    inputs, targets = tokens[:-1].long(), tokens[1:].long()
    overhang = max(len(inputs) - context, 0)
    for start in range(0, min(len(inputs), overhang + stride), stride):
        window = targets[start : start + context].clone()
        if start > 0:
            window[: context - stride] = NOT_SCORED
        yield inputs[start : start + context], window


def _score_windows(
    logits_of: LogitsOf | Choosy,
    windows: Iterable[tuple[torch.Tensor, torch.Tensor]],
    batch_size: int,
) -> np.ndarray:
    """The windows' scored targets' negative log-likelihoods, in order: (n,) float64."""
    windows, scores = iter(windows), [np.empty(0)]
    while batch := list(islice(windows, batch_size)):
        inputs, targets = map(list, zip(*batch, strict=True))
        tokens = pad_sequence(inputs, batch_first=True)
        targets = pad_sequence(targets, batch_first=True, padding_value=NOT_SCORED)
        scored = targets != NOT_SCORED  # (B, T)
        if isinstance(logits_of, Choosy):
            logits = logits_of.logits_at(tokens, scored)  # (N, V)
        else:
            logits = logits_of(tokens)
            logits = logits[scored.to(logits.device)]
        targets = targets[scored].to(logits.device)
        nll = F.cross_entropy(logits.float(), targets, reduction="none")
        scores.append(nll.double().cpu().numpy())
    return np.concatenate(scores)


def _blocks(nll: np.ndarray, n_bytes: int) -> np.ndarray:
    """Cut one document into equal blocks of about BLOCK_BYTES: (blocks, 3) nats, bytes, tokens."""
    n_blocks = min(max(1, round(n_bytes / BLOCK_BYTES)), len(nll))
    if n_blocks == 0:
        return np.empty((0, 3))
    edges = np.linspace(0, len(nll), n_blocks + 1).astype(int)
    tokens = np.diff(edges)
    nats = np.add.reduceat(nll.astype(np.float64), edges[:-1])
    return np.stack([nats, tokens * (n_bytes / len(nll)), tokens], axis=1)


def _bootstrap(blocks: np.ndarray, seed: int) -> tuple[Interval, Interval]:
    """95 % intervals of bits per byte and of perplexity, from blocks (n, 3) drawn n at a time."""
    generator = np.random.default_rng(seed)
    draws = (generator.integers(len(blocks), size=len(blocks)) for _ in range(RESAMPLES))
    nats, size, tokens = np.stack([blocks[draw].sum(0) for draw in draws]).T  # (RESAMPLES,) each
    samples = nats / math.log(2) / size, np.exp(nats / tokens)
    (b_low, b_high), (p_low, p_high) = (np.percentile(s, [2.5, 97.5]).tolist() for s in samples)
    return (b_low, b_high), (p_low, p_high)
