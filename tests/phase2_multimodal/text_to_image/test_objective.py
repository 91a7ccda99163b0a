"""The loss, at which times, and prompts that are left out."""

import pytest
import torch

from phase2_multimodal.text_to_image.batches import Batch
from phase2_multimodal.text_to_image.objective import DenoiseByPrompt
from phase2_multimodal.train_text_to_image import TextToImageTrainConfig
from shared.optim import make_optimizer


def test_a_new_model_s_loss_is_the_target_s_size(make, read):
    """It answers 0, so its error is the mean square of noise - x: 1 + that of the pictures."""
    model = type(make())(make().config)
    objective = DenoiseByPrompt(model, TextToImageTrainConfig())
    pixels = torch.rand(512, 3, 8, 8) * 2 - 1
    loss = objective.loss(Batch(pixels, read(["a dog"] * 512)))
    assert loss.item() == pytest.approx(1 + pixels.square().mean().item(), rel=0.02)


def test_some_prompts_are_left_out_in_training(trained, read):
    batch = Batch(torch.randn(32, 3, 8, 8), read(["a dog on red"] * 32))
    for dropout, reaches_empty in ((0.0, False), (1.0, True)):
        model = trained(condition_dropout=dropout)
        DenoiseByPrompt(model, TextToImageTrainConfig()).loss(batch).backward()
        for parameter, reached in (
            (model.empty, reaches_empty), (model.project.weight, not reaches_empty),
        ):  # fmt: skip
            grad = parameter.grad
            assert (grad is not None and bool(grad.abs().sum() > 0)) == reached


def test_the_noisiest_pictures_are_trained_on_most(trained, read):
    """Even times, shifted by 3: half of them lie above 3 u / (1 + 2 u) = 0.75."""
    model, seen = trained(shift=3.0), []
    model.register_forward_pre_hook(lambda _, arguments: seen.append(arguments[1]))
    batch = Batch(torch.zeros(2000, 3, 8, 8), read(["a"]).expand(2000, -1))
    with torch.no_grad():
        DenoiseByPrompt(model, TextToImageTrainConfig()).loss(batch)
    assert seen[0].median().item() == pytest.approx(0.75, abs=0.02)
    assert (seen[0] > 0.97).float().mean().item() == pytest.approx(0.085, abs=0.02)


def test_the_reader_does_not_change_in_training(trained, read):
    model = trained(condition_dropout=0.5)
    config = TextToImageTrainConfig(diffusion_rate=0.5)
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    objective = DenoiseByPrompt(model, config)
    optimizer = make_optimizer(model, config, objective.paces)
    for _ in range(2):
        optimizer.zero_grad()
        objective.loss(Batch(torch.randn(32, 3, 8, 8), read(["a dog on red"] * 32))).backward()
        optimizer.step()
    same = {name for name, p in model.named_parameters() if torch.equal(p, before[name])}
    frozen = {name for name in before if name.startswith("text.")} | {"diffusion.labels.weight"}
    assert same == frozen
    assert {group["scale"] for group in optimizer.param_groups} == {1.0, 0.5}
