"""How right the answers are: VQA accuracy by kind of question, beside what needs no looking."""

import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from data.picture_batches import to_tensor
from data.pictures import PictureData
from data.questions import VisualQuestion
from phase1_foundation.language.generate import Sampling
from phase2_multimodal.talks import Talk, Talks, measured_splits, talks_of, to_measure
from phase2_multimodal.vision_language import blind
from phase2_multimodal.vision_language.generate import Speaker
from shared.grids import enlarged, png
from shared.metrics.intervals import mean_of
from shared.metrics.vqa import vqa_accuracy
from shared.results import Row, images, table

if TYPE_CHECKING:
    from phase2_multimodal.train_vqa import VqaConfig

SHORT = Sampling(max_tokens=8, temperature=0.0)
PEOPLE = 10  # answers that VQA v2 has to a question
SHOWN = 9


@dataclass(frozen=True)
class Measured:
    """What goes into the report."""

    rows: list[Row]
    exhibits: list[dict[str, Any]]


Asked = list[tuple[int, VisualQuestion]]  # with the place of the picture


def measure(
    speaker: Speaker, twin: Speaker, pictures: PictureData, config: "VqaConfig", *, artifact: str,
    preset: str,
) -> Measured:  # fmt: skip
    """Ask all about held-out pictures; by kind on the test split, whole on the others."""
    common = {"step": "vqa", "artifact": artifact, "preset": preset, "better": "higher", "unit": ""}
    usual = majority(talks_of(pictures, "train", config.size), config.neighbours)
    rows, exhibits = [], []
    for split in measured_splits(pictures):
        start = time.perf_counter()
        talks = to_measure(pictures, split, config.size, config.pictures)
        asked: Asked = [(place, q) for place, talk in enumerate(talks) for q in talk.questions]
        prefix = speaker.look(to_tensor(np.stack([talk.pixels for talk in talks])))
        texts, places = [q.text for _, q in asked], [place for place, _ in asked]
        others = [(place + 1) % len(talks) for place in places]
        answers = {
            "model": speaker.say(prefix[places], texts, SHORT),
            "shuffled_image": speaker.say(prefix[others], texts, SHORT),
            "question_only": blind.answers(twin, texts, sampling=SHORT),
            "majority": [usual(q) for _, q in asked],
        }
        points = {name: scores(said, asked) for name, said in answers.items()}
        of_split = common | {"split": split, "seconds": round(time.perf_counter() - start, 1)}
        protocol = f"{config.size} px, generated freely, greedy; " + agreement(asked)
        found = rows_of(points, asked, protocol, of_split)
        rows += found if split == "test" else found[:1]
        if split == "test":
            rows.append(ranked(speaker, prefix, asked, source_answers(talks), config, of_split))
            exhibits += [by_kind(found), shown(talks, asked, answers["model"])]
    return Measured(rows, exhibits)


def majority(train: Talks, most: int) -> Any:
    """The most frequent training answer to the same question, else to the same kind."""
    exact, kind = defaultdict(Counter), defaultdict(Counter)
    for number in range(min(most, len(train))):
        for question in train[number].questions:
            exact[question.text].update(question.answers)
            kind[question.question_type].update(question.answers)

    def usual(question: VisualQuestion) -> str:
        counts = exact.get(question.text) or kind.get(question.question_type) or Counter({"yes": 1})
        return counts.most_common(1)[0][0]

    return usual


def scores(said: Sequence[str], asked: Asked) -> np.ndarray:
    """VQA accuracy of every answer; a single person's answer stands for ten equal ones."""
    return np.array(
        [vqa_accuracy(answer, people(q)) for answer, (_, q) in zip(said, asked, strict=True)]
    )


def people(question: VisualQuestion) -> tuple[str, ...]:
    """Ten answers."""
    given = question.answers
    return given * PEOPLE if len(given) == 1 else given


def agreement(asked: Asked) -> str:
    """What VQA accuracy means here."""
    if all(len(q.answers) == 1 for _, q in asked):
        return "ten equal answers: an exact match"
    return "official VQA accuracy"


def rows_of(
    points: Mapping[str, np.ndarray], asked: Asked, protocol: str, common: dict[str, Any]
) -> list[Row]:
    """All questions, then each kind."""
    kinds = np.array([q.question_type for _, q in asked])
    pictures = np.array([place for place, _ in asked])
    parts = {"": np.ones(len(asked), bool)}
    parts |= {f"_{slug(kind)}": kinds == kind for kind in dict.fromkeys(kinds.tolist()) if kind}
    rows = []
    for name, part in parts.items():
        value = mean_of(points["model"][part], pictures[part].tolist())
        floors: dict[str, float | None] = {
            floor: float(of[part].mean()) for floor, of in points.items() if floor != "model"
        }
        rows.append(Row(metric=f"vqa_accuracy{name}", **value._asdict(), protocol=protocol,
                        baselines=floors, **common))  # fmt: skip
    return rows


def slug(kind: str) -> str:
    """A kind of question as part of a metric's name."""
    letters = (c if c.isalnum() and c.isascii() else " " for c in kind.lower())
    return "_".join("".join(letters).split()) or "other"


def source_answers(talks: Iterable[Talk]) -> dict[str, list[str]]:
    """All answers to a kind of question: the candidates that are ranked."""
    found: dict[str, dict[str, None]] = defaultdict(dict)
    for talk in talks:
        for question in talk.questions:
            found[question.question_type] |= dict.fromkeys(question.answers)
    return {kind: sorted(answers) for kind, answers in found.items()}


def ranked(
    speaker: Speaker, prefix: Any, asked: Asked, candidates: Mapping[str, list[str]],
    config: "VqaConfig", common: dict[str, Any],
) -> Row:  # fmt: skip
    """The likeliest of all answers to such a question: easier, since nothing else can be said."""
    some = [asked[i] for i in np.linspace(0, len(asked) - 1, config.ranked).astype(int)]
    said = []
    for place, question in some:
        options = candidates[question.question_type]
        found = speaker.rank(prefix[place : place + 1], question.text, options)
        said.append(options[int(found.argmax())])
    value = mean_of(scores(said, some), [place for place, _ in some])
    chance = np.mean([1 / len(candidates[q.question_type]) for _, q in some])
    protocol = f"likeliest of the answers to its kind; {agreement(asked)}"
    return Row(metric="vqa_accuracy_ranked", **value._asdict(), protocol=protocol,
               baselines={"random": float(chance)}, **common)  # fmt: skip


def by_kind(rows: Sequence[Row]) -> dict[str, Any]:
    """Every kind of question in a table."""
    floors = ("majority", "question_only", "shuffled_image")
    lines = [
        [row.metric.removeprefix("vqa_accuracy").strip("_").replace("_", " ") or "all", row.n,
         row.value, *(row.baselines[floor] for floor in floors)]
        for row in rows
    ]  # fmt: skip
    columns = ["kind of question", "n", "model", "majority", "question only", "shuffled pictures"]
    return table("Answers by kind of question", columns, lines)


def shown(talks: Sequence[Talk], asked: Asked, said: Sequence[str]) -> dict[str, Any]:
    """Pictures by fixed index, each with one question, failures too."""
    items = []
    for i in np.linspace(0, len(asked) - 1, SHOWN).astype(int):
        place, question = asked[i]
        right = question.answers[0]
        mark = "" if said[i] == right else f" (true: {right})"
        pixels = talks[place].pixels
        picture = png(enlarged(pixels, max(1, 192 // len(pixels))))
        items.append((f"{question.text} {said[i]}{mark}", picture))
    return images("Test pictures, a question each, and the model's answer", items, columns=3)
