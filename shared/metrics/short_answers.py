"""Answers of a word or a few against one true answer: GQA's accuracy, DAQUAR's accuracy and WUPS.

As the data sets' own scripts count (Hudson and Manning 2019; Malinowski and Fritz 2014).
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from math import prod
from typing import Any

from shared.errors import VermeilError
from shared.metrics.vqa import Share

BELOW = 0.1  # what is left of a similarity below the threshold
THRESHOLDS = (0.9, 0.0)  # those that the papers report

Similarity = Callable[[str, str], float]  # of two words, in [0, 1]


@dataclass(frozen=True)
class GqaQuestion:
    """What GQA's file says of a question."""

    id: int
    answer: str
    structural: str = ""  # "verify", "query", "choose", "logical" or "compare"
    semantic: str = ""  # "obj", "attr", "cat", "rel" or "global"


@dataclass(frozen=True)
class GqaScores:
    """Accuracy on all questions and by their types; `each` is 0 or 1, in the questions' order."""

    overall: Share
    by_structural: dict[str, Share]
    by_semantic: dict[str, Share]
    each: tuple[float, ...]


def gqa_scores(answers: Mapping[int, str], questions: Sequence[GqaQuestion]) -> GqaScores:
    """Exact agreement by question id; every question needs an answer, and there are no others.

    GQA's script makes nothing alike before it compares; its answers are in small letters without
    punctuation, so give such. It counts the balanced questions alone: hand in those.
    """
    ids = {question.id for question in questions}
    if ids != answers.keys() or not ids:
        raise VermeilError(
            f"of {len(ids):,} questions {len(ids - answers.keys()):,} have no answer, and "
            f"{len(answers.keys() - ids):,} answers have no question",
            "give one answer for each question id",
        )
    each = tuple(float(answers[question.id] == question.answer) for question in questions)
    structural = _by_kind(each, (question.structural for question in questions))
    semantic = _by_kind(each, (question.semantic for question in questions))
    return GqaScores(_share(each), structural, semantic, each)


def daquar_accuracy(answer: str, true: str) -> float:
    """1 if both name the same things, in any order: "chair, table" is "table,chair"."""
    return float({*items(answer)} == {*items(true)})


def wups(answer: str, true: str, threshold: float, similarity: Similarity) -> float:
    """Wu-Palmer set score of an answer, in [0, 1]; items stand between commas.

    min(prod_a max_t m(a, t), prod_t max_a m(a, t)), where m is 1 for equal words, the similarity
    for those at least as similar as the threshold, and a tenth of it for others. At threshold 0 it
    forgives much: most nouns are similar by 0.3 and more.

    Source: Malinowski and Fritz 2014, section 4.
    """

    def alike(a: str, b: str) -> float:
        if a == b:
            return 1.0
        found = similarity(a, b)
        return found if found >= threshold else BELOW * found

    said, wanted = items(answer), items(true)
    forth = prod(max(alike(a, t) for t in wanted) for a in said)
    back = prod(max(alike(t, a) for a in said) for t in wanted)
    return min(forth, back)


def items(answer: str) -> list[str]:
    """The things that an answer names."""
    return [item.strip() for item in answer.split(",")]


def wu_palmer() -> Similarity:
    """The greatest Wu-Palmer similarity of two words' senses as nouns, by WordNet 3.0 (NLTK).

    0 for words that are no nouns. VermeilError where WordNet's files are missing.

    Source: Wu and Palmer 1994, section 4.
    """
    try:
        from nltk.corpus import wordnet

        wordnet.ensure_loaded()
    except (ImportError, LookupError):
        raise VermeilError(
            "WUPS is not available: NLTK or its copy of WordNet is missing",
            "pip install nltk && python -m nltk.downloader wordnet",
        ) from None

    @cache
    def senses(word: str) -> list[Any]:
        return wordnet.synsets(word, pos=wordnet.NOUN)

    @cache
    def similarity(a: str, b: str) -> float:
        pairs = ((x, y) for x in senses(a) for y in senses(b))
        return max((x.wup_similarity(y) or 0.0 for x, y in pairs), default=0.0)

    return similarity


def _by_kind(values: Sequence[float], kinds: Iterable[str]) -> dict[str, Share]:
    found = defaultdict(list)
    for value, kind in zip(values, kinds, strict=True):
        found[kind].append(value)
    return {kind: _share(found[kind]) for kind in sorted(found)}


def _share(values: Sequence[float]) -> Share:
    return Share(sum(values) / len(values), len(values))
