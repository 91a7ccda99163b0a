"""Small parents with opinions, and a model made of them."""

import pytest
import torch

import data
from data.scenes import SceneConfig, Scenes
from phase1_foundation.diffusion.model import DiffusionConfig, DiffusionModel
from phase1_foundation.language.model import LanguageModel, LanguageModelConfig
from phase1_foundation.language.tokenizer import Tokenizer
from phase2_multimodal.text_to_image.listening import listening
from phase2_multimodal.text_to_image.model import TextToImageConfig, TextToImageModel
from phase2_multimodal.text_to_image.prompts import Prompts

VOCABULARY = 500
SMALL = {"size": 8, "classes": ("a", "b"), "layers": 2, "heads": 2, "mlp_dim": 32}
DIFFUSION = {
    "unet": DiffusionConfig(**SMALL, patch=1, widths=(8, 16)),
    "dit": DiffusionConfig(**SMALL, network="dit", patch=2, widths=(16,)),
}
LANGUAGE = LanguageModelConfig(
    VOCABULARY, dim=24, layers=2, heads=2, kv_heads=1, mlp_dim=48, context=64
)


def awake(model: torch.nn.Module, seed: int = 0, std: float = 0.1) -> torch.nn.Module:
    """With weights in the parts that begin at 0, as after training."""
    torch.manual_seed(seed)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=std)
    return model.eval()


@pytest.fixture(scope="session")
def words() -> Tokenizer:
    texts = [document.text[:3000] for document in data.load("embedded_text").documents("train")]
    return Tokenizer.train(texts, VOCABULARY, "bpe", threads=1)


@pytest.fixture
def painter():
    """Makes phase 1's diffusion model of some kind."""
    return lambda kind: awake(DiffusionModel(DIFFUSION[kind]))


@pytest.fixture
def reader() -> LanguageModel:
    return awake(LanguageModel(LANGUAGE), seed=1)


@pytest.fixture
def make(painter, reader):
    """A model of these parents, its new parts as they begin."""

    def made(kind: str = "unet", **changes) -> TextToImageModel:
        diffusion = painter(kind)
        config = TextToImageConfig(diffusion.config, LANGUAGE, longest=60, **changes)
        torch.manual_seed(2)
        model = TextToImageModel(config)
        model.build_on(listening(diffusion), reader)
        return model.eval()

    return made


@pytest.fixture
def trained(make):
    """The same with opinions in its new parts, too."""

    def made(kind: str = "unet", **changes) -> TextToImageModel:
        model = make(kind, **changes)
        text = {name: p.clone() for name, p in model.text.state_dict().items()}
        awake(model, std=0.15)
        model.text.load_state_dict(text)
        return model

    return made


@pytest.fixture
def read(words, make) -> Prompts:
    return Prompts.of(make().config, words)


@pytest.fixture(scope="session")
def scenes() -> Scenes:
    return Scenes(config=SceneConfig(size=16, concepts=2, most=1))
