"""The phrases that captions of generated scenes are made of, and how one is cut into them."""

import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

# kind -> value -> the phrases for it; those below "others" only end or join phrases.
PHRASES: dict[str, dict[str | int, str]] = {
    "number": {
        0: "no", 1: "a, an, one, 1, another", 2: "two, 2, couple of, pair of", 3: "three, 3",
        4: "four, 4", 5: "five, 5", 6: "six, 6", 7: "seven, 7", 8: "eight, 8", 9: "nine, 9",
    },
    "size": {"small": "small, little, tiny", "large": "large, big, huge"},
    "place": {
        "top left": "top left, upper left", "top right": "top right, upper right",
        "bottom left": "bottom left, lower left", "bottom right": "bottom right, lower right",
        "top": "top, upper", "bottom": "bottom, lower", "left": "left", "right": "right",
    },
    "relation": {
        "left of": "left of",
        "right of": "right of",
        "above": "above, over, on top of, right above, right over",
        "below": "below, under, underneath, beneath, right below, right under",
    },
    "others": {
        "background": "background, backdrop",
        "picture": "picture, image, photo, scene, drawing, behind",
        "on": "on, against",
        "is": "is, are",
        "it": "it, them",
        "and": "and, while",
        "break": "of, with, in, at, to, there, has, shows, right next to",
    },
}  # fmt: skip
MARKS = {",": "comma", ".": "stop", ";": "stop", "!": "stop", "?": "stop"}
WORD = re.compile(r"[^\W_]+|[,.;!?]")
EMPTY = {"side", "corner", "hand", "half", "part", "edge", "color", "colour", "very", "directly"}
IN_PICTURE = re.compile(r"\b(?:of|in) (?:the |this |an? )?(?:picture|image|photo|scene|drawing)\b")


class Token(NamedTuple):
    """A known phrase, or a word that is not known."""

    kind: str
    value: str | int = ""
    colour: str = ""  # what it would be as a colour; "orange" may be a fruit as well
    definite: bool = False  # "the" stands before it


def tokenize(caption: str, names: Mapping[str, str], colours: Sequence[str]) -> list[Token]:
    """The longest known phrases, from left to right."""
    phrases = _phrases(names, colours)
    longest = max(map(len, phrases))
    words, found, definite = _words(IN_PICTURE.sub(" ", caption.lower())), [], False
    while words:
        if words[0] == "the":
            definite, words = True, words[1:]
            continue
        tries = (words[:n] for n in range(longest, 0, -1))
        phrase = next((words for words in tries if words in phrases), words[:1])
        found.append(phrases.get(phrase, Token("word"))._replace(definite=definite))
        definite, words = False, words[len(phrase) :]
    return found


def is_background(tokens: Sequence[Token], i: int) -> bool:
    """ "on blue", "a blue background", "the background is blue", but not "on blue cars"."""
    before, after = kind_of(tokens, i - 1), kind_of(tokens, i + 1)
    if before in ("is", "break") and kind_of(tokens, i - 2) == "background":
        before = "background"
    if after in ("background", "picture"):
        return True
    return before in ("on", "background") and after not in ("object", "size", "word")


def kind_of(tokens: Sequence[Token], i: int) -> str:
    return tokens[i].kind if 0 <= i < len(tokens) else ""


def _phrases(names: Mapping[str, str], colours: Sequence[str]) -> dict[tuple[str, ...], Token]:
    """What each known phrase, in words, stands for."""
    found: dict[tuple[str, ...], Token] = {(mark,): Token(kind) for mark, kind in MARKS.items()}
    for kind, values in PHRASES.items():
        for value, said in values.items():
            token = Token(str(value)) if kind == "others" else Token(kind, value)
            found |= {_words(phrase): token for phrase in said.split(", ")}
    for colour in colours:
        for spelling in (colour, colour.replace("gray", "grey"), colour.replace("grey", "gray")):
            found[_words(spelling)] = Token("colour", colour=colour)
    for phrase, name in names.items():
        words = _words(phrase.lower())
        found[words] = Token("object", name, found.get(words, Token("")).colour)
    return found


def _words(text: str) -> tuple[str, ...]:
    return tuple(word for word in WORD.findall(text) if word not in EMPTY)
