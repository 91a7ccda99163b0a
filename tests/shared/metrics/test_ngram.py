"""Kneser-Ney by hand, against the formula computed directly, and against a known entropy."""

from collections import Counter

import numpy as np
import pytest

from shared.metrics import ngram
from shared.metrics.ngram import KneserNey, Unigram

ADDRESS = [  # Lincoln at Gettysburg, 1863: one sequence a paragraph
    "Four score and seven years ago our fathers brought forth on this continent, a new nation, "
    "conceived in Liberty, and dedicated to the proposition that all men are created equal.",
    "Now we are engaged in a great civil war, testing whether that nation, or any nation so "
    "conceived and so dedicated, can long endure. We are met on a great battle-field of that war. "
    "We have come to dedicate a portion of that field, as a final resting place for those who here "
    "gave their lives that that nation might live. It is altogether fitting and proper that we "
    "should do this.",
    "But, in a larger sense, we can not dedicate -- we can not consecrate -- we can not hallow -- "
    "this ground. The brave men, living and dead, who struggled here, have consecrated it, far "
    "above our poor power to add or detract.",
]
HELD_OUT = (
    "The world will little note, nor long remember what we say here, but it can never forget what "
    "they did here."
)


def as_bytes(text: str) -> np.ndarray:
    return np.frombuffer(text.encode(), np.uint8)


class SlowKneserNey:
    """The textbook's recursion over dictionaries, one probability at a time."""

    def __init__(self, sequences: list[tuple[int, ...]], order: int, vocab_size: int):
        self.order, self.vocab_size = order, vocab_size
        self.counts = {k: self.count(sequences, k) for k in range(1, order + 1)}
        self.discounts = {k: self.discount(counts) for k, counts in self.counts.items()}

    def count(self, sequences, k):
        ends = [(s, end) for s in sequences for end in range(k, len(s) + 1)]
        if k == self.order:
            return Counter(s[end - k : end] for s, end in ends)
        neighbours = {(s[end - k - 1] if end > k else "start", s[end - k : end]) for s, end in ends}
        return Counter(gram for _, gram in neighbours)

    def discount(self, counts):
        n = Counter(counts.values())
        if not all(n[i] for i in (1, 2, 3, 4)):
            return [0, 0.5, 1, 1.5]
        y = n[1] / (n[1] + 2 * n[2])
        found = [0] + [i - (i + 1) * y * n[i + 1] / n[i] for i in (1, 2, 3)]
        return found if all(0 < found[i] <= i for i in (1, 2, 3)) else [0, 0.5, 1, 1.5]

    def probability(self, history: tuple[int, ...], symbol: int) -> float:
        history = history[max(0, len(history) - self.order + 1) :]
        shorter = self.probability(history[1:], symbol) if history else 1 / self.vocab_size
        k = len(history) + 1
        followers = [c for gram, c in self.counts[k].items() if gram[:-1] == history]
        if not followers:
            return shorter
        discount = self.discounts[k]
        count = self.counts[k][(*history, symbol)]
        freed = sum(discount[min(c, 3)] for c in followers)
        return (count - discount[min(count, 3)] + freed * shorter) / sum(followers)


def test_a_bigram_model_by_hand():
    """Training text "aba". Left neighbours: a has the start and b, b has a; a bigram occurs once.

    No count occurs thrice, so D = 0.5 for 1 and 1.0 for 2. p(a) = (2 - 1)/3 + (1.5/3)/3 = 1/2,
    p(b) = 0.5/3 + (1.5/3)/3 = 1/3, p(c) = 1/6; p(b | a) = 0.5 + 0.5 p(b) = 2/3;
    p(c | b) = 0.5 p(c) = 1/12; c was never followed: p(a | c) = p(a).
    """
    model = KneserNey.fit([np.array([0, 1, 0])], order=2, vocab_size=3)
    found = np.exp(model.log_prob(np.array([0, 1, 2, 0])))  # "abca"
    np.testing.assert_allclose(found, [1 / 2, 2 / 3, 1 / 12, 1 / 2])


def test_discounts_from_counts_of_counts_by_hand():
    """Counts 1 1 1 1 2 2 3 4 of 15: Y = 4/8; D = 1 - 2Y 2/4, 2 - 3Y 1/2, 3 - 4Y 1/1."""
    text = np.repeat(np.arange(8), [1, 1, 1, 1, 2, 2, 3, 4])
    model = KneserNey.fit([text], order=1, vocab_size=10)
    freed = 4 * 0.5 + 2 * 1.25 + 2 * 1.0
    once, twice, thrice, four, never = 0.5, 0.75, 2.0, 3.0, 0.0
    shares = np.array([once] * 4 + [twice] * 2 + [thrice, four] + [never] * 2)
    np.testing.assert_allclose(model.distribution([]), shares / 15 + freed / 15 / 10)


@pytest.mark.parametrize("order", [1, 2, 3, 5])
def test_log_prob_equals_the_formula_computed_directly(order):
    training = [as_bytes(paragraph) for paragraph in ADDRESS]
    slow = SlowKneserNey([tuple(s.tolist()) for s in training], order, 256)
    text = HELD_OUT.encode() + "é!".encode()  # ends in symbols never seen
    expected = [slow.probability(tuple(text[:i]), text[i]) for i in range(len(text))]
    found = KneserNey.fit(training, order, 256).log_prob(np.frombuffer(text, np.uint8))
    np.testing.assert_allclose(np.exp(found), expected, rtol=1e-12)


def test_the_address_takes_both_kinds_of_discounts():
    """The comparison above is worth little unless estimated and fallback discounts both occur."""
    slow = SlowKneserNey([tuple(p.encode()) for p in ADDRESS], 5, 256)
    fallbacks = [discounts == [0, 0.5, 1, 1.5] for discounts in slow.discounts.values()]
    assert any(fallbacks) and not all(fallbacks)


