"""Which talks a batch holds: by the seed and the step alone, each once an epoch."""

import numpy as np
import pytest

from data.pictures import Picture, PictureData
from data.questions import VisualQuestion
from data.scene_lessons import lessons
from data.scene_words import captions, questions
from phase2_multimodal.talks import PictureTalk, TalkBatches, measured_splits, some, talks_of


class Numbers:
    """Talks that say their own numbers."""

    def __init__(self, length: int):
        self.length = length

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, number: int) -> PictureTalk:
        assert 0 <= number < self.length
        return PictureTalk(np.zeros((1, 1, 3), np.uint8), (str(number),), ())


def picked(batches: TalkBatches, step: int, rows: slice = slice(None)) -> list[tuple[int, float]]:
    """The numbers, each with the first random number that comes with it."""
    return [(int(talk.captions[0]), random.random()) for talk, random in batches.pick(step, rows)]


@pytest.mark.parametrize(("length", "size"), [(60, 10), (37, 8), (8, 8), (1000, 13)])
def test_each_comes_once_an_epoch(length, size):
    batches = TalkBatches(Numbers(length), size, seed=0)
    steps = -(-3 * length // size)
    line = [talk for step in range(steps) for talk, _ in picked(batches, step)]
    for epoch in range(3):
        assert sorted(line[epoch * length : (epoch + 1) * length]) == [*range(length)]
    if length > 8:  # of so few, the order may be the same
        assert line[:length] != line[length : 2 * length]
        assert line[:length] != [*range(length)]


def test_it_depends_on_the_seed_and_the_step_alone():
    one, same, other = (TalkBatches(Numbers(50), 8, seed) for seed in (3, 3, 4))
    late = picked(one, 9)
    assert [picked(one, step) for step in range(12)][9] == late == picked(same, 9)
    assert picked(other, 9) != late


@pytest.mark.parametrize("processes", [2, 4])
def test_processes_share_the_rows(processes):
    batches, part = TalkBatches(Numbers(50), 8, 0), 8 // processes
    shares = [
        picked(batches, 5, slice(rank * part, (rank + 1) * part)) for rank in range(processes)
    ]
    assert [row for share in shares for row in share] == picked(batches, 5)


def test_some_are_drawn_without_repetition():
    random = np.random.default_rng(0)
    drawn = [some("abcde", 3, random) for _ in range(400)]
    assert all(len({*of}) == 3 for of in drawn)
    shares = [sum(letter in of for of in drawn) / 400 for letter in "abcde"]
    assert shares == pytest.approx([0.6] * 5, abs=0.1)
    assert sorted(some("ab", 3, random)) == ["a", "b"]
    assert some("ab", 0, random) == []


def test_people_are_taught_what_they_asked():
    asked = tuple(VisualQuestion(i, "p", f"what {i}?", ("a",)) for i in range(5))
    talk = PictureTalk(np.zeros((1, 1, 3), np.uint8), (), asked)
    orders = [tuple(talk.taught(np.random.default_rng(seed))) for seed in range(20)]
    assert all(sorted(order, key=lambda q: q.id) == [*asked] for order in orders)
    assert len({*orders}) > 10


def test_more_is_taught_about_a_scene_than_asked(small_scenes):
    talk, scene = talks_of(small_scenes, "train", 16)[3], small_scenes.scene("train", 3)
    [again, same] = (lessons(scene, np.random.default_rng(7)) for _ in range(2))
    assert again == same
    taught = talk.taught(np.random.default_rng(7))
    assert [(q.text, *q.answers) for q in taught] == [(q.text, q.answer) for q in again]
    assert len(taught) > len(talk.questions)
    assert len({q.id for q in taught}) == len(taught)
    assert {q.picture for q in taught} == {"train/3"}


def test_talks_of_scenes_are_those_scenes(small_scenes):
    talks = talks_of(small_scenes, "test", 32)
    assert len(talks) == 20
    talk, scene = talks[7], small_scenes.scene("test", 7)
    assert talk.pixels.shape == (32, 32, 3)
    assert talk.captions == captions(scene)
    assert [(q.text, *q.answers) for q in talk.questions] == [
        (q.text, q.answer) for q in questions(scene)
    ]
    asked_in_training = [
        (q.text, *q.answers) for q in talks_of(small_scenes, "train", 16)[0].questions
    ]
    once = [(q.text, q.answer) for q in questions(small_scenes.scene("train", 0))]
    assert asked_in_training[: len(once)] == once


class Two(PictureData):
    """Two pictures of another size, one of them asked about."""

    name, version, licence = "two", "1", "none"
    description = size = splits = ""
    classes = ("thing",)
    ready = prepare = None  # nobody asks

    def pictures(self, split: str):
        for number in range(2):
            pixels = np.full((8, 12, 3), 100 * number, np.uint8)
            yield Picture(f"p{number}", pixels, 0, (f"a {number}", f"the {number}"))

    def questions(self, split: str):
        yield VisualQuestion(1, "p1", "which?", ("one", "1"))
        yield VisualQuestion(2, "p1", "really?", ("yes",))

    def sha256(self) -> str:
        return "22" * 32


def test_talks_of_pictures_bring_their_questions():
    talks = talks_of(Two(), "test", 8)
    assert len(talks) == 2
    assert [q.text for q in talks[1].questions] == ["which?", "really?"]
    assert talks[0].questions == ()
    assert talks[1].captions == ("a 1", "the 1")
    assert talks[1].pixels.shape == (8, 8, 3)
    assert (talks[1].pixels == 100).any()


def test_scenes_are_measured_on_all_that_is_held_out(small_scenes):
    assert measured_splits(Two()) == ["test"]
    assert measured_splits(small_scenes) == ["test", "pairs", "style", "unknown"]


def test_changed_pictures_keep_their_words_and_depend_on_their_place_alone():
    def darker(key: tuple[int, ...], pixels: np.ndarray) -> np.ndarray:
        return pixels + np.uint8(key[-1] % 250)

    plain, changed = (TalkBatches(Numbers(6), 4, 0, augment) for augment in (None, darker))
    for step in range(3):  # an epoch and a half: the same picture comes back changed otherwise
        assert picked(plain, step) == picked(changed, step)
        shades = [int(talk.pixels[0, 0, 0]) for talk, _ in changed.pick(step, slice(None))]
        assert shades == [4 * step + row for row in range(4)]
        alone = [int(talk.pixels[0, 0, 0]) for talk, _ in changed.pick(step, slice(2, 4))]
        assert alone == shades[2:]
