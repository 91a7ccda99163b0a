"""VQA accuracy as the official script counts it, whole and by kind of question.

An answer is right in the measure in which people gave it: 30 % of a point for one of ten, 60 for
two, 90 for three, a whole one for four and more (Antol et al., 2015; Goyal et al., 2017). What the
script does to an answer before it compares (punctuation, articles, numbers, apostrophes) is part of
the metric, its slips included; they are marked below.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from shared.errors import VermeilError

ENOUGH = 3  # people who say the same make an answer right
PUNCTUATION = ';/[]"{}()=+\\_-><@`,?!'
# The lookbehind was meant to spare the points of decimals; as it stands it says nothing.
PERIOD = re.compile(r"(?!<=\d)(\.)(?!\d)")
MOST_PERIODS = int(re.UNICODE)  # given where `sub` takes its count: 32 are stripped, not all
THOUSANDS = re.compile(r"\d,\d")
ARTICLES = ("a", "an", "the")
NUMBERS = ("none zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine",
           "ten")  # fmt: skip
DIGITS = {word: str(n) for n, words in enumerate(NUMBERS) for word in words.split()}
CONTRACTIONS = """
ain't aren't can't could've couldn't couldn't've didn't doesn't don't hadn't hadn't've hasn't
haven't he'd he'd've he's how'd how'll how's isn't it'd it'd've it'll ma'am might've mightn't
mightn't've must've mustn't needn't not've o'clock oughtn't 'ow's'at shan't she'd've should've
shouldn't shouldn't've somebody'd've somebody'll somebody's someone'd someone'd've someone'll
someone's something'd something'd've something'll that's there'd there'd've there're there's
they'd they'd've they'll they're they've 'twas wasn't we'd've we've weren't what'll what're what's
what've when's where'd where's where've who'd who'd've who'll who's who've why'll why're why's
won't would've wouldn't wouldn't've y'all y'all'd've y'all'll you'd you'd've you'll you're you've
"""  # those with a capital I are never found, for answers are in small letters by then


def _without_one_apostrophe(word: str) -> Iterable[str]:
    return (word[:i] + word[i + 1 :] for i, letter in enumerate(word) if letter == "'")


RESTORED = {wrong: word for word in CONTRACTIONS.split() for wrong in _without_one_apostrophe(word)}
RESTORED["somebody'd"] = "somebodyd"  # the other way round in the script


@dataclass(frozen=True)
class Question:
    """What people answered to a question; kinds are those of the annotations' file."""

    id: int
    answers: tuple[str, ...]  # 10 in VQA v2
    answer_type: str = ""  # "yes/no", "number" or "other"
    question_type: str = ""  # its first words


@dataclass(frozen=True)
class Share:
    """Mean accuracy in [0, 1] over `n` questions."""

    value: float
    n: int


@dataclass(frozen=True)
class VqaScores:
    """Accuracy on all questions and by their kinds."""

    overall: Share
    by_answer_type: dict[str, Share]
    by_question_type: dict[str, Share]


def vqa_accuracy(answer: str, given: Sequence[str]) -> float:
    """How right an answer is, in [0, 1], where people have `given` theirs.

    The mean over all people of min(1, how many of the others said it / 3). Answers are made alike
    only where people disagree; if all ten wrote "yes", then "Yes" is wrong. Theirs keep capitals,
    articles and number words even then. People count one by one, as with `answer_id` in the file.
    Raises VermeilError for fewer than two answers.
    """
    if len(given) < 2:
        raise VermeilError(
            f"{len(given)} answers to compare '{answer}' with",
            "VQA accuracy takes what ten people said, two at least",
        )
    answer, given = _one_line(answer), [*given]
    if len(set(given)) > 1:
        given = [without_punctuation(person) for person in given]
        answer = normalized(answer)
    said = sum(person == answer for person in given)
    points = (min(1, (said - (person == answer)) / ENOUGH) for person in given)
    return sum(points) / len(given)


def vqa_scores(answers: Mapping[int, str], questions: Sequence[Question]) -> VqaScores:
    """Accuracy of the answers by question id; every question needs one, and there are no others."""
    ids = {question.id for question in questions}
    missing, strange = ids - answers.keys(), answers.keys() - ids
    if missing or strange or not ids:
        raise VermeilError(
            f"of {len(ids):,} questions {len(missing):,} have no answer, and {len(strange):,} "
            "answers have no question",
            "give one answer for each question id of the annotations",
        )
    return _by_kind((q, vqa_accuracy(answers[q.id], q.answers)) for q in questions)


def leave_one_out(questions: Iterable[Question]) -> VqaScores:
    """What people reach: each one's answer against the others'."""
    return _by_kind((question, _people(question.answers)) for question in questions)


def normalized(answer: str) -> str:
    """An answer without punctuation and articles, in small letters, numbers to ten as digits."""
    words = without_punctuation(answer).lower().split()
    words = [DIGITS.get(word, word) for word in words]
    return " ".join(RESTORED.get(word, word) for word in words if word not in ARTICLES)


def without_punctuation(answer: str) -> str:
    """A mark at the edge of a word goes, one inside a word becomes a space.

    Where a number has a comma for its thousands, all go: "1,000 a/b" becomes "1000 ab".
    """
    found, thousands = answer, THOUSANDS.search(answer)
    for mark in PUNCTUATION:
        at_edge = f"{mark} " in answer or f" {mark}" in answer
        found = found.replace(mark, "" if at_edge or thousands else " ")
    return PERIOD.sub("", found, count=MOST_PERIODS)


def _one_line(answer: str) -> str:
    return answer.replace("\n", " ").replace("\t", " ").strip()


def _people(answers: Sequence[str]) -> float:
    rest = ([*answers[:i], *answers[i + 1 :]] for i in range(len(answers)))
    return sum(map(vqa_accuracy, answers, rest)) / len(answers)


def _by_kind(found: Iterable[tuple[Question, float]]) -> VqaScores:
    points: list[float] = []
    kinds: tuple[dict[str, list[float]], ...] = (defaultdict(list), defaultdict(list))
    for question, accuracy in found:
        points.append(accuracy)
        for by, kind in zip(kinds, (question.answer_type, question.question_type), strict=True):
            by[kind].append(accuracy)
    shares = [{kind: _mean(values) for kind, values in sorted(by.items())} for by in kinds]
    return VqaScores(_mean(points), *shares)


def _mean(values: Sequence[float]) -> Share:
    if not values:
        raise VermeilError("there are no questions to measure", "give one at least")
    return Share(sum(values) / len(values), len(values))
