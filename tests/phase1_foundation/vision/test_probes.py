"""Probes against scikit-learn, against votes counted one by one, and on cases with one answer."""

import math

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from phase1_foundation.vision import probes
from phase1_foundation.vision.probes import Features


def clouds(n: int, seed: int, spread: float = 1.5) -> Features:
    """Three classes in eight dimensions, of very different scale, that overlap."""
    random = np.random.default_rng(seed)
    labels = random.integers(0, 3, n)
    centres = np.random.default_rng(0).normal(size=(3, 8))
    x = (centres[labels] + spread * random.normal(size=(n, 8))) * np.logspace(-2, 2, 8)
    return Features(torch.tensor(x, dtype=torch.float32), torch.tensor(labels))


def standardised(split: Features, like: Features) -> np.ndarray:
    return ((split.x - like.x.mean(0)) / like.x.std(0)).numpy()


@pytest.mark.parametrize("penalty", [1.0, 0.01, 1e-4])
def test_logistic_regression_equals_scikit_learn(penalty):
    train, test = clouds(300, 1), clouds(200, 2)
    x = Features(torch.from_numpy(standardised(train, train)), train.labels)
    layer = torch.nn.Linear(8, 3)
    torch.nn.init.zeros_(layer.weight)
    probes.logistic_regression(layer, x, penalty, iterations=500)
    # Its penalty is on the sum of losses: C = 1 / (n penalty).
    peer = LogisticRegression(C=1 / (300 * penalty), max_iter=1000, tol=1e-8)
    peer.fit(x.x.numpy(), train.labels.numpy())
    np.testing.assert_allclose(layer.weight.detach(), peer.coef_, atol=2e-3)
    right, chosen = probes.linear_probe(train, test, test, penalties=[penalty])
    assert chosen == penalty
    expected = peer.predict(standardised(test, train)) == test.labels.numpy()
    assert (right.numpy() == expected).mean() > 0.99


def test_the_penalty_is_chosen_by_validation_and_not_by_test():
    train, validation, test = clouds(24, 1, 3.0), clouds(200, 3, 3.0), clouds(200, 4, 3.0)

    def score(split: Features, penalty: float) -> float:
        return probes.linear_probe(train, split, split, [penalty])[0].float().mean().item()

    for split in (train, validation):
        scores = {penalty: score(split, penalty) for penalty in probes.PENALTIES}
        right, chosen = probes.linear_probe(train, split, test)
        assert scores[chosen] == pytest.approx(max(scores.values()), abs=0.01)
        expected = probes.linear_probe(train, split, test, [chosen])[0]
        assert (right == expected).float().mean() > 0.98
    # What was learned by heart is named right without any penalty.
    weak, strong = (probes.linear_probe(train, s, test)[1] for s in (train, validation))
    assert weak < strong


def test_a_feature_that_never_changes_is_no_harm():
    train, test = clouds(100, 1, spread=0.1), clouds(50, 2, spread=0.1)
    flat = [Features(torch.cat([s.x, torch.full((len(s.x), 1), 7.0)], 1), s.labels)
            for s in (train, test)]  # fmt: skip
    right, _ = probes.linear_probe(flat[0], flat[1], flat[1])
    assert right.all()


def test_nearest_neighbours_by_counting_votes():
    random = np.random.default_rng(5)
    x, y = random.normal(size=(30, 4)), random.integers(0, 3, 30)
    queries, truth = random.normal(size=(12, 4)), random.integers(0, 3, 12)
    expected = []
    for query, label in zip(queries, truth, strict=True):
        cosines = [query @ key / np.linalg.norm(query) / np.linalg.norm(key) for key in x]
        votes = [0.0, 0.0, 0.0]
        for place in sorted(range(30), key=lambda i: -cosines[i])[:7]:
            votes[y[place]] += math.exp(cosines[place] / 0.2)
        expected.append(int(np.argmax(votes)) == label)
    train = Features(torch.tensor(x).float(), torch.tensor(y))
    test = Features(torch.tensor(queries).float(), torch.tensor(truth))
    right = probes.nearest_neighbours(train, test, k=7, temperature=0.2)
    assert right.tolist() == expected
    assert 0 < sum(expected) < 12


def test_length_is_no_matter_and_near_ones_count_more():
    train = Features(torch.tensor([[10.0, 0.0], [0.6, 0.8], [0.6, -0.8]]), torch.tensor([1, 0, 0]))
    query = Features(torch.tensor([[0.01, 0.0]]), torch.tensor([1]))
    assert probes.nearest_neighbours(train, query).all(), "one at cosine 1 against two at 0.6"
    assert not probes.nearest_neighbours(train, query, temperature=10.0).any()


def test_nearest_in_parts(monkeypatch):
    random = torch.Generator().manual_seed(0)
    train, test = torch.randn(50, 5, generator=random), torch.randn(1500, 5, generator=random)
    similarity, index = probes.nearest(train, test, 3)
    cosines = torch.nn.functional.cosine_similarity(test[:, None], train[None], dim=2)
    torch.testing.assert_close(similarity, cosines.topk(3).values)
    assert torch.equal(index, cosines.topk(3).indices)
    assert probes.nearest(train, test, 99)[1].shape == (1500, 50)
