"""Captions that are true, questions whose answers are right and cannot be guessed, real words."""

import re
from collections import Counter, defaultdict

import numpy as np
import pytest

from data.embedded_pictures import EmbeddedPictures
from data.scene_concepts import BY_NAME, FIRST, FLAT_ONLY, KNOWN, UNKNOWN, plural, with_article
from data.scene_words import KINDS, captions, names, questions, truth
from data.scenes import CELLS, GROUNDS, SPLITS, Scene, Scenes, Sprite
from shared.metrics.scene_facts import facts, tuple_f1

PLAIN = {plural(name): name for name in BY_NAME} | {name: name for name in BY_NAME}
MANY = 2000


@pytest.fixture(scope="module")
def scenes() -> Scenes:
    return Scenes()


@pytest.fixture(scope="module")
def asked(scenes):
    """The questions of many training scenes, each with its scene."""
    many = (scenes.scene("train", number) for number in range(MANY))
    return [(scene, question) for scene in many for question in questions(scene)]


@pytest.fixture(scope="module")
def concepts():
    """What the embedded pictures know, by code, without their pixels."""
    return {concept["id"]: concept for concept in EmbeddedPictures().concepts()}


def test_every_name_is_what_people_call_that_emoji(concepts):
    for concept in BY_NAME.values():
        known = concepts[concept.code]
        phrases = {phrase.casefold() for phrase in (*known["texts"], *known["tags"])}
        said = phrases | {word for phrase in phrases for word in phrase.split()}
        assert concept.name in said, concept
        assert {*concept.synonyms} <= phrases, concept


def test_known_things_are_of_the_training_split_and_unknown_ones_of_none(concepts):
    assert {concepts[concept.code]["split"] for concept in KNOWN} == {"train"}
    assert {concepts[concept.code]["split"] for concept in UNKNOWN} == {"validation", "test"}


def test_no_two_things_share_a_phrase():
    assert len(KNOWN) == 64
    assert len(UNKNOWN) == 16
    assert len({concept.code for concept in BY_NAME.values()}) == len(BY_NAME) == 80
    phrases = [p for c in BY_NAME.values() for p in (c.name, *c.synonyms)]
    assert len({*phrases}) == len(phrases)
    assert len(names()) == len({p for phrase in phrases for p in (phrase, plural(phrase))})
    assert {*FIRST} <= {concept.name for concept in KNOWN}
    assert {*FLAT_ONLY} <= {concept.name for concept in KNOWN}


@pytest.mark.parametrize(("one", "many"), [
    ("dog", "dogs"), ("fish", "fish"), ("octopus", "octopuses"), ("butterfly", "butterflies"),
    ("strawberry", "strawberries"), ("tomato", "tomatoes"), ("sandwich", "sandwiches"),
    ("key", "keys"), ("cactus", "cactuses"), ("bunny", "bunnies"), ("fox", "foxes"),
])  # fmt: skip
def test_plurals(one, many):
    assert plural(one) == many


def test_articles():
    assert with_article("apple") == "an apple"
    assert with_article("small apple") == "a small apple"
    assert with_article("orange") == "an orange"


@pytest.mark.parametrize("split", SPLITS)
def test_captions_are_five_true_ones(scenes, split):
    known, colours = names(), tuple(GROUNDS)
    for number in range(200):
        scene = scenes.scene(split, number)
        said = captions(scene)
        assert said == captions(scene)
        assert len({*said}) == 5
        for text in said:
            assert 8 <= len(text.split()) <= 14, text
            assert tuple_f1(facts(text, known, colours), truth(scene)) == 1, (text, scene)


PHRASINGS = (
    r"^there (is|are) .* on an? \w+ background$", r"^an? \w+ background with ", r"^a picture of ",
    r"^on an? \w+ background there (is|are) ", r", and the background is \w+$",
    r"^an image with .* in front of an? \w+ background$", r"^this \w+ picture shows ",
    r" with \w+ behind$", r"^we see ", r"^the \w+ scene has ",
)  # fmt: skip


def test_captions_are_put_in_many_ways(scenes):
    said = [text for i in range(300) for text in captions(scenes.scene("train", i))]
    uses = np.array([[bool(re.search(form, text)) for form in PHRASINGS] for text in said])
    assert (uses.mean(axis=0) > 0.02).all(), "none of the phrasings is rare"
    assert (uses.sum(axis=1) <= 1).all()


def test_captions_use_synonyms_at_times(scenes):
    """About as often as SYNONYM says: a fifth of what has one."""
    for other, usual in (("aubergine", "eggplant"), ("bike", "bicycle")):
        scene = Scene("", "red", (Sprite(usual, 0, "small", "flat"),), (0,))
        many = (Scene("", "red", scene.sprites, (0, number)) for number in range(60))
        said = [text for one in many for text in captions(one)]
        share = np.mean([bool(re.search(rf"\b{other}\b", text)) for text in said])
        assert 0.1 < share < 0.4
        assert all(re.search(rf"\b({other}|{usual})\b", text) for text in said)


