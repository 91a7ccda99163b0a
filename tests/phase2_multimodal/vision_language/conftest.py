"""A small model that looks, with opinions."""

from collections.abc import Callable

import pytest
import torch

from phase2_multimodal.vision_language.generate import Speaker
from phase2_multimodal.vision_language.model import VisionLanguageConfig, VisionLanguageModel
from phase2_multimodal.vision_language.prompts import Prompter


@pytest.fixture(scope="session")
def prompter(lexicon) -> Prompter:
    return Prompter(lexicon)


@pytest.fixture
def make_model(vision_config, language_config, with_opinions) -> Callable[..., VisionLanguageModel]:
    """make_model(projector="resampler")"""

    def make(**changes) -> VisionLanguageModel:
        return with_opinions(
            VisionLanguageModel(VisionLanguageConfig(vision_config, language_config, **changes))
        )

    return make


@pytest.fixture
def model(make_model) -> VisionLanguageModel:
    return make_model()


@pytest.fixture
def prefix(model, pictures, prompter) -> torch.Tensor:
    """Of the four pictures."""
    with torch.no_grad():
        return model.prefix(pictures, prompter.opening)


@pytest.fixture
def speaker(model, prompter) -> Speaker:
    return Speaker(model, prompter, rows=3)