@pytest.mark.parametrize(
    "history", ["", "t", "tha", "that na", "gave their live", "\0\0", "nation\0"]
)
def test_probabilities_sum_to_one_over_the_vocabulary(history):
    model = KneserNey.fit([as_bytes(paragraph) for paragraph in ADDRESS], 5, 256)
    after = model.distribution(as_bytes(history))
    assert after.min() > 0
    assert after.sum() == pytest.approx(1, abs=1e-12)
    each = [model.log_prob(np.append(as_bytes(history), s))[-1] for s in (0, 32, 97, 255)]
    np.testing.assert_allclose(np.exp(each), after[[0, 32, 97, 255]])


def test_no_ngram_spans_two_sequences():
    apart = KneserNey.fit([np.array([0, 1]), np.array([2, 3])], order=2, vocab_size=4)
    joined = KneserNey.fit([np.array([0, 1, 2, 3])], order=2, vocab_size=4)
    assert apart.distribution([1])[2] == apart.distribution([])[2]  # nothing ever followed 1
    assert joined.distribution([1])[2] > joined.distribution([])[2]


def test_keys_hold_at_order_six_over_a_vocabulary_of_65536():
    """Six symbols of 16 bits do not fit 64 bits side by side; the largest ids must not collide."""
    text = 65535 - np.random.default_rng(0).integers(3, size=3000).astype(np.uint16)
    large = KneserNey.fit([text], order=6, vocab_size=65536)
    small = KneserNey.fit([65535 - text], order=6, vocab_size=65536)
    np.testing.assert_allclose(large.log_prob(text), small.log_prob(65535 - text))


def test_it_learns_a_markov_chain_up_to_its_entropy():
    generator = np.random.default_rng(0)
    transitions = generator.dirichlet(np.full(8, 0.5), size=8)
    cumulative, state, states = transitions.cumsum(1), 0, []
    for u in generator.random(120_000).tolist():
        state = min(int(np.searchsorted(cumulative[state], u)), 7)
        states.append(state)
    train, test = np.array(states[:100_000]), np.array(states[100_000:])
    truth = -np.log(transitions[test[:-1], test[1:]]).mean()
    bigram, fivegram = (-KneserNey.fit([train], n, 8).log_prob(test)[1:].mean() for n in (2, 5))
    assert bigram == pytest.approx(truth, rel=0.001)
    assert truth < fivegram < 1.03 * truth  # longer histories cannot help, and must hardly hurt


def test_a_sample_follows_the_distribution_and_its_seed():
    model = KneserNey.fit([np.repeat(np.arange(4), [400, 300, 200, 100])], order=1, vocab_size=4)
    sample = model.sample(2000, seed=0)
    np.testing.assert_allclose(np.bincount(sample) / 2000, model.distribution([]), atol=0.03)
    assert (sample == model.sample(2000, seed=0)).all()
    assert (sample != model.sample(2000, seed=1)).any()


def test_a_sample_continues_its_history():
    model = KneserNey.fit([np.tile([0, 1, 0, 2], 2500)], order=3, vocab_size=3)
    assert model.sample(6, seed=0, history=[0, 1]).tolist() == [0, 2, 0, 1, 0, 2]
    assert model.sample(6, seed=0, history=[0, 2]).tolist() == [0, 1, 0, 2, 0, 1]


def test_sequences_shorter_than_the_order_fall_back_to_what_there_is():
    model = KneserNey.fit([np.array([1]), np.array([], int), np.array([1])], order=5, vocab_size=4)
    after = model.distribution([1, 1, 1, 1])
    assert after.sum() == pytest.approx(1)
    assert after.argmax() == 1
    assert model.log_prob(np.array([], int)).shape == (0,)


def test_unigram_adds_one_to_every_count():
    model = Unigram.fit([np.array([0, 0, 1]), np.array([0])], vocab_size=4)
    expected = np.log([4 / 8, 2 / 8, 1 / 8, 1 / 8])
    np.testing.assert_allclose(model.log_prob(np.array([0, 1, 2, 3])), expected)


@pytest.mark.parametrize("fit", [Unigram.fit, lambda s, v: KneserNey.fit(s, 3, v)])
def test_symbols_outside_the_vocabulary_and_empty_texts_are_refused(fit):
    with pytest.raises(ValueError, match="vocabulary of 4"):
        fit([np.array([0, 4])], 4)
    with pytest.raises(ValueError, match="vocabulary of 4"):
        fit([np.array([-1, 0])], 4)
    with pytest.raises(ValueError, match="no symbols"):
        fit([np.array([], int)], 4)


def test_wrong_orders_and_foreign_symbols_are_refused():
    with pytest.raises(ValueError, match="order"):
        KneserNey.fit([np.array([0])], 0, 4)
    with pytest.raises(ValueError, match="vocabulary of 4"):
        KneserNey.fit([np.array([0, 1])], 2, 4).log_prob(np.array([9]))


@pytest.mark.parametrize("dense", [0, 10**6])
def test_keys_are_ranked_alike_by_table_and_by_sorting(dense, monkeypatch):
    monkeypatch.setattr(ngram, "DENSE", dense)
    for largest in (1, 9, 5000):
        keys = np.random.default_rng(largest).integers(largest, size=300)
        expected, ranks = np.unique(keys, return_inverse=True)
        found, own = ngram._ranked(keys)
        np.testing.assert_array_equal(found, expected)
        np.testing.assert_array_equal(own, ranks)
    found, own = ngram._ranked(np.empty(0, np.int64))
    assert not len(found) and not len(own)
