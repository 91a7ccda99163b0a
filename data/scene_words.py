"""What people might say and ask about a generated scene."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import combinations

import numpy as np

from data.scene_concepts import BY_NAME, CATEGORIES, KNOWN, plural, with_article
from data.scenes import GROUPS, QUESTIONS, WORDS, Scene, Sprite

REFERENCES = 5
SHORTEST, LONGEST = 8, 14  # words of a caption
NUMBERS = ("zero", "one", "two", "three")
SYNONYM = 0.2  # how often a thing goes by another of its names
CORNERS = ("at the {}", "in the {} corner", "in the {}")

# {things}: "a dog and two cats"; {ground}: a colour. Short ones suit many things, long ones few.
FRAMES = (
    "{things} on {a_ground} background",
    "{things} on {ground}",
    "there {is_are} {things} on {a_ground} background",
    "{a_ground} background with {things}",
    "a picture of {things} on {ground}",
    "on {a_ground} background there {is_are} {things}",
    "{things}, and the background is {ground}",
    "an image with {things} in front of {a_ground} background",
    "this {ground} picture shows {things}",
    "{things} with {ground} behind",
    "we see {things} on {a_ground} background",
    "the {ground} scene has {things}",
)


def captions(scene: Scene) -> tuple[str, ...]:
    """Five different ones, of 8 to 14 words; all name every thing, its number and the ground."""
    random, found = scene.random(WORDS), dict[str, None]()
    while len(found) < REFERENCES:
        frame = FRAMES[random.integers(len(FRAMES))]
        many = "are" if next(iter(scene.counts.values())) > 1 else "is"
        text = frame.format(
            things=_things(scene, random),
            ground=scene.ground,
            a_ground=with_article(scene.ground),
            is_are=many,
        )
        if SHORTEST <= len(text.split()) <= LONGEST:
            found[text] = None
    return tuple(found)


def _things(scene: Scene, random: np.random.Generator) -> str:
    """All of them, in words."""
    groups = [[s for s in scene.sprites if s.concept == name] for name in scene.counts]
    if len(groups) == 1:
        return _alone(groups[0], random)
    if len(groups) == 2 and random.random() < 0.7:
        first, second = groups
        if random.random() < 0.5:
            first, second = second, first
        if len(first) == len(second) == 1:
            relation = _relation(first[0], second[0], random)
            return f"{_named(first, random)} {relation} {_named(second, random)}"
    random.shuffle(groups)  # type: ignore[arg-type]
    names = [_named(group, random) for group in groups]
    if len(groups) == 2 and random.random() < 0.5:
        index = int(random.integers(2))
        names[index] = _alone(groups[index], random)
    return f"{', '.join(names[:-1])} and {names[-1]}"


def _alone(group: Sequence[Sprite], random: np.random.Generator) -> str:
    """Things of one kind with where they are, and of a single one often its size."""
    if len(group) == 1:
        size = f"{group[0].size} " if random.random() < 0.6 else ""
        noun = with_article(f"{size}{_name(group[0].concept, random)}")
        corner = CORNERS[random.integers(len(CORNERS))].format(group[0].place)
        return f"{noun} {corner}"
    rows, columns = {s.row for s in group}, {s.column for s in group}
    name = _named(group, random)
    if len(rows) == 1:
        return f"{name} side by side at the {('top', 'bottom')[rows.pop()]}"
    if len(columns) == 1:
        return f"{name} one above the other on the {('left', 'right')[columns.pop()]}"
    return f"{name} {'in a diagonal' if len(group) == 2 else 'around a corner'}"


def _named(group: Sequence[Sprite], random: np.random.Generator) -> str:
    """a dog; two dogs."""
    name = _name(group[0].concept, random)
    return with_article(name) if len(group) == 1 else f"{NUMBERS[len(group)]} {plural(name)}"


def _name(concept: str, random: np.random.Generator) -> str:
    names = BY_NAME[concept].synonyms
    return names[random.integers(len(names))] if names and random.random() < SYNONYM else concept


def _relation(first: Sprite, second: Sprite, random: np.random.Generator) -> str:
    """One that holds."""
    known = []
    if first.column != second.column:
        left = first.column < second.column
        known += ["left of", "to the left of"] if left else ["right of", "to the right of"]
    if first.row != second.row:
        known += ["above", "over"] if first.row < second.row else ["below", "under"]
    return known[random.integers(len(known))]


@dataclass(frozen=True)
class SceneQuestion:
    """A question with its one right answer."""

    kind: str
    text: str
    answer: str

    @property
    def answer_type(self) -> str:
        """As VQA v2 names it."""
        if self.answer in ("yes", "no"):
            return "yes/no"
        return "number" if self.answer.isdigit() else "other"


KINDS = ("presence", "color", "count", "object", "left_above", "category", "comparison", "place",
         "size")  # fmt: skip


def questions(scene: Scene) -> list[SceneQuestion]:
    """One of every kind that makes sense here, in the order of KINDS.

    Which answer is right is drawn first, and then what to ask about, so that over many scenes no
    question leans to one of its answers.
    """
    random = scene.random(QUESTIONS)
    asked = (ASK[kind](scene, random) for kind in KINDS)
    return [question for question in asked if question]


def _presence(scene: Scene, random: np.random.Generator) -> SceneQuestion:
    if random.random() < 0.5:
        return is_there(_pick([*scene.counts], random), "yes", random)
    return is_there(absent(scene, random), "no", random)


def is_there(name: str, answer: str, random: np.random.Generator) -> SceneQuestion:
    """Whether a thing is there."""
    noun = with_article(name)
    text = _pick([f"is there {noun}?", f"is there {noun} in the picture?"], random)
    return SceneQuestion("presence", text, answer)


def absent(scene: Scene, random: np.random.Generator) -> str:
    """A thing that is not there."""
    return _pick([c.name for c in KNOWN if c.name not in scene.counts], random)


def _color(scene: Scene, random: np.random.Generator) -> SceneQuestion:
    ways = ["what color is the background?", "which color is the background?"]
    return SceneQuestion("color", _pick(ways, random), scene.ground)


def _count(scene: Scene, random: np.random.Generator) -> SceneQuestion:
    name = _pick([*scene.counts], random)
    n = scene.counts[name]
    if random.random() < _count_chances()[n]:
        things = plural(name)
        ways = [f"how many {things} are there?", f"how many {things} do you see?"]
    else:
        n = len(scene.sprites)
        ways = ["how many things are there?", "how many things do you see?"]
    return SceneQuestion("count", _pick(ways, random), str(n))


@cache
def _count_chances() -> dict[int, float]:
    """How often to ask for the number of one thing, so that 1, 2 and 3 are equally often right."""
    shares = dict.fromkeys((1, 2, 3), 0.0)
    for group, chance in GROUPS.items():
        for n in group:
            shares[n] += chance / len(group)
    return {n: min(shares.values()) / share for n, share in shares.items()}


def _object(scene: Scene, random: np.random.Generator) -> SceneQuestion:
    sprite = scene.sprites[random.integers(len(scene.sprites))]
    ways = [f"what is at the {sprite.place}?", f"what is in the {sprite.place} corner?"]
    return SceneQuestion("object", _pick(ways, random), sprite.concept)


def _left_above(scene: Scene, random: np.random.Generator) -> SceneQuestion | None:
    asked = [
        (first, second, relation)
        for first, second in combinations(singles(scene), 2)
        for relation, differ in (
            ("left of", first.column != second.column),
            ("above", first.row != second.row),
        )
        if differ
    ]
    if not asked:
        return None
    first, second, relation = asked[random.integers(len(asked))]
    if random.random() < 0.5:
        first, second = second, first
    holds = first.column < second.column if relation == "left of" else first.row < second.row
    text = f"is the {first.concept} {relation} the {second.concept}?"
    return SceneQuestion("left_above", text, "yes" if holds else "no")


def _category(scene: Scene, random: np.random.Generator) -> SceneQuestion | None:
    present = {BY_NAME[name].category for name in scene.counts}
    absent = [category for category in CATEGORIES if category not in present]
    if random.random() < 0.5 or not absent:
        category, answer = _pick(sorted(present), random), "yes"
    else:  # as often as the category is there, so that its name says nothing
        weights = np.array([_share(category) / (1 - _share(category)) ** 2 for category in absent])
        category = absent[random.choice(len(absent), p=weights / weights.sum())]
        answer = "no"
    noun = "any food" if category == "food" else with_article(category)
    ways = [f"is there {noun}?", f"is there {noun} in the picture?"]
    return SceneQuestion("category", _pick(ways, random), answer)


@cache
def _share(category: str) -> float:
    return sum(concept.category == category for concept in KNOWN) / len(KNOWN)


def _comparison(scene: Scene, random: np.random.Generator) -> SceneQuestion | None:
    pairs = [(a, b) for a, b in combinations(singles(scene), 2) if a.size != b.size]
    if not pairs:
        return None
    first, second = pairs[random.integers(len(pairs))]
    if random.random() < 0.5:
        first, second = second, first
    text = f"is the {first.concept} larger than the {second.concept}?"
    return SceneQuestion("comparison", text, "yes" if first.size == "large" else "no")


def _place(scene: Scene, random: np.random.Generator) -> SceneQuestion | None:
    sprite = _single(scene, random)
    return sprite and where_is(sprite)


def where_is(sprite: Sprite) -> SceneQuestion:
    """In which cell a thing is that is there once."""
    return SceneQuestion("place", f"where is the {sprite.concept}?", sprite.place)


def _size(scene: Scene, random: np.random.Generator) -> SceneQuestion | None:
    sprite = _single(scene, random)
    return sprite and SceneQuestion("size", f"is the {sprite.concept} large or small?", sprite.size)


def _single(scene: Scene, random: np.random.Generator) -> Sprite | None:
    """One of the things of which there is one alone."""
    single = singles(scene)
    return single[int(random.integers(len(single)))] if single else None


def singles(scene: Scene) -> list[Sprite]:
    """The things of which there is one alone."""
    return [sprite for sprite in scene.sprites if scene.counts[sprite.concept] == 1]


def _pick(ways: Sequence[str], random: np.random.Generator) -> str:
    return ways[int(random.integers(len(ways)))]


ASK = {
    "presence": _presence, "color": _color, "count": _count, "object": _object,
    "left_above": _left_above, "category": _category, "comparison": _comparison,
    "place": _place, "size": _size,
}  # fmt: skip


def truth(scene: Scene) -> frozenset[tuple]:
    """All that holds in a scene, as shared/metrics/scene_facts.py takes it."""
    found: set[tuple] = {("background", scene.ground)}
    found |= {("object", name, n) for name, n in scene.counts.items()}
    for sprite in scene.sprites:
        found |= {
            ("place", sprite.concept, place) for place in (sprite.place, *sprite.place.split())
        }
        found.add(("size", sprite.concept, sprite.size))
        for other in scene.sprites:
            if sprite.column != other.column:
                side = "left of" if sprite.column < other.column else "right of"
                found.add(("relation", sprite.concept, side, other.concept))
            if sprite.row != other.row:
                side = "above" if sprite.row < other.row else "below"
                found.add(("relation", sprite.concept, side, other.concept))
    return frozenset(found)


def names() -> dict[str, str]:
    """Every phrase that stands for a thing, plurals and synonyms included, and the thing."""
    found = {}
    for concept in BY_NAME.values():
        for phrase in (concept.name, *concept.synonyms):
            found[phrase] = found[plural(phrase)] = concept.name
    return found
