"""Fast decoding: the same logits as the plain model, at every step, in every row and dtype."""

import itertools

import pytest
import torch

from phase1_foundation.language import decode
from phase1_foundation.language.decode import AHEAD, Batch, Decoder, Product
from phase1_foundation.language.generate import Sampling, stream

PROMPTS = [[1, 50, 60, 70], [1], [1, 99, 98, 97, 96, 95, 94, 93], [1, 300]]
STEPS = 2 * AHEAD + 3
minus_infinity = float("-inf")


@pytest.fixture
def tokens() -> torch.Tensor:
    """What the rows say after their prompts."""
    return torch.randint(600, (len(PROMPTS), STEPS), generator=torch.Generator().manual_seed(1))


def decoded(batch: Batch, tokens: torch.Tensor) -> torch.Tensor:
    """Logits after the prompts and after each token."""
    return torch.stack([batch.prefill(PROMPTS), *(batch.step(t) for t in tokens.T)], dim=1)


@torch.no_grad()
def plain(model, tokens: torch.Tensor) -> torch.Tensor:
    """The same from one pass over each row alone."""
    rows = [torch.cat([torch.tensor(p), t]) for p, t in zip(PROMPTS, tokens, strict=True)]
    return torch.stack([model(row[None])[0, -STEPS - 1 :] for row in rows])  # (B, STEPS + 1, V)


SHAPES = [
    {},
    {"kv_heads": 1},
    {"kv_heads": 4},
    {"tie_embeddings": False, "mlp_dim": 37},
    {"norm_eps": 0.5, "rope_theta": 100.0},
    {"dim": 256, "mlp_dim": 512},  # large enough to be packed
]


@pytest.mark.parametrize("rows", [1, 16])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_equals_the_plain_model(make_model, tokens, shape, rows):
    model = make_model(**shape)
    expected = plain(model, tokens)
    batch = Batch(Decoder(model, rows), len(PROMPTS), capacity=8 + STEPS)
    scale = expected.abs().max().item()
    torch.testing.assert_close(decoded(batch, tokens), expected, atol=1e-4 * scale, rtol=0)


def test_without_onednn(make_model, tokens, monkeypatch):
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: False)
    monkeypatch.setattr(torch.ops.mkldnn, "_linear_pointwise", None)
    model = make_model(**SHAPES[-1])
    expected = plain(model, tokens)
    batch = Batch(Decoder(model, 16), len(PROMPTS), capacity=8 + STEPS)
    scale = expected.abs().max().item()
    torch.testing.assert_close(decoded(batch, tokens), expected, atol=1e-4 * scale, rtol=0)


@pytest.mark.parametrize("rows", [1, 64])
def test_bf16_is_closer_to_the_truth_than_the_plain_model_in_bf16(make_model, tokens, rows):
    """By the BLAS, and by oneDNN."""
    truth = plain(make_model(), tokens)
    model = make_model().bfloat16()
    batch = Batch(Decoder(model, rows), len(PROMPTS), capacity=8 + STEPS)

    def error(logits: torch.Tensor) -> float:
        return (logits.float() - truth).square().mean().sqrt().item()

    assert error(decoded(batch, tokens)) < error(plain(model, tokens)) < 0.1 * truth.std().item()


@pytest.mark.parametrize("rows", [1, 16])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(("n", "m"), [(96, 32), (65, 341), (512, 256), (1000, 341)])
def test_product(rows, dtype, n, m):
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(n, m, generator=generator).to(dtype)
    product, as_given = Product(weight, rows), weight.clone()
    for batch in (1, 3, 16):
        x = torch.randn(batch, m, generator=generator).to(product.dtype)
        expected = x.double() @ weight.double().T
        relative = 4e-3 if product.dtype == torch.bfloat16 else 1e-5
        error = (product(x).double() - expected).square().mean().sqrt()
        assert error < relative * expected.std()
    assert torch.equal(weight, as_given)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("prefix", [0, 4])
