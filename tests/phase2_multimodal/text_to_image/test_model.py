"""What a prompt does to the answer: nothing at first, nothing through padding and frozen parts."""

import pytest
import torch

from phase1_foundation.language.model import LanguageModelConfig
from phase2_multimodal.text_to_image.draw import draw, load
from phase2_multimodal.text_to_image.model import TextToImageConfig, TextToImageModel
from phase2_multimodal.text_to_image.prompts import Prompts

ASKED = ["a dog on red", "the blue scene has a large apple at the top left"]


@pytest.mark.parametrize("kind", ["unet", "dit"])
def test_before_the_first_step_every_prompt_draws_what_phase_1_draws_unasked(
    make, painter, read, kind
):
    model, parent = make(kind), painter(kind)
    x, t = torch.randn(2, 3, 8, 8), torch.tensor([0.2, 0.8])
    unasked = parent.unconditional(parent.condition(torch.tensor([0, 1])))
    before = parent(x, t, unasked.tokens)
    for asked in (ASKED, ["", "key"]):
        after = model(x, t, model.read(read(asked)))
        assert (after - before).abs().max() == 0.0


@pytest.mark.parametrize("kind", ["unet", "dit"])
def test_later_the_prompt_matters_and_its_padding_does_not(trained, read, kind):
    model, x, t = trained(kind), torch.randn(2, 3, 8, 8), torch.tensor([0.2, 0.8])
    together = model(x, t, model.read(read(ASKED)))
    alone = model(x[:1], t[:1], model.read(read(ASKED[:1])))
    torch.testing.assert_close(together[:1], alone, atol=1e-5, rtol=1e-4)
    other = model(x[:1], t[:1], model.read(read(["a cat on red"])))
    assert not torch.allclose(alone, other, atol=1e-4)


def test_words_reach_the_answer_through_both_doors(trained, read):
    """Through the blocks alone, and through the vector alone."""
    model, x, t = trained(), torch.randn(1, 3, 8, 8), torch.tensor([0.5])
    texts = [model.read(read([asked])) for asked in ASKED]
    pooled = model.pooled.weight.data.clone()
    model.pooled.weight.data.zero_()
    assert not torch.allclose(model(x, t, texts[0]), model(x, t, texts[1]), atol=1e-5)
    model.pooled.weight.data.copy_(pooled)
    for name, parameter in model.named_parameters():
        if "cross.proj" in name:
            parameter.data.zero_()
    assert not torch.allclose(model(x, t, texts[0]), model(x, t, texts[1]), atol=1e-5)


def test_the_reader_is_frozen_and_phase_1_s_classes_too(make, read):
    model = make().train()
    x, t = torch.randn(2, 3, 8, 8), torch.tensor([0.2, 0.8])
    model(x, t, model.read(read(ASKED))).square().mean().backward()
    assert all(p.grad is None for p in model.text.parameters())
    assert model.diffusion.labels.weight.grad is None
    assert model.diffusion.null.grad is not None


def test_the_alternative_reads_bytes_in_both_directions_and_learns(make):
    shape = LanguageModelConfig(256, dim=16, layers=1, heads=2, kv_heads=2, mlp_dim=32, context=64)
    torch.manual_seed(0)
    model = TextToImageModel(
        TextToImageConfig(make().config.diffusion, shape, text_encoder="bytes", longest=64)
    )
    read = Prompts.of(model.config, None)
    first, second = (model.read(read([asked])).tokens for asked in ("a dog", "a fog"))
    assert not torch.allclose(first[:, 0], second[:, 0])  # the first byte knows of the third
    longer = model.read(read(["a dog", "a dog on red"]))
    torch.testing.assert_close(longer.tokens[0, :6], first[0], atol=1e-5, rtol=1e-4)
    first.sum().backward()
    assert model.text.embed.weight.grad is not None


@pytest.mark.parametrize("shift", [1.0, 2.0, 3.0])
def test_shifted_times_keep_their_ends_and_the_noise_of_a_mean(make, shift):
    """Of `shift`^2 pixels the mean has noise / shift: at a shifted time it is what t had before."""
    model, t = make(shift=shift), torch.linspace(0, 1, 11)
    s = model.shifted(t)
    assert s[0] == 0 and s[-1] == 1
    inner = slice(1, -1)
    torch.testing.assert_close((s / (1 - s))[inner] / shift, (t / (1 - t))[inner])


def test_saving_and_loading_draws_the_same(trained, read, words, tmp_path):
    model = trained()
    model.save_pretrained(tmp_path)
    words.save_pretrained(tmp_path)
    loaded, prompts = load(tmp_path, "cpu")
    assert loaded.config == model.config
    assert not any(p.requires_grad for p in loaded.text.parameters())
    options = {"seeds": [0, 1], "steps": 2, "guidance_scale": 2.0}
    assert torch.equal(draw(loaded, prompts, ASKED, **options), draw(model, read, ASKED, **options))
