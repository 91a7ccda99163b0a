"""The diffusion model: conditions, guidance, and what the objective measures."""

import dataclasses

import pytest
import torch

from phase1_foundation.diffusion.dit import AdaptiveBlock, sincos_places
from phase1_foundation.diffusion.model import Condition, DiffusionConfig, DiffusionModel
from phase1_foundation.diffusion.objective import Denoise
from shared.errors import VermeilError
from shared.train_config import TrainConfig

SMALL = {"size": 8, "classes": ("cat", "dog", "sun"), "heads": 2, "mlp_dim": 32, "layers": 2}
CONFIGS = {
    "unet": DiffusionConfig(**SMALL, network="unet", patch=1, widths=(8, 16)),
    "dit": DiffusionConfig(**SMALL, network="dit", patch=2, widths=(16,)),
}


def awake(kind: str, seed: int = 0) -> DiffusionModel:
    """A model whose zero-initialised parts have weights, as after training."""
    torch.manual_seed(seed)
    model = DiffusionModel(CONFIGS[kind]).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    return model


@pytest.mark.parametrize("kind", CONFIGS)
def test_an_untrained_model_answers_nothing(kind):
    model = DiffusionModel(CONFIGS[kind])
    condition = model.condition(torch.tensor([0, 2]))
    answer = model(torch.randn(2, 3, 8, 8), torch.tensor([0.1, 0.9]), condition.tokens)
    assert torch.equal(answer, torch.zeros(2, 3, 8, 8))


def test_a_new_block_is_the_identity():
    block = AdaptiveBlock(16, 2, 32)
    torch.nn.init.zeros_(block.modulation.weight)
    torch.nn.init.zeros_(block.modulation.bias)
    x = torch.randn(2, 5, 16)
    assert torch.equal(block(x, vector=torch.randn(2, 16)), x)


@pytest.mark.parametrize("kind", CONFIGS)
def test_time_and_class_change_the_answer(kind):
    model, x = awake(kind), torch.randn(1, 3, 8, 8)

    def answer(t: float, label: int):
        return model(x, torch.tensor([t]), model.condition(torch.tensor([label])).tokens)

    assert not torch.allclose(answer(0.5, 0), answer(0.5, 1))
    assert not torch.allclose(answer(0.5, 0), answer(0.6, 0))


