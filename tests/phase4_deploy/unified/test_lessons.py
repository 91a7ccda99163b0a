"""What the unified model learns from, and when it rehearses."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from phase4_deploy.audio.augment import Augmentation
from phase4_deploy.unified import lessons
from phase4_deploy.unified.lessons import UnifiedLessons

MELS = 1 + torch.rand(50, 80, generator=torch.Generator().manual_seed(0))


class Asked:
    """Stands for a source of batches; remembers the steps that it was asked for."""

    def __init__(self):
        self.steps: list[int] = []

    def rows(self, step: int, rows: slice) -> str:
        self.steps.append(step)
        return f"{step}"


def made(every: int = 1, size: int = 2, augment: Augmentation | None = None) -> UnifiedLessons:
    """Lessons without data: a spoken question is its row's frames as they are changed."""
    taught = UnifiedLessons.__new__(UnifiedLessons)
    taught.prompter, taught.batch_size, taught.rehearse_every = None, size, every  # type: ignore[assignment]
    taught.order = SimpleNamespace(pick=lambda places: np.asarray(places))  # type: ignore[assignment]
    taught.augment, taught.seed = augment, 0

    def batch(numbers, prompter, changed):
        return [(number, changed(row, MELS)) for row, number in enumerate(numbers)]

    taught.spoken = SimpleNamespace(batch=batch)  # type: ignore[assignment]
    taught.said, taught.looking, taught.reading = Asked(), Asked(), Asked()  # type: ignore[assignment]
    return taught


@pytest.mark.parametrize(("every", "steps"), [(1, [0, 1, 2, 3, 4]), (2, [0, 2, 4]), (3, [0, 3])])
def test_it_rehearses_every_so_many_steps_and_listens_in_all(every, steps, monkeypatch):
    monkeypatch.setattr(lessons, "transcripts", lambda sound, prompter: f"words of {sound}")
    taught = made(every)
    hours = [taught.rows(step, slice(0, 2)) for step in range(5)]
    assert taught.looking.steps == taught.reading.steps == steps
    assert taught.said.steps == [0, 1, 2, 3, 4]
    numbers = [[number for number, _ in hour.asked] for hour in hours]
    assert numbers == [[0, 1], [2, 3], [4, 5], [6, 7], [8, 9]]
    assert [hour.looking is None for hour in hours] == [step not in steps for step in range(5)]
    assert hours[0].said.words == "words of 0"


def test_a_question_is_changed_by_its_place_alone(monkeypatch):
    """However a batch is divided; by another throat, and nothing of it is hidden."""
    monkeypatch.setattr(lessons, "transcripts", lambda sound, prompter: None)
    taught = made(size=4, augment=Augmentation("voices"))
    whole = taught.rows(3, slice(0, 4)).asked
    parts = [*taught.rows(3, slice(0, 2)).asked, *taught.rows(3, slice(2, 4)).asked]
    for (number, mels), (same, again) in zip(whole, parts, strict=True):
        assert number == same
        torch.testing.assert_close(mels, again)
        assert not torch.equal(mels, MELS)
        assert (mels > 0).all(), "a mask would be 0"
    assert not torch.equal(whole[0][1], whole[1][1])
    recorded = Augmentation("voices").voice((0, 12), MELS)
    assert not torch.equal(whole[0][1], recorded), "recordings of that place are changed otherwise"
    for plain in (None, Augmentation("mask")):
        [(_, mels), *_] = made(size=4, augment=plain).rows(3, slice(0, 4)).asked
        assert torch.equal(mels, MELS)
