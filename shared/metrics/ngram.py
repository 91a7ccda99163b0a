"""Count-based language models: the floors that a neural language model has to beat.

Symbols are integers: the bytes of a text, or the token ids of a tokenizer. Both models answer with
natural logarithms, one a symbol, so that `shared.metrics.text.join` turns them into the same bits
per byte as a network's.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

DENSE = 8  # possible keys for each symbol of the text, up to which a table beats sorting
UNSEEN = -1  # as an index it picks the last entry, where a level keeps what holds for the unseen
NO_KEY = np.iinfo(np.int64).max
FALLBACK_DISCOUNTS = np.array([0.0, 0.5, 1.0, 1.5])


@dataclass(frozen=True)
class Unigram:
    """Symbol frequencies with one added to each count, so that nothing is impossible (Laplace)."""

    log_probs: np.ndarray  # (vocab_size,) float64, nats

    @classmethod
    def fit(cls, sequences: Sequence[np.ndarray], vocab_size: int) -> "Unigram":
        """Count the symbols of all sequences; ValueError where there is none or an unknown one."""
        symbols, _ = _join(sequences, vocab_size)
        counts = np.bincount(symbols, minlength=vocab_size) + 1
        return cls(np.log(counts / counts.sum()))

    def log_prob(self, sequence: np.ndarray) -> np.ndarray:
        """Natural log of each symbol's probability: (n,) integers -> (n,) float64."""
        return self.log_probs[np.asarray(sequence)]


@dataclass(frozen=True)
class KneserNey:
    """Interpolated n-gram model with modified Kneser-Ney smoothing.

    p(w | h) = (c(hw) - D(c(hw))) / c(h) + backoff(h) p(w | h without its first symbol), where c
    counts occurrences at the highest order and distinct left neighbours below it; the start of a
    sequence is a left neighbour like any other. Below order 1 stands the uniform distribution, so
    the probabilities after any history sum to 1 over the vocabulary.

    Source: Chen and Goodman, "An empirical study of smoothing techniques for language modeling",
    Computer Speech and Language 13 (1999), section 3, modified Kneser-Ney smoothing.
    """

    levels: tuple["_Level", ...]  # orders 1 to n
    vocab_size: int

    @classmethod
    def fit(cls, sequences: Sequence[np.ndarray], order: int, vocab_size: int) -> "KneserNey":
        """Count the n-grams inside each sequence (none across two).

        Takes about 0.7 s and 80 MB a million symbols at order 5. Raises ValueError for an order
        below 1, for symbols outside 0 ... vocab_size - 1, and where there are no symbols at all.
        """
        if order < 1:
            raise ValueError(f"order {order}: an n-gram model needs an order of at least 1")
        ngrams = _rank_ngrams(*_join(sequences, vocab_size), order, vocab_size)
        levels, n_contexts = [], 1
        keys, ids = next(ngrams)
        for longer_keys, longer_ids in ngrams:
            counts = _left_neighbours(ids, len(keys), longer_ids, len(longer_keys))
            levels.append(_discount(keys, counts, n_contexts, vocab_size))
            n_contexts, keys, ids = len(keys), longer_keys, longer_ids
        occurrences = np.bincount(ids[ids != UNSEEN], minlength=len(keys))
        levels.append(_discount(keys, occurrences, n_contexts, vocab_size))
        return cls(tuple(levels), vocab_size)

    def log_prob(self, sequence: np.ndarray) -> np.ndarray:
        """Natural log of each symbol's probability: (n,) integers -> (n,) float64.

        The history is empty at the first symbol and grows up to order - 1 symbols.
        """
        symbols = np.asarray(sequence)
        _check(symbols, self.vocab_size)
        return np.log(self._probabilities(symbols[None])[0])

    def distribution(self, history: Sequence[int] | np.ndarray) -> np.ndarray:
        """The probability of every symbol of the vocabulary after this history: (vocab_size,)."""
        recent = [int(symbol) for symbol in history[max(0, len(history) - len(self.levels) + 1) :]]
        probabilities = np.full(self.vocab_size, 1 / self.vocab_size)
        for k, level in enumerate(self.levels[: len(recent) + 1]):
            context = self._id(recent[len(recent) - k :])
            if context == UNSEEN:  # then longer ones are too
                break
            start = context * self.vocab_size
            first, last = np.searchsorted(level.keys, (start, start + self.vocab_size))
            probabilities *= level.backoff[context]
            probabilities[level.keys[first:last] - start] += level.discounted[first:last]
        return probabilities

    def _id(self, ngram: Sequence[int]) -> int:
        """The rank of an n-gram's key, 0 of the empty one, UNSEEN where training had none."""
        id = 0
        for level, symbol in zip(self.levels, ngram, strict=False):
            id = int(level.find(np.array(id * self.vocab_size + symbol)))
        return id

    def sample(self, length: int, seed: int, history: Sequence[int] = ()) -> np.ndarray:
        """Draw a continuation of the history, symbol by symbol: (length,) int64."""
        generator = np.random.default_rng(seed)
        text = list(history)
        for _ in range(length):
            text.append(generator.choice(self.vocab_size, p=self.distribution(text)))
        return np.array(text[len(history) :], np.int64)

    def _probabilities(self, rows: np.ndarray) -> np.ndarray:
        """Probability of each symbol given what stands left of it in its row: (R, T) -> (R, T)."""
        probabilities = np.full(rows.shape, 1 / self.vocab_size)
        contexts = np.zeros(rows.shape, np.int64)
        for level in self.levels:
            ids = level.find(contexts * self.vocab_size + rows)
            probabilities = level.discounted[ids] + level.backoff[contexts] * probabilities
            contexts[:, 1:], contexts[:, :1] = ids[:, :-1], UNSEEN
        return probabilities


