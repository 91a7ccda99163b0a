"""Strided scoring by hand and against its peers; bits per byte, perplexity and their intervals."""

import math

import numpy as np
import pytest
import torch

from shared.errors import VermeilError
from shared.metrics.text import BLOCK_BYTES, TextScore, score_documents, score_tokens

CONTEXT_AND_STRIDE = [(1, 1), (4, 1), (4, 2), (4, 3), (4, 4), (7, 5)]


def bigram_logits(tokens: torch.Tensor) -> torch.Tensor:
    """A model that looks at the last token alone: P(w | v) from a table of three tokens."""
    table = torch.tensor([[0.7, 0.2, 0.1], [0.1, 0.3, 0.6], [0.25, 0.25, 0.5]])
    return table.log()[tokens]  # (B, T, 3)


def tokens_in_view(tokens: torch.Tensor) -> torch.Tensor:
    """A model that charges as many nats for token 0 as it sees tokens: the score tells the view."""
    view = torch.arange(1.0, tokens.shape[1] + 1).expand(tokens.shape)
    return torch.stack([torch.zeros_like(view), view.expm1().log()], dim=-1)  # (B, T, 2)


def whole_window_logits(tokens: torch.Tensor) -> torch.Tensor:
    """A causal model in which every token of the window counts: logits from a running sum."""
    weights = torch.randn(11, 11, generator=torch.Generator().manual_seed(0))
    return torch.tanh(weights[tokens].cumsum(1)) @ weights  # (B, T, 11)


def random_tokens(n: int, vocab_size: int) -> torch.Tensor:
    return torch.randint(vocab_size, (n,), generator=torch.Generator().manual_seed(n))


@pytest.mark.parametrize(("context", "stride"), CONTEXT_AND_STRIDE)
def test_windows_do_not_matter_to_a_bigram_model(context, stride):
    tokens = np.array([0, 0, 1, 2, 2, 0, 2, 1, 1, 0])
    expected = -np.log([0.7, 0.2, 0.6, 0.5, 0.25, 0.1, 0.25, 0.3, 0.1])
    found = score_tokens(bigram_logits, tokens, context=context, stride=stride, batch_size=2)
    np.testing.assert_allclose(found, expected, rtol=1e-6)


@pytest.mark.parametrize(
    ("stride", "seen"),
    [
        (1, [1, 2, 3, 4, 4, 4, 4, 4, 4]),
        (2, [1, 2, 3, 4, 3, 4, 3, 4, 3]),
        (3, [1, 2, 3, 4, 2, 3, 4, 2, 3]),
        (4, [1, 2, 3, 4, 1, 2, 3, 4, 1]),
    ],
)
def test_how_much_each_token_is_predicted_from(stride, seen):
    zeros = torch.zeros(10, dtype=torch.long)
    found = score_tokens(tokens_in_view, zeros, context=4, stride=stride, batch_size=2)
    np.testing.assert_allclose(found, seen, rtol=1e-5)


@pytest.mark.parametrize("n", [*range(14), 64])
@pytest.mark.parametrize(("context", "stride"), CONTEXT_AND_STRIDE)
@pytest.mark.parametrize("batch_size", [1, 3])
def test_every_length_equals_one_window_a_token(n, context, stride, batch_size):
    """Each token scored alone, from the window that the protocol puts it in: no batch, no mask."""
    tokens = random_tokens(n, 11)
    expected = []
    for i in range(1, n):
        start = max(0, math.ceil((i - context) / stride)) * stride
        logits = whole_window_logits(tokens[start:i][None])[0, -1]
        expected.append(-logits.log_softmax(-1)[tokens[i]].item())
    found = score_tokens(
        whole_window_logits, tokens, context=context, stride=stride, batch_size=batch_size
    )
    assert found.shape == (max(n - 1, 0),)
    np.testing.assert_allclose(found, expected, rtol=1e-5)


@pytest.mark.parametrize("stride", [1, 3, 7])
def test_perplexity_equals_the_transformers_guide(stride):
    """Its windows of L tokens predict L - 1 of them; every loss is weighted by what it predicts."""
    tokens, length, previous_end, nats = random_tokens(100, 11), 8, 1, 0.0
    for begin in range(0, 100, stride):
        end = min(begin + length, 100)
        window = tokens[begin:end]
        nll = torch.nn.functional.cross_entropy(
            whole_window_logits(window[None])[0, :-1], window[1:], reduction="none"
        )
        nats += nll[len(nll) - (end - previous_end) :].sum().item()
        previous_end = end
        if end == 100:
            break
    found = score_tokens(
        whole_window_logits, tokens, context=length - 1, stride=stride, batch_size=4
    )
    assert found.sum() == pytest.approx(nats, rel=1e-6)


def test_perplexity_equals_torchmetrics():
    from torchmetrics.text import Perplexity

    tokens = random_tokens(50, 11)
    peer = Perplexity()
    peer.update(whole_window_logits(tokens[None, :-1]), tokens[None, 1:])
    score = score_documents(
        whole_window_logits, [(tokens, 60)], context=49, stride=49, batch_size=1
    )
    assert score.perplexity == pytest.approx(peer.compute().item(), rel=1e-5)


