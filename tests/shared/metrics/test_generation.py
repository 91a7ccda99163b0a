"""BLEU and ROUGE by hand, on published cases, and intervals beside those of the packages."""

import numpy as np
import pytest
import sacrebleu
from rouge_score.rouge_scorer import RougeScorer
from rouge_score.scoring import BootstrapAggregator

from shared.metrics.generation import bleu, has_words, rouge

# sacrebleu's README: three hypotheses, two references each.
HYPOTHESES = ["The dog bit the man.", "It wasn't surprising.", "The man had just bitten him."]
REFERENCES = [
    ["The dog bit the man.", "The dog had bit the man."],
    ["It was not unexpected.", "No one was surprised."],
    ["The man bit him first.", "The man had bitten the dog."],
]


@pytest.fixture(scope="module")
def corrupted() -> tuple[list[str], list[str]]:
    """Sixty texts of 20 words, some of them exchanged, and the texts themselves."""
    random = np.random.default_rng(0)
    words = np.array([f"w{i}" for i in range(200)])
    truth = words[random.integers(200, size=(60, 20))]
    wrong = random.random(truth.shape) < random.random((60, 1))
    hypotheses = np.where(wrong, words[random.integers(200, size=truth.shape)], truth)
    return [" ".join(row) for row in hypotheses], [" ".join(row) for row in truth]


def singly(texts: list[str]) -> list[list[str]]:
    return [[text] for text in texts]


@pytest.mark.parametrize(
    ("tokenize", "score"), [("13a", 48.530827), ("none", 49.191957), ("intl", 43.916235)]
)
def test_bleu_of_sacrebleus_own_example(tokenize, score):
    found = bleu(HYPOTHESES, REFERENCES, tokenize=tokenize)
    assert found.value == pytest.approx(score, abs=5e-7)
    version = sacrebleu.__version__
    wanted = f"nrefs:2|case:mixed|eff:no|tok:{tokenize}|smooth:exp|version:{version}"
    assert found.signature == wanted


def test_bleu_by_hand():
    """4 of 5 words, 3 of 4 pairs, 2 of 3 triples, 1 of 2 quadruples: their geometric mean."""
    found = bleu(["a b c d e"], [["a b c d f"]])
    assert found.value == pytest.approx(100 * (4 / 5 * 3 / 4 * 2 / 3 * 1 / 2) ** (1 / 4))
    short = bleu(["a b c d"], [["a b c d e"]])
    assert short.value == pytest.approx(100 * np.exp(1 - 5 / 4))


def test_rouge_by_hand():
    found = rouge(["testing"], [["testing one two"]])
    assert found["rouge_1"].value == pytest.approx(0.5)  # 1 of 1 and 1 of 3
    found = rouge(["The cat sat on the mat"], [["the cat lay on a mat!"]])
    assert found["rouge_1"].value == pytest.approx(4 / 6)  # the cat on mat
    assert found["rouge_2"].value == pytest.approx(1 / 5)  # the cat
    assert found["rouge_l"].value == pytest.approx(4 / 6)
    assert rouge(["mat the on cat"], [["the cat on mat"]])["rouge_l"].value == pytest.approx(2 / 4)
    lines = rouge(["one two\nthree four"], [["three four\none two"]])
    assert lines["rouge_l"].value == pytest.approx(2 / 4)  # a newline is a space like any other
    mean = rouge(["testing", "x"], [["testing one two"], ["x"]])
    assert mean["rouge_1"].value == pytest.approx((0.5 + 1) / 2)
    assert "F1" in mean["rouge_1"].signature and "0.1.2" in mean["rouge_1"].signature


def test_the_best_of_several_references_counts():
    several = [["x y", "one two three", "one"], ["four five"]]
    found = rouge(["one two three", "four five"], several)
    assert [score.value for score in found.values()] == [1, 1, 1]
    assert bleu(["a b c d e", "f g h i"], [["z", "a b c d e"], ["f g h i"]]).value > 99.99
    assert "nrefs:var" in bleu(["one two", "four"], several).signature


