"""GQA, DAQUAR and WUPS: by hand, by the script's behaviour, and the words of the paper."""

import sys
from types import ModuleType, SimpleNamespace

import pytest

from shared.errors import VermeilError
from shared.metrics.short_answers import (
    GqaQuestion,
    daquar_accuracy,
    gqa_scores,
    items,
    wu_palmer,
    wups,
)
from shared.metrics.vqa import Share

# WordNet's values; the paper calls the first two pairs alike, and the third not (section 4).
KNOWN = {("curtain", "blinds"): 16 / 17, ("carton", "box"): 16 / 17,
         ("stove", "fire extinguisher"): 14 / 17, ("chair", "table"): 0.8,
         ("chair", "lamp"): 0.7, ("table", "lamp"): 0.6}  # fmt: skip


def known(a: str, b: str) -> float:
    return KNOWN.get((a, b)) or KNOWN.get((b, a), 0.0)


QUESTIONS = [
    GqaQuestion(1, "yes", "verify", "attr"),
    GqaQuestion(2, "left", "query", "rel"),
    GqaQuestion(3, "no", "verify", "rel"),
    GqaQuestion(4, "table", "query", "obj"),
]


def test_gqa_by_types():
    scores = gqa_scores({1: "yes", 2: "right", 3: "no", 4: "tables"}, QUESTIONS)
    assert scores.each == (1, 0, 1, 0) and scores.overall == Share(0.5, 4)
    assert scores.by_structural == {"query": Share(0, 2), "verify": Share(1, 2)}
    assert scores.by_semantic == {"attr": Share(1, 1), "obj": Share(0, 1), "rel": Share(0.5, 2)}


def test_gqa_compares_to_the_letter():
    answers = {1: "Yes", 2: "left.", 3: " no", 4: "a table"}
    assert gqa_scores(answers, QUESTIONS).overall == Share(0, 4)


def test_gqa_needs_one_answer_a_question():
    with pytest.raises(VermeilError, match="of 4 questions 3 have no answer, and 1 answers have"):
        gqa_scores({1: "yes", 9: "no"}, QUESTIONS)
    with pytest.raises(VermeilError, match="of 0 questions"):
        gqa_scores({}, [])


@pytest.mark.parametrize(
    ("answer", "true", "right"),
    [
        ("chair", "chair", 1),
        ("table, chair", "chair,table", 1),
        ("book, book", "book", 1),  # a set, as the script says of itself
        ("chair", "chair, table", 0),
        ("chair, table", "chair", 0),
        ("Chair", "chair", 0),
        ("", "chair", 0),
    ],
)
def test_daquar_compares_sets(answer, true, right):
    assert daquar_accuracy(answer, true) == right
    nothing_alike = wups(answer, true, 0.9, lambda a, b: 0.0)
    assert nothing_alike == right  # the script's accuracy is WUPS with equal words alone


def test_the_papers_words():
    assert wups("curtain", "blinds", 0.9, known) == pytest.approx(0.94, abs=0.005)
    assert wups("box", "carton", 0.9, known) == pytest.approx(0.94, abs=0.005)
    assert wups("stove", "fire extinguisher", 0.9, known) == pytest.approx(0.082, abs=0.0005)
    assert wups("stove", "fire extinguisher", 0.0, known) == pytest.approx(0.82, abs=0.005)


def test_the_worse_of_both_directions_counts():
    """What was said is in the truth: 1. Of the truth, the lamp is found by max(0.7, 0.6) alone."""
    true = "chair, table, lamp"
    assert wups("chair, table", true, 0.0, known) == pytest.approx(0.7)
    assert wups(true, "chair, table", 0.0, known) == pytest.approx(0.7)
    assert wups("chair, table", true, 0.9, known) == pytest.approx(0.07)


def test_several_wrong_things_multiply():
    """Chair for lamp 0.7, table for lamp 0.6: forth 0.42, and back the better of both."""
    assert wups("chair, table", "lamp", 0.0, known) == pytest.approx(0.42)
    assert wups("chair, table", "lamp", 0.9, known) == pytest.approx(0.0042)
    assert wups("chair, chair", "lamp", 0.0, known) == pytest.approx(0.49)  # as the script has it


def test_a_similarity_at_the_threshold_is_whole():
    assert wups("a", "b", 0.9, lambda a, b: 0.9) == 0.9
    assert wups("a", "b", 0.9, lambda a, b: 0.89) == pytest.approx(0.089)


def test_each_direction_asks_in_its_own_order():
    """NLTK's similarity may differ by the order of its words."""
    asked = []
    wups("a, b", "c", 0.9, lambda a, b: asked.append(a + b) or 0.5)
    assert asked == ["ac", "bc", "ca", "cb"]


def test_items_lose_the_space_around_them():
    assert items(" night stand ,lamp") == ["night stand", "lamp"]


def test_the_most_similar_senses_of_two_nouns(monkeypatch):
    """Through NLTK's interface; a pair without a common ancestor is None there."""
    values = {("bank1", "shore1"): 0.3, ("bank2", "shore1"): 0.9, ("bank3", "shore1"): None}
    names = {"bank": ["bank1", "bank2", "bank3"], "shore": ["shore1"]}

    def synsets(word, pos):
        assert pos == "n"
        return [
            SimpleNamespace(name=name, wup_similarity=lambda o, name=name: values[name, o.name])
            for name in names.get(word, [])
        ]

    corpus = ModuleType("nltk.corpus")
    corpus.wordnet = SimpleNamespace(ensure_loaded=lambda: None, synsets=synsets, NOUN="n")
    monkeypatch.setitem(sys.modules, "nltk.corpus", corpus)
    similarity = wu_palmer()
    assert similarity("bank", "shore") == 0.9
    assert similarity("bank", "two") == similarity("", "") == 0


def test_without_wordnet_there_is_one_sentence(monkeypatch):
    def missing():
        raise LookupError("many lines")

    corpus = ModuleType("nltk.corpus")
    corpus.wordnet = SimpleNamespace(ensure_loaded=missing)
    for module in (corpus, None):  # without the files, and without NLTK
        monkeypatch.setitem(sys.modules, "nltk.corpus", module)
        with pytest.raises(VermeilError, match="WUPS is not available: NLTK or its copy") as error:
            wu_palmer()
        assert "nltk.downloader wordnet" in error.value.hint
