"""Pictures that are talked about: captions and questions beside the pixels, drawn by step."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar, runtime_checkable

import numpy as np

from data.noto_pictures import NotoPictures
from data.picture_batches import Augment, Order
from data.pictures import PictureData, arrays
from data.questions import HasQuestions, VisualQuestion
from data.scene_words import captions
from data.scenes import HELD_OUT_SPLITS, Scene, Scenes

T = TypeVar("T")


@runtime_checkable
class Talk(Protocol):
    """A picture with everything that people said about it."""

    @property
    def pixels(self) -> np.ndarray: ...  # (H, W, 3) uint8

    @property
    def captions(self) -> tuple[str, ...]: ...

    @property
    def questions(self) -> tuple[VisualQuestion, ...]: ...

    def taught(self, random: np.random.Generator) -> Sequence[VisualQuestion]:
        """Questions to learn from, in the order in which they are drawn."""
        ...


@dataclass(frozen=True)
class PictureTalk:
    """A talk that was written down."""

    pixels: np.ndarray
    captions: tuple[str, ...]
    questions: tuple[VisualQuestion, ...]

    def taught(self, random: np.random.Generator) -> Sequence[VisualQuestion]:
        """Those that people asked."""
        return some(self.questions, len(self.questions), random)


@runtime_checkable
class Talks(Protocol):
    """Talks by number."""

    def __len__(self) -> int: ...

    def __getitem__(self, number: int) -> Talk: ...


def talks_of(data: PictureData, split: str, size: int) -> Talks:
    """A split of any data set as squares of `size` pixels."""
    if isinstance(data, Scenes):
        return SceneTalks(data.at_size(size), split)
    return PictureTalks(data, split, size)


def to_measure(data: PictureData, split: str, size: int, most: int) -> list[Talk]:
    """The first talks of a split that is reported on; half as many where it is not the test."""
    talks = talks_of(data, split, size)
    most = most if split == "test" else most // 2
    return [talks[number] for number in range(min(most, len(talks)))]


def measured_splits(data: PictureData) -> list[str]:
    """The splits that are reported on: of scenes all that are held out, where they are here."""
    if not isinstance(data, Scenes):
        return ["test"]
    return [split for split in HELD_OUT_SPLITS if split != "noto" or NotoPictures().ready()]


@dataclass(frozen=True)
class SceneTalk:
    """A scene's: words and pixels are made when they are asked for, and not all are."""

    scenes: Scenes
    scene: Scene

    @property
    def pixels(self) -> np.ndarray:
        return self.scenes.render(self.scene)

    @property
    def captions(self) -> tuple[str, ...]:
        return captions(self.scene)

    @property
    def questions(self) -> tuple[VisualQuestion, ...]:
        return tuple(self.scenes.asked(self.scene))

    def taught(self, random: np.random.Generator) -> Sequence[VisualQuestion]:
        """More than are asked when it is measured."""
        return [*self.scenes.taught(self.scene, random)]


class SceneTalks:
    """Generated scenes, made one by one as they are asked for."""

    def __init__(self, scenes: Scenes, split: str):
        self.scenes, self.split = scenes, split

    def __len__(self) -> int:
        return self.scenes.length(self.split)

    def __getitem__(self, number: int) -> Talk:
        return SceneTalk(self.scenes, self.scenes.scene(self.split, number))


class PictureTalks:
    """The pictures of a data set, resized once, with their texts and questions."""

    def __init__(self, data: PictureData, split: str, size: int):
        self.arrays = arrays(data, split, size)
        self.questions: dict[str, list[VisualQuestion]] = defaultdict(list)
        if isinstance(data, HasQuestions):
            for question in data.questions(split):
                self.questions[question.picture].append(question)

    def __len__(self) -> int:
        return len(self.arrays.labels)

    def __getitem__(self, number: int) -> Talk:
        asked = tuple(self.questions.get(self.arrays.ids[number], ()))
        return PictureTalk(np.array(self.arrays.pixels[number]), self.arrays.texts[number], asked)


def changes(recipe: str, size: int) -> Augment | None:
    """How training pictures are changed, as a verb's configuration says; "": not at all."""
    if not recipe:
        return None
    from data.augment import Augmentation

    return Augmentation(recipe, size)


class TalkBatches:
    """Which talks a batch holds: by the seed and the step alone, each once an epoch."""

    def __init__(self, talks: Talks, batch_size: int, seed: int, augment: Augment | None = None):
        self.talks, self.batch_size, self.seed, self.augment = talks, batch_size, seed, augment
        self.order = Order(len(talks), seed)

    def pick(self, step: int, rows: slice) -> list[tuple[Talk, np.random.Generator]]:
        """The talks in rows `rows` of that step, each with random numbers of its own."""
        places = step * self.batch_size + np.arange(self.batch_size)[rows]
        picked = zip(places.tolist(), self.order.pick(places).tolist(), strict=True)
        return [
            (self._talk(number, place), np.random.default_rng((self.seed, place)))
            for place, number in picked
        ]

    def _talk(self, number: int, place: int) -> Talk:
        talk = self.talks[number]
        if self.augment is None:
            return talk
        changed = self.augment((self.seed, place), talk.pixels)
        return PictureTalk(changed, talk.captions, talk.questions)


def some(items: Sequence[T], most: int, random: np.random.Generator) -> list[T]:
    """Up to so many of them, in random order."""
    return [items[i] for i in random.permutation(len(items))[:most].tolist()]