@dataclass(frozen=True)
class _Level:
    """The k-grams of one order k, each a context (the id of its first k - 1 symbols) and a symbol.

    A k-gram's id is the rank of its key and serves order k + 1 as the context. So ids are dense
    and a key fits 64 bits, whatever the order and the vocabulary.
    """

    keys: np.ndarray  # (k-grams + 1,) int64, sorted: context * vocab_size + symbol; last: NO_KEY
    discounted: np.ndarray  # (k-grams + 1,) float64: share of the context's count; last: 0
    backoff: np.ndarray  # (contexts + 1,) float64: weight of the shorter history; last: 1

    def find(self, keys: np.ndarray) -> np.ndarray:
        """The k-grams' ids, UNSEEN where training had none; an UNSEEN context's key is negative."""
        ids = np.searchsorted(self.keys, keys)
        return np.where(self.keys[ids] == keys, ids, UNSEEN)


def _rank_ngrams(
    symbols: np.ndarray, starts: np.ndarray, order: int, vocab_size: int
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """For k = 1 to order, yield all k-grams' sorted keys and, a position, the id of the one there.

    The k-gram of a position ends there; where its sequence has no k symbols yet, the id is UNSEEN.
    """
    contexts = np.zeros(len(symbols), np.int64)
    for _ in range(order):
        whole = contexts != UNSEEN
        ids = np.full(len(symbols), UNSEEN)
        keys, ids[whole] = _ranked(contexts[whole] * vocab_size + symbols[whole])
        yield keys, ids
        contexts = np.roll(ids, 1)
        contexts[starts] = UNSEEN


def _ranked(keys: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """np.unique(keys, return_inverse=True), by a table where keys are dense enough to have one."""
    largest = int(keys.max(initial=0))
    if largest > DENSE * len(keys):
        return np.unique(keys, return_inverse=True)
    there = np.zeros(largest + 1, bool)
    there[keys] = True
    return np.flatnonzero(there), np.cumsum(there, dtype=np.int32)[keys] - 1


def _left_neighbours(ids: np.ndarray, n: int, longer_ids: np.ndarray, n_longer: int) -> np.ndarray:
    """Of each of n k-grams, the number of distinct symbols (or the start) on its left: (n,)."""
    has_neighbour = longer_ids != UNSEEN
    suffix = np.empty(n_longer, np.int64)
    suffix[longer_ids[has_neighbour]] = ids[has_neighbour]
    counts = np.bincount(suffix, minlength=n)
    counts[np.unique(ids[~has_neighbour & (ids != UNSEEN)])] += 1
    return counts


def _discount(keys: np.ndarray, counts: np.ndarray, n_contexts: int, vocab_size: int) -> _Level:
    """Take the discounts off the counts of one order and hand their sum to the shorter history."""
    contexts = keys // vocab_size
    discounts = _discounts(counts)[np.minimum(counts, 3)]
    totals = np.bincount(contexts, weights=counts, minlength=n_contexts + 1)
    taken = np.bincount(contexts, weights=discounts, minlength=n_contexts + 1)
    # What only ever ended a sequence has no count as a context: the shorter history decides.
    backoff = np.divide(taken, totals, out=np.ones(n_contexts + 1), where=totals > 0)
    discounted = (counts - discounts) / totals[contexts]
    return _Level(np.append(keys, NO_KEY), np.append(discounted, 0.0), backoff)


def _discounts(counts: np.ndarray) -> np.ndarray:
    """D(0), D(1), D(2), D(3+) from the counts of counts n1 ... n4 (Chen and Goodman, section 3).

    A small or artificial text may lack one of n1 ... n4, or ask for nothing or for more than a
    count has: then half of each count up to 3 is taken.
    """
    n1, n2, n3, n4 = np.bincount(np.minimum(counts, 5), minlength=6)[1:5]
    if not (n1 and n2 and n3 and n4):
        return FALLBACK_DISCOUNTS
    y = n1 / (n1 + 2 * n2)
    discounts = np.array([0, 1 - 2 * y * n2 / n1, 2 - 3 * y * n3 / n2, 3 - 4 * y * n4 / n3])
    sound = (discounts[1:] > 0).all() and (discounts <= np.arange(4)).all()
    return discounts if sound else FALLBACK_DISCOUNTS


def _join(sequences: Sequence[np.ndarray], vocab_size: int) -> tuple[np.ndarray, np.ndarray]:
    """All symbols in one array, and the positions where a sequence starts."""
    filled = [np.asarray(sequence) for sequence in sequences if len(sequence)]
    if not filled:
        raise ValueError("no symbols to count: all sequences are empty")
    symbols = np.concatenate(filled)
    _check(symbols, vocab_size)
    return symbols, np.cumsum([0] + [len(sequence) for sequence in filled[:-1]])


def _check(symbols: np.ndarray, vocab_size: int) -> None:
    if symbols.size and not (symbols.min() >= 0 and symbols.max() < vocab_size):
        raise ValueError(
            f"symbols {symbols.min()} ... {symbols.max()} in a vocabulary of {vocab_size}"
        )
