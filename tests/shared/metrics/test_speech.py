"""Error rates of speech: published examples, hand-counted cases, and what the normaliser does."""

import pytest

from shared.errors import VermeilError
from shared.metrics.speech import (
    Mark,
    by_group,
    character_error_rate,
    hallucination_rate,
    marks,
    normalise,
    real_time_factor,
    word_error_rate,
)


def test_jiwers_examples():
    """The numbers that jiwer's documentation prints for its own examples."""
    assert word_error_rate(["hello world"], ["hello duck"]).value == 0.5
    said = ["short one here", "quite a bit of longer sentence"]
    rate = word_error_rate(said, ["shoe order one", "quite bit of an even longest sentence here"])
    assert (rate.substitutions, rate.deletions, rate.insertions) == (2, 2, 4)
    assert f"{rate.value:.2%}" == "88.89%"
    assert character_error_rate(["hello world"], ["hello duck"]).value == pytest.approx(5 / 11)


def test_errors_by_kind():
    """NIST's way of counting: "the" wrong, "on" missing, "so" made up; of eight."""
    rate = word_error_rate(
        ["The cat sat on the red mat today."], ["a cat sat the red mat so today"]
    )
    assert (rate.substitutions, rate.deletions, rate.insertions) == (1, 1, 1)
    assert (rate.value, rate.units, rate.n) == (pytest.approx(3 / 8), 8, 1)
    assert (rate.low, rate.high) == (None, None)


def test_made_up_words_take_it_beyond_one():
    rate = word_error_rate(["yes"], ["oh yes it is so"])
    assert (rate.value, rate.insertions, rate.deletions) == (4.0, 4, 0)
    assert word_error_rate(["yes it is"], [""]).deletions == 3


def test_clips_are_pooled_by_their_words():
    """One wrong of one and none of nine is a tenth, not a half."""
    rate = word_error_rate(["one", "a b c d e f g h i"], ["two", "a b c d e f g h i"])
    assert rate.value == pytest.approx(0.1)
    assert 0 == rate.low < rate.value < rate.high == 1.0 and rate.n == 2


def test_the_interval_is_that_of_clips():
    """Half of 400 one-word clips wrong: a binomial's interval, about .5 +- 1.96 sqrt(.25 / 400)."""
    rate = word_error_rate(["yes"] * 400, ["yes", "no"] * 200)
    assert rate.value == 0.5
    assert rate.low == pytest.approx(0.451, abs=0.008)
    assert rate.high == pytest.approx(0.549, abs=0.008)
    words = word_error_rate(["yes " * 10] * 40, ["yes " * 10, "no " * 10] * 20)
    assert words.high - words.low > 0.25  # the same share, but of 40 clips


def test_clips_without_words_are_left_out():
    rate = word_error_rate(["yes", "", "..."], ["yes", "ghost", ""])
    assert (rate.value, rate.n, rate.units, rate.insertions) == (0, 1, 1, 0)
    with pytest.raises(VermeilError, match="no words in any reference"):
        word_error_rate([""], ["ghost"])
    found = hallucination_rate(["", " . ", "ghost", ""])
    assert (found.value, found.n) == (0.25, 4)
    assert found.low == pytest.approx(0.0456, abs=1e-3)  # Wilson's for one of four
    assert found.high == pytest.approx(0.6994, abs=1e-3)
    with pytest.raises(VermeilError):
        hallucination_rate([])


def test_by_speaker():
    said, heard = ["one", "two", "three", ""], ["one", "too", "three", "x"]
    rates = by_group(said, heard, ["b", "a", "b", "silent"])
    assert [*rates] == ["a", "b"]
    assert (rates["a"].value, rates["a"].n) == (1.0, 1)
    assert (rates["b"].value, rates["b"].n) == (0.0, 2)
    assert by_group(said, heard, ["all"] * 4, "characters")["all"].value == pytest.approx(1 / 11)
    with pytest.raises(VermeilError, match="3 groups for 4 clips"):
        by_group(said, heard, ["a"] * 3)


@pytest.mark.parametrize(
    ("text", "normal"),
    [
        ("  Hello,\tWORLD!\n", "hello world"),
        ("don’t DON‘T don't", "don't don't don't"),
        ("'tis the dogs' \"quoted\" word", "tis the dogs quoted word"),
        ("well-known — yes/no", "well known yes no"),
        ("3.5 of 1,000, 7. and .5", "3.5 of 1,000 7 and 5"),
        ("ﬁne １２ Ⅳ", "fine 12 iv"),
        ("Café naïve 東京 Straße", "café naïve 東京 straße"),
        ("cafe\u0301", "café"),
        ("re\u00adcord\ufeff", "record"),
        ("हिन्दी!", "हिन्दी"),
        ("a_b $5 50% <i>", "a b 5 50 i"),
        ("two", "two"),
        ("2", "2"),
        ("", ""),
    ],
)
def test_what_is_the_same(text, normal):
    assert normalise(text) == normal
    assert normalise(normal) == normal


def test_marks_of_errors():
    assert marks("The quick fox", "the quack brown fox") == [
        Mark("equal", "the", "the"),
        Mark("insert", "", "quack"),
        Mark("substitute", "quick", "brown"),
        Mark("equal", "fox", "fox"),
    ]
    assert marks("", "ghost") == [Mark("insert", "", "ghost")]
    assert marks("gone", "") == [Mark("delete", "gone", "")]
    assert marks("", "") == []


def test_speed_and_other_lengths():
    assert real_time_factor(3.0, 12.0) == 0.25
    with pytest.raises(VermeilError):
        real_time_factor(3.0, 0.0)
    with pytest.raises(VermeilError, match="1 transcripts of 2 clips"):
        word_error_rate(["a", "b"], ["a"])
