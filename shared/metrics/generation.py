"""BLEU and ROUGE: how much generated texts share with true ones, by the reference packages.

Counts and formulas are those of sacrebleu and rouge-score. The intervals are ours: sacrebleu's own
lies around the mean of its resamples and may miss the score, and rouge-score's takes the global
random numbers.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import zip_longest

import numpy as np

RESAMPLES = 1000
ROUGE = {"rouge_1": "rouge1", "rouge_2": "rouge2", "rouge_l": "rougeL"}  # ours -> rouge-score's


@dataclass(frozen=True)
class Overlap:
    """A score over texts, its 95 % interval (None for a single text) and how it was computed.

    The interval is a percentile bootstrap (Efron 1979) over the texts.
    """

    value: float
    interval: tuple[float, float] | None
    signature: str


def bleu(
    hypotheses: Sequence[str],
    references: Sequence[Sequence[str]],
    *,
    tokenize: str = "13a",
    seed: int = 0,
) -> Overlap:
    """Corpus BLEU, 0 to 100, of each hypothesis against its one or several references.

    `tokenize` names sacrebleu's way of splitting into words ("13a", "intl", "zh", "char", ...); the
    signature says which it was. Raises ValueError where there is nothing to compare.

    Source: Papineni et al. 2002; Post, "A call for clarity in reporting BLEU scores", 2018.
    """
    from sacrebleu.metrics.bleu import BLEU

    _check(hypotheses, references)
    metric = BLEU(tokenize=tokenize)
    value = metric.corpus_score(hypotheses, [*zip_longest(*references)]).score
    counter = BLEU(tokenize=tokenize, effective_order=True)  # as it wants for single texts
    scores = [counter.sentence_score(h, r) for h, r in zip(hypotheses, references, strict=True)]
    counts = np.array([[*s.counts, *s.totals, s.sys_len, s.ref_len] for s in scores])  # (N, 10)

    def of_sums(sums: np.ndarray) -> float:
        *ngrams, length, reference_length = sums.tolist()
        matches, totals = ngrams[:4], ngrams[4:]
        return BLEU.compute_bleu(
            matches, totals, length, reference_length, smooth_method=metric.smooth_method
        ).score

    interval = _bootstrap(value, counts, of_sums, seed)
    return Overlap(value, interval, str(metric.get_signature()))


def rouge(
    hypotheses: Sequence[str], references: Sequence[Sequence[str]], *, seed: int = 0
) -> dict[str, Overlap]:
    """Mean F1, 0 to 1, of single words, pairs of words and the longest common subsequence.

    Of several references the best one counts, for each of rouge_1, rouge_2 and rouge_l. A word is a
    run of a-z and 0-9 in lower case: in other scripts there are none (see `has_words`), and all
    scores are 0. Raises ValueError where there is nothing to compare.

    Source: Lin, "ROUGE: a package for automatic evaluation of summaries", 2004.
    """
    from importlib.metadata import version

    from rouge_score.rouge_scorer import RougeScorer

    _check(hypotheses, references)
    scorer = RougeScorer([*ROUGE.values()])
    scores = [scorer.score_multi(r, h) for h, r in zip(hypotheses, references, strict=True)]
    signature = f"rouge-score {version('rouge_score')}, F1, no stemming"
    found = {}
    for name, theirs in ROUGE.items():
        f1 = np.array([[score[theirs].fmeasure] for score in scores])  # (N, 1)
        value = float(f1.mean())
        interval = _bootstrap(value, f1, lambda sums: sums[0] / len(scores), seed)
        found[name] = Overlap(value, interval, signature)
    return found


def has_words(references: Sequence[Sequence[str]]) -> bool:
    """Whether rouge-score finds any word in them."""
    return any(re.search("[a-z0-9]", text.lower()) for texts in references for text in texts)


def _bootstrap(
    value: float, parts: np.ndarray, of_sums: Callable[[np.ndarray], float], seed: int
) -> tuple[float, float] | None:
    """The interval of a score that is a function of sums over texts: parts (N, K) -> sums (K,)."""
    n = len(parts)
    if n == 1:
        return None
    times_drawn = np.random.default_rng(seed).multinomial(n, np.full(n, 1 / n), size=RESAMPLES)
    samples = [of_sums(sums) for sums in times_drawn @ parts]
    low, high = np.percentile(samples, [2.5, 97.5]).tolist()
    # Where all texts score the same, rounding can put the value beside its resamples.
    return min(low, value), max(high, value)


def _check(hypotheses: Sequence[str], references: Sequence[Sequence[str]]) -> None:
    if len(hypotheses) != len(references):
        raise ValueError(f"{len(hypotheses)} hypotheses, but references for {len(references)}")
    if not hypotheses:
        raise ValueError("there are no texts to compare")
    for texts in references:
        if isinstance(texts, str) or not texts:
            raise ValueError(f"references of one hypothesis are {texts!r:.60}, not a list of texts")
