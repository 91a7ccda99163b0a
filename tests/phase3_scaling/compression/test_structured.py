"""What is cut is what matters least, and what is left is an ordinary model that computes the same.

Units are made dead by hand: a model without them has to give equal outputs.
"""

import dataclasses
import sys

import pytest
import torch
from torch import nn

from phase1_foundation.diffusion.model import DiffusionConfig, DiffusionModel
from phase1_foundation.language.model import LanguageModel, LanguageModelConfig
from phase1_foundation.vision.resnet import ResNet, ResNetConfig
from phase1_foundation.vision.vit import VisionTransformer, VisionTransformerConfig
from phase2_multimodal.alignment.model import AlignmentConfig, AlignmentModel
from phase2_multimodal.text_to_image.model import TextToImageConfig, TextToImageModel
from phase2_multimodal.vision_language.model import VisionLanguageConfig, VisionLanguageModel
from phase3_scaling.compression.shape import (
    CUTS,
    fewer_heads,
    multiply_adds,
    multiply_adds_of,
    smaller,
)
from phase3_scaling.compression.structured import cut_to, structured
from shared.errors import VermeilError

LANGUAGE = LanguageModelConfig(50, dim=32, layers=3, heads=4, kv_heads=2, mlp_dim=48, context=32)
VISION = VisionTransformerConfig(16, 4, dim=16, layers=3, heads=2, mlp_dim=48, classes=5,
                                 stem="conv", pool="mean")  # fmt: skip
HEADLESS = dataclasses.replace(VISION, classes=0)
TOKENS = torch.arange(24).view(2, 12)
PICTURES = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(1))
TIMES = torch.tensor([0.3, 0.8])


def opinionated(model: nn.Module) -> nn.Module:
    """Random weights everywhere, and running statistics that are not those of new models."""
    torch.manual_seed(0)
    with torch.no_grad():
        for name, tensor in [*model.named_parameters(), *model.named_buffers()]:
            if "running" in name:
                tensor.uniform_(0.5, 1.5)
            elif isinstance(tensor, nn.Parameter):
                tensor.normal_(float("norm" in name and "weight" in name), 0.3)
    return model.eval()


def read(model):
    return model(TOKENS)


def see(model):
    return model(PICTURES)


def describe(model):
    """A captioner's words after a picture."""
    prefix = model.prefix(PICTURES, TOKENS[0, :2])
    return model.hidden_states(prefix, TOKENS, torch.ones_like(TOKENS))


def align(model):
    lengths = torch.tensor([12, 7])
    return model.embed_pictures(PICTURES) @ model.embed_texts(TOKENS, lengths).T


def draw(model):
    return model(PICTURES, TIMES, torch.ones(2, 1, model.config.dim))


def draw_words(model):
    return model(PICTURES, TIMES, model.read(TOKENS))


def captioner() -> VisionLanguageModel:
    return VisionLanguageModel(VisionLanguageConfig(HEADLESS, LANGUAGE))


def drawer(network="unet") -> DiffusionModel:
    return DiffusionModel(
        DiffusionConfig(16, ("a", "b"), network=network, widths=(16, 32), layers=3, heads=2,
                        mlp_dim=48, patch=2)
    )  # fmt: skip


MODELS = {
    "lm": (lambda: LanguageModel(LANGUAGE), read),
    "vision": (lambda: VisionTransformer(VISION), see),
    "caption": (captioner, describe),
    "alignment": (lambda: AlignmentModel(AlignmentConfig(HEADLESS, LANGUAGE, dim=8)), align),
    "unet": (drawer, draw),
    "dit": (lambda: drawer("dit"), draw),
    "text_to_image": (
        lambda: TextToImageModel(TextToImageConfig(drawer().config, LANGUAGE)), draw_words,
    ),
}  # fmt: skip


def blocks_of(model: nn.Module) -> list[nn.Module]:
    """All blocks with an attention and a feed-forward layer of their own."""
    return [m for m in model.modules() if hasattr(m, "attn") and hasattr(m, "mlp")]