def test_documents_share_batches_but_not_windows():
    documents = [random_tokens(n, 11) for n in (30, 2, 9, 1, 17)]
    settings = {"context": 8, "stride": 3}
    alone = [score_tokens(whole_window_logits, d, **settings, batch_size=1) for d in documents]
    sizes = [120, 4, 40, 0, 70]
    shapes = []

    def watched(tokens):
        shapes.append(tuple(tokens.shape))
        return whole_window_logits(tokens)

    documents = list(zip(documents, sizes, strict=True))
    score = score_documents(watched, documents, **settings, batch_size=4)
    assert score.nats == pytest.approx(np.concatenate(alone).sum())
    assert (score.tokens, score.bytes) == (29 + 1 + 8 + 16, 234)
    assert [rows for rows, _ in shapes] == [4, 4, 4, 2]  # windows: 8 + 1 + 1 + 0 + 4
    assert max(width for _, width in shapes) == 8


def test_logits_are_asked_for_where_they_count_alone():
    """Of a model that can leave the others out."""
    made = []

    class Choosing:
        def logits_at(self, tokens, where):
            made.append(int(where.sum()))
            return whole_window_logits(tokens)[where]

    tokens, settings = random_tokens(30, 11), {"context": 8, "stride": 3, "batch_size": 4}
    found = score_tokens(Choosing(), tokens, **settings)
    np.testing.assert_allclose(found, score_tokens(whole_window_logits, tokens, **settings))
    assert sum(made) == len(found) == 29


def test_perplexity_and_bits_per_byte_by_hand():
    """16 tokens at one in 256, over "naïve café": 10 characters, 12 bytes."""
    size = len("naïve café".encode())
    score = TextScore.from_documents([np.full(16, math.log(256))], [size])
    assert score.perplexity == pytest.approx(256)
    assert score.bits_per_byte == pytest.approx(16 * 8 / 12)


def test_bfloat16_logits_are_scored_in_float32():
    exact = score_tokens(bigram_logits, [0, 1, 2, 0], context=4, stride=4, batch_size=1)
    half = score_tokens(
        lambda t: bigram_logits(t).bfloat16(), [0, 1, 2, 0], context=4, stride=4, batch_size=1
    )
    assert half.dtype == np.float64
    np.testing.assert_allclose(half, exact, rtol=0.01)
    assert (half != torch.tensor(half).bfloat16().double().numpy()).any()


@pytest.mark.parametrize("stride", [0, 5])
def test_a_stride_that_would_skip_or_repeat_tokens_is_refused(stride):
    with pytest.raises(VermeilError, match=f"stride {stride} is not between 1 and the context"):
        score_tokens(bigram_logits, [0, 1, 2], context=4, stride=stride, batch_size=1)


def test_no_text_is_refused():
    with pytest.raises(VermeilError, match="no text"):
        score_documents(bigram_logits, [], context=4, stride=2, batch_size=1)
    with pytest.raises(VermeilError, match="no text"):
        TextScore.from_documents([np.empty(0)], [0])


def test_the_interval_of_two_blocks_spans_them():
    """Two blocks drawn twice: 1/4 both the first, 1/2 mixed, 1/4 both the second."""
    nlls = [np.full(1000, 1.0), np.full(1000, 3.0)]
    score = TextScore.from_documents(nlls, [BLOCK_BYTES, BLOCK_BYTES])
    assert score.perplexity_interval == pytest.approx((math.exp(1), math.exp(3)))
    per_nat = 1000 / math.log(2) / BLOCK_BYTES
    assert score.bits_per_byte_interval == pytest.approx((1 * per_nat, 3 * per_nat))


def test_one_block_has_no_interval():
    score = TextScore.from_documents([np.ones(1000)], [BLOCK_BYTES])
    assert score.bits_per_byte_interval is None
    assert score.perplexity_interval is None


def test_blocks_follow_the_text_not_the_tokenizer():
    """The same text in tokens half as long, each half as dear: the same interval."""
    generator = np.random.default_rng(0)
    nats, size = generator.gamma(2.0, size=50 * 1000), 50 * BLOCK_BYTES
    coarse = TextScore.from_documents([nats], [size])
    fine = TextScore.from_documents([np.repeat(nats / 2, 2)], [size])
    assert fine.bits_per_byte_interval == pytest.approx(coarse.bits_per_byte_interval)
    assert coarse == TextScore.from_documents([nats], [size])
    assert coarse != TextScore.from_documents([nats], [size], seed=1)


def test_the_interval_covers_the_truth_where_single_tokens_would_not():
    """Bits that drift over some 500 tokens: 95 % of intervals should hold the true mean.

    120 texts of 400,000 bytes (98 blocks), in which each level holds for 500 tokens of 4 bytes.
    """
    generator = np.random.default_rng(0)
    covered, naive = 0, 0
    for trial in range(120):
        level = generator.exponential(2.0, size=200)
        nats = np.repeat(level, 500) * generator.exponential(1.0, size=100_000)
        interval = TextScore.from_documents([nats], [400_000], seed=trial).perplexity_interval
        covered += interval[0] < math.exp(2.0) < interval[1]
        naive += abs(nats.mean() - 2.0) < 1.96 * nats.std() / math.sqrt(len(nats))
    assert 0.87 < covered / 120 < 0.99
    assert naive / 120 < 0.3
