"""Earlier artifacts: the right kind or a sentence, taken over whole, and the proof of it."""

import dataclasses

import pytest
import torch
from torch import nn

from phase1_foundation.language.model import LanguageModel
from phase1_foundation.vision.resnet import ResNet, ResNetConfig
from phase1_foundation.vision.vit import VisionTransformer
from phase2_multimodal import parents
from phase2_multimodal.alignment.model import AlignmentConfig, AlignmentModel
from phase2_multimodal.alignment.objective import Align
from phase2_multimodal.train_alignment import AlignmentTrainConfig
from shared.artifact import publish
from shared.errors import VermeilError
from shared.home import home
from shared.objective import Objective, mean_loss
from shared.train_config import TrainConfig


@pytest.fixture
def published():
    """Makes artifacts: published("lm", save)."""

    def make(step: str, save=lambda folder: None, name: str = "tiny-00000000"):
        folder = home() / "artifacts" / "phase1" / step / name
        manifest = {"id": f"phase1/{step}@{name}", "step": step, "config": {}}
        return publish(folder, save, manifest, card="")

    return make


def test_a_parent_is_found_by_preset_or_by_name(published):
    lm, vision = published("lm"), published("vision")
    assert parents.parent("lm", "", "tiny", "lm").id == lm.id
    assert parents.parent("vision", "", "tiny", "vision", "alignment").id == vision.id
    assert parents.parent("vision", str(vision.folder), "small", "alignment", "vision").id == (
        vision.id
    )
    with pytest.raises(VermeilError, match="no artifact 'lm@small'") as error:
        parents.parent("lm", "", "small", "lm")
    assert error.value.hint == "vermeil train lm small"


def test_another_kind_is_refused_with_both_names(published):
    published("vision")
    with pytest.raises(VermeilError, match=r"--lm vision@tiny is a vision, not a lm") as error:
        parents.parent("lm", "vision@tiny", "tiny", "lm")
    assert error.value.hint == "vermeil train lm tiny"
    published("lm")
    with pytest.raises(VermeilError, match="is a lm, not a alignment or vision"):
        parents.parent("vision", "lm@tiny", "tiny", "alignment", "vision")


def test_another_tokenizer_is_refused_with_both_names(published):
    def with_words(words: bytes):
        return lambda folder: (folder / "tokenizer.model").write_bytes(words)

    one, same = published("lm", with_words(b"a")), published("alignment", with_words(b"a"))
    other = published("caption", with_words(b"b"))
    parents.same_tokenizer(one, same)
    with pytest.raises(VermeilError) as error:
        parents.same_tokenizer(one, same, other)
    assert one.id in error.value.message
    assert other.id in error.value.message


def test_another_size_is_refused(published):
    with pytest.raises(VermeilError, match="64 pixels, here they are 32") as error:
        parents.same_size(published("caption"), 64, 32)
    assert error.value.hint == "--size 64"


@torch.no_grad()
def test_encoders_of_all_kinds(published, pictures, vision_config, language_config, with_opinions):
    with_head = dataclasses.replace(vision_config, classes=5)
    encoder = with_opinions(VisionTransformer(with_head))
    loaded = parents.load_vision(published("vision", encoder.save_pretrained), 16).eval()
    assert torch.equal(loaded.features(pictures), encoder.features(pictures))
    assert loaded.config.classes == 0
    pair = with_opinions(AlignmentModel(AlignmentConfig(vision_config, language_config, 8)), 1)
    inside = parents.load_vision(published("alignment", pair.save_pretrained), 16).eval()
    assert torch.equal(inside.features(pictures), pair.vision.features(pictures))
    convolutional = ResNet(ResNetConfig(16, 3))
    with pytest.raises(VermeilError, match="no patches to talk about") as error:
        parents.load_vision(published("vision", convolutional.save_pretrained, "tiny-2"), 16)
    assert "--model vit" in error.value.hint


def model_of(vision_config, language_config) -> AlignmentModel:
    return AlignmentModel(AlignmentConfig(vision_config, language_config, 8))


