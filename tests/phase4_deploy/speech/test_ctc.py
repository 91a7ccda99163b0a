"""CTC by enumeration: loss, prefix beam and alignment against all paths of tiny clips."""

import itertools
from math import inf, log

import pytest
import torch

from phase1_foundation.language.model import LanguageModel, LanguageModelConfig
from phase1_foundation.language.tokenizer import Tokenizer
from phase4_deploy.speech.alphabet import BLANK, Alphabet
from phase4_deploy.speech.ctc import (
    WordScorer,
    align,
    ctc_loss,
    greedy,
    likeliest,
    prefix_beam,
    shortest,
)
from shared.errors import VermeilError

TWO = Alphabet("a ")  # a: 1, the space: 2


def random_clip(states: int, vocab: int, seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return (2 * torch.randn(states, vocab, generator=generator)).log_softmax(dim=-1)


def collapsed(path: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(id for id, _ in itertools.groupby(path) if id != BLANK)


def all_paths(log_probs: torch.Tensor) -> dict[tuple[int, ...], float]:
    """Each text's probability, by adding up every path there is."""
    states, vocab = log_probs.shape
    totals: dict[tuple[int, ...], float] = {}
    for path in itertools.product(range(vocab), repeat=states):
        p = log_probs[range(states), path].double().sum().exp().item()
        totals[collapsed(path)] = totals.get(collapsed(path), 0.0) + p
    return totals


@pytest.mark.parametrize("seed", range(4))
def test_loss_is_that_of_all_paths(seed):
    clip = random_clip(4, 3, seed)
    totals = all_paths(clip)
    assert sum(totals.values()) == pytest.approx(1)
    for text, p in totals.items():
        loss = ctc_loss(clip[None], torch.tensor([4]), [text])
        assert loss.item() == pytest.approx(-log(p) / max(1, len(text)), rel=1e-4)


def test_loss_by_hand():
    """Two states, a or blank with .5: "a" by aa, a_, _a is 3/4; nothing by __ is 1/4."""
    clip = torch.full((1, 2, 2), 0.5).log()
    assert ctc_loss(clip, torch.tensor([2]), [[1]]).item() == pytest.approx(-log(3 / 4))
    assert ctc_loss(clip, torch.tensor([2]), [[]]).item() == pytest.approx(-log(1 / 4))


def test_loss_is_per_character_and_leaves_padding_out():
    clips = torch.stack([random_clip(6, 3, 1), random_clip(6, 3, 2)])
    both = ctc_loss(clips, torch.tensor([6, 4]), [[1, 2, 1], [2]])
    first = ctc_loss(clips[:1], torch.tensor([6]), [[1, 2, 1]])
    second = ctc_loss(clips[1:, :4], torch.tensor([4]), [[2]])
    assert both.item() == pytest.approx((3 * first + second).item() / 4, rel=1e-5)


def test_a_text_that_does_not_fit_counts_nothing():
    """Two equal letters need a blank between them: three states."""
    clips = torch.stack([random_clip(3, 3, 1), random_clip(3, 3, 2)]).requires_grad_()
    loss = ctc_loss(clips, torch.tensor([2, 3]), [[1, 1], [1, 1]])
    loss.backward()
    alone = ctc_loss(clips[1:], torch.tensor([3]), [[1, 1]])
    assert shortest([1, 1]) == 3 and shortest([]) == 0
    assert loss.item() == pytest.approx(alone.item())
    assert clips.grad.isfinite().all() and not clips.grad[0].any() and clips.grad[1].any()
    assert ctc_loss(clips, torch.tensor([0, 0]), [[1], [2]]).item() == 0


@pytest.mark.parametrize("seed", range(6))
def test_prefix_beam_finds_what_all_paths_say(seed):
    clip = random_clip(4, 3, seed)
    expected: dict[str, float] = {}
    for ids, p in all_paths(clip).items():
        text = TWO.decode(ids)
        expected[text] = expected.get(text, 0.0) + p
    found = dict(prefix_beam(clip, TWO, width=1000, least=0.0))
    assert {text for text, score in found.items() if score > -inf} == {*expected}
    for text, p in expected.items():
        assert found[text] == pytest.approx(log(p)), text
    scores = [score for _, score in prefix_beam(clip, TWO, width=1000, least=0.0)]
    assert scores == sorted(scores, reverse=True)


@pytest.mark.parametrize("seed", range(6))
def test_the_likeliest_of_given_texts_is_that_of_most_paths(seed):
    clip = random_clip(4, 3, seed)
    totals = {text: p for text, p in all_paths(clip).items() if text}
    texts = sorted(totals, key=lambda text: hash((seed, text)))  # in no order
    for some in (texts, texts[:3]):
        best = max(some, key=lambda text: totals[text])
        assert likeliest(clip, some) == some.index(best)


def test_texts_that_do_not_fit_are_not_among_the_likeliest():
    clip = random_clip(2, 3, 0)
    assert likeliest(clip, [[1, 1], [1, 2, 1], [2]]) == 2
    assert likeliest(clip, [[1, 1], [1, 2, 1]]) is None


def test_the_beam_adds_paths_up_where_greedy_takes_one():
    """The likeliest path is blanks alone (.36); "a" has three paths that make .64 together."""
    clip = torch.tensor([[0.6, 0.4, 0.0], [0.6, 0.4, 0.0]]).log()
    assert greedy(clip[None], torch.tensor([2]), TWO) == [""]
    (best, score), *_ = prefix_beam(clip, TWO)
    assert best == "a" and score == pytest.approx(log(0.64))


def test_greedy_takes_out_repeats_then_blanks():
    path = [1, 1, BLANK, 1, 2, BLANK, 2, 1, BLANK, 1]
    clip = torch.eye(3)[path].log()
    texts = greedy(clip.repeat(2, 1, 1), torch.tensor([10, 4]), TWO)
    assert texts == ["aa aa", "aa"]


def test_a_scorer_is_asked_where_words_end():
    words, asked = Alphabet("ab "), []

    def scorer(before: str, word: str) -> float:
        asked.append((before, word))
        return 5.0 if (before, word) in (("ab", "a"), ("", "ab")) else 0.0

    # "ab b" is likelier than "ab a" by the sound, and "ab a" by what the scorer says.
    rows = [[0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1], [0, 0.45, 0.55, 0]]
    clip = torch.tensor(rows).log()
    assert prefix_beam(clip, words)[0] == ("ab b", pytest.approx(log(0.55)))
    best, score = prefix_beam(clip, words, scorer=scorer)[0]
    assert best == "ab a" and score == pytest.approx(log(0.45) + 10)
    assert {*asked} == {("", "ab"), ("ab", "a"), ("ab", "b")}  # and never within a word


def test_what_a_scorer_likes_is_kept():
    """Two places for four prefixes: those after "a" have them, although "b" sounds likelier."""
    words = Alphabet("ab ")
    rows = [[0, 0.4, 0.6, 0], [0, 0, 0, 1], [0, 0.5, 0.5, 0]]
    clip = torch.tensor(rows).log()
    likes_a = prefix_beam(clip, words, 2, lambda before, word: 5.0 * ((before, word) == ("", "a")))
    assert {text for text, _ in likes_a} == {"a a", "a b"}
    assert {text for text, _ in prefix_beam(clip, words, 2)} == {"b a", "b b"}


@pytest.fixture(scope="module")
def scorer() -> WordScorer:
    """A random model, and a tokenizer of one id a byte whose words begin with their space."""

    class Bytes(Tokenizer):
        def __init__(self):
            self.bos = 0

        def encode(self, text: str) -> list[int]:
            return [1 + byte for byte in text.encode()]

    torch.manual_seed(0)
    config = LanguageModelConfig(257, 16, 1, 2, 2, 32, context=12)
    return WordScorer(LanguageModel(config), Bytes(), alpha=0.5, beta=2.0)


def test_word_scores_multiply_to_the_texts_probability(scorer):
    """log p("ab") + log p(" c" | "ab") is the language model's own log p("ab c")."""
    tokens = torch.tensor([[0, *scorer.tokenizer.encode("ab c")]])
    with torch.no_grad():
        scores = scorer.model(tokens[:, :-1]).log_softmax(dim=-1)
    whole = scores.gather(2, tokens[:, 1:, None]).sum().item()
    parts = scorer("", "ab") + scorer("ab", "c")
    assert parts == pytest.approx(0.5 * whole + 2 * 2.0, rel=1e-5)


def test_word_scores_beyond_the_context(scorer):
    """Only the last tokens are looked at, and a word longer than the model does no harm."""
    assert scorer("x" * 50, "word") == scorer("y" * 40 + "x" * 10, "word")
    assert scorer("", "w" * 40) < 0


def test_alignment_is_the_likeliest_path():
    clip = random_clip(6, 3, 3)
    spans = align(clip, "a a", TWO)
    paths = (p for p in itertools.product(range(3), repeat=6) if collapsed(p) == (1, 2, 1))
    best = max(paths, key=lambda path: clip[range(6), path].sum().item())
    aligned = [BLANK] * 6
    for span in spans:
        aligned[span.first : span.last] = [1 + TWO.characters.index(span.character)] * (
            span.last - span.first
        )
    assert aligned == [*best]
    first = spans[0]
    expected = clip[first.first : first.last, 1].exp().mean().item()
    assert first.probability == pytest.approx(expected)
    assert align(clip, "", TWO) == []
    with pytest.raises(VermeilError, match="needs 7 states, the clip has 6"):
        align(clip, "a a a a", TWO)
