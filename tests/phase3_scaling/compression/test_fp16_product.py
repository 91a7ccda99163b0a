"""Products with weights in 16 bits: exact for those, and a row is what it is alone."""

import pytest
import torch

from phase1_foundation.language.decode import Batch, Decoder
from phase1_foundation.language.model import LanguageModel, LanguageModelConfig
from phase3_scaling.compression.fp16_product import LARGEST, Fp16Product

packed = pytest.mark.skipif(
    "fbgemm" not in torch.backends.quantized.supported_engines, reason="FBGEMM is for x86"
)


@pytest.fixture(params=["the older way", "its successor"])
def way(request, monkeypatch):
    if request.param == "its successor":
        monkeypatch.delattr(torch, "fbgemm_linear_fp16_weight_fp32_activation")


@packed
@pytest.mark.parametrize(("n", "m"), [(96, 32), (65, 341), (512, 256)])
def test_weights_are_rounded_and_nothing_else_is(way, n, m):
    torch.manual_seed(0)
    weight, x = torch.randn(n, m), torch.randn(13, m)
    product = Fp16Product(weight, rows=8)
    expected = x.double() @ weight.half().double().T
    assert (product(x) - expected).abs().max() < 1e-4
    assert (product(x) - x.double() @ weight.double().T).abs().max() > 1e-4, "nothing was rounded"
    assert torch.equal(product(x), torch.cat([product(row[None]) for row in x]))


def test_weights_beyond_the_range_stay_as_they_are():
    weight = torch.tensor([[1.0, 2.0 * LARGEST]])
    assert Fp16Product(weight, 1)(torch.tensor([[3.0, 1.0]])).item() == 3 + 2.0 * LARGEST


def test_where_fbgemm_is_missing_the_words_are_the_same(monkeypatch):
    torch.manual_seed(0)
    weight, x = torch.randn(64, 32), torch.randn(3, 32)
    expected = Fp16Product(weight, 1)(x)
    monkeypatch.setattr(torch.backends.quantized.__class__, "supported_engines", [])
    torch.testing.assert_close(Fp16Product(weight, 1)(x), expected, atol=1e-5, rtol=0)


def test_a_decoder_takes_it_and_stays_close_to_the_model():
    torch.manual_seed(0)
    model = LanguageModel(LanguageModelConfig(2048, 256, 2, 4, 4, 512, 64)).eval()
    logits = []
    for decoder in (Decoder(model, 8), Decoder(model, 8, product=Fp16Product)):
        batch = Batch(decoder, 2, 32)
        batch.prefill([[1, 5, 9, 700], [1, 33, 44, 2000]])
        logits.append(batch.step(torch.tensor([7, 8])))
    error = (logits[0] - logits[1]).norm() / logits[0].norm()
    assert 0 < error < 2e-3
