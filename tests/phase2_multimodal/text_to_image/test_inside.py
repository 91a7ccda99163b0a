"""A drawer inside a larger model: one set of words' weights, and only what listens is trained."""

from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file, save_model
from torch import nn

from phase1_foundation.language.model import LanguageModel
from phase2_multimodal.text_to_image import inside
from phase2_multimodal.text_to_image.batches import Batch
from phase2_multimodal.text_to_image.draw import draw, load
from phase2_multimodal.text_to_image.objective import DenoiseByPrompt
from phase2_multimodal.train_text_to_image import TextToImageTrainConfig
from shared.errors import VermeilError

MANNER = {"solver": "euler", "steps": 2, "guidance_scale": 2.0, "overshoot": 0.0}


@pytest.fixture
def other(reader):
    """A language model of the same shape that says other things, with room for longer texts."""
    model = LanguageModel(replace(reader.config, context=2 * reader.config.context))
    torch.manual_seed(5)
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.2)
    return model.eval()


@pytest.mark.parametrize("kind", ["unet", "dit"])
def test_what_listens_is_trained_and_nothing_else(trained, other, read, kind):
    model = trained(kind)
    model.listen_to(other)
    before = {name: x.clone() for name, x in model.state_dict().items()}
    objective = DenoiseByPrompt(model, TextToImageTrainConfig(steps=3))
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.1)
    torch.manual_seed(0)
    loss = objective.loss(Batch(torch.randn(4, 3, 8, 8).clamp(-1, 1), read(["a dog"] * 3 + [""])))
    loss.backward()
    optimizer.step()
    changed = {n for n, x in model.state_dict().items() if not torch.equal(x, before[n])}
    listens = ("project.", "pooled.", "empty")
    assert all(n.startswith(listens) or ".cross." in n or ".norm." in n for n in changed)
    assert any(".cross." in n for n in changed) and "project.weight" in changed
    assert torch.equal(model.text.embed.weight, other.embed.weight)


def test_a_reader_of_another_shape_is_refused(trained, reader):
    wider = LanguageModel(replace(reader.config, dim=48))
    with pytest.raises(RuntimeError, match="size mismatch"):
        trained().listen_to(wider)


def test_it_draws_the_same_with_the_words_of_the_larger_model(
    trained, other, words, read, tmp_path
):
    model = trained()
    model.listen_to(other)
    larger = nn.Module()
    larger.language, larger.else_ = other, nn.Linear(2, 2)
    save_model(larger, str(tmp_path / "model.safetensors"))
    inside.save(model, MANNER, tmp_path)
    words.save_pretrained(tmp_path)
    assert not any(name.startswith("text.") for name in load_file(tmp_path / inside.WEIGHTS))
    again, prompts = load(tmp_path, "cpu")
    how = inside.manner(tmp_path)
    assert how == MANNER
    expected = draw(model, prompts, ["a dog on red"], seeds=[3], **how)
    assert torch.equal(draw(again, prompts, ["a dog on red"], seeds=[3], **how), expected)
    other.embed.weight.data.add_(0.5)  # the reader is the larger model's, not a copy
    save_model(larger, str(tmp_path / "model.safetensors"))
    changed, _ = load(tmp_path, "cpu")
    assert not torch.equal(draw(changed, prompts, ["a dog on red"], seeds=[3], **how), expected)


def test_a_larger_model_without_words_is_said(trained, tmp_path):
    save_model(nn.Linear(2, 2), str(tmp_path / "model.safetensors"))
    inside.save(trained(), MANNER, tmp_path)
    with pytest.raises(VermeilError, match=r"holds no whole drawer: text\.\S+ does not fit"):
        inside.load(tmp_path)
