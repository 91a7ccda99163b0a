"""Models as functions of tensors: what they say and draw is what they say and draw elsewhere."""

import pytest
import torch

from phase1_foundation.diffusion.model import Condition, DiffusionConfig, DiffusionModel
from phase1_foundation.language.model import LanguageModelConfig
from phase1_foundation.language.tokenizer import Tokenizer
from phase1_foundation.vision.vit import VisionTransformerConfig
from phase2_multimodal.vision_language.generate import Speaker
from phase2_multimodal.vision_language.model import VisionLanguageConfig, VisionLanguageModel
from phase2_multimodal.vision_language.prompts import CAPTION, Prompter
from phase3_scaling.compression.subjects import Captioner, greedy, subjects
from shared.errors import VermeilError


@pytest.fixture(scope="module")
def prompter() -> Prompter:
    words = ["a red dog sits on the green grass", "two cats look at a blue bird"] * 40
    return Prompter(Tokenizer.train(words, 300, "bpe", threads=1))


def test_a_caption_without_a_cache_is_that_with_one(prompter):
    torch.manual_seed(0)
    eyes = VisionTransformerConfig(16, patch=4, dim=16, layers=1, heads=2, mlp_dim=32)
    voice = LanguageModelConfig(prompter.tokenizer.vocab_size, dim=24, layers=2, heads=2,
                                kv_heads=1, mlp_dim=48, context=96)  # fmt: skip
    model = VisionLanguageModel(VisionLanguageConfig(eyes, voice)).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    pictures = torch.randn(5, 3, 16, 16)
    speaker = Speaker(model, prompter)
    known = speaker.say(speaker.look(pictures), [CAPTION] * 5)
    question = torch.tensor([prompter.question(CAPTION)])
    ids = greedy(Captioner(model, prompter.opening), pictures, question, prompter.end)
    said = [prompter.tokenizer.decode(row).strip() for row in ids]
    assert len({*known}) > 1
    assert all(one.startswith(other) for one, other in zip(known, said, strict=True))
    assert all(len(row) == 24 or one == other
               for row, one, other in zip(ids, known, said, strict=True))  # fmt: skip


def test_another_network_may_predict():
    torch.manual_seed(0)
    model = DiffusionModel(
        DiffusionConfig(8, ("a", "b"), widths=(8, 16), layers=1, heads=2, mlp_dim=32)
    )
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    asked, called = model.condition(torch.tensor([0, 1])), []

    def predict(x, t, condition: Condition):
        called.append(len(x))
        return model(x, t, condition.tokens)

    options = {"seeds": [3, 4], "steps": 3, "guidance_scale": 2.0, "solver": "euler"}
    drawn = model.draw(asked, **options)
    assert torch.equal(drawn, model.draw(asked, predict=predict, **options))
    assert called == [4, 4, 4]  # guided: asked and unasked at once
    silent = model.draw(asked, predict=lambda x, t, condition: torch.zeros_like(x), **options)
    assert not torch.allclose(drawn, silent)


def test_an_unknown_model_is_named():
    with pytest.raises(VermeilError, match="'speech' is not among what can be compressed"):
        subjects(["speech"], "tiny")