def test_take_over_counts_and_measures_before_and_after(
    vision_config, language_config, with_opinions
):
    vision = with_opinions(VisionTransformer(vision_config))
    language = with_opinions(LanguageModel(language_config))
    model, losses = model_of(vision_config, language_config), []

    def loss() -> float:
        losses.append(torch.equal(model.vision.cls_token, vision.cls_token))
        return float(len(losses))

    reuse = parents.take_over(
        Objective(model, TrainConfig()), {"vision": vision, "language": language}, loss
    )
    assert losses == [False, True], "with the random weights first, then with the parents'"
    assert (reuse["loss_with_random"], reuse["loss_with_parent"]) == (1.0, 2.0)
    for name in ("vision", "language"):
        theirs = {"vision": vision, "language": language}[name].state_dict()
        ours = model.get_submodule(name).state_dict()
        assert all(torch.equal(ours[key], theirs[key]) for key in theirs)
    assert reuse["new"] == 6  # two projections with their biases, scale and bias
    assert reuse["taken"] + reuse["new"] == len([*model.parameters()])
    assert reuse["frozen"] == 0


def test_take_over_is_strict(vision_config, language_config):
    model = model_of(vision_config, language_config)
    with_head = VisionTransformer(dataclasses.replace(vision_config, classes=3))
    with pytest.raises(RuntimeError, match=r"Unexpected key.*head"):
        parents.take_over(Objective(model, TrainConfig()), {"vision": with_head}, lambda: 0.0)
    wider = VisionTransformer(dataclasses.replace(vision_config, mlp_dim=40))
    with pytest.raises(RuntimeError, match="size mismatch"):
        parents.take_over(Objective(model, TrainConfig()), {"vision": wider}, lambda: 0.0)


def test_mean_loss_is_taken_in_evaluation_mode_and_leaves_training_on():
    class Fake(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight, self.modes = nn.Parameter(torch.ones(1)), []

        def transfer_batch_to_device(self, batch, device, index):
            return batch

        def loss(self, batch):
            self.modes.append(self.training)
            return self.weight[0] * batch

    objective = Fake().train()
    assert mean_loss(objective, [1.0, 2.0, 6.0]) == pytest.approx(3.0)
    assert objective.modes == [False] * 3
    assert objective.training


@torch.no_grad()
def test_a_language_model_gets_room_for_a_picture_and_says_the_same(
    published, language_config, with_opinions, lexicon
):
    model = with_opinions(LanguageModel(language_config))
    roomy, tokenizer = parents.load_language(
        published("lm", parents.save_with_tokenizer(model, lexicon))
    )
    assert roomy.config.context > model.config.context
    tokens = torch.randint(10, 500, (2, model.config.context))
    torch.testing.assert_close(roomy.eval()(tokens), model(tokens), atol=1e-5, rtol=1e-5)
    assert tokenizer.encode("a dog") == lexicon.encode("a dog")
    longer = dataclasses.replace(language_config, context=300)
    kept = published("lm", parents.save_with_tokenizer(LanguageModel(longer), lexicon), "tiny-2")
    assert parents.load_language(kept)[0].config.context == 300


def test_towers_learn_as_told_and_what_is_frozen_is_counted(language_config, vision_config):
    model = AlignmentModel(AlignmentConfig(vision_config, language_config, dim=8))
    config = AlignmentTrainConfig(vision_rate=0.0, language_rate=0.5, optimizer="adamw")
    align = Align(model, config)
    vision = VisionTransformer(vision_config)
    counts = parents.take_over(align, {"vision": vision}, lambda: 0.0)
    assert counts["frozen"] == len([*vision.parameters()])
    optimizer = align.configure_optimizers()["optimizer"]
    scale = {id(p): group["scale"] for group in optimizer.param_groups for p in group["params"]}
    of = {name: scale[id(p)] for name, p in model.named_parameters()}
    assert {of[name] for name in of if name.startswith("vision.")} == {0.0}
    assert {of[name] for name in of if name.startswith("language.")} == {0.5}
    assert of["vision_proj.weight"] == of["language_proj.weight"] == of["log_scale"] == 1.0
