"""A model of phase 1's weights: what was taken over, what is new, and that it wins."""

import pytest
import torch

from data.scenes import SceneConfig, Scenes
from phase1_foundation.diffusion.model import DiffusionConfig, DiffusionModel
from phase1_foundation.language.model import LanguageModel
from phase2_multimodal.text_to_image import reuse
from phase2_multimodal.text_to_image.batches import SceneBatches
from phase2_multimodal.text_to_image.prompts import Prompts
from phase2_multimodal.train_text_to_image import TextToImageTrainConfig
from shared.artifact import Artifact, publish


@pytest.fixture
def saved(tmp_path):
    def save(name: str, model) -> Artifact:
        return publish(tmp_path / name / "tiny-1", model.save_pretrained, {"id": name}, "")

    return save


def test_both_parents_are_taken_over_whole(saved, painter, reader):
    parents = saved("diffusion", painter("unet")), saved("lm", reader)
    config = TextToImageTrainConfig(size=16)
    model, tensors = reuse.made_of(*parents, config)
    assert model.config.diffusion.size == 16 and model.config.diffusion.patch == 2
    assert model.config.longest == 64  # the reader's context
    theirs = {f"diffusion.{k}": v for k, v in painter("unet").state_dict().items()}
    theirs |= {f"text.{k}": v for k, v in reader.state_dict().items()}
    ours = {k.replace(".block.", "."): v for k, v in model.state_dict().items()}
    other = {name for name, weight in theirs.items() if not torch.equal(ours[name], weight)}
    first_and_last = ("stem.weight", "out.weight", "out.bias")
    assert other == {f"diffusion.network.{name}" for name in first_and_last}  # of more pixels
    assert tensors["taken"] == len(list(painter("unet").parameters())) + len(
        list(reader.parameters())
    )
    cross, rest = 8, 4  # of each of the two blocks; project, empty and pooled
    assert tensors["new"] == 2 * cross + rest
    assert tensors["frozen"] == len(list(reader.parameters())) + 1


def test_bytes_need_no_language_model(saved, painter):
    config = TextToImageTrainConfig(size=8, text_encoder="bytes")
    model, tensors = reuse.made_of(saved("diffusion", painter("dit")), None, config)
    assert model.config.text.vocab_size == 256
    assert tensors["taken"] == len(list(painter("dit").parameters()))
    assert tensors["frozen"] == 1


def test_a_parent_that_can_draw_begins_with_a_lower_loss(saved, reader, words):
    """The parent answers with its input's mean: noise minus a gray picture, half of the target."""
    parent = DiffusionModel(DiffusionConfig(size=8, classes=("a",), patch=1, widths=(8, 16),
                                            heads=2, layers=1, mlp_dim=16))  # fmt: skip
    scenes = Scenes(config=SceneConfig(size=16, concepts=2, most=1))
    model, _ = reuse.made_of(
        saved("diffusion", learned(parent, scenes)), saved("lm", reader),
        TextToImageTrainConfig(size=16),
    )  # fmt: skip
    batches = [SceneBatches(scenes, Prompts.of(model.config, words), 64, 0).rows(0, slice(0, 64))]
    losses = reuse.first_losses(model, TextToImageTrainConfig(size=16), batches)
    assert losses["loss_with_parent"] < 0.9 * losses["loss_with_random"]
    assert losses == reuse.first_losses(model, TextToImageTrainConfig(size=16), batches)
    assert isinstance(model.text, LanguageModel) and model.training


def learned(parent: DiffusionModel, scenes: Scenes) -> DiffusionModel:
    """A few steps of phase 1's training on small scenes."""
    from phase1_foundation.diffusion.objective import Denoise

    torch.manual_seed(0)
    small = Scenes(config=SceneConfig(size=8, concepts=2, most=1))
    rows = [small.render(small.scene("train", number)) for number in range(256)]
    pixels = torch.stack([torch.from_numpy(row) for row in rows]).permute(0, 3, 1, 2) / 127.5 - 1
    objective = Denoise(parent, TextToImageTrainConfig())
    optimizer = torch.optim.Adam(parent.parameters(), 3e-3)
    for step in range(60):
        part = pixels[step % 4 * 64 :][:64]
        optimizer.zero_grad()
        objective.loss((part, torch.zeros(64, dtype=torch.long))).backward()
        optimizer.step()
    return parent.eval()
