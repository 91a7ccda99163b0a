"""What the unified model learns from, and when it rehearses."""

from types import SimpleNamespace

import numpy as np
import pytest

from phase4_deploy.unified import lessons
from phase4_deploy.unified.lessons import UnifiedLessons


class Asked:
    """Stands for a source of batches; remembers the steps that it was asked for."""

    def __init__(self):
        self.steps: list[int] = []

    def rows(self, step: int, rows: slice) -> str:
        self.steps.append(step)
        return f"{step}"


@pytest.mark.parametrize(("every", "steps"), [(1, [0, 1, 2, 3, 4]), (2, [0, 2, 4]), (3, [0, 3])])
def test_it_rehearses_every_so_many_steps_and_listens_in_all(every, steps, monkeypatch):
    monkeypatch.setattr(lessons, "transcripts", lambda sound, prompter: f"words of {sound}")
    taught = UnifiedLessons.__new__(UnifiedLessons)
    taught.prompter, taught.batch_size, taught.rehearse_every = None, 2, every  # type: ignore[assignment]
    taught.order = SimpleNamespace(pick=lambda places: np.asarray(places))  # type: ignore[assignment]
    taught.augment, taught.seed = None, 0
    taught.spoken = SimpleNamespace(batch=lambda numbers, *_: numbers)  # type: ignore[assignment]
    taught.said, taught.looking, taught.reading = Asked(), Asked(), Asked()  # type: ignore[assignment]
    hours = [taught.rows(step, slice(0, 2)) for step in range(5)]
    assert taught.looking.steps == taught.reading.steps == steps
    assert taught.said.steps == [0, 1, 2, 3, 4]
    assert [hour.asked for hour in hours] == [[0, 1], [2, 3], [4, 5], [6, 7], [8, 9]]
    assert [hour.looking is None for hour in hours] == [step not in steps for step in range(5)]
    assert hours[0].said.words == "words of 0"
