"""The masked autoencoder: the peer's loss with the peer's noise, and no leaks."""

import pytest
import torch
from transformers import ViTMAEConfig, ViTMAEForPreTraining

from phase1_foundation.vision.mae import MaskedAutoencoder, normalised, patchify, unpatchify
from shared.errors import VermeilError

SIZE, PATCH, SIDE = 16, 4, 4


@pytest.fixture
def model(make_vit) -> MaskedAutoencoder:
    torch.manual_seed(0)
    model = MaskedAutoencoder(make_vit(classes=0), dim=24, layers=2, heads=3, mask_ratio=0.75)
    with torch.no_grad():
        for parameter in model.decoder.parameters():
            parameter.normal_(float(parameter.dim() == 1), 0.3)
    return model.eval()


@pytest.fixture
def pictures() -> torch.Tensor:
    return torch.randn(3, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def noise() -> torch.Tensor:
    return torch.rand(3, SIDE * SIDE, generator=torch.Generator().manual_seed(2))


def peer_of(model: MaskedAutoencoder) -> ViTMAEForPreTraining:
    """transformers' port of the paper's code, with our weights under its names."""
    config = model.encoder.config
    peer = ViTMAEForPreTraining(
        ViTMAEConfig(
            hidden_size=config.dim, num_hidden_layers=config.layers,
            num_attention_heads=config.heads, intermediate_size=config.mlp_dim,
            layer_norm_eps=1e-6, image_size=SIZE, patch_size=PATCH, decoder_hidden_size=24,
            decoder_num_hidden_layers=2, decoder_num_attention_heads=3,
            decoder_intermediate_size=96, mask_ratio=0.75, norm_pix_loss=True,
        )
    )  # fmt: skip
    norms = {"norm1": "layernorm_before", "norm2": "layernorm_after"}
    others = {
        "encoder.cls_token": "vit.embeddings.cls_token",
        "encoder.pos_embed": "vit.embeddings.position_embeddings",
        "encoder.patch_embed.proj": "vit.embeddings.patch_embeddings.projection",
        "encoder.norm": "vit.layernorm",
        "decoder.embed": "decoder.decoder_embed",
        "decoder.mask_token": "decoder.mask_token",
        "decoder.pos_embed": "decoder.decoder_pos_embed",
        "decoder.norm": "decoder.decoder_norm",
        "decoder.head": "decoder.decoder_pred",
    }
    theirs = {}
    for name, tensor in model.state_dict().items():
        part, _, rest = name.partition(".blocks.")
        if not rest:
            stem, _, kind = name.rpartition(".")
            theirs[f"{others[stem]}.{kind}" if stem in others else others[name]] = tensor
            continue
        number, _, rest = rest.partition(".")
        stem, _, kind = rest.rpartition(".")
        layer = {"encoder": "vit.layers", "decoder": "decoder.decoder_layers"}[part] + f".{number}"
        if stem == "attn.qkv":
            for letter, piece in zip("qkv", tensor.chunk(3), strict=True):
                theirs[f"{layer}.attention.{letter}_proj.{kind}"] = piece
        elif stem == "attn.proj":
            theirs[f"{layer}.attention.o_proj.{kind}"] = tensor
        else:
            theirs[f"{layer}.{norms.get(stem, stem)}.{kind}"] = tensor
    peer.load_state_dict(theirs, strict=True)
    return peer.eval()


@torch.no_grad()
def test_the_same_noise_gives_the_peers_loss(model, pictures, noise):
    expected = peer_of(model)(pixel_values=pictures, noise=noise)
    prediction, hidden = model(pictures, noise)
    assert torch.equal(hidden, expected.mask.bool())
    torch.testing.assert_close(prediction, expected.logits, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(model.loss(pictures, noise), expected.loss, atol=1e-6, rtol=1e-6)


def test_patchify_by_hand():
    pictures = torch.arange(2 * 3 * 4 * 4).float().view(2, 3, 4, 4)
    patches = patchify(pictures, 2)
    assert patches.shape == (2, 4, 12)
    for b, row, column in ((0, 0, 1), (1, 1, 0)):
        by_hand = [
            pictures[b, channel, 2 * row + y, 2 * column + x]
            for y in range(2)
            for x in range(2)
            for channel in range(3)
        ]
        assert patches[b, 2 * row + column].tolist() == by_hand
    assert torch.equal(unpatchify(patches, 2), pictures)


def test_normalised_by_hand():
    patches = torch.tensor([[[1.0, 2.0, 3.0, 6.0], [5.0, 5.0, 5.0, 5.0]]])
    deviation = (14 / 3 + 1e-6) ** 0.5  # squares of -2, -1, 0, 3 over n - 1
    expected = torch.tensor([-2.0, -1.0, 0.0, 3.0]) / deviation
    torch.testing.assert_close(normalised(patches)[0, 0], expected)
    assert normalised(patches)[0, 1].abs().max() == 0


@torch.no_grad()
def test_the_patches_with_the_largest_noise_are_hidden(model, pictures, noise):
    _, hidden = model(pictures, noise)
    assert hidden.sum(dim=1).tolist() == [12, 12, 12]
    assert (noise.masked_fill(~hidden, 2).amin(1) > noise.masked_fill(hidden, -1).amax(1)).all()


@torch.no_grad()
def test_the_encoder_does_not_see_hidden_patches(model, pictures, noise):
    before, hidden = model(pictures, noise)
    patches = patchify(pictures, PATCH)
    changed = torch.where(hidden[..., None], torch.randn_like(patches), patches)
    after, _ = model(unpatchify(changed, PATCH), noise)
    assert torch.equal(before, after)
    changed = torch.where(hidden[..., None], patches, torch.randn_like(patches))
    after, _ = model(unpatchify(changed, PATCH), noise)
    assert (before != after).any()


def test_no_loss_from_visible_patches(model, pictures, noise, monkeypatch):
    prediction, hidden = model(pictures, noise)
    prediction = prediction.detach().requires_grad_()
    monkeypatch.setattr(model, "forward", lambda x, noise: (prediction, hidden))
    loss = model.loss(pictures, noise)
    loss.backward()
    assert ((prediction.grad != 0).any(dim=-1) == hidden).all()
    target = normalised(patchify(pictures, PATCH))
    by_hand = [
        ((prediction[b, n] - target[b, n]) ** 2).mean().item()
        for b in range(3)
        for n in range(16)
        if hidden[b, n]
    ]
    assert loss.item() == pytest.approx(sum(by_hand) / 36, rel=1e-5)


def test_noise_is_new_every_time_and_follows_the_seed(model, pictures):
    losses = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        losses.append(model.loss(pictures).item())
    assert losses[0] == losses[1] != losses[2]


def test_all_of_it_learns(model, pictures):
    model.loss(pictures).backward()
    still = [n for n, p in model.named_parameters() if p.grad is None or not p.grad.abs().sum()]
    assert still == []


def test_reconstruct_keeps_what_is_seen(model, pictures):
    shown, seen, drawn = (patchify(x, PATCH) for x in model.reconstruct(pictures, seed=5))
    assert torch.equal(shown, patchify(pictures, PATCH))
    grey = (seen == 0).all(dim=-1)
    assert grey.sum(dim=1).tolist() == [12, 12, 12]
    assert torch.equal(seen[~grey], shown[~grey]) and torch.equal(drawn[~grey], shown[~grey])
    assert (drawn[grey] != shown[grey]).all()
    again = model.reconstruct(pictures, seed=5)[1]
    assert torch.equal(patchify(again, PATCH), seen)
    assert not torch.equal(model.reconstruct(pictures, seed=6)[1], again)


@torch.no_grad()
def test_a_perfect_prediction_is_the_picture(model, pictures, monkeypatch):
    target = normalised(patchify(pictures, PATCH))
    right = model.forward
    monkeypatch.setattr(model, "forward", lambda x, noise: (target, right(x, noise)[1]))
    torch.testing.assert_close(model.reconstruct(pictures, seed=0)[2], pictures)


@pytest.mark.parametrize(
    ("ratio", "says"), [(0.0, "0.0 leaves 16 of 16"), (0.99, "0.99 leaves 0 of 16")]
)
def test_impossible_ratios(make_vit, ratio, says):
    with pytest.raises(VermeilError, match=says):
        MaskedAutoencoder(make_vit(), dim=24, layers=1, heads=3, mask_ratio=ratio)


def test_impossible_parts(make_vit):
    with pytest.raises(VermeilError, match="mixes hidden patches"):
        MaskedAutoencoder(make_vit(stem="conv"), dim=24, layers=1, heads=3, mask_ratio=0.75)
    with pytest.raises(VermeilError, match="decoder_dim 24 is not a multiple of decoder_heads 5"):
        MaskedAutoencoder(make_vit(), dim=24, layers=1, heads=5, mask_ratio=0.75)