def kill_units(model: nn.Module, units: range) -> None:
    """Leave nothing of some feed-forward units, others in each block."""
    with torch.no_grad():
        for index, block in enumerate(blocks_of(model)):
            fc1, fc2 = block.mlp.fc1, block.mlp.fc2
            width = fc2.in_features
            dead = (torch.tensor(units) + 5 * index) % width
            for rows in (dead, dead + width)[: fc1.out_features // width]:  # gate and up
                for parameter in fc1.parameters():
                    parameter[rows] = 0
            fc2.weight[:, dead] = 0


def kill_block(block: nn.Module) -> None:
    """Leave nothing of what it adds to the stream."""
    with torch.no_grad():
        for name, parameter in block.named_parameters():
            if ".proj." in name or ".fc2." in name:
                parameter.zero_()


def with_trunks(config, **changes):
    """The configuration with that changed in all its stacks of blocks."""
    if hasattr(config, "layers"):
        return dataclasses.replace(config, **changes)
    parts = {f.name: getattr(config, f.name) for f in dataclasses.fields(config)}
    return dataclasses.replace(
        config,
        **{n: dataclasses.replace(p, **changes) for n, p in parts.items() if hasattr(p, "layers")},
    )


@pytest.mark.parametrize("name", MODELS)
@torch.no_grad()
def test_dead_units_and_layers_go_and_nothing_else(name):
    make, run = MODELS[name]
    model = opinionated(make())
    kill_units(model, range(16))
    for name, module in model.named_modules():
        if name.endswith("blocks") and "projector" not in name:
            kill_block(module[1])
    before = {n: t.clone() for n, t in model.state_dict().items()}
    small = cut_to(model, with_trunks(model.config, layers=2, mlp_dim=32), run)
    assert type(small) is type(model)
    torch.testing.assert_close(run(small), run(model), rtol=1e-4, atol=1e-5)
    assert multiply_adds(small, run) < multiply_adds(model, run)
    for n, tensor in model.state_dict().items():
        assert torch.equal(tensor, before[n])


@torch.no_grad()
def test_dead_heads_and_channels_go_and_nothing_else():
    """Half of the groups of heads, and half of the residual stream, left empty.

    The root mean square of a half empty stream is sqrt(1/2) of that of its full half: of the cut
    model the norms' gains have to be larger.
    """
    config = dataclasses.replace(LANGUAGE, norm_eps=1e-12)
    model = opinionated(LanguageModel(config))
    dead = torch.zeros(32, dtype=torch.bool)
    dead[torch.randperm(32, generator=torch.Generator().manual_seed(2))[:16]] = True
    model.embed.weight[:, dead] = 0
    for index, block in enumerate(blocks_of(model)):
        for norm in (block.norm1, block.norm2):
            norm.weight[dead] = 0
        group = index % 2  # of two: 2 query heads of 8, their key and value
        rows = [range(16 * group, 16 * group + 16), range(32 + 8 * group, 40 + 8 * group),
                range(48 + 8 * group, 56 + 8 * group)]  # fmt: skip
        block.attn.qkv.weight[[r for part in rows for r in part]] = 0
        block.attn.qkv.weight[:, dead] = 0
        block.attn.proj.weight[:, list(rows[0])] = 0
        block.attn.proj.weight[dead] = 0
        block.mlp.fc1.weight[:, dead] = 0
        block.mlp.fc2.weight[dead] = 0
    model.norm.weight[dead] = 0
    fewer = dataclasses.replace(config, dim=16, heads=2, kv_heads=1)
    small = cut_to(model, fewer, read)
    for name, parameter in small.named_parameters():
        if "norm" in name:
            parameter.mul_(2**0.5)
    torch.testing.assert_close(read(small), read(model), rtol=1e-4, atol=1e-5)
    assert small.head.weight is small.embed.weight


def test_the_stem_shrinks_with_the_stream():
    model = opinionated(VisionTransformer(VISION))
    small = cut_to(model, dataclasses.replace(VISION, dim=8, heads=1), see)
    assert [c.out_channels for c in small.patch_embed.modules() if isinstance(c, nn.Conv2d)] == [
        c.out_channels
        for c in VisionTransformer(small.config).patch_embed.modules()
        if isinstance(c, nn.Conv2d)
    ]
    kept = {tuple(row.tolist()) for row in small.patch_embed.proj.bias[:, None]}
    assert kept < {tuple(row.tolist()) for row in model.patch_embed.proj.bias[:, None]}
    assert see(small).shape == (2, 5)


@pytest.mark.parametrize("name, share", [("lm", 0.35), ("vision", 0.5), ("alignment", 0.8)])
def test_the_share_is_kept(name, share):
    make, run = MODELS[name]
    model = make()
    config = smaller(model, run, share, CUTS)
    got = multiply_adds_of(type(model), config, run) / multiply_adds(model, run)
    assert 0.6 * share < got <= share
    assert multiply_adds(type(model)(config), run) == multiply_adds_of(type(model), config, run)


def test_heads_keep_their_width():
    """And the queries of one key go together; a pair of models keeps the widths that they join."""
    assert list(fewer_heads(LANGUAGE, CUTS)) == [
        (0.5, dataclasses.replace(LANGUAGE, dim=16, heads=2, kv_heads=1)), (1.0, LANGUAGE),
    ]  # fmt: skip
    assert [c.dim for _, c in fewer_heads(VISION, CUTS)] == [8, 16]
    pair = AlignmentConfig(HEADLESS, LANGUAGE, dim=8)
    assert list(fewer_heads(pair, CUTS)) == [(1.0, pair)]


def test_multiply_adds_by_hand():
    c, t = LANGUAGE, 12
    scores = 2 * t * t * c.dim  # query with key, weights with value
    block = t * c.dim * (c.dim + 2 * c.dim // 2 + c.dim) + scores + 3 * t * c.dim * c.mlp_dim
    expected = 2 * (3 * block + t * c.dim * c.vocab_size)
    assert multiply_adds(LanguageModel(c), read) == expected
    with torch.no_grad():
        assert multiply_adds(LanguageModel(c), read) == expected


def test_counting_leaves_the_model_alone():
    model = VisionTransformer(VISION).train()
    before = {n: t.clone() for n, t in model.state_dict().items()}
    multiply_adds(model, see)
    assert model.training
    assert all(torch.equal(t, before[n]) for n, t in model.state_dict().items())


def test_taylor_keeps_what_the_loss_needs():
    """Large weights that no output depends on: magnitude keeps them, the loss does not miss them.

    The second block does nothing, since its norms answer 0; the third is small, and does something.
    """
    model = opinionated(VisionTransformer(VISION))
    with torch.no_grad():
        idle, busy = model.blocks[1], model.blocks[2]
        for name, parameter in idle.named_parameters():
            parameter.fill_(2.0 if name.endswith("weight") else 0.0)
        for norm in (idle.norm1, idle.norm2):
            norm.weight.zero_()
        for last in (busy.attn.proj, busy.mlp.fc2):
            last.weight.mul_(0.5)
        for block in (model.blocks[0], busy):
            block.mlp.fc1.weight[:16] = 3.0
            block.mlp.fc1.bias[:16] = -500.0  # gelu answers 0

    labels = torch.tensor([1, 3])

    def loss(module):
        return nn.functional.cross_entropy(module(PICTURES), labels)

    config = dataclasses.replace(VISION, layers=2, mlp_dim=32)
    small = cut_to(model, config, see, "taylor", loss)
    torch.testing.assert_close(see(small), see(model), rtol=1e-2, atol=1e-2)
    assert torch.equal(small.blocks[0].mlp.fc1.bias, model.blocks[0].mlp.fc1.bias[16:])
    assert (cut_to(model, config, see).blocks[0].mlp.fc1.bias == -500).any()
    assert all(p.grad is None for p in model.parameters())


@pytest.mark.parametrize("name", ["lm", "vision"])
def test_what_is_saved_loads_without_the_library(name, tmp_path, monkeypatch):
    make, run = MODELS[name]
    small = structured(opinionated(make()), run, 0.5)
    small.save_pretrained(tmp_path)
    monkeypatch.setitem(sys.modules, "torch_pruning", None)
    loaded = type(small).from_pretrained(tmp_path)
    assert loaded.config == small.config
    assert torch.equal(run(loaded), run(small))
    assert not any(type(m).__module__.startswith("torch_pruning") for m in loaded.modules())


@pytest.mark.parametrize("share", [0.0, 1.0, -0.5, float("nan")])
def test_a_share_that_is_none_is_refused(share):
    with pytest.raises(VermeilError, match="no share"):
        structured(LanguageModel(LANGUAGE), read, share)


def test_what_cannot_be_cut_is_named():
    with pytest.raises(VermeilError, match="ResNet has no blocks"):
        structured(ResNet(ResNetConfig(16, 3)), see)
    with pytest.raises(VermeilError, match=r"cut in layers has 0.05 .* the least is 0\.\d\d"):
        structured(LanguageModel(LANGUAGE), read, 0.05, cut=("layers",))
    with pytest.raises(VermeilError, match=r"'layer' is nothing that can be cut.*'layers'"):
        structured(LanguageModel(LANGUAGE), read, cut=("layer",))
    with pytest.raises(VermeilError, match="needs a loss"):
        structured(LanguageModel(LANGUAGE), read, 0.5, "taylor")