def test_read_in_parts_equals_the_plain_model(make_model, shape, prefix):
    """Eleven embeddings, of which the first see each other; read at once, and seven before four."""
    model = make_model(**shape)
    decoder, x = Decoder(model, 16), model.embed(torch.arange(3, 14))
    mask = torch.ones(11, 11, dtype=torch.bool).tril()
    mask[:, :prefix] = True
    expected = model.head(model.hidden_states(x[None], mask=mask[None, None]))[0].detach()
    past, first = decoder.read(x[:7], prefix)
    whole, last = decoder.read(x[7:], past=past)
    scale = expected.abs().max().item()
    torch.testing.assert_close(first, expected[6], atol=1e-4 * scale, rtol=0)
    torch.testing.assert_close(last, expected[10], atol=1e-4 * scale, rtol=0)
    once = decoder.read(x, prefix)[0].layers
    torch.testing.assert_close(once, whole.layers, atol=1e-4, rtol=0)
    assert (past.length, whole.length) == (7, 11)


def test_a_row_goes_on_after_what_was_read(model):
    """And leaves its neighbour as it is."""
    decoder = Decoder(model, 16)
    batch, prompt = Batch(decoder, 2, capacity=32), torch.arange(3, 14)
    batch.clear(0)
    batch.place(1, decoder.read(model.embed(prompt))[0])
    found = batch.step(torch.tensor([0, 20]))[1]
    expected = model(torch.tensor([[*prompt.tolist(), 20]]))[0, -1].detach()
    scale = expected.abs().max().item()
    torch.testing.assert_close(found, expected, atol=1e-4 * scale, rtol=0)
    assert batch.positions.tolist() == [0, 12]


def test_slots_by_hand(model):
    """Rows of three tokens and one, in four slots; then a token more."""
    batch = Batch(Decoder(model), 2, capacity=4)
    batch.prefill([[5, 6, 7], [8]])
    no = minus_infinity
    assert batch.bias[:, 0, 0].tolist() == [[0, 0, 0, no], [0, no, no, no]]
    assert batch.positions.tolist() == [3, 1]
    batch.step(torch.tensor([9, 9]))
    assert batch.bias[:, 0, 0].tolist() == [[0, 0, 0, 0], [0, 0, no, no]]
    assert torch.equal(batch.bias[:, 0], batch.bias[:, 1]), "heads differ"
    assert batch.positions.tolist() == [4, 2]


@pytest.mark.parametrize("before", [1, 30])
def test_a_batch_can_begin_again(model, tokens, before):
    """Nothing of what was written before is seen, and nothing of the new prompts is hidden."""
    decoder = Decoder(model)
    batch = Batch(decoder, len(PROMPTS), capacity=64)
    batch.prefill([[7] * before] * len(PROMPTS))
    for t in tokens.T[:3]:
        batch.step(t)
    fresh = Batch(decoder, len(PROMPTS), capacity=64)
    torch.testing.assert_close(decoded(batch, tokens), decoded(fresh, tokens))


def test_two_streams_of_one_decoder(model):
    """They share weights and nothing else; the model stays as it was."""
    weights = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    decoder = Decoder(model)
    samplings = [Sampling(max_tokens=25, seed=seed) for seed in (0, 1)]
    alone = [list(stream(model, PROMPTS, sampling, eos=())) for sampling in samplings]
    streams = [stream(decoder, PROMPTS, sampling, eos=()) for sampling in samplings]
    together = list(itertools.chain(*zip(*streams, strict=True)))
    assert [together[::2], together[1::2]] == alone
    assert all(torch.equal(tensor, weights[name]) for name, tensor in model.state_dict().items())


def test_inside_autocast(model):
    """A sample that is written while training is in bf16."""
    greedy = Sampling(max_tokens=20, temperature=0.0)
    with torch.autocast("cpu", torch.bfloat16):
        first = [step[0] for step in stream(model, PROMPTS, greedy, eos=())]
    expected = [step[0] for step in stream(model, PROMPTS, greedy, eos=())]
    assert first[:3] == expected[:3]


def test_pairs():
    x = torch.tensor([[0, 1, 2, 10, 11, 12]])
    assert decode.pairs(x, 1).tolist() == [[0, 10, 1, 11, 2, 12]]
