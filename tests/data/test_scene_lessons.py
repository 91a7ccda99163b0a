"""What is asked in training: right, about what is there and what is not, comparisons first."""

import re
from collections import Counter, defaultdict

import numpy as np
import pytest

from data.scene_lessons import SHARES, lessons
from data.scene_words import KINDS, SceneQuestion, truth
from data.scenes import Scene, Scenes

MANY = 1500


@pytest.fixture(scope="module")
def taught() -> list[tuple[Scene, list[SceneQuestion]]]:
    """Many training scenes, each with what is asked about it, as it is drawn."""
    scenes = (Scenes().scene("train", number) for number in range(MANY))
    return [(scene, lessons(scene, np.random.default_rng(i))) for i, scene in enumerate(scenes)]


def of_kind(asked: list[SceneQuestion], kind: str) -> list[tuple[str, str]]:
    """The thing asked about, and the answer."""
    found = [question for question in asked if question.kind == kind]
    names = (re.search(r"(?:where is the|is there an?) (\w[\w ]*?)( in the picture)?\?", q.text)
             for q in found)  # fmt: skip
    return [(name[1], q.answer) for name, q in zip(names, found, strict=True) if name]


def test_one_thing_is_there_and_one_is_not(taught):
    for scene, asked in taught:
        answers = {answer: name for name, answer in of_kind(asked, "presence")}
        assert {*answers} == {"yes", "no"}
        assert answers["yes"] in scene.counts
        assert answers["no"] not in scene.counts


def test_all_places_are_asked_for_and_true(taught):
    for scene, asked in taught:
        places = of_kind(asked, "place")
        assert sorted(name for name, _ in places) == sorted(
            name for name, number in scene.counts.items() if number == 1
        )
        assert all(("place", *place) in truth(scene) for place in places)


def test_every_other_kind_is_asked_once_at_most(taught):
    kinds = [Counter(question.kind for question in asked) for _, asked in taught]
    assert {kind for of in kinds for kind in of} == {*KINDS} == {*SHARES}
    assert (
        max(n for of in kinds for kind, n in of.items() if kind not in ("presence", "place")) == 1
    )
    assert all(of["color"] == of["count"] == of["object"] == of["category"] == 1 for of in kinds)


def test_what_has_to_be_compared_comes_first(taught):
    first = Counter(question.kind for _, asked in taught for question in asked[:1])
    assert first["presence"] > 3 * first["color"] > 0
    several = [asked[0].kind == "place" for scene, asked in taught if len(scene.counts) == 3]
    alone = [asked[0].kind == "place" for scene, asked in taught if [*scene.counts.values()] == [1]]
    assert np.mean(several) > 0.3  # 3 places of share 3 among 9 + 6 + 7.4
    assert np.mean(alone) < 0.08  # a tenth of 3 among 0.3 + 6 + 4.9


def test_the_name_says_nothing_about_whether_it_is_there(taught):
    answers: dict[str, Counter[str]] = defaultdict(Counter)
    for _, asked in taught:
        for name, answer in of_kind(asked, "presence"):
            answers[name][answer] += 1
    assert len(answers) == 64
    shares = np.array([of["yes"] / of.total() for of in answers.values()])
    assert abs(shares.mean() - 0.5) < 0.03
    assert shares.std() < 0.15  # of 47 coins each: .073; and things of one style are there less
