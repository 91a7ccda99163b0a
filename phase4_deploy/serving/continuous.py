"""Continuous batching: answers are written side by side, and who comes joins between two tokens.

A request is read once (what was read before is taken from memory), takes a free row, and leaves
it at its own end. Its tokens are those that it would get alone: rows have their own positions,
random numbers and settings (Yu et al., 2022, "Orca": scheduling by iteration).
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from phase1_foundation.language.decode import Batch, Decoder, Past, Product
from phase1_foundation.language.generate import GrowingText, Sampling, choose
from phase1_foundation.language.model import LanguageModel
from phase1_foundation.language.tokenizer import Tokenizer
from phase4_deploy.serving.lanes import Lane, fail
from phase4_deploy.serving.memory import Memory, Read, Words
from phase4_deploy.serving.ticket import Ticket
from shared.errors import VermeilError

SEVERAL = 16  # rows for which products are chosen where there is more than one


@dataclass(frozen=True, eq=False)
class Before:
    """What stands before the words: a picture, speech or both. `name` tells it from all others."""

    name: str
    pixels: UInt8[np.ndarray, "h w 3"] | None = None
    mels: Float[np.ndarray, "m k"] | None = None


@dataclass(frozen=True)
class Writing:
    """What is to be continued, and how; `ends` are the tokens that end an answer."""

    words: Words
    sampling: Sampling
    ends: Words
    streamed: bool = False
    before: Before | None = None

    @property
    def name(self) -> str:
        """What memory knows its beginning by."""
        return self.before.name if self.before else ""


@dataclass
class Row:
    """An answer that is being written."""

    request: Writing
    ticket: Ticket[str]
    text: GrowingText
    generator: torch.Generator
    room: int  # tokens that may still be written
    seen: Tensor | None  # tokens read and written, for the repetition penalty
    ids: list[int] = field(default_factory=list)

    def __post_init__(self):
        # What rows have to share to be sampled in one go.
        self.kind = replace(self.request.sampling, max_tokens=0, stop=(), seed=0)

    def take(self, token: int) -> str:
        """Write a token; the reason why the answer ends with it, or "" where it goes on."""
        if token in self.request.ends:
            return "stop"
        self.ids.append(token)
        self.room -= 1
        if self.request.streamed or self.request.sampling.stop:
            if new := self.text.add(token):
                self.ticket.put(new)
            if self.text.stopped:
                return "stop"
        return "" if self.room else "length"

    def close(self, reason: str) -> None:
        """Hand over the rest."""
        if not self.request.streamed and not self.request.sampling.stop:
            self.text.ids = self.ids
        self.ticket.put(self.text.finish())
        self.ticket.notes |= {"finish_reason": reason, "completion_tokens": len(self.ids)}
        self.ticket.end()


class TextLane(Lane[Writing]):
    """Writes up to `most` answers at a time with one language model.

    `sense` makes embeddings of what stands before the words.

    The items of a ticket are new text. Its notes hold `finish_reason` ("stop" or "length"),
    `prompt_tokens` (a picture's among them), `cached_tokens` and `completion_tokens`.
    """

    def __init__(
        self, name: str, model: LanguageModel, tokenizer: Tokenizer, *, most: int, queue: int,
        memory_bytes: int, product: type[Product] = Product,
        sense: Callable[[Before], Float[Tensor, "1 p d"]] | None = None,
    ):  # fmt: skip
        super().__init__(name, queue)
        self.model, self.tokenizer, self.most, self.sense = model.eval(), tokenizer, most, sense
        self.memory, self.device = Memory(memory_bytes), model.embed.weight.device
        alone = Decoder(model, 1, product)
        self.decoders = alone, Decoder(model, min(most, SEVERAL), product) if most > 1 else alone
        self.written = 0  # tokens since the start
        self.rows: list[Row | None] = []  # by their place in the batch; None is idle
        self._resize(1)

    @property
    def writing(self) -> int:
        """Answers that are being written."""
        return len(self._going())

    def busy(self) -> bool:
        return any(self.rows)

    @torch.inference_mode()
    def work(self) -> None:
        """Let go rows whose reader has left, let new ones in, write a token in each."""
        for place, row in self._going():
            if row.ticket.cancelled:
                self._leave(place, row, "cancelled")
        new = self.taken(self.most - len(self._going()))
        self._fit(len(self._going()) + len(new))
        self._join(new)
        try:
            self._write()
        except Exception as error:  # none of these rows can go on
            fail([row.ticket for _, row in self._going()], error, self.name)
            self.rows = []
            self._resize(1)

    def _going(self) -> list[tuple[int, Row]]:
        return [(place, row) for place, row in enumerate(self.rows) if row]

    # Writing.

    def _write(self) -> None:
        """Choose a token for each row, and have the model take it."""
        going = self._going()
        tokens = self._chosen(going)
        for place, row in going:
            if reason := row.take(tokens[place]):
                self._leave(place, row, reason)
        self.written += len(going)
        if self.busy():
            self._logits = self._batch.step(torch.tensor(tokens, device=self.device))

    def _chosen(self, going: Iterable[tuple[int, Row]]) -> list[int]:
        """A token for each place, 0 for idle ones; rows that are sampled alike are sampled once."""
        tokens, alike = [0] * len(self.rows), defaultdict(list)
        for place, row in going:
            alike[row.kind].append((place, row))
        for kind, members in alike.items():
            places = [place for place, _ in members]
            logits = self._logits if len(places) == len(self.rows) else self._logits[places]
            generators, seen = [row.generator for _, row in members], None
            if kind.repetition_penalty != 1:
                seen = torch.stack([row.seen for _, row in members])  # type: ignore[misc]
            chosen = choose(logits, kind, generators, seen).tolist()
            for number, (place, row) in enumerate(members):
                tokens[place] = chosen[number]
                row.seen = None if seen is None else seen[number]
        return tokens

    def _leave(self, place: int, row: Row, reason: str) -> None:
        self.rows[place] = None
        self._batch.clear(place)
        row.close(reason)

    # Reading.

    def _join(self, new: Sequence[tuple[Writing, Ticket]]) -> None:
        """Read what is asked, as far as it was not read before; give everyone a row."""
        for request, ticket in new:
            try:
                self._begin(request, ticket, *self._read(request))
            except Exception as error:
                fail([ticket], error, self.name)

    def _read(self, request: Writing) -> tuple[Read, int]:
        """What a request begins with, and how much of it was known."""
        known, read = self.memory.longest(request.name, request.words) or (0, None)
        cached = read.past.length if read else 0
        if read is None or known < len(request.words):
            words = torch.tensor(request.words[known:], device=self.device)
            x, prefix = self.decoders[1].embed[words], 0
            if request.before and read is None:
                before = self.sense(request.before)[0]  # type: ignore[misc]
                x, prefix = torch.cat([before.to(x.dtype), x]), len(before)
            context = self.model.config.context
            if cached + len(x) >= context:  # how long speech is, is known only now
                message = f"the request fills the model's context of {context}"
                raise VermeilError(message, "shorten it")
            read = Read(*self.decoders[1].read(x, prefix, read and read.past))
            if prefix:
                seen = Past(read.past.layers[:, :, :, :prefix].clone())
                self.memory.keep(request.name, (), Read(seen, None))
            self.memory.keep(request.name, request.words, read)
        return read, cached

    def _begin(self, request: Writing, ticket: Ticket, read: Read, cached: int) -> None:
        place, length = self.rows.index(None), read.past.length
        sampling, vocabulary = request.sampling, self.model.config.vocab_size
        room = min(sampling.max_tokens, self.model.config.context - length)
        seen = None
        if sampling.repetition_penalty != 1:
            seen = torch.zeros(vocabulary, dtype=torch.bool, device=self.device)
            seen[list(request.words)] = True
        self._batch.place(place, read.past)
        assert read.logits is not None  # words were asked for
        self._logits[place] = read.logits
        self.rows[place] = Row(
            request, ticket, GrowingText(self.tokenizer, sampling.stop),
            torch.Generator(self.device).manual_seed(sampling.seed), room, seen,
        )  # fmt: skip
        ticket.notes |= {"prompt_tokens": length, "cached_tokens": cached}

    # Rows.

    def _fit(self, wanted: int) -> None:
        """Room for so many: a power of two; half as much as there is, once that is enough."""
        size = 1 << max(wanted - 1, 0).bit_length()
        if size > len(self.rows) or 2 * size <= len(self.rows):
            self._resize(size)

    def _resize(self, size: int) -> None:
        going, config = self._going(), self.model.config
        places = [place for place, _ in going]
        decoder = self.decoders[size > 1]
        old = self._batch if going else Batch(decoder, 1, config.context)
        self._batch = old.moved(size, places, decoder)
        logits = self._logits[places] if going else old.x.new_empty(0, config.vocab_size)
        empty = logits.new_zeros(size - len(logits), config.vocab_size)
        self._logits = torch.cat([logits, empty])
        self.rows = [row for _, row in going] + [None] * (size - len(going))
