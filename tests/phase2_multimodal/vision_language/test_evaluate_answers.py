"""Scores of answers: one that knows gets all, floors are what they are by hand."""

from collections import Counter, defaultdict

import numpy as np
import pytest
import torch

from data.questions import VisualQuestion
from phase2_multimodal.talks import measured_splits, talks_of
from phase2_multimodal.train_vqa import VqaConfig
from phase2_multimodal.vision_language.evaluate_answers import (
    agreement,
    majority,
    measure,
    people,
    rows_of,
    scores,
    slug,
    source_answers,
)
from phase2_multimodal.vision_language.generate import GREEDY, Speaker

CONFIG = VqaConfig(size=16, pictures=16, neighbours=40, ranked=12)


class Knowing(Speaker):
    """Recognises pictures by their pixels, and answers what it was told about them."""

    def __init__(self, model, prompter, talks):
        super().__init__(model, prompter)
        self.talks = talks
        self.numbers = {talk.pixels.tobytes(): number for number, talk in enumerate(talks)}

    def look(self, pictures):
        pixels = ((pictures + 1) * 127.5).round().byte().permute(0, 2, 3, 1).contiguous()
        numbers = [self.numbers[picture.numpy().tobytes()] for picture in pixels]
        return torch.tensor(numbers, dtype=torch.float32)[:, None, None]

    def say(self, prefix, questions, sampling=GREEDY, beams=1):
        return [self.answer(self.talks[int(one)], question)
                for one, question in zip(prefix[:, 0, 0], questions, strict=True)]  # fmt: skip

    def answer(self, talk, question) -> str:
        return next((q.answers[0] for q in talk.questions if q.text == question), "?")

    def rank(self, prefix, question, candidates):
        right = self.answer(self.talks[int(prefix[0, 0, 0])], question)
        return torch.tensor([float(candidate == right) for candidate in candidates])


class Agreeing(Speaker):
    """Says yes to everything."""

    def say(self, prefix, questions, sampling=GREEDY, beams=1):
        assert prefix.shape[1] == 2, "the opening, and no picture"
        return ["yes"] * len(questions)


@pytest.fixture
def held_out(small_scenes):
    return {split: [talks_of(small_scenes, split, 16)[i] for i in range(20)]
            for split in measured_splits(small_scenes)}  # fmt: skip


@pytest.fixture
def found(model, prompter, small_scenes, held_out):
    knowing = Knowing(model, prompter, [talk for talks in held_out.values() for talk in talks])
    twin = Agreeing(model, prompter)
    return measure(knowing, twin, small_scenes, CONFIG, artifact="a", preset="smoke")


def test_one_that_knows_is_always_right(found):
    assert {row.value for row in found.rows if row.metric.startswith("vqa_accuracy")} == {1.0}
    of_test = [row.metric for row in found.rows if row.split == "test"]
    kinds = ("presence", "color", "count", "object", "left_above", "category", "comparison")
    assert {*of_test} >= {"vqa_accuracy", "vqa_accuracy_ranked",
                          *(f"vqa_accuracy_{kind}" for kind in kinds)}  # fmt: skip
    others = [(row.split, row.metric) for row in found.rows if row.split != "test"]
    assert others == [(split, "vqa_accuracy") for split in ("pairs", "style", "unknown")]


