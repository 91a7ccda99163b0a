"""Products in 8 bits: as exact as 8 bits are, and a row is what it is alone."""

import pytest
import torch

from phase1_foundation.language.decode import Decoder
from phase1_foundation.language.generate import Sampling, stream
from phase1_foundation.language.model import LanguageModel, LanguageModelConfig
from phase3_scaling.compression.int8_product import LEAST, Int8Product


@pytest.fixture
def weight() -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(2048, 256, generator=generator)


def test_it_rounds_weights_by_output_and_inputs_by_row(weight):
    """Against the definition, in fp64, with scales of row and output that differ by thousands."""
    weight = weight * torch.logspace(-2, 2, len(weight))[:, None]
    x = torch.randn(5, 256) * torch.tensor([1e-3, 1.0, 10.0, 1e3, 0.0])[:, None]
    scale, largest = weight.abs().amax(1, keepdim=True) / 127, x.abs().amax(1, keepdim=True)
    rounded = (weight / scale).round() * scale
    seen = (x / largest.clamp(min=1e-8) * 127).round() / 127 * largest
    expected = seen.double() @ rounded.double().T
    found = Int8Product(weight, rows=8)(x)
    size = expected.abs().amax(dim=1, keepdim=True).clamp(min=1e-9)
    assert ((found - expected) / size).abs().max() < 1e-4
    assert found[4].abs().max() == 0


def test_a_row_does_not_know_its_neighbours(weight):
    product, x = Int8Product(weight, rows=8), torch.randn(8, 256)
    x[3] *= 1000  # a neighbour whose range would spoil a common scale
    together = product(x)
    alone = torch.cat([product(x[i : i + 1]) for i in range(8)])
    assert torch.equal(together, alone)


def test_small_products_stay_as_they_are():
    weight = torch.randn(64, 64)
    assert weight.numel() < LEAST
    x = torch.randn(1, 64)
    torch.testing.assert_close(Int8Product(weight, rows=1)(x), x @ weight.T)


def test_a_decoder_takes_it_and_stays_close_to_the_model():
    torch.manual_seed(0)
    config = LanguageModelConfig(2048, 256, 2, 4, 4, 512, 64)
    model = LanguageModel(config).eval()
    prompts = [[1, 5, 9, 700], [1, 33, 44, 2000]]
    decoder = Decoder(model, 8, product=Int8Product)
    from phase1_foundation.language.decode import Batch

    exact, rounded = Batch(Decoder(model, 8), 2, 32), Batch(decoder, 2, 32)
    exact.prefill(prompts), rounded.prefill(prompts)
    tokens = torch.tensor([7, 8])
    a, b = exact.step(tokens), rounded.step(tokens)
    error = (a - b).norm() / a.norm()
    assert 1e-4 < error < 0.05, "rounded, but not far off"
    assert len([*stream(decoder, prompts, Sampling(max_tokens=5, temperature=0.0), ())]) == 5
