"""Recall at k, median rank and zero-shot classes: by hand, by simulation, and where all tie."""

import pytest
import torch

import shared.metrics.retrieval as retrieval
from shared.errors import VermeilError
from shared.metrics.retrieval import captions_of, random_recall_at, recall_at, zero_shot

# Two pictures with three captions each, in turn.
PICTURE = torch.tensor([0, 1, 0, 1, 0, 1])
SIMILARITY = torch.tensor([[0.1, 0.9, 0.8, 0.3, 0.2, 0.0],
                           [0.5, 0.4, 0.3, 0.2, 0.6, 0.1]])  # fmt: skip


@pytest.fixture(params=[1, 1024], ids="blocks of {}".format)
def block(request, monkeypatch):
    monkeypatch.setattr(retrieval, "BLOCK", request.param)


def test_pictures_to_their_captions_by_hand(block):
    """The best of its captions stands second for picture 0, and third for picture 1."""
    found = recall_at(SIMILARITY, captions_of(PICTURE, 2), ks=(1, 2, 3))
    assert found.ranks.tolist() == [2, 3]
    assert found.recall == {1: 0, 2: 0.5, 3: 1}
    assert found.median_rank == 2.5


def test_captions_to_their_picture_by_hand(block):
    found = recall_at(SIMILARITY.T, captions_of(PICTURE, 2).T, ks=(1, 2))
    assert found.ranks.tolist() == [2, 2, 1, 2, 2, 1]
    assert found.recall == {1: pytest.approx(1 / 3), 2: 1}
    assert found.median_rank == 2


def test_the_order_is_that_of_sorting(block):
    random = torch.Generator().manual_seed(0)
    similarity = torch.randn(40, 60, generator=random)
    positives = torch.rand(40, 60, generator=random) < 0.1
    positives[:, 0] = True
    order = similarity.argsort(1, descending=True)
    first = positives.gather(1, order).int().argmax(1) + 1
    assert torch.equal(recall_at(similarity, positives).ranks, first)


def test_what_ties_stands_before():
    constant = torch.zeros(20, 20)
    found = recall_at(constant, torch.eye(20).bool())
    assert found.recall == {1: 0, 5: 0, 10: 0} and found.median_rank == 20
    five = captions_of(torch.arange(100) // 5, 20)
    assert recall_at(torch.ones(20, 100), five).median_rank == 96  # all wrong ones come first
    assert recall_at(torch.tensor([[0.5, 0.5, 0.1]]), torch.tensor([[1, 1, 0]]).bool()).ranks == 1


def test_the_random_floor_is_k_of_n_and_what_a_simulation_finds():
    assert random_recall_at(torch.eye(50).bool()) == pytest.approx({1: 0.02, 5: 0.1, 10: 0.2})
    assert random_recall_at(torch.eye(4).bool(), (4, 9)) == {4: 1, 9: 1}
    positives = captions_of(torch.arange(100) // 5, 20)
    # For k = 1, 5 of 100; for k = 5, all but 95 * 94 * ... / 100 / 99 / ...
    floor = random_recall_at(positives)
    assert (floor[1], floor[5]) == pytest.approx((0.05, 0.2304), abs=1e-4)
    random = torch.Generator().manual_seed(0)
    found = recall_at(
        torch.rand(2000, 100, generator=random), positives[torch.arange(2000) % 20]
    ).recall
    assert found == pytest.approx(floor, abs=0.03)


def test_zero_shot_by_hand():
    prompts = torch.tensor([[[9.0, 0], [0, 1]], [[0, -1], [0, -2]]])  # (2 classes, 2 prompts, 2)
    pictures = torch.tensor([[0.1, 1], [1, -1.1], [1, -1.1]])
    found = zero_shot(pictures, prompts, torch.tensor([0, 1, 0]))
    assert found.ranks.tolist() == [1, 1, 2]
    assert found.recall == {1: pytest.approx(2 / 3), 5: 1}


def test_prompts_and_classes_count_alike_whatever_their_length():
    """Classes at 45 and 10 degrees, a picture at 30. Were lengths kept, the first class would lie
    at 6 degrees, or be shorter than the second, whose prompts agree.
    """
    prompts = torch.tensor([[[9.0, 0], [0, 1]], [[0.985, 0.174], [0.985, 0.174]]])
    picture = torch.tensor([[0.866, 0.5]])
    assert zero_shot(picture, prompts, torch.tensor([0])).ranks.tolist() == [1]


def test_what_cannot_be_ranked_is_an_error():
    with pytest.raises(VermeilError, match=r"similarities \(2, 6\) and positives \(6, 2\)"):
        recall_at(SIMILARITY, captions_of(PICTURE, 2).T)
    with pytest.raises(VermeilError, match="nothing is right for 1 rows"):
        recall_at(torch.zeros(3, 6), captions_of(PICTURE, 3))
    with pytest.raises(VermeilError, match="not finite"):
        recall_at(SIMILARITY / 0, captions_of(PICTURE, 2))
