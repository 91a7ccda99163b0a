"""The vision encoder: timm's weights give timm's outputs, and what cannot be is refused."""

import dataclasses

import pytest
import timm
import torch
from timm.layers import resample_abs_pos_embed
from torch import nn

from phase1_foundation.vision.vit import ConvStem, VisionTransformer, VisionTransformerConfig
from shared.errors import VermeilError


@pytest.fixture
def pictures() -> torch.Tensor:
    return torch.randn(3, 3, 16, 16, generator=torch.Generator().manual_seed(1))


def shaken(model: nn.Module) -> nn.Module:
    """Random weights everywhere: zeros and ones would hide what is left out."""
    torch.manual_seed(3)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.05)
    return model.eval()


@pytest.mark.parametrize("pool", ["cls", "mean"])
@torch.no_grad()
def test_timm_weights_give_timm_outputs(pool):
    ways = {"cls": {}, "mean": {"global_pool": "avg", "fc_norm": False}}
    peer = shaken(
        timm.create_model("vit_tiny_patch16_224", pretrained=False, num_classes=17, **ways[pool])
    )
    ours = VisionTransformer(
        VisionTransformerConfig(224, 16, 192, 12, 3, 768, classes=17, pool=pool)
    )
    ours.eval().load_state_dict(peer.state_dict(), strict=True)
    pictures = torch.randn(2, 3, 224, 224)
    pairs = {
        "features": (ours.features(pictures), peer.forward_features(pictures)),
        "logits": (ours(pictures), peer(pictures)),
    }
    embedded = peer.forward_head(peer.forward_features(pictures), pre_logits=True)
    pairs["embedded"] = (ours.embed(pictures), embedded)
    for name, (actual, expected) in pairs.items():
        torch.testing.assert_close(actual, expected, atol=1e-5, rtol=1e-5, msg=name)
    peer.load_state_dict(ours.state_dict(), strict=True)


@torch.no_grad()
def test_shapes_of_features(make_vit, pictures):
    model = make_vit()
    assert model.features(pictures).shape == (3, 1 + 16, 32)
    assert model.embed(pictures).shape == (3, 32)
    assert model(pictures).shape == (3, 5)
    headless = make_vit(classes=0)
    assert torch.equal(headless(pictures), headless.embed(pictures))


@torch.no_grad()
def test_tokens_are_patches_row_by_row(make_vit, pictures):
    """One block's worth of mixing aside, a changed patch changes its own token most."""
    model = make_vit()
    changed = pictures.clone()
    changed[:, :, 4:8, 8:12] += 1  # row 1, column 2 of 4
    moved = (model.embed_patches(changed) - model.embed_patches(pictures)).abs().sum(dim=(0, 2))
    assert moved.nonzero().flatten().tolist() == [1 * 4 + 2]


@torch.no_grad()
def test_encode_takes_any_patches_in_their_order(make_vit, pictures):
    """What a masked autoencoder asks: hidden patches have no part in it."""
    model = make_vit()
    patches = model.embed_patches(pictures)
    order = torch.tensor([7, 2, 11])
    some = model.encode(patches[:, order])
    assert some.shape == (3, 4, 32)
    again = model.encode(patches[:, order.flip(0)])
    torch.testing.assert_close(some[:, 1:], again[:, 1:].flip(1), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(some[:, 0], again[:, 0], atol=1e-5, rtol=1e-5)


# The convolutional stem.


@pytest.mark.parametrize("patch", [2, 4, 16])
def test_conv_stem_makes_as_many_patches(patch):
    stem = ConvStem(patch, 3, 64)
    assert stem(torch.randn(2, 3, 32, 32)).shape == (2, (32 // patch) ** 2, 64)
    convolutions = [m for m in stem.modules() if isinstance(m, nn.Conv2d)]
    widths = [m.out_channels for m in convolutions]
    assert widths == {2: [64, 64], 4: [32, 64, 64], 16: [8, 16, 32, 64, 64]}[patch]
    assert [m.kernel_size for m in convolutions][-1] == (1, 1)


@torch.no_grad()
def test_conv_stem_sees_beyond_the_patch(make_vit, pictures):
    model = make_vit(stem="conv")
    changed = pictures.clone()
    changed[:, :, 4:8, 8:12] += 1
    moved = (model.embed_patches(changed) - model.embed_patches(pictures)).abs().sum(dim=(0, 2))
    assert set(moved.nonzero().flatten().tolist()) > {6}, "neighbours too"


# What cannot be.


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"size": 30}, "size 30 is not a multiple of patch 4"),
        ({"patch": 0}, "size 16 is not a multiple of patch 0"),
        ({"patch": 32}, "size 16 is not a multiple of patch 32"),
        ({"heads": 5}, "dim 32 is not a multiple of heads 5"),
        ({"size": 15, "patch": 3, "stem": "conv"}, "never makes patches of 3"),
        ({"patch": 1, "stem": "conv"}, "never makes patches of 1"),
    ],
)
def test_impossible_shapes(make_vit, changes, says):
    with pytest.raises(VermeilError, match=says):
        make_vit(**changes)


def test_pictures_of_another_size(make_vit):
    with pytest.raises(VermeilError, match="pictures of 32x16 pixels, but the model takes 16x16"):
        make_vit()(torch.randn(1, 3, 16, 32))


# Training and saving.


@pytest.mark.parametrize("stem", ["patch", "conv"])
def test_an_untrained_encoder_knows_nothing_and_all_of_it_learns(stem, pictures):
    torch.manual_seed(0)
    model = VisionTransformer(VisionTransformerConfig(16, 4, 32, 2, 2, 64, classes=9, stem=stem))
    loss = nn.functional.cross_entropy(model(pictures), torch.tensor([0, 4, 8]))
    assert loss.item() == pytest.approx(torch.tensor(9.0).log().item(), abs=0.1)
    loss.backward()
    still = [n for n, p in model.named_parameters() if p.grad is None or not p.grad.abs().sum()]
    assert still == []


@pytest.mark.parametrize("changes", [{}, {"classes": 0, "pool": "mean"}, {"stem": "conv"}])
@torch.no_grad()
def test_saved_and_loaded(make_vit, pictures, tmp_path, changes):
    model = make_vit(**changes)
    model.save_pretrained(tmp_path)
    loaded = VisionTransformer.from_pretrained(tmp_path)
    assert loaded.config == model.config and not loaded.training
    assert torch.equal(loaded(pictures), model(pictures))


@pytest.mark.parametrize("stem", ["patch", "conv"])
@torch.no_grad()
def test_at_its_own_size_it_is_the_same_without_its_head(make_vit, pictures, stem):
    model = make_vit(stem=stem)
    same = model.at_size(16).eval()
    assert torch.equal(same(pictures), model.embed(pictures))
    assert same.config == dataclasses.replace(model.config, classes=0)


@pytest.mark.parametrize("size", [8, 24, 32])
@torch.no_grad()
def test_at_another_size_positions_are_as_timm_resamples_them(make_vit, size):
    model = make_vit()
    other = model.at_size(size).eval()
    side = size // 4
    expected = resample_abs_pos_embed(model.pos_embed, (side, side), (4, 4))
    torch.testing.assert_close(other.pos_embed, expected, atol=1e-6, rtol=1e-5)
    assert other.features(torch.randn(2, 3, size, size)).shape == (2, 1 + side**2, 32)
    changed = [n for n, p in other.named_parameters() if not torch.equal(p, model.state_dict()[n])]
    assert changed == ["pos_embed"]
    with pytest.raises(VermeilError, match="not a multiple"):
        model.at_size(10)
