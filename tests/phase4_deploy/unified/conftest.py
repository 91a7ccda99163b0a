import pytest

from data.scene_words import captions
from data.scenes import Scenes
from phase1_foundation.language.tokenizer import Tokenizer
from phase2_multimodal.vision_language.prompts import Prompter


@pytest.fixture(scope="module")
def prompter() -> Prompter:
    scenes = Scenes()
    texts = ["\n".join(captions(scenes.scene("train", number))) for number in range(200)]
    return Prompter(Tokenizer.train(texts, 400, "bpe", threads=1))
