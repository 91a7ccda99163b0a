"""Models as functions of tensors: what they say and draw is what they say and draw elsewhere."""

from types import SimpleNamespace

import pytest
import torch

from data.questions import VisualQuestion
from phase1_foundation.diffusion.model import Condition, DiffusionConfig, DiffusionModel
from phase1_foundation.language import chat
from phase1_foundation.language.model import LanguageModelConfig
from phase1_foundation.language.tokenizer import Tokenizer
from phase1_foundation.vision.vit import VisionTransformerConfig
from phase2_multimodal.vision_language.generate import Speaker
from phase2_multimodal.vision_language.model import VisionLanguageConfig, VisionLanguageModel
from phase2_multimodal.vision_language.prompts import CAPTION, Prompter
from phase3_scaling.compression.subjects import Captioner, alike, greedy, subjects, vqa
from shared.errors import VermeilError


@pytest.fixture(scope="module")
def prompter() -> Prompter:
    words = ["a red dog sits on the green grass", "two cats look at a blue bird"] * 40
    return Prompter(Tokenizer.train(words, 300, "bpe", threads=1))


@pytest.fixture(scope="module")
def speaker(prompter) -> Speaker:
    torch.manual_seed(0)
    eyes = VisionTransformerConfig(16, patch=4, dim=16, layers=1, heads=2, mlp_dim=32)
    voice = LanguageModelConfig(prompter.tokenizer.vocab_size, dim=24, layers=2, heads=2,
                                kv_heads=1, mlp_dim=48, context=96)  # fmt: skip
    model = VisionLanguageModel(VisionLanguageConfig(eyes, voice)).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    return Speaker(model, prompter)


def test_a_caption_without_a_cache_is_that_with_one(prompter, speaker):
    pictures = torch.randn(5, 3, 16, 16)
    known = speaker.say(speaker.look(pictures), [CAPTION] * 5)
    question = torch.tensor([prompter.question(CAPTION)]).expand(5, -1)
    ids = greedy(Captioner(speaker.model, prompter.opening), pictures, question, prompter.end)
    said = [prompter.tokenizer.decode(row).strip() for row in ids]
    assert len({*known}) > 1
    assert all(one.startswith(other) for one, other in zip(known, said, strict=True))
    assert all(len(row) == 24 or one == other
               for row, one, other in zip(ids, known, said, strict=True))  # fmt: skip


def test_answers_in_batches_of_one_length_are_each_question_s_own(prompter, speaker):
    asked = ["a dog", "two cats look", "grass", "a bird", "the red dog sits on the grass", "blue"]
    questions = [prompter.question(text) for text in asked]
    batches = [*alike(questions, 2)]
    assert sorted(row for rows in batches for row in rows) == [*range(6)]
    assert max(map(len, batches)) == 2
    assert all(len({len(questions[row]) for row in rows}) == 1 for rows in batches)
    pictures = torch.randn(6, 3, 16, 16)
    known = speaker.say(speaker.look(pictures), asked)
    module = Captioner(speaker.model, prompter.opening)
    for rows in batches:
        words = torch.tensor([questions[row] for row in rows])
        said = greedy(module, pictures[rows], words, prompter.end)
        for row, ids in zip(rows, said, strict=True):
            text = prompter.tokenizer.decode(ids).strip()
            assert known[row].startswith(text) if len(ids) == 24 else known[row] == text
    assert len({*known}) > 1


def test_a_vision_language_model_is_as_good_as_its_answers(monkeypatch, prompter):
    asked = {"a dog?": "red", "two cats look?": "blue", "a bird?": "blue"}
    dog, cats, bird = (VisualQuestion(0, "", *pair[:1], pair[1:]) for pair in asked.items())
    talks = [SimpleNamespace(questions=[dog, cats]), SimpleNamespace(questions=[bird])]
    ready = prompter, talks, torch.stack([torch.zeros(3, 16, 16), torch.ones(3, 16, 16)])
    monkeypatch.setattr("phase3_scaling.compression.subjects.looked_at", lambda *_: ready)
    monkeypatch.setattr("phase3_scaling.compression.subjects.looking", lambda *given: given[-1])
    words = [prompter.answer("red"), prompter.answer("blue")]
    turn = prompter.tokenizer.special[chat.ASSISTANT]

    def by_picture(pictures, tokens):
        """ "red" of the black picture, "blue" of the white one."""
        said = tokens.shape[1] - 1 - int((tokens[0] == turn).nonzero()[-1])
        logits = torch.zeros(*tokens.shape, prompter.tokenizer.vocab_size)
        for row, picture in enumerate(pictures):
            word = words[int(picture.mean())]
            logits[row, -1, word[min(said, len(word) - 1)]] = 1
        return logits

    quality = vqa(SimpleNamespace(), 2)(by_picture)
    assert quality.value == pytest.approx(2 / 3)
    assert quality.n == 3


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
