"""Training batches of spoken clips of like length, drawn by step."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple, TypeVar

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from data.picture_batches import Order
from data.speech import Clip, Dropped
from phase4_deploy.audio.activity import EDGE
from phase4_deploy.audio.augment import Augmentation
from phase4_deploy.audio.decode import RATE, BadSound
from phase4_deploy.audio.features import Features
from phase4_deploy.audio.log_mel import HOP, MELS, frames_of
from shared.errors import VermeilError

STRIDE = 4  # frames to a state of the encoder
LONGEST = 30.0  # seconds
# Batches that are drawn together and sorted by length: with one, nothing is sorted.
POOL = 20
FEW = 0.05  # of the transcripts may have characters that the alphabet lacks
KEPT = 2**26  # samples of all clips that stay in memory: 70 minutes, 256 MB
# What the order of batches and of rows adds to a key.
BATCHES, ROWS, HANDOVER = 1, 2, 3

Place = int
T = TypeVar("T")
Encode = Callable[[str], Sequence[int]]


class Batch(NamedTuple):
    """Clips side by side, zeros behind the shorter ones."""

    mels: Float[Tensor, "b t 80"]
    lengths: Int[Tensor, " b"]  # frames
    texts: list[str]
    ids: list[str]


@dataclass(frozen=True)
class Known:
    """A clip that can be learned from."""

    clip: Clip
    key: str  # of its features
    span: tuple[int, int]  # samples, of the recording
    frames: int
    least: int = 0  # frames that its text needs

    @property
    def samples(self) -> int:
        """Of what is heard of it, edges of silence among them."""
        return self.span[1] - self.span[0] + 2 * EDGE


class SpeechBatches:
    """Batches of clips of like length; in a random order each comes once before any comes again.

    A batch depends on the seed and the step alone, however it is divided among processes: padding
    goes to the longest clip of the whole batch. `encode` is the alphabet's. Passed over and
    counted in `dropped`: what cannot be read, clips over `longest` seconds, clips too short for
    what is said in them, for CTC needs a state for each character and one between equal ones, and
    transcripts that `encode` refuses or of which it leaves nothing ("March 16, 1908"). More than a
    few of those are another alphabet's: a VermeilError that names the clips.
    """

    def __init__(
        self,
        clips: Iterable[Clip],
        encode: Encode,
        batch_size: int,
        seed: int,
        augment: Augmentation | None = None,
        *,
        features: Features | None = None,
        longest: float = LONGEST,
        pool: int = POOL,
    ):
        self.batch_size, self.seed, self.augment, self.pool = batch_size, seed, augment, pool
        self.features = features or Features()
        self.dropped = Dropped()
        self.clips = self._known(clips, encode, longest)
        if not self.clips:
            raise VermeilError(
                f"no clip is left to learn from (passed over: {str(self.dropped) or 'none'})",
                "look at the files and their transcripts",
            )
        self.order = Order(len(self.clips), seed)
        self._pool: tuple[int, list] = (-1, [])  # the latest: its batches
        self._waves, self._room = {}, KEPT

    @property
    def seconds(self) -> float:
        """Of all clips together, trimmed."""
        return sum(known.frames for known in self.clips) * HOP / RATE

    def rows(self, step: int, rows: slice) -> Batch:
        """Rows `rows` of the batch of that step."""
        picked = self.pick(step)
        longest = max(self._frames(*each) for each in picked)
        found = [self._mels(*each) for each in picked[rows]]
        return batch_of(found, [known.clip for _, known in picked[rows]], longest)

    def padding(self, steps: int) -> float:
        """The share of frames that hold nothing in the batches of the first so many steps."""
        lengths = np.array([[self._frames(*each) for each in self.pick(s)] for s in range(steps)])
        return 1 - lengths.sum() / (lengths.max(axis=1).sum() * self.batch_size)

    def pick(self, step: int) -> list[tuple[Place, Known]]:
        """The clips of that step's batch, with their places in the endless line of epochs."""
        number, within = divmod(step, self.pool)
        if self._pool[0] != number:
            size = self.pool * self.batch_size
            places = number * size + np.arange(size)
            drawn = [self.clips[clip] for clip in self.order.pick(places).tolist()]
            line = [*zip(places.tolist(), drawn, strict=True)]
            line.sort(key=lambda each: self._frames(*each))
            batches = [
                line[first : first + self.batch_size] for first in range(0, size, self.batch_size)
            ]
            self._pool = (number, shuffled(batches, (self.seed, number, BATCHES)))
        # Sorted, the first process would have the short ones and wait for the others.
        return shuffled(self._pool[1][within], (self.seed, step, ROWS))

    def _known(self, clips: Iterable[Clip], encode: Encode, longest: float) -> list[Known]:
        known, refused = [], []
        for clip in clips:
            try:
                needed = states(encode(clip.text))
            except VermeilError as error:
                refused.append((clip, error))
                continue
            if not needed:
                refused.append((clip, VermeilError(f"{clip.text!r} has no letter of the alphabet")))
                continue
            try:
                key = self.features.key(clip.source, _name(clip))
                heard = self.features.get(clip.source, _name(clip), key)
            except BadSound as bad:
                self.dropped.drop(clip.id, bad.reason)
                continue
            one = Known(clip, key, heard.span, len(heard.mels), STRIDE * needed)
            if one.frames * HOP > longest * RATE:
                self.dropped.drop(clip.id, f"longer than {longest:g} s")
            elif self._shortest(one) // STRIDE < needed:
                self.dropped.drop(clip.id, "too short for its text")
            else:
                known.append(one)
        if len(refused) > FEW * (len(refused) + len(known)):
            raise _of_another_alphabet(refused)
        for clip, _ in refused:
            self.dropped.drop(clip.id, "with characters that are not learned")
        return known

    def _shortest(self, known: Known) -> int:
        """Its frames at the greatest speed."""
        return frames_of(self.augment.fewest(known.samples)) if self.augment else known.frames

    def _frames(self, place: Place, known: Known) -> int:
        """How many frames a clip has as it is changed in that place."""
        if not self.augment:
            return known.frames
        key, frames = (self.seed, place), known.frames
        if self.augment.changes_waves:
            frames = frames_of(self.augment.samples(key, known.samples))
        return self.augment.frames(key, frames, known.least)

    def _mels(self, place: Place, known: Known) -> Tensor:
        """A clip's frames as they are changed in that place."""
        if not self.augment:
            return self._clean(known)
        key = (self.seed, place)
        if not self.augment.changes_waves:
            return self.augment.mels(key, self._clean(known), known.least)
        wave = self.augment.wave(key, self.wave(known), _Waves(self))
        return self.augment.mels(key, self.features.log_mel(wave), known.least)

    def _clean(self, known: Known) -> Tensor:
        return self.features.get(known.clip.source, _name(known.clip), known.key).mels

    def wave(self, known: Known) -> Float[Tensor, " n"]:
        """A clip's samples; those of small sets stay in memory."""
        wave = self._waves.get(known.key)
        if wave is None:
            wave = self.features.wave(known.clip.source, known.span, _name(known.clip))
            if len(wave) <= self._room:
                self._waves[known.key] = wave.clone()  # the whole recording would stay, too
                self._room -= len(wave)
        return wave


