"""Tuple F1: what a caption says of a generated scene, against what is true of it.

A scene has one to three things on a 2 x 2 grid and one background colour, so each statement is
right or wrong, and no person or network judges. The measure is ours: compare it with no others.
"""

from collections.abc import Mapping, Sequence

from shared.errors import VermeilError
from shared.metrics.intervals import Mean, mean_of
from shared.metrics.scene_tokens import Token, is_background, kind_of, tokenize

Fact = tuple[str | int, ...]
Facts = frozenset[Fact]

CORE = ("object", "background")  # what a caption has to say


def facts(caption: str, names: Mapping[str, str], colours: Sequence[str]) -> Facts:
    """What a caption says, as tuples.

    ("object", name, count), ("background", colour), ("size", name, "small" or "large"),
    ("place", name, "top left" or another corner, or "top", "bottom", "left", "right"), and
    ("relation", name, "left of" or "right of" or "above" or "below", name).

    `names` gives the name for each phrase that may stand for it, synonyms and plurals included.
    Numbers of one name add up ("a dog and another dog"), a name without a number counts once, and
    "the dog" is the one named before. Unknown words say nothing. Places and relations belong to
    the nearest thing before them; after "and" or a comma, to the one that the clause is about.
    """
    tokens = tokenize(caption, names, colours)
    reader = _Reader(tokens)
    for i, token in enumerate(tokens):
        if token.colour and is_background(tokens, i):
            reader.said.add(("background", token.colour))
        elif not (token.colour and kind_of(tokens, i + 1) == "object"):  # not a "red apple"'s red
            reader.read(i)
    counts = (("object", name, count) for name, count in reader.counts.items())
    return frozenset(reader.said.union(counts))


def tuple_f1(said: Facts, true: Facts) -> float:
    """The harmonic mean of precision and recall, in [0, 1].

    Precision is the share of what was said that is true: `true` holds every place ("top left" and
    "top" and "left") and every relation there is. Recall is the share of the objects with their
    counts and of the background that was said: sizes, places and relations may be left out, but not
    be wrong. 0 where nothing was said; VermeilError for a truth of no objects and no background.
    """
    core = {fact for fact in true if fact[0] in CORE}
    if not core:
        raise VermeilError("the truth has no objects and no background", "give all that holds")
    precision = len(said & true) / max(len(said), 1)
    recall = len(said & core) / len(core)
    return 2 * precision * recall / (precision + recall) if recall else 0.0


def mean_tuple_f1(said: Sequence[Facts], true: Sequence[Facts]) -> Mean:
    """Over captions, with its 95 % interval; VermeilError unless there is one truth for each."""
    if len(said) != len(true):
        raise VermeilError(
            f"{len(said):,} captions, but truths of {len(true):,} scenes", "give one for each"
        )
    return mean_of([tuple_f1(*pair) for pair in zip(said, true, strict=True)])


class _Reader:
    """Goes through a caption once and collects what it says."""

    def __init__(self, tokens: Sequence[Token]):
        self.tokens = tokens
        self.said: set[Fact] = set()
        self.counts: dict[str, int] = {}
        self.named: list[str] = []
        self.stop()

    def stop(self) -> None:
        """A sentence ends, and the next one may have another subject."""
        self.head = self.near = self.place = None
        self.relations: list[tuple[str, str | None]] = []  # those that wait for their second thing
        self.inverted: list[tuple[str, str]] = []  # "above the cat is ..." waits for its first
        self.clear()

    def clear(self) -> None:
        """Another phrase begins."""
        self.number: int | None = None
        self.sizes: list[str] = []
        self.begun = self.definite = False

    def pause(self) -> None:
        """A phrase ends; if it named something unknown, no relation waits for a second thing."""
        if self.begun:
            self.relations = []
        self.clear()

    def read(self, i: int) -> None:
        kind, value, _, definite = self.tokens[i]
        match kind:
            case "object" | "number" | "word":
                self.definite |= definite
                self.begun = True
                if kind == "number":
                    self.number = int(value)
                elif kind == "object":
                    self.thing(str(value))
            case "size" if self.near and self._is_predicate(i):
                self.said.add(("size", self.near, value))
            case "size":
                self.sizes.append(str(value))
            case "place" if self.near and not self._opens(i):
                self.said.add(("place", self.near, value))
            case "place":
                self.place = str(value)
            case "relation":
                self.relations.append((str(value), self.near))
                self.clear()
            case "it":
                self.refer()
            case "stop":
                self.stop()
            case "and" | "comma":
                self.pause()
                self.near = self.head
            case "colour":
                pass
            case _:
                self.pause()

    def thing(self, name: str) -> None:
        if self.number != 0:
            self.said.update(("size", name, size) for size in self.sizes)
            before = self.counts.get(name, 0)
            if not (self.definite and before):
                self.counts[name] = max(before, 1) if self.number is None else before + self.number
            self.named.append(name)
            self.relate(name)
        self.clear()

    def refer(self) -> None:
        """ "it" is the last thing named that is not the subject itself."""
        subjects = {subject for _, subject in self.relations}
        others = [name for name in self.named if name not in subjects]
        if others:
            self.relate(others[-1])

    def relate(self, name: str) -> None:
        if not self.relations:
            self.said.update(("relation", name, *inverted) for inverted in self.inverted)
            self.said.update([("place", name, self.place)] if self.place else [])
            self.head, self.inverted, self.place = name, [], None
        for relation, subject in self.relations:
            if subject:
                self.said.add(("relation", subject, relation, name))
            else:
                self.inverted.append((relation, name))
        self.near = name
        self.relations = []

    def _is_predicate(self, i: int) -> bool:
        """ "the dog is small", not "there is small print"."""
        after = kind_of(self.tokens, i + 1)
        return kind_of(self.tokens, i - 1) == "is" and after not in ("object", "colour", "word")

    def _opens(self, i: int) -> bool:
        """Whether a place comes before its thing: "... and at the top a dog"."""
        before = [t.kind for t in self.tokens[:i] if t.kind not in ("break", "on", "comma")]
        passed = ("comma", "is", "number", "size", "colour", "break")
        after = [t.kind for t in self.tokens[i + 1 :] if t.kind not in passed]
        return before[-1:] == ["and"] and after[:1] == ["object"]