@pytest.mark.parametrize("kind", CONFIGS)
def test_padding_of_a_condition_has_no_effect(kind):
    """Three tokens alone, and the same three beside two that the mask rules out."""
    model, x, t = awake(kind), torch.randn(2, 3, 8, 8), torch.tensor([0.3, 0.8])
    tokens = torch.randn(2, 5, 16)
    mask = torch.tensor([[True, True, True, False, False]] * 2)
    padded, alone = model(x, t, tokens, mask), model(x, t, tokens[:, :3])
    torch.testing.assert_close(padded, alone, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("kind", CONFIGS)
def test_the_order_of_places_matters(kind):
    model, x = awake(kind), torch.randn(1, 3, 8, 8)
    tokens, t = torch.randn(1, 1, 16), torch.tensor([0.5])
    turned = model(x.flip(-1), t, tokens).flip(-1)
    assert not torch.allclose(turned, model(x, t, tokens))


@pytest.mark.parametrize("length", [1, 3])
def test_a_dropped_condition_is_the_null_token_alone(length):
    model = awake("dit")
    mask = None if length == 1 else torch.tensor([[True, True, False]] * 2)
    full = Condition(torch.randn(2, length, 16), mask)
    half = model.without(full, torch.tensor([True, False]))
    x, t = torch.randn(2, 3, 8, 8), torch.tensor([0.4, 0.4])
    mixed = model(x, t, half.tokens, half.mask)
    null = model(x[:1], t[:1], model.null[None, None])
    torch.testing.assert_close(mixed[:1], null, atol=1e-5, rtol=1e-4)
    kept = model(x[1:], t[1:], full.tokens[1:], None if mask is None else mask[1:])
    torch.testing.assert_close(mixed[1:], kept, atol=1e-5, rtol=1e-4)


def test_guidance_by_hand():
    """unasked + scale * (asked - unasked), and the plain model outside the interval."""
    model, x = awake("dit"), torch.randn(2, 3, 8, 8)
    condition = model.condition(torch.tensor([0, 1]))
    inside, outside = torch.tensor([0.5, 0.5]), torch.tensor([0.9, 0.9])
    with torch.no_grad():
        denoise = model.denoiser(condition, 3.0, (0.2, 0.8))
        asked = model.path.denoised(model(x, inside, condition.tokens), x, inside)
        empty = model.unconditional(condition)
        unasked = model.path.denoised(model(x, inside, empty.tokens), x, inside)
        expected = unasked + 3 * (asked - unasked)
        torch.testing.assert_close(denoise(x, inside), expected, atol=1e-4, rtol=1e-4)
        plain = model.path.denoised(model(x, outside, condition.tokens), x, outside)
        torch.testing.assert_close(denoise(x, outside), plain)


@pytest.mark.parametrize("kind", CONFIGS)
def test_the_blocks_stream_has_the_format_of_the_products(kind):
    model, seen = awake(kind), []
    for block in model.network.modules():
        if isinstance(block, AdaptiveBlock):
            block.register_forward_pre_hook(lambda _, arguments: seen.append(arguments[0].dtype))
    with torch.autocast("cpu", torch.bfloat16):
        condition = model.condition(torch.tensor([0]))
        model(torch.randn(1, 3, 8, 8), torch.tensor([0.5]), condition.tokens)
    assert seen and set(seen) == {torch.bfloat16}


def test_overshoot_lengthens_the_velocity():
    model, x, t = awake("dit"), torch.randn(2, 3, 8, 8), torch.tensor([0.5, 0.5])
    condition = model.condition(torch.tensor([0, 1]))
    with torch.no_grad():
        plain, further = (
            model.path.velocity(model.denoiser(condition, 2.0, overshoot=share)(x, t), x, t)
            for share in (0.0, 0.3)
        )
    torch.testing.assert_close(further, 1.3 * plain, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("solver", ["euler", "heun", "dpm"])
def test_a_seed_draws_the_same_picture_in_any_batch(solver):
    model = awake("unet")
    for parameter in model.parameters():
        parameter.data.mul_(0.3)
    options = {"steps": 3, "solver": solver, "guidance_scale": 2.0}
    labels = torch.tensor([0, 1, 2])
    together = model.draw(model.condition(labels), seeds=[5, 6, 7], **options)
    alone = model.draw(model.condition(labels[1:2]), seeds=[6], **options)
    torch.testing.assert_close(together[1:2], alone, atol=1e-4, rtol=1e-4)
    assert together.abs().max() <= 1
    assert not torch.allclose(together[0], together[1])


def test_the_loss_of_an_untrained_model_is_the_target_s_size():
    """It answers 0, so its error is the mean square of noise - x: 1 + that of the pictures."""
    model = DiffusionModel(CONFIGS["dit"])
    torch.manual_seed(0)
    pixels = torch.rand(512, 3, 8, 8) * 2 - 1
    loss = Denoise(model, TrainConfig()).loss((pixels, torch.randint(3, (512,))))
    assert loss.item() == pytest.approx(1 + pixels.square().mean().item(), rel=0.02)


def test_some_conditions_are_left_out_in_training():
    batch = (torch.randn(64, 3, 8, 8), torch.randint(3, (64,)))
    for dropout, reaches_null in ((0.0, False), (1.0, True)):
        model = DiffusionModel(dataclasses.replace(CONFIGS["dit"], condition_dropout=dropout))
        for parameter in model.parameters():
            torch.nn.init.normal_(parameter, std=0.1)
        Denoise(model, TrainConfig()).loss(batch).backward()
        grad = model.null.grad
        assert (grad is not None and bool(grad.abs().sum() > 0)) == reaches_null
        labels = model.labels.weight.grad
        assert (labels is not None and bool(labels.abs().sum() > 0)) != reaches_null


def test_a_class_that_is_not_known_is_refused():
    with pytest.raises(VermeilError, match="class 3 was asked for, the model knows 3"):
        awake("dit").condition(torch.tensor([0, 3]))


def test_guidance_without_a_null_class_is_refused():
    model = DiffusionModel(dataclasses.replace(CONFIGS["dit"], condition_dropout=0.0))
    condition = model.condition(torch.tensor([0]))
    with pytest.raises(VermeilError, match=r"guidance 2 .*never .*without"):
        model.draw(condition, seeds=[0], guidance_scale=2.0)
    assert model.draw(condition, seeds=[0], guidance_scale=1.0).isfinite().all()


def test_places_tell_rows_from_columns():
    places = sincos_places(4, 16)
    assert places.shape == (16, 16)
    assert len({tuple(row.tolist()) for row in places}) == 16
    torch.testing.assert_close(places[1, :8], places[2, :8])  # the same row
    torch.testing.assert_close(places[1, 8:], places[5, 8:])  # the same column


def test_sizes_that_do_not_fit_are_refused():
    with pytest.raises(VermeilError, match="size 10 is not a multiple of 4"):
        DiffusionConfig(**{**SMALL, "size": 10}, patch=2, widths=(8, 16))
    with pytest.raises(VermeilError, match="at least two widths"):
        DiffusionConfig(**SMALL, patch=2, widths=(16,))


def test_saving_and_loading(tmp_path):
    model = awake("unet")
    model.save_pretrained(tmp_path)
    loaded = DiffusionModel.from_pretrained(str(tmp_path))
    assert loaded.config == model.config
    x, tokens = torch.randn(1, 3, 8, 8), torch.randn(1, 2, 16)
    assert torch.equal(
        loaded(x, torch.tensor([0.3]), tokens), model(x, torch.tensor([0.3]), tokens)
    )
