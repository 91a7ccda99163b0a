"""Small parents with opinions, and a tokenizer that knows the words of scenes."""

import dataclasses

import numpy as np
import pytest
import torch
from torch import nn

from data.questions import VisualQuestion
from data.scene_words import captions, questions
from data.scenes import SceneConfig, Scenes
from phase1_foundation.language.model import LanguageModelConfig
from phase1_foundation.language.tokenizer import Tokenizer
from phase1_foundation.vision.vit import VisionTransformerConfig
from phase2_multimodal.talks import PictureTalk

VOCABULARY = 500
SIDE = 16  # pixels


def opinionated(model: nn.Module, seed: int = 0, std: float = 0.2) -> nn.Module:
    """With random weights everywhere, norms' around 1: zeros and ones hide what is left out."""
    torch.manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.normal_(float("norm" in name and "weight" in name), std)
    return model.eval()


@pytest.fixture(scope="session")
def small_scenes() -> Scenes:
    return Scenes(config=SceneConfig(size=SIDE, train=60, test=20))


@pytest.fixture(scope="session")
def lexicon() -> Tokenizer:
    scenes = Scenes()
    many = [scenes.scene("train", number) for number in range(400)]
    texts = ["\n".join([*captions(s), *(q.text + " " + q.answer for q in questions(s))])
             for s in many]  # fmt: skip
    return Tokenizer.train(texts, VOCABULARY, "bpe", threads=1)


@pytest.fixture(scope="session")
def vision_config() -> VisionTransformerConfig:
    return VisionTransformerConfig(SIDE, 4, dim=16, layers=2, heads=2, mlp_dim=32)


@pytest.fixture(scope="session")
def language_config() -> LanguageModelConfig:
    return LanguageModelConfig(
        VOCABULARY, dim=24, layers=2, heads=2, kv_heads=1, mlp_dim=48, context=96
    )


@pytest.fixture
def pictures() -> torch.Tensor:
    return torch.randn(4, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def talk():
    """Makes talks about pictures of one colour: talk(7, "a dog", who=["yes", "no"])."""

    def make(shade: int, *said: str, **asked: list[str]) -> PictureTalk:
        pixels = np.full((SIDE, SIDE, 3), shade, np.uint8)
        questions = (
            VisualQuestion(100 * shade + i, str(shade), f"{text.replace('_', ' ')}?", (*answers,),
                           "other", text.partition("_")[0])
            for i, (text, answers) in enumerate(asked.items())
        )  # fmt: skip
        return PictureTalk(pixels, said, (*questions,))

    return make


@pytest.fixture
def with_opinions():
    """with_opinions(model): random weights everywhere."""
    return opinionated


@pytest.fixture
def changed():
    """changed(config, dim=8)"""
    return dataclasses.replace