def right(scene: Scene, kind: str, text: str) -> str:
    """The answer worked out from the words of the question and the sprites alone."""
    standing: dict[str, list[Sprite]] = defaultdict(list)
    for sprite in scene.sprites:
        standing[sprite.concept].append(sprite)

    def only(name: str) -> Sprite:
        [sprite] = standing[name]
        return sprite

    if kind == "color":
        assert "color is the background" in text
        return scene.ground
    if kind == "count":
        noun = re.fullmatch(r"how many (.+) (?:are there|do you see)\?", text)[1]
        return str(len(scene.sprites) if noun == "things" else len(standing[PLAIN[noun]]))
    if kind == "object":
        place = re.fullmatch(r"what is (?:at the (.+)|in the (.+) corner)\?", text)
        cell = CELLS.index(place[1] or place[2])
        [name] = [sprite.concept for sprite in scene.sprites if sprite.cell == cell]
        return name
    if kind == "place":
        return CELLS[only(re.fullmatch(r"where is the (.+)\?", text)[1]).cell]
    if kind == "size":
        return only(re.fullmatch(r"is the (.+) large or small\?", text)[1]).size
    if kind in ("presence", "category"):
        noun = re.fullmatch(r"is there (?:an?|any) (\w+?)(?: in the picture)?\?", text)[1]
        if kind == "presence":
            holds = noun in standing
        else:
            holds = any(BY_NAME[name].category == noun for name in standing)
    else:
        first, how, second = re.fullmatch(
            r"is the (.+) (left of|above|larger than) the (.+)\?", text
        ).groups()
        a, b = only(first), only(second)
        small = (b.size == "large") - (a.size == "large")
        differ = {"left of": a.cell % 2 - b.cell % 2, "above": a.cell // 2 - b.cell // 2,
                  "larger than": small}  # fmt: skip
        assert differ[how], "neither yes nor no"
        holds = differ[how] < 0
    return "yes" if holds else "no"


def test_answers_are_right(asked):
    for scene, question in asked:
        assert question.answer == right(scene, question.kind, question.text), (scene, question)


def test_each_kind_is_asked_once_where_it_makes_sense(asked):
    by_scene: dict[str, list[str]] = defaultdict(list)
    for scene, question in asked:
        by_scene[scene.id].append(question.kind)
    always = {"presence", "color", "count", "object", "category"}
    assert all(always <= {*kinds} and len({*kinds}) == len(kinds) for kinds in by_scene.values())
    assert all(kinds == sorted(kinds, key=KINDS.index) for kinds in by_scene.values())
    shares = Counter(question.kind for _, question in asked)
    assert shares["left_above"] > 0.35 * MANY
    assert shares["comparison"] > 0.2 * MANY


def test_answers_are_balanced_within_their_kind(asked):
    answers: dict[str, Counter[str]] = defaultdict(Counter)
    for _, question in asked:
        answers[question.kind][question.answer] += 1
    for kind in ("presence", "category", "left_above", "comparison"):
        assert {*answers[kind]} == {"yes", "no"}
        assert 0.42 <= answers[kind]["yes"] / answers[kind].total() <= 0.58
    assert {*answers["count"]} == {"1", "2", "3"}
    assert all(0.27 <= n / MANY <= 0.40 for n in answers["count"].values())
    assert {*answers["size"]} == {"large", "small"}
    assert 0.42 <= answers["size"]["large"] / answers["size"].total() <= 0.58
    assert {*answers["place"]} == {*CELLS}
    assert max(answers["place"].values()) < 0.3 * answers["place"].total()
    assert max(answers["object"].values()) < 0.06 * MANY
    assert max(answers["color"].values()) < 0.22 * MANY


def test_the_words_of_a_question_say_little_about_its_answer(asked, scenes):
    """The most frequent training answer to the same words, given to questions of another split."""
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for _, question in asked:
        counts[question.text][question.answer] += 1
    held_out = [q for i in range(500) for q in questions(scenes.scene("test", i))]
    hits: dict[str, list[bool]] = defaultdict(list)
    for question in held_out:
        usual = counts[question.text].most_common(1) or [("yes", 0)]
        hits[question.kind].append(usual[0][0] == question.answer)
    guessed = {kind: float(np.mean(of)) for kind, of in hits.items()}
    for kind in ("presence", "left_above", "category", "comparison", "size"):
        assert guessed[kind] < 0.6, guessed
    assert guessed["place"] < 0.35
    assert guessed["count"] < 0.6  # "how many dogs" is 1 or 2 more often than 3
    assert guessed["object"] < 0.08
    assert guessed["color"] < 0.25


def test_training_never_speaks_of_what_nobody_trained_on(asked, scenes):
    unknown = {phrase for concept in UNKNOWN for name in (concept.name, *concept.synonyms)
               for phrase in (name, plural(name))}  # fmt: skip
    texts = [text for number in range(300) for text in captions(scenes.scene("train", number))]
    texts += [f"{question.text} {question.answer}" for _, question in asked]
    said = {word for text in texts for word in re.findall(r"\w+", text)}
    assert not said & unknown


def test_answer_types_are_those_of_vqa(asked):
    yes_no = {"presence", "left_above", "category", "comparison"}
    expected = dict.fromkeys(KINDS, "other") | dict.fromkeys(yes_no, "yes/no") | {"count": "number"}
    assert {(q.kind, q.answer_type) for _, q in asked} == {*expected.items()}


def test_truth_by_hand():
    """A large dog at the top left, small cats at the top right and bottom right, on blue."""
    sprites = (Sprite("dog", 0, "large", "flat"), Sprite("cat", 1, "small", "flat"),
               Sprite("cat", 3, "small", "flat"))  # fmt: skip
    relation = "relation"
    assert truth(Scene("", "blue", sprites, (0,))) == {
        ("background", "blue"), ("object", "dog", 1), ("object", "cat", 2),
        ("place", "dog", "top left"), ("place", "dog", "top"), ("place", "dog", "left"),
        ("place", "cat", "top right"), ("place", "cat", "top"), ("place", "cat", "right"),
        ("place", "cat", "bottom right"), ("place", "cat", "bottom"),
        ("size", "dog", "large"), ("size", "cat", "small"),
        (relation, "dog", "left of", "cat"), (relation, "cat", "right of", "dog"),
        (relation, "dog", "above", "cat"), (relation, "cat", "below", "dog"),
        (relation, "cat", "above", "cat"), (relation, "cat", "below", "cat"),
    }  # fmt: skip
