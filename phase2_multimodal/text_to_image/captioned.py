"""Pictures that somebody put into words: what can be learned from, and what is drawn again."""

from collections.abc import Iterable, Sequence

import numpy as np

from data.official_pictures import UNLABELLED
from data.pictures import PictureData
from phase2_multimodal.talks import PictureTalk, PictureTalks
from shared.errors import VermeilError


class Captioned:
    """The pictures of a split that have words, as squares of `size` pixels.

    VermeilError where none has.
    """

    def __init__(self, data: PictureData, split: str, size: int):
        self.talks = PictureTalks(data, split, size)
        self.numbers = with_words(self.talks.arrays.texts, data, split)

    def __len__(self) -> int:
        return len(self.numbers)

    def __getitem__(self, number: int) -> PictureTalk:
        talk = self.talks[self.numbers[number]]
        return PictureTalk(talk.pixels, words_of(talk.captions), talk.questions)


def words_of(texts: Iterable[str]) -> tuple[str, ...]:
    """What is said of a picture, without what is empty; that it has no class says nothing."""
    lines = (" ".join(text.split()) for text in texts)
    return tuple(line for line in lines if line and line != UNLABELLED)


def with_words(texts: Sequence[Iterable[str]], data: PictureData, split: str) -> list[int]:
    """The places of the pictures that have words; VermeilError where there are none."""
    numbers = [number for number, some in enumerate(texts) if words_of(some)]
    if not numbers:
        raise VermeilError(
            f"none of the {len(texts):,} pictures of {data.name} ({split}) has words to draw them "
            "by",
            "put captions into a NAME.txt beside each picture, a line each; vermeil train "
            "diffusion needs none",
        )
    return numbers


def held_out(data: PictureData, size: int, most: int) -> list[PictureTalk]:
    """So many test pictures, in a random order that is always the same.

    Files lie in the order of their classes, often; the first ones would be of one.
    """
    talks = Captioned(data, "test", size)
    order = np.random.default_rng(0).permutation(len(talks))[:most]
    return [talks[number] for number in order.tolist()]
