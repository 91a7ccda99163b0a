"""The language model: causal, the same with and without cache, loaded strictly."""

import json
import math

import pytest
import torch
from safetensors.torch import load_file, save_file

from phase1_foundation.language.model import KVCache, LanguageModel, LanguageModelConfig
from shared.errors import VermeilError


@pytest.fixture
def tokens() -> torch.Tensor:
    return torch.randint(600, (3, 21), generator=torch.Generator().manual_seed(1))


@torch.no_grad()
def test_a_later_token_changes_no_earlier_logits(model, tokens):
    before = model(tokens)
    changed = tokens.clone()
    changed[:, 13] = (changed[:, 13] + 1) % 600
    after = model(changed)
    assert torch.equal(before[:, :13], after[:, :13])
    assert (before[:, 13:] != after[:, 13:]).any(dim=-1).all()


@pytest.mark.parametrize("chunks", [[21], [1] * 21, [5, 16], [20, 1], [1, 7, 1, 12], [8, 8, 5]])
@pytest.mark.parametrize("kv_heads", [1, 4])
@torch.no_grad()
def test_cached_equals_uncached(make_model, tokens, chunks, kv_heads):
    model = make_model(kv_heads=kv_heads)
    cache = KVCache(model, 3, capacity=30)
    parts = [model(part, cache=cache) for part in tokens.split(chunks, dim=1)]
    torch.testing.assert_close(torch.cat(parts, dim=1), model(tokens), atol=1e-5, rtol=1e-5)
    assert cache.length == 21


@torch.no_grad()
def test_full_attention_over_a_prefix_and_causal_after_it(model, tokens):
    """As pictures will enter: the mask against attention worked out with -inf, block by block."""
    t, prefix = tokens.shape[1], 6
    mask = torch.ones(t, t, dtype=torch.bool).tril()
    mask[:prefix, :prefix] = True
    actual = model(tokens, mask=mask[None, None])

    x, config = model.embed(tokens), model.config
    d = config.dim // config.heads
    angle = torch.outer(torch.arange(t), 10_000.0 ** (-torch.arange(0, d, 2) / d))
    turn = torch.polar(torch.ones_like(angle), angle)

    def rotated(x):
        turned = torch.complex(*x.chunk(2, dim=-1)) * turn
        return torch.cat([turned.real, turned.imag], dim=-1)

    for block in model.blocks:
        heads = block.attn.qkv(block.norm1(x)).view(3, t, 8, d).transpose(1, 2)
        query, key, value = rotated(heads[:, :4]), rotated(heads[:, 4:6]), heads[:, 6:]
        scores = query @ key.repeat_interleave(2, 1).transpose(2, 3) / d**0.5
        scores = scores.masked_fill(~mask, float("-inf")).softmax(dim=-1)
        mixed = scores @ value.repeat_interleave(2, 1)
        x = x + block.attn.proj(mixed.transpose(1, 2).reshape(3, t, -1))
        x = x + block.mlp(block.norm2(x))
    expected = model.head(model.norm(x))
    torch.testing.assert_close(actual, expected, atol=1e-4, rtol=1e-4)

    changed = tokens.clone()
    changed[:, prefix - 1] += 1
    assert (model(changed, mask=mask[None, None])[:, 0] != actual[:, 0]).any()
    assert (model(tokens)[:, 0] != actual[:, 0]).any()


@torch.no_grad()
def test_logits_of_some_places_are_those_of_all(model, tokens):
    where = torch.rand(tokens.shape, generator=torch.Generator().manual_seed(2)) < 0.4
    torch.testing.assert_close(model.logits_at(tokens, where), model(tokens)[where])


@torch.no_grad()
def test_embeddings_can_take_the_place_of_tokens(model, tokens):
    states = model.hidden_states(model.embed(tokens))
    assert torch.equal(model.head(states), model(tokens))


@torch.no_grad()
def test_positions_can_be_given(model, tokens):
    places = torch.arange(21)
    assert torch.equal(model(tokens, positions=places), model(tokens))
    # Rotary positions are relative: all moved on is the same, and stretched is not.
    torch.testing.assert_close(
        model(tokens, positions=places + 30), model(tokens), atol=1e-3, rtol=1e-3
    )
    assert (model(tokens, positions=2 * places) - model(tokens)).abs().max() > 0.1


