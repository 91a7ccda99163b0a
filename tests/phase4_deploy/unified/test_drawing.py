"""The unified model draws what its own words say; without a drawer it says so."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from data.scene_words import captions
from data.scenes import Scenes
from phase1_foundation.diffusion.model import DiffusionConfig
from phase1_foundation.language.model import LanguageModel, LanguageModelConfig
from phase1_foundation.language.tokenizer import Tokenizer
from phase1_foundation.vision.vit import VisionTransformerConfig
from phase2_multimodal.text_to_image.model import TextToImageConfig, TextToImageModel
from phase2_multimodal.vision_language.model import VisionLanguageConfig
from phase4_deploy.speech.encoder import SpeechEncoderConfig, SpeechRecogniserConfig
from phase4_deploy.train_unified import UnifiedTrainConfig
from phase4_deploy.unified.drawing import refitted
from phase4_deploy.unified.generate import Unified
from phase4_deploy.unified.model import UnifiedModel, with_ear
from shared.artifact import Artifact, publish
from shared.errors import VermeilError

LANGUAGE = LanguageModelConfig(400, dim=24, layers=2, heads=2, kv_heads=1, mlp_dim=48, context=128)
CONFIG = UnifiedTrainConfig(drawing_steps=3, drawings=6, threads=1, precision="fp32")
TRAINED = {
    "concepts": 2, "size": 16, "batch_size": 4, "steps": 1, "validation_pictures": 8,
    "judge_steps": 3, "sampler_steps": 2, "text_encoder": "lm",
}  # fmt: skip


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    scenes = Scenes()
    texts = ["\n".join(captions(scenes.scene("train", number))) for number in range(200)]
    return Tokenizer.train(texts, 400, "bpe", threads=1)


@pytest.fixture
def drawer(tokenizer, tmp_path) -> Artifact:
    """A published text-to-image model of random weights."""
    shape = DiffusionConfig(16, ("none",), widths=(8, 16), layers=1, heads=2, mlp_dim=32)
    torch.manual_seed(0)
    model = TextToImageModel(TextToImageConfig(shape, LANGUAGE))
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.1)

    def save(folder: Path) -> None:
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)

    manifest = {"id": "text_to_image@x", "step": "text_to_image", "preset": "x", "config": TRAINED,
                "metrics": []}  # fmt: skip
    return publish(tmp_path / "drawer", save, manifest, "# x\n")


@pytest.fixture
def unified() -> UnifiedModel:
    vision = VisionTransformerConfig(16, 4, dim=16, layers=1, heads=2, mlp_dim=32)
    speech = SpeechRecogniserConfig(SpeechEncoderConfig(dim=16, layers=1, heads=2, mlp_dim=32))
    torch.manual_seed(1)
    return UnifiedModel(with_ear(VisionLanguageConfig(vision, LANGUAGE), speech, stack=4)).eval()


@pytest.fixture
def run(tmp_path) -> Any:
    """What a step knows of itself, as far as it is asked."""
    choice = SimpleNamespace(preset="x")
    return SimpleNamespace(config=CONFIG, folder=tmp_path / "run", id="unified@x", choice=choice)


@pytest.fixture(autouse=True)
def own_home(tmp_path, monkeypatch):
    monkeypatch.setenv("VERMEIL_HOME", str(tmp_path / "home"))


def test_it_is_fitted_measured_and_kept_beside_the_weights_that_read(
    drawer, unified, tokenizer, run, tmp_path
):
    found = refitted(drawer, unified.language, run)
    by_metric = {row.metric: row for row in found.rows}
    assert set(by_metric) == {"drawing_loss", "object_accuracy", "background_accuracy"}
    loss = by_metric["drawing_loss"]
    assert loss.reference["its_own_reader"] != loss.baselines["not_fitted"] != loss.value
    things = by_metric["object_accuracy"]
    assert things.value is None and "of real pictures" in things.note, (
        "a judge of three steps spoke"
    )
    assert {"its_own_reader", "not_fitted"} == set(things.reference) and things.step == "unified"
    assert things.n == 6 and len(found.exhibits[0]["items"]) == 6

    folder = tmp_path / "unified"
    unified.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    found.save(folder)
    whole = Unified.from_pretrained(str(folder))
    one, again = (whole.draw("a dog on a blue background", seed=4) for _ in range(2))
    assert one.shape == (16, 16, 3) and np.array_equal(one, again)
    assert not np.array_equal(one, whole.draw("a dog on a blue background", seed=5))


def test_without_a_drawer_it_says_so(unified, tokenizer, tmp_path):
    unified.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    with pytest.raises(VermeilError, match="this unified model does not draw"):
        Unified.from_pretrained(str(tmp_path)).draw("a dog")


def test_a_drawer_that_cannot_listen_is_refused(drawer, unified, run, monkeypatch):
    wider = LanguageModel(replace(LANGUAGE, dim=48))
    with pytest.raises(VermeilError, match="a language model of another shape"):
        refitted(drawer, wider, run)
    monkeypatch.setitem(drawer.manifest["config"], "text_encoder", "bytes")
    with pytest.raises(VermeilError, match="reads bytes"):
        refitted(drawer, unified.language, run)
