"""Continuous batching: answers are written side by side, and who comes joins between two tokens.

A request is read once (what was read before is taken from memory), takes a free row, and leaves
it at its own end. Its tokens are those that it would get alone: rows have their own positions,
random numbers and settings (Yu et al., 2022, "Orca": scheduling by iteration).
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace

import torch
from jaxtyping import Float
from torch import Tensor

from phase1_foundation.language.decode import Batch, Decoder
from phase1_foundation.language.generate import GrowingText, Sampling, choose
from phase1_foundation.language.model import KVCache, LanguageModel
from phase1_foundation.language.tokenizer import Tokenizer
from phase2_multimodal.vision_language.model import mask_of
from phase4_deploy.serving.lanes import Lane, fail
from phase4_deploy.serving.memory import Memory, Read, Words
from phase4_deploy.serving.ticket import Ticket
from shared.errors import VermeilError


@dataclass(frozen=True)
class Writing:
    """What is to be continued, and how; `ends` are the tokens that end an answer."""

    words: Words
    sampling: Sampling
    ends: Words
    streamed: bool = False
    # What stands before the words, a picture or speech: its embeddings, and its name in memory.
    before: Callable[[], Float[Tensor, "1 p d"]] | None = None
    name: str = ""


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

    The items of a ticket are new text. Its notes hold `finish_reason` ("stop" or "length"),
    `prompt_tokens` (a picture's among them), `cached_tokens` and `completion_tokens`.
    """

    def __init__(
        self, name: str, model: LanguageModel, tokenizer: Tokenizer,
        decoders: tuple[Decoder, Decoder], *, most: int, queue: int, memory: Memory,
    ):  # fmt: skip
        super().__init__(name, queue)
        self.model, self.tokenizer, self.memory, self.most = model, tokenizer, memory, most
        self.device = model.embed.weight.device
        self.decoders = decoders  # for one row, and for several
        self.written = 0  # tokens since the start
        self.rows: list[Row | None] = []  # by their place in the batch; None is idle
        self._resize(1)

    @property
    def load(self) -> int:
        """Answers that are written or wait."""
        return self.depth + len(self._going())

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
        """Read what is asked, each that was not read before; give everyone a row."""
        unread = defaultdict(list)
        for request, ticket in new:
            try:
                known = self.memory.longest(request.name, request.words)
                if known is None:
                    before = request.before() if request.before else None
                    unread[0 if before is None else before.shape[1]].append(
                        (request, ticket, before)
                    )
                else:
                    cached = known[1].keys.shape[2]
                    self._begin(request, ticket, self._read_on(request, *known), cached)
            except Exception as error:
                fail([ticket], error, self.name)
        for alike in unread.values():
            try:
                reads = self._read([r for r, _, _ in alike], [b for _, _, b in alike])
                for (request, ticket, _), read in zip(alike, reads, strict=True):
                    self._begin(request, ticket, read, cached=0)
            except Exception as error:
                fail([ticket for _, ticket, _ in alike if not ticket.notes], error, self.name)

    def _begin(self, request: Writing, ticket: Ticket, read: Read, cached: int) -> None:
        place, length = self.rows.index(None), read.keys.shape[2]
        sampling, vocabulary = request.sampling, self.model.config.vocab_size
        room = min(sampling.max_tokens, self.model.config.context - length)
        if room < 1:  # how long speech is, is known only now
            context = self.model.config.context
            error = VermeilError(
                f"the request fills the model's context of {context}", "shorten it"
            )
            fail([ticket], error, self.name)
            return
        seen = None
        if sampling.repetition_penalty != 1:
            seen = torch.zeros(vocabulary, dtype=torch.bool, device=self.device)
            seen[list(request.words)] = True
        self._batch.place(place, read.keys, read.values)
        assert read.logits is not None  # words were asked for
        self._logits[place] = read.logits
        self.rows[place] = Row(
            request, ticket, GrowingText(self.tokenizer, sampling.stop),
            torch.Generator(self.device).manual_seed(sampling.seed), room, seen,
        )  # fmt: skip
        ticket.notes |= {"prompt_tokens": length, "cached_tokens": cached}

    def _read(self, requests: Sequence[Writing], before: Sequence[Tensor | None]) -> list[Read]:
        """Read requests side by side, behind prefixes of one length, padded on the right."""
        lengths = [len(request.words) for request in requests]
        padded = [[*r.words, *[0] * (max(lengths) - len(r.words))] for r in requests]
        tokens = torch.tensor(padded, device=self.device)
        x, mask, p = self.model.embed(tokens), None, 0
        if before[0] is not None:
            prefix = torch.cat(before).to(x.dtype)  # type: ignore[arg-type]
            x, p = torch.cat([prefix, x], dim=1), prefix.shape[1]
            mask = mask_of(torch.ones_like(tokens), p)
        cache = KVCache(self.model, len(requests), x.shape[1])
        states = self.model.hidden_states(x, mask=mask, cache=cache)
        last = torch.tensor(lengths, device=self.device) + p - 1
        logits = self.model.head(states[torch.arange(len(requests)), last]).float()
        keys, values = (
            torch.stack([getattr(layer, name) for layer in cache.layers], dim=1)
            for name in ("keys", "values")
        )  # (B, L, H, S, D)
        reads = []
        for row, (request, length) in enumerate(zip(requests, lengths, strict=True)):
            if p and (request.name, ()) not in self.memory:
                seen = Read(keys[row, :, :, :p].clone(), values[row, :, :, :p].clone(), None)
                self.memory.keep(request.name, (), seen)
            whole = slice(0, p + length)
            read = Read(
                keys[row, :, :, whole].clone(),
                values[row, :, :, whole].clone(),
                logits[row].clone(),
            )
            self.memory.keep(request.name, request.words, read)
            reads.append(read)
        return reads

    def _read_on(self, request: Writing, known: int, read: Read) -> Read:
        """Read the words that come after what was read before."""
        if known == len(request.words):
            return read
        new = torch.tensor([request.words[known:]], device=self.device)
        past = read.keys.shape[2]
        cache = KVCache(self.model, 1, past + new.shape[1])
        for layer, keys, values in zip(cache.layers, read.keys, read.values, strict=True):
            layer.append(keys[None], values[None])
        states = self.model.hidden_states(self.model.embed(new), cache=cache)
        logits = self.model.head(states[0, -1]).float()
        keys, values = (
            torch.stack([getattr(layer, name)[0] for layer in cache.layers])
            for name in ("keys", "values")
        )  # (L, H, S, D)
        found = Read(keys, values, logits)
        self.memory.keep(request.name, request.words, found)
        return found

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
