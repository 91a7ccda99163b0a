"""A row's random numbers: the same however a batch is divided, and random nevertheless."""

import pytest
import torch
from torch import Tensor

from shared.draws import Draws, RowDraws
from shared.train_config import TrainConfig, rows_of


def drawn(draws: RowDraws, step: int, first: int, rows: int) -> list[Tensor]:
    """What a diffusion objective asks for, in its order; pictures with channels last."""
    draws.begin(step, first)
    pictures = torch.empty(rows, 4, 4, 3).permute(0, 3, 1, 2)
    return [draws.normal(torch.empty(rows)), draws.normal(torch.empty_like(pictures)),
            draws.uniform(torch.empty(rows))]  # fmt: skip


@pytest.mark.parametrize(("processes", "accumulate"), [(2, 1), (1, 4), (2, 2)])
def test_a_divided_batch_draws_what_the_whole_one_does(processes, accumulate):
    config = TrainConfig(batch_size=8, accumulate=accumulate)
    step = 3
    whole = drawn(RowDraws(7), step, 0, 8)
    draws = RowDraws(7)
    for rank in range(processes):
        for part in range(accumulate):
            at, rows = rows_of(config, step * accumulate + part, rank, processes)
            assert at == step
            parts = drawn(draws, at, rows.start, rows.stop - rows.start)
            for one, all_rows in zip(parts, whole, strict=True):
                assert torch.equal(one, all_rows[rows])


def test_processes_and_parts_cover_each_row_once():
    config = TrainConfig(batch_size=12, accumulate=2)
    rows = [rows_of(config, 10 + part, rank, 3) for part in range(2) for rank in range(3)]
    assert {step for step, _ in rows} == {5}
    taken = [number for _, one in rows for number in range(12)[one]]
    assert sorted(taken) == list(range(12))


def test_they_depend_on_the_seed_the_step_and_the_row():
    reference = drawn(RowDraws(0), 0, 0, 2)
    for other in (drawn(RowDraws(1), 0, 0, 2), drawn(RowDraws(0), 1, 0, 2),
                  drawn(RowDraws(0), 0, 2, 2)):  # fmt: skip
        assert not any(torch.equal(a, b) for a, b in zip(reference, other, strict=True))
    assert all(map(torch.equal, reference, drawn(RowDraws(0), 0, 0, 2)))


def test_they_are_normal_even_and_independent():
    """Over rows and over steps the first number of each generator is as good as any."""
    draws, rows, steps = RowDraws(0), 64, 64
    firsts, pictures, even = [], [], []
    for step in range(steps):
        times, noise, kept = drawn(draws, step, 0, rows)
        firsts.append(times)
        pictures.append(noise)
        even.append(kept)
    first, noise, uniform = torch.stack(firsts), torch.stack(pictures), torch.stack(even)
    for normal in (first, noise):
        assert normal.mean().abs() < 4 / normal.numel() ** 0.5
        assert (normal.std() - 1).abs() < 4 / normal.numel() ** 0.5
    assert (uniform.mean() - 0.5).abs() < 4 * 12**-0.5 / uniform.numel() ** 0.5
    assert uniform.min() >= 0
    assert uniform.max() < 1
    neighbours = [(first[:, 1:], first[:, :-1]), (first[1:], first[:-1])]
    for one, other in neighbours:
        assert (one * other).mean().abs() < 4 / one.numel() ** 0.5
    assert (first * noise[:, :, 0, 0, 0]).mean().abs() < 4 / first.numel() ** 0.5
    assert len(first.unique()) > first.numel() - 5  # of 24 bits, so that two may be equal


def test_outside_training_torchs_generator_draws():
    torch.manual_seed(3)
    found = [Draws().normal(torch.empty(2, 3)), Draws().uniform(torch.empty(4))]
    torch.manual_seed(3)
    assert torch.equal(found[0], torch.randn(2, 3))
    assert torch.equal(found[1], torch.rand(4))
