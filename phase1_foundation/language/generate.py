"""Generation with a KV cache: one prompt or a batch, streamed or whole, seeded per row."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from phase1_foundation.language.decode import Batch, Decoder
from phase1_foundation.language.model import LanguageModel
from phase1_foundation.language.tokenizer import Tokenizer
from shared.errors import VermeilError

COLDEST = 1e-5  # below this temperature logits overflow; the most likely token is certain there


@dataclass(frozen=True)
class Sampling:
    """How the next token is chosen. temperature 0 takes the most likely one."""

    max_tokens: int = 128  # fewer where the batch's longest prompt reaches the context's end
    temperature: float = 1.0
    top_k: int = 0  # 0: all
    top_p: float = 1.0
    repetition_penalty: float = 1.0
    stop: tuple[str, ...] = ()
    seed: int = 0  # row i of a batch uses seed + i: it says what it would say alone


@torch.inference_mode()
def stream(
    model: LanguageModel | Decoder,
    prompts: Sequence[Sequence[int]],
    sampling: Sampling,
    eos: Sequence[int],
) -> Iterator[list[int | None]]:
    """Yield, per step, the next token of every prompt; None for rows that have ended.

    A row's answer does not depend on its neighbours. Who writes often prepares a `Decoder` once.
    """
    decoder = model if isinstance(model, Decoder) else Decoder(model, len(prompts))
    config = decoder.model.config
    lengths = [len(prompt) for prompt in prompts]
    longest, room = max(lengths), config.context - max(lengths)
    if min(lengths) == 0:
        raise VermeilError("the prompt is empty", "give at least one word")
    if room < 1:
        raise VermeilError(
            f"the prompt is {longest} tokens long, the model's context is {config.context}",
            f"shorten it to at most {config.context - 1} tokens",
        )
    steps = min(sampling.max_tokens, room)
    batch = Batch(decoder, len(prompts), longest + steps - 1)  # the last token is not read
    logits = batch.prefill(prompts)
    chooser = Chooser(sampling, prompts, config.vocab_size, logits.device)
    yield from write(batch, logits, chooser, steps, eos)


@torch.inference_mode()
def write(
    batch: Batch, logits: Float[Tensor, "b v"], chooser: "Chooser", steps: int, eos: Sequence[int]
) -> Iterator[list[int | None]]:
    """Continue what a batch has read, whose next tokens have these logits; as `stream`."""
    ended = [False] * len(logits)
    for left in reversed(range(steps)):
        chosen = chooser(logits)  # (B,)
        answer: list[int | None] = []
        for row, token in enumerate(chosen.tolist()):
            ended[row] = ended[row] or token in eos
            answer.append(None if ended[row] else token)
        if all(ended):
            return
        yield answer
        if left:
            logits = batch.step(chosen)


class Chooser:
    """Turns logits into tokens; every row has its own random numbers and remembers its tokens."""

    def __init__(
        self,
        sampling: Sampling,
        prompts: Sequence[Sequence[int]],
        vocab_size: int,
        device: torch.device,
    ):
        self.sampling = sampling
        self.generators = [
            torch.Generator(device).manual_seed(sampling.seed + row) for row in range(len(prompts))
        ]
        self.penalises = sampling.repetition_penalty != 1.0
        if self.penalises:
            self.seen = torch.zeros(len(prompts), vocab_size, dtype=torch.bool, device=device)
            for row, prompt in zip(self.seen, prompts, strict=True):
                row[list(prompt)] = True

    def __call__(self, logits: Float[Tensor, "b v"]) -> Int[Tensor, " b"]:
        """The next token of every row."""
        seen = self.seen if self.penalises else None
        return choose(logits, self.sampling, self.generators, seen)


def choose(
    logits: Float[Tensor, "b v"], sampling: Sampling, generators: Sequence[torch.Generator],
    seen: Bool[Tensor, "b v"] | None = None,
) -> Int[Tensor, " b"]:  # fmt: skip
    """The next token of rows that are sampled alike, each with its own random numbers.

    `seen` marks the tokens that each row has read or written, and is kept up to date; it is needed
    for the repetition penalty alone.
    """
    if seen is not None:  # Keskar et al., 2019, eq. 2: towards less likely
        penalty = sampling.repetition_penalty
        penalised = torch.where(logits > 0, logits / penalty, logits * penalty)
        logits = torch.where(seen, penalised, logits)
    if sampling.temperature < COLDEST:
        chosen = logits.argmax(dim=-1)
    else:
        likely = keep_top_k(logits / sampling.temperature, sampling.top_k)
        chosen = sample(keep_top_p(likely, sampling.top_p), generators)
    if seen is not None:
        seen.scatter_(1, chosen[:, None], True)
    return chosen


def sample(
    logits: Float[Tensor, "b v"], generators: Sequence[torch.Generator]
) -> Int[Tensor, " b"]:
    """A token a row, by its probability.

    One random number a row, put through the inverse of the cumulative distribution: six times as
    fast as torch.multinomial, which draws one for every token of the vocabulary.
    """
    cumulative = logits.softmax(dim=-1).cumsum(dim=-1)
    drawn = torch.cat([torch.rand(1, generator=g, device=g.device) for g in generators])
    drawn = drawn[:, None] * cumulative[:, -1:]  # whose rounded sum may miss 1
    return torch.searchsorted(cumulative, drawn, right=True)[:, 0]


def keep_top_k(logits: Float[Tensor, "b v"], k: int) -> Float[Tensor, "b v"]:
    """Rule out all but the k most likely tokens (Fan et al., 2018); 0 keeps all."""
    if not 0 < k < logits.shape[-1]:
        return logits
    smallest_kept = logits.topk(k, dim=-1).values[:, -1:]
    return logits.masked_fill(logits < smallest_kept, float("-inf"))


def keep_top_p(logits: Float[Tensor, "b v"], p: float) -> Float[Tensor, "b v"]:
    """Keep the fewest likeliest tokens whose probability reaches p (Holtzman et al., 2020)."""
    if p >= 1:
        return logits
    ordered, order = logits.softmax(dim=-1).sort(descending=True, dim=-1)
    beyond = ordered.cumsum(dim=-1) - ordered >= p  # those before a token reach p already
    beyond[:, 0] = False
    return logits.masked_fill(beyond.scatter(-1, order, beyond), float("-inf"))


def generate(
    model: LanguageModel, tokenizer: Tokenizer, prompts: Sequence[str], sampling: Sampling
) -> list[str]:
    """Continuations of plain texts, without the texts."""
    texts = [""] * len(prompts)
    for new in stream_text(model, tokenizer, prompts, sampling):
        texts = [text + piece for text, piece in zip(texts, new, strict=True)]
    return texts


def stream_text(
    model: LanguageModel, tokenizer: Tokenizer, prompts: Sequence[str], sampling: Sampling
) -> Iterator[list[str]]:
    """Yield, per step, the new text of every prompt.

    Text is held back while it may still change: half a character in bytes, half an escape of the
    tokenizer, or the beginning of a stop string.
    """
    ids = [[tokenizer.bos, *tokenizer.encode(prompt)] for prompt in prompts]
    rows = [GrowingText(tokenizer, sampling.stop) for _ in prompts]
    for step in stream(model, ids, sampling, eos=(tokenizer.eos, tokenizer.bos)):
        yield [row.add(token) for row, token in zip(rows, step, strict=True)]
        if all(row.stopped or token is None for row, token in zip(rows, step, strict=True)):
            break
    yield [row.finish() for row in rows]


UNFINISHED = "\ufffd\ue000"  # how a character's first bytes, and an escape's, are decoded


class GrowingText:
    """The text of one answer as it grows, token by token."""

    def __init__(self, tokenizer: Tokenizer, stop: tuple[str, ...]):
        self.tokenizer, self.stop = tokenizer, stop
        self.ids: list[int] = []
        self.shown, self.stopped = 0, False

    def add(self, token: int | None) -> str:
        """The text that is now certain; nothing after a stop string."""
        if token is None or self.stopped:
            return ""
        self.ids.append(token)
        text = self.tokenizer.decode(self.ids)
        cuts = [text.find(stop) for stop in self.stop if stop in text]
        if cuts:
            self.stopped = True
            return self._show(text[: min(cuts)])
        certain = text.rstrip(UNFINISHED)
        held = max((_overlap(certain, stop) for stop in self.stop), default=0)
        return self._show(certain[: len(certain) - held])

    def finish(self) -> str:
        """What was still held back."""
        return "" if self.stopped else self._show(self.tokenizer.decode(self.ids))

    def _show(self, text: str) -> str:
        new, self.shown = text[self.shown :], max(self.shown, len(text))
        return new


def _overlap(text: str, stop: str) -> int:
    """The length of the longest end of `text` that begins `stop`."""
    longest = min(len(text), len(stop) - 1)
    return next((n for n in range(longest, 0, -1) if text.endswith(stop[:n])), 0)