def test_intervals_are_as_wide_as_the_packages_own(corrupted):
    hypotheses, truth = corrupted
    found = bleu(hypotheses, singly(truth))
    peer = sacrebleu.BLEU().corpus_score(hypotheses, [truth], n_bootstrap=1000)
    assert found.value == pytest.approx(peer.score)
    low, high = found.interval
    assert low < found.value < high
    assert (high - low) / 2 == pytest.approx(peer._ci, rel=0.15)

    np.random.seed(0)
    scorer, aggregator = RougeScorer(["rouge1", "rouge2", "rougeL"]), BootstrapAggregator()
    for hypothesis, reference in zip(hypotheses, truth, strict=True):
        aggregator.add_scores(scorer.score(reference, hypothesis))
    peers = aggregator.aggregate()
    for name, score in rouge(hypotheses, singly(truth)).items():
        theirs = peers[name.replace("_", "").replace("l", "L")]
        assert score.interval[0] == pytest.approx(theirs.low.fmeasure, abs=0.02)
        assert score.interval[1] == pytest.approx(theirs.high.fmeasure, abs=0.02)


def test_the_seed_decides_the_interval(corrupted):
    hypotheses, truth = corrupted
    first, again, other = (bleu(hypotheses, singly(truth), seed=seed) for seed in (1, 1, 2))
    assert first == again
    assert first.value == other.value and first.interval != other.interval


@pytest.mark.parametrize("n", [1, 2, 3, 6])
def test_few_texts(corrupted, n):
    hypotheses, truth = corrupted
    for start in range(0, 60 - n, n):
        part = slice(start, start + n)
        found = [bleu(hypotheses[part], singly(truth[part]))]
        found += rouge(hypotheses[part], singly(truth[part])).values()
        if n == 1:
            assert {score.interval for score in found} == {None}
        else:
            assert all(score.interval[0] <= score.value <= score.interval[1] for score in found)


@pytest.mark.parametrize("tokenize", ["13a", "none", "char"])
def test_resamples_are_scored_like_the_texts(tokenize):
    found = bleu(["A, b c d e."] * 3, [["a , b c d e."]] * 3, tokenize=tokenize)
    assert 10 < found.value < 90
    assert found.interval == pytest.approx((found.value, found.value))


def test_rounding_leaves_no_value_outside_its_interval():
    for n in range(2, 30):
        found = [bleu(["a b c d"] * n, [["a b c d e"]] * n)]
        found += rouge(["one x y z"] * n, [["one two three"]] * n).values()
        assert all(score.interval[0] <= score.value <= score.interval[1] for score in found)


def test_all_and_nothing():
    same = [text for text, *_ in REFERENCES]
    assert bleu(same, singly(same)).interval == pytest.approx((100, 100))
    assert bleu(["x", "y"], [["a b"], ["c d"]]).interval == (0, 0)
    assert bleu(["", ""], [["a b"], ["c d"]]).value == 0
    assert {s.interval for s in rouge(["", "x"], [["a b"], ["c d"]]).values()} == {(0, 0)}


def test_rouge_counts_latin_words_alone():
    assert not has_words([["Зови меня Измаил."], ["三 🐳"]])
    assert has_words([["三 🐳"], ["Зови", "CALL"]])
    assert rouge(["Зови меня"], [["Зови меня"]])["rouge_1"].value == 0


@pytest.mark.parametrize("metric", [bleu, rouge])
@pytest.mark.parametrize(
    ("hypotheses", "references", "message"),
    [
        ([], [], "no texts"),
        (["a"], [["a"], ["b"]], "1 hypotheses, but references for 2"),
        (["a"], [[]], "not a list of texts"),
        (["a"], ["a"], "not a list of texts"),
    ],
)
def test_errors(metric, hypotheses, references, message):
    with pytest.raises(ValueError, match=message):
        metric(hypotheses, references)