def test_floors_are_counted_again(found, small_scenes, held_out):
    """Majority, agreement and the next picture's answers, each worked out here once more."""
    exact, by_kind = defaultdict(Counter), defaultdict(Counter)
    for number in range(40):
        for q in talks_of(small_scenes, "train", 16)[number].questions:
            exact[q.text][q.answers[0]] += 1
            by_kind[q.question_type][q.answers[0]] += 1
    talks = held_out["test"][:16]
    asked = [(place, q) for place, talk in enumerate(talks) for q in talk.questions]
    right = {"majority": [], "question_only": [], "shuffled_image": []}
    for place, q in asked:
        counts = exact[q.text] or by_kind[q.question_type]
        right["majority"].append(counts.most_common(1)[0][0] == q.answers[0])
        right["question_only"].append(q.answers[0] == "yes")
        other = talks[(place + 1) % 16].questions
        right["shuffled_image"].append((q.text, q.answers) in {(o.text, o.answers) for o in other})
    row = next(row for row in found.rows if (row.metric, row.split) == ("vqa_accuracy", "test"))
    assert row.n == len(asked)
    assert row.baselines == {name: pytest.approx(np.mean(of)) for name, of in right.items()}
    assert row.low == row.high == 1.0
    color = next(row for row in found.rows if row.metric == "vqa_accuracy_color")
    assert (color.n, color.baselines["question_only"]) == (16, 0.0)


def test_ranking_is_among_the_answers_to_its_kind(found, held_out):
    row = next(row for row in found.rows if row.metric == "vqa_accuracy_ranked")
    candidates = source_answers(held_out["test"][:16])
    assert candidates["presence"] == ["no", "yes"]
    assert candidates["count"] == ["1", "2", "3"]
    assert row.n == 12
    assert 0.1 < row.baselines["random"] < 0.6


def question(text: str, *answers: str, kind: str = "") -> VisualQuestion:
    return VisualQuestion(1, "p", text, answers, "other", kind)


def test_majority_by_hand(talk):
    train = [talk(0, what_is_it=["dog"], how_many=["2"]), talk(1, what_is_it=["dog"]),
             talk(2, what_is_it=["cat"], what_else=["cat", "cat", "cat"])]  # fmt: skip
    usual = majority(train, 3)
    assert usual(question("what is it?")) == "dog"
    assert usual(question("what now?", kind="what")) == "cat", "4 cats, 2 dogs in that kind"
    assert usual(question("why?", kind="why")) == "yes", "never heard"
    assert majority(train, 2)(question("what now?", kind="what")) == "dog"


def test_a_single_answer_stands_for_ten():
    assert people(question("?", "a dog")) == ("a dog",) * 10
    ten = ("yes",) * 3 + ("no",) * 7
    assert people(question("?", *ten)) == ten
    asked = [(0, question("?", "a dog")), (0, question("?", *ten)), (1, question("?", *ten))]
    # Of ten people three: any nine of them agree 0.9 times (Antol et al., 2015).
    assert scores(["a dog", "yes", "no"], asked).tolist() == pytest.approx([1.0, 0.9, 1.0])
    assert scores(["A dog", "maybe", "No"], asked).tolist() == pytest.approx([0.0, 0.0, 1.0])


def test_the_protocol_says_what_is_counted():
    one, many = (0, question("?", "a")), (0, question("?", *"aaabbbccdd"))
    assert "exact match" in agreement([one, one])
    assert agreement([one, many]) == agreement([many]) == "official VQA accuracy"


@pytest.mark.parametrize(("kind", "name"), [
    ("how many", "how_many"), ("What is the?", "what_is_the"), ("есть", "other"), ("a--b", "a_b"),
    ("left_above", "left_above"),
])  # fmt: skip
def test_kinds_become_names(kind, name):
    assert slug(kind) == name


def test_intervals_draw_pictures_not_questions():
    """All questions of a picture are right or wrong together: two pictures are two, not twenty."""
    asked = [(i // 10, question("?", "yes", kind="k")) for i in range(20)]
    points = {"model": np.repeat([1.0, 0.0], 10), "majority": np.zeros(20)}
    common = {"step": "vqa", "artifact": "a", "preset": "x", "better": "higher", "unit": "",
              "split": "test"}  # fmt: skip
    whole, kind = rows_of(points, asked, "", common)
    assert (whole.value, whole.n, whole.low, whole.high) == (0.5, 20, 0.0, 1.0)
    assert (kind.metric, kind.value, kind.baselines) == ("vqa_accuracy_k", 0.5, {"majority": 0.0})
