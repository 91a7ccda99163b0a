"""VQA accuracy: the official numbers, and the official script's slips."""

import itertools

import pytest

from shared.errors import VermeilError
from shared.metrics.vqa import (
    RESTORED,
    Question,
    Share,
    leave_one_out,
    normalized,
    vqa_accuracy,
    vqa_scores,
    without_punctuation,
)


@pytest.mark.parametrize(("agree", "points"), [(0, 0), (1, 0.3), (2, 0.6), (3, 0.9), (4, 1)])
def test_points_by_how_many_of_ten_agree(agree, points):
    given = ["cat"] * agree + [f"other {n}" for n in range(10 - agree)]
    assert vqa_accuracy("cat", given) == pytest.approx(points)


def test_it_is_the_mean_over_all_nine_of_ten():
    """The definition of the paper: min(1, agreeing / 3), averaged over every choice of nine."""
    given = ["red"] * 3 + ["blue"] * 2 + ["green"] + [f"x{n}" for n in range(4)]
    for answer in ("red", "blue", "green", "none of them"):
        nines = [*itertools.combinations(given, 9)]
        expected = sum(min(1, nine.count(answer) / 3) for nine in nines) / len(nines)
        assert vqa_accuracy(answer, given) == pytest.approx(expected)


def test_answers_are_made_alike_only_where_people_disagree():
    assert vqa_accuracy("Yes", ["yes"] * 10) == 0
    assert vqa_accuracy("Yes", ["yes"] * 9 + ["no"]) == 1
    assert vqa_accuracy(" yes\n", ["yes"] * 10) == 1  # its edges never count


def test_of_people_only_the_punctuation_is_touched():
    assert vqa_accuracy("cat", ["cat?"] * 5 + ["cat!"] * 5) == 0  # theirs became "cat "
    assert vqa_accuracy("the Cat!", ["cat"] * 5 + ["dog"] * 5) == 1
    assert vqa_accuracy("a cat", ["a cat"] * 9 + ["dog"]) == 0  # ours lost its article


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("The Red, Ball", "red ball"),
        ("two", "2"),
        ("None", "0"),  # "none" counts as a number
        ("eleven", "eleven"),
        ("dont", "don't"),
        ("couldntve", "couldntve"),  # two are missing: not in the list
        ("couldnt've", "couldn't've"),
        ("somebody'd", "somebodyd"),
        ("black/white", "black white"),
        ("black / white", "black white"),
        ("5-10", "5 10"),
        ("5 - 10", "5 10"),
        ("1,000", "1000"),
        ("1,000 a/b", "1000 ab"),
        ("3.", "3"),
        ("U.S.A.", "usa"),
        ("1.5", "1.5"),
        ("v.2", "v.2"),
        ("", ""),
        ("the", ""),
    ],
)
def test_an_answer_in_its_usual_form(answer, expected):
    assert normalized(answer) == expected


def test_thirty_two_periods_are_stripped():
    assert without_punctuation("." * 40) == "." * 8


def test_apostrophes_return_where_one_is_missing():
    assert len(RESTORED) == 114 and RESTORED["dont"] == "don't"
    assert {RESTORED[w] for w in ("yall'd've", "y'alld've", "y'all'dve")} == {"y'all'd've"}
    assert RESTORED["ow's'at"] == RESTORED["'ow'sat"] == "'ow's'at"
    assert not {"lets", "shes", "im", "wed"} & RESTORED.keys()


QUESTIONS = [
    Question(1, ("yes",) * 10, "yes/no", "is the"),
    Question(2, ("2",) * 4 + ("3",) * 6, "number", "how many"),
    Question(3, ("red",) * 8 + ("pink",) * 2, "other", "what color"),
    Question(4, ("no",) * 10, "yes/no", "is this"),
]


def test_scores_by_kind():
    scores = vqa_scores({1: "yes", 2: "two", 3: "pink", 4: "yes"}, QUESTIONS)
    assert scores.overall == Share(pytest.approx((1 + 1 + 0.6 + 0) / 4), 4)
    assert scores.by_answer_type == {
        "number": Share(1, 1), "other": Share(pytest.approx(0.6), 1), "yes/no": Share(0.5, 2)
    }  # fmt: skip
    assert scores.by_question_type["is this"] == Share(0, 1)


def test_what_people_reach():
    scores = leave_one_out(QUESTIONS)
    assert scores.by_answer_type["yes/no"].value == 1
    # Of ten, eight said red and have seven with them; two said pink and have one: 8/9 of a third.
    assert scores.by_answer_type["other"].value == pytest.approx(0.8 + 0.2 * (8 / 9) / 3)


def test_every_question_needs_one_answer():
    with pytest.raises(
        VermeilError, match="of 4 questions 1 have no answer, and 2 answers have no"
    ):
        vqa_scores({1: "yes", 2: "2", 3: "red", 8: "no", 9: "no"}, QUESTIONS)
    with pytest.raises(VermeilError, match="1 answers to compare 'yes' with"):
        vqa_accuracy("yes", ["yes"])
