"""Timing side by side: turns, what counts as a step, and where a batch's time goes."""

import time
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from shared import benchmark
from shared.benchmark import (
    beside,
    heading,
    interleaved,
    peer_package,
    seconds_a_step,
    time_fit,
)
from shared.errors import VermeilError
from shared.objective import Objective
from shared.train_config import TrainConfig


def test_candidates_take_turns_and_their_medians_count():
    order = []
    own = {"a": iter([9, 1, 5, 3]), "b": iter([9, 2, 2, 8])}
    candidates = {name: lambda name=name: order.append(name) or next(own[name]) for name in own}
    assert interleaved(candidates, rounds=3) == {"a": 3, "b": 2}
    assert order == ["a", "b"] * 4


def test_warming_up_and_the_last_step_are_left_out():
    assert seconds_a_step([0, 10, 20, 21, 23]) == 1.5
    assert seconds_a_step([0, 10, 11]) == 1  # of three steps two have an end


def test_lines_stand_below_their_heading():
    line = beside("writing", 1200, 800)
    assert heading("transformers").index("ratio") + len("ratio") == len(line)
    assert line.split() == ["writing", "1,200", "800", "1.50"]
    assert beside("drawing", 1.26, 2, digits=1).split() == ["drawing", "1.3", "2.0", "0.63"]


class Fitted(Objective):
    """Pulls one weight towards zero, in 5 ms."""

    def __init__(self, steps: int):
        super().__init__(
            nn.Linear(1, 1),
            TrainConfig(
                steps=steps, precision="fp32", trackers=(), threads=1, checkpoint_every=steps
            ),
        )
        self.losses = []

    def loss(self, batch):
        time.sleep(0.005)
        loss = self.model(batch).square().mean()
        self.losses.append(loss.item())
        return loss


class Slow:
    """Batches that take 20 ms to make, the first two longer."""

    def rows(self, step, rows):
        time.sleep(0.02 if step > 1 else 0.3)
        return torch.ones(16, 1)[rows]


def test_a_fit_is_timed_with_the_making_of_its_batches():
    objective = Fitted(steps=9)
    times = time_fit(objective, Slow(), unit="examples", amount=16)
    assert len(objective.losses) == 9 and objective.losses[-1] != objective.losses[0]
    assert 0.02 <= times.batch < 0.2  # a busy machine takes longer
    assert times.batch + 0.005 <= times.step < 0.3


def test_a_gpu_is_waited_for(monkeypatch):
    done = []
    cuda = SimpleNamespace(is_available=lambda: True, synchronize=lambda: done.append(1))
    monkeypatch.setattr(torch, "cuda", cuda)
    assert benchmark.now() > 0 and done == [1]


def test_a_peer_that_is_not_installed_is_named():
    assert peer_package("json").dumps([]) == "[]"
    with pytest.raises(VermeilError, match="takes the package no_such_peer") as error:
        peer_package("no_such_peer")
    assert "[dev]" in error.value.hint
