"""ResNet-18 beside timm's, encoders loaded as what they are, and weights taken over."""

import json

import pytest
import timm
import torch

from phase1_foundation.train_vision import PRESETS, VisionConfig
from phase1_foundation.vision import encoders
from phase1_foundation.vision.resnet import ResNet, ResNetConfig
from phase1_foundation.vision.vit import VisionTransformer
from shared.artifact import Artifact, publish
from shared.errors import VermeilError


def published(model, folder) -> Artifact:
    manifest = {"id": "phase1/vision@x", "config": {}}
    return publish(folder / "vision-x", model.save_pretrained, manifest, "card")


@torch.no_grad()
def test_resnet18_is_timms():
    torch.manual_seed(0)
    ours = ResNet(ResNetConfig(size=224, classes=7)).eval()
    peer = timm.create_model("resnet18", pretrained=False, num_classes=7).eval()
    peer.load_state_dict(ours.net.state_dict(), strict=True)
    pictures = torch.randn(2, 3, 96, 96)
    assert torch.equal(ours(pictures), peer(pictures))
    pooled = peer.forward_head(peer.forward_features(pictures), pre_logits=True)
    torch.testing.assert_close(ours.embed(pictures), pooled, atol=1e-5, rtol=1e-5)
    assert ours.features(pictures).shape == (2, 9, 512)


@torch.no_grad()
def test_small_pictures_keep_their_size_in_the_stem():
    model = ResNet(ResNetConfig(size=32, classes=10)).eval()
    assert model.features(torch.randn(1, 3, 32, 32)).shape == (1, 16, 512)
    assert sum(p.numel() for p in model.parameters()) == 11_173_962  # kuangliu/pytorch-cifar's


@pytest.mark.parametrize("preset", ["smoke", "tiny"])
def test_made_from_a_preset(preset):
    config = PRESETS[preset].config
    model = encoders.make(config, classes=9)
    assert isinstance(model, VisionTransformer)
    assert (model.config.size, model.config.dim) == (config.size, config.dim)
    assert model.head.out_features == 9
    assert isinstance(encoders.make(VisionConfig(model="resnet18"), classes=3), ResNet)


def test_loaded_as_what_it_is(make_vit, tmp_path):
    for number, model in enumerate((make_vit(), ResNet(ResNetConfig(16, 4)).eval())):
        folder = tmp_path / str(number)
        loaded = encoders.load(published(model, folder))
        assert type(loaded) is type(model) and loaded.config == model.config
        pictures = torch.randn(2, 3, 16, 16)
        assert torch.equal(loaded(pictures), model(pictures))


def test_untrained_is_what_training_began_with(make_vit):
    trained = make_vit()
    torch.manual_seed(4)
    first = VisionTransformer(trained.config)
    state = torch.get_rng_state()
    again = encoders.untrained(trained, seed=4)
    assert torch.equal(torch.get_rng_state(), state), "nobody's random numbers are used up"
    assert all(
        torch.equal(a, b) for a, b in zip(first.parameters(), again.parameters(), strict=True)
    )


def test_weights_are_taken_over_but_for_the_head(make_vit, tmp_path):
    parent = make_vit(classes=0)
    child = make_vit(classes=7)
    with torch.no_grad():
        for parameter in child.parameters():
            parameter.zero_()
    counts = encoders.take_over(child, published(parent, tmp_path))
    assert counts == {"taken": len(parent.state_dict()), "new": 2, "frozen": 0}
    pictures = torch.randn(2, 3, 16, 16)
    assert torch.equal(child.embed(pictures), parent.embed(pictures))
    assert child.head.weight.abs().sum() == 0


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"dim": 64}, r"blocks\.0\.attn\.proj\.bias .* is \[32\], here \[64\]"),
        ({"layers": 3}, r"blocks\.2\.attn\.proj\.bias .* is None, here \[32\]"),
        ({"layers": 1}, r"blocks\.1\.attn\.proj\.bias .* is \[32\], here None"),
        ({"stem": "conv"}, r"patch_embed\.layers\.0\.weight .* is None"),
    ],
)
def test_another_shape_cannot_be_taken_over(make_vit, tmp_path, changes, says):
    parent = published(make_vit(), tmp_path)
    with pytest.raises(VermeilError, match=says) as error:
        encoders.take_over(make_vit(**changes), parent)
    assert str(tmp_path) in error.value.hint


def test_what_resnet18_cannot():
    for changes in ({"objective": "mae"}, {"encoder": "vision@tiny"}):
        with pytest.raises(VermeilError, match="resnet18 has no patches"):
            VisionConfig(model="resnet18", **changes).check()


def test_config_names_the_kind(make_vit, tmp_path):
    artifact = published(make_vit(), tmp_path)
    assert json.loads((artifact.folder / "config.json").read_text())["class"] == "VisionTransformer"