class Handover:
    """Batches of one source that give way to another's over the first `steps` of `total` steps.

    The chance that a batch is of the first falls from 1 to `rest` and stays there; which it is
    depends on the seed and the step. Each source's own batches come in their own order, none left
    out.
    """

    def __init__(
        self, first: SpeechBatches, then: SpeechBatches, steps: int, rest: float, total: int,
        seed: int,
    ):  # fmt: skip
        draws = np.random.default_rng((seed, HANDOVER)).random(total)
        given = np.clip(np.arange(total) / max(steps, 1e-9), 0, 1)
        early = draws < 1 - (1 - rest) * given
        self.sources = (then, first)
        self._which = early.astype(int)  # (total,)
        self._number = np.where(early, early.cumsum(), (~early).cumsum()) - 1  # of its source

    def rows(self, step: int, rows: slice) -> Batch:
        """Rows `rows` of the batch of that step."""
        which, number = self.source(step)
        return self.sources[which].rows(number, rows)

    def source(self, step: int) -> tuple[int, int]:
        """1 for the first source and 0 for the other, and the number of its batch."""
        step = min(step, len(self._which) - 1)  # a loader reads ahead; nobody learns from that
        return int(self._which[step]), int(self._number[step])


class _Waves:
    """All clips' samples, read when they are asked for."""

    def __init__(self, batches: SpeechBatches):
        self.batches = batches

    def __len__(self) -> int:
        return len(self.batches.clips)

    def __getitem__(self, number: int) -> Tensor:
        return self.batches.wave(self.batches.clips[number])


def measured(
    clips: Iterable[Clip], batch_size: int, features: Features | None = None
) -> Iterator[Batch]:
    """Every clip once and unchanged, in batches of like length, the longest first: to measure on.

    None is passed over, however short or badly spelled, since that would make numbers better;
    BadSound names one that cannot be read.
    """
    features = features or Features()
    heard = [(clip, features.get(clip.source, _name(clip)).mels) for clip in clips]
    heard.sort(key=lambda each: -len(each[1]))
    for first in range(0, len(heard), batch_size):
        some = heard[first : first + batch_size]
        yield batch_of([mels for _, mels in some], [clip for clip, _ in some])


def shuffled(things: list[T], key: tuple[int, ...]) -> list[T]:
    """In an order that depends on the key alone."""
    return [things[place] for place in np.random.default_rng(key).permutation(len(things))]


def batch_of(mels: Sequence[Tensor], clips: Sequence[Clip], longest: int = 0) -> Batch:
    """Clips' frames side by side, for `longest` frames at least."""
    lengths = torch.tensor([len(frames) for frames in mels])
    together = torch.zeros(len(mels), max(longest, int(lengths.max())), MELS)
    for row, frames in enumerate(mels):
        together[row, : len(frames)] = frames
    return Batch(together, lengths, [clip.text for clip in clips], [clip.id for clip in clips])


def states(ids: Sequence[int]) -> int:
    """How many states CTC needs for a text: its characters, and a blank between equal ones."""
    return len(ids) + sum(a == b for a, b in pairwise(ids))


def _of_another_alphabet(refused: list[tuple[Clip, VermeilError]]) -> VermeilError:
    names = ", ".join(clip.id for clip, _ in refused[:5]) + (", ..." if refused[5:] else "")
    first = refused[0][1]
    return VermeilError(
        f"of {len(refused)} clips the transcript cannot be learned ({names}); the first: "
        f"{first.message}",
        first.hint or "leave them out, or name the alphabet they are written in",
    )


def _name(clip: Clip) -> str:
    return clip.id if isinstance(clip.source, bytes) else ""