@torch.no_grad()
def test_loss_is_the_mean_negative_log_probability_of_the_next_token(model, tokens):
    probability = model(tokens[:, :-1]).softmax(dim=-1)
    total = 0.0
    for row in range(3):
        for place in range(20):
            total -= math.log(probability[row, place, tokens[row, place + 1]])
    assert model.loss(tokens).item() == pytest.approx(total / 60, rel=1e-5)


def test_an_untrained_model_knows_nothing():
    torch.manual_seed(0)
    config = LanguageModelConfig(600, 32, 2, 4, 4, 64, context=32)
    loss = LanguageModel(config).loss(torch.randint(600, (8, 33)))
    assert loss.item() == pytest.approx(torch.tensor(600).log().item(), abs=0.05)


def test_context_overflow(make_model):
    model = make_model(context=16)
    with pytest.raises(VermeilError, match="17 tokens do not fit the model's context of 16"):
        model(torch.zeros(1, 17, dtype=torch.long))
    cache = KVCache(model, 1, capacity=32)
    model(torch.zeros(1, 16, dtype=torch.long), cache=cache)
    with pytest.raises(VermeilError, match="17 tokens do not fit"):
        model(torch.zeros(1, 1, dtype=torch.long), cache=cache)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"dim": 30}, "dim 30 is not a multiple of heads 4"),
        ({"kv_heads": 3}, "heads 4 is not a multiple of kv_heads 3"),
        ({"kv_heads": 0}, "heads 4 is not a multiple of kv_heads 0"),
        ({"kv_heads": 8}, "heads 4 is not a multiple of kv_heads 8"),
        ({"dim": 12}, "dim / heads is 3"),
    ],
)
def test_impossible_shapes(make_model, changes, says):
    with pytest.raises(VermeilError, match=says):
        make_model(**changes)


# Saving and loading.


@pytest.mark.parametrize("tied", [True, False])
@torch.no_grad()
def test_saved_and_loaded(make_model, tokens, tmp_path, tied):
    model = make_model(tie_embeddings=tied)
    model.save_pretrained(tmp_path)
    loaded = LanguageModel.from_pretrained(tmp_path)
    assert loaded.config == model.config and not loaded.training
    assert torch.equal(loaded(tokens), model(tokens))
    assert (loaded.head.weight is loaded.embed.weight) is tied


def drop(tensors):
    del tensors["blocks.1.attn.qkv.weight"]


def add(tensors):
    tensors["blocks.2.attn.qkv.weight"] = torch.zeros(3)


def reshape(tensors):
    tensors["blocks.0.mlp.fc2.weight"] = tensors["blocks.0.mlp.fc2.weight"].T.contiguous()


@pytest.mark.parametrize(
    ("damage", "names"),
    [
        (drop, r"blocks\.1\.attn\.qkv\.weight"),
        (add, r"blocks\.2\.attn\.qkv\.weight"),
        (reshape, r"blocks\.0\.mlp\.fc2\.weight"),
    ],
)
def test_every_tensor_must_fit(model, tmp_path, damage, names):
    model.save_pretrained(tmp_path)
    tensors = load_file(tmp_path / "model.safetensors")
    damage(tensors)
    save_file(tensors, tmp_path / "model.safetensors")
    with pytest.raises(VermeilError, match=names) as error:
        LanguageModel.from_pretrained(tmp_path)
    assert str(tmp_path) in error.value.message and "LanguageModel" in error.value.message


def test_unknown_and_missing_keys_in_the_config(model, tmp_path):
    model.save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    assert config["class"] == "LanguageModel"
    (tmp_path / "config.json").write_text(json.dumps(config | {"kv_head": 2}))
    with pytest.raises(VermeilError, match="unknown key 'kv_head'"):
        LanguageModel.from_pretrained(tmp_path)
    del config["layers"]
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(VermeilError, match="layers"):
        LanguageModel.from_pretrained(tmp_path)
