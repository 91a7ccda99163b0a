"""`vermeil bench diffusion`: what it counts, that the peers are of our shape, that both train."""

import dataclasses
import re

import pytest
import torch
from torch import nn

from data.picture_batches import PictureBatches
from phase1_foundation.diffusion import bench, commands
from phase1_foundation.diffusion.bench import CLASSES, SHAPES, Peer, Shape, flops
from phase1_foundation.diffusion.model import DiffusionConfig, DiffusionModel
from phase1_foundation.train_diffusion import PRESETS
from shared.errors import VermeilError

DIT = DiffusionConfig(8, CLASSES, network="dit", widths=(16,), layers=2, heads=2, mlp_dim=64)
UNET = DiffusionConfig(16, CLASSES, widths=(32, 64), layers=1, heads=2, mlp_dim=64)
SMALL = {"dit": Shape(DIT), "unet": Shape(UNET, peer_widths=(32, 32))}


def test_flops_of_a_transformer_by_hand():
    """Two a product: 16 patches of 12 numbers and one step for the class, through two blocks."""
    d, steps, patches, pixels = 16, 17, 16, 12
    block = 6 * d * d + steps * (3 * d * d + d * d + 2 * 64 * d) + 2 * steps * steps * d
    condition = 256 * d + d * d + d * d  # time in two products, class in one
    ends = patches * pixels * d + 2 * d * d + patches * d * pixels
    assert flops(DiffusionModel(DIT), training=False) == 2 * (2 * block + condition + ends)


def test_flops_of_a_residual_block_by_hand():
    """One more of them a level adds its convolutions, modulation and shortcut at 8 x 8."""
    more = dataclasses.replace(UNET, res_blocks=2)
    added = [flops(DiffusionModel(c), training=False) for c in (UNET, more)]
    w, vector, area = 32, 64, 8 * 8
    down = area * 2 * 9 * w * w + vector * 2 * w
    up = area * (9 * 2 * w * w + 9 * w * w + 2 * w * w) + vector * 2 * w
    assert added[1] - added[0] == 2 * (down + up)


@pytest.mark.parametrize("shape", SMALL.values(), ids=SMALL)
def test_training_costs_nearly_three_times_as_much(shape):
    """The backward pass has two products for each, but none for the gradient of the picture."""
    for model in (DiffusionModel(shape.model), Peer(shape)):
        assert 2.8 < flops(model) / flops(model, training=False) < 3


def test_all_shapes_are_timed_unless_some_are_named():
    assert commands.BenchConfig().shapes == tuple(SHAPES)


@pytest.mark.parametrize("name", ["dit_16px", "dit_small"])
def test_a_transformers_peer_has_its_shape(name):
    shape = SHAPES[name]
    peer, ours = Peer(shape), DiffusionModel(shape.model)
    theirs, blocks = peer.network.transformer_blocks, ours.network.trunk.blocks
    assert len(theirs) == len(blocks)
    for block, peers in zip(blocks, theirs, strict=True):
        assert peers.attn1.heads == block.attn.heads
        query = peers.attn1.to_q.weight
        assert block.attn.qkv.weight.shape == (3 * query.shape[0], query.shape[1])
        assert block.attn.proj.weight.shape == peers.attn1.to_out[0].weight.shape
        assert block.mlp.fc1.weight.shape == peers.ff.net[0].proj.weight.shape
        assert block.mlp.fc2.weight.shape == peers.ff.net[2].weight.shape
        assert block.modulation.weight.shape == peers.norm1.linear.weight.shape
    assert peer.network.pos_embed.proj.weight.shape == ours.network.embed.proj.weight.shape
    assert flops(peer) == pytest.approx(flops(ours), rel=0.02)


def test_a_u_nets_peer_costs_what_it_costs():
    shape = SHAPES["unet_tiny"]
    peer, ours = Peer(shape), DiffusionModel(shape.model)
    assert peer.network.conv_in.weight.shape == ours.network.stem.weight.shape
    assert len(peer.network.down_blocks) == len(shape.model.widths)
    assert [len(b.resnets) for b in peer.network.down_blocks] == [shape.model.res_blocks] * 2
    assert flops(peer) == pytest.approx(flops(ours), rel=0.05)


@pytest.mark.parametrize("shape", SMALL.values(), ids=SMALL)
def test_both_sides_train(shape, monkeypatch):
    fitted, peers = [], []
    time_fit, train_peer = bench.time_fit, bench.train_peer

    def noted(objective, *arguments, **keys):
        before = weights(objective.model)
        times = time_fit(objective, *arguments, **keys)
        fitted.append((before, weights(objective.model)))
        assert torch.isfinite(objective.last_loss)
        return times

    def noted_peer(model, *arguments):
        before = weights(model)
        starts = train_peer(model, *arguments)
        peers.append((before, weights(model)))
        return starts

    monkeypatch.setattr(bench, "time_fit", noted)
    monkeypatch.setattr(bench, "train_peer", noted_peer)
    turns = bench.training(shape, steps=4, batch_size=4)
    assert turns["ours"]() > 0 and turns["diffusers"]() > 0
    for before, after in (*fitted, *peers):
        assert torch.isfinite(after).all() and not torch.equal(before, after)


def weights(model: nn.Module) -> torch.Tensor:
    return torch.cat([p.detach().flatten().clone() for p in model.parameters()])


class Constant(nn.Module):
    """Answers one picture whatever it is shown, and remembers what that was."""

    def __init__(self):
        super().__init__()
        self.answer, self.seen = nn.Parameter(torch.zeros(1, 3, 8, 8)), []

    def forward(self, x, t, labels):
        self.seen.append((x, t))
        return self.answer.expand(len(x), -1, -1, -1)


def test_the_peer_learns_the_velocity_from_picture_to_noise():
    """Black pictures, -1: the velocity of noise is 1 on average, so the answer rises."""
    pixels = PictureBatches(torch.zeros(16, 8, 8, 3).byte().numpy(), torch.zeros(16).numpy(), 16, 0)
    model = Constant()
    torch.manual_seed(0)
    starts = bench.train_peer(model, pixels, 20)
    assert len(starts) == 20 and starts == sorted(starts)
    assert model.answer.mean() > 0.01
    x, t = model.seen[0]
    assert x.shape == (16, 3, 8, 8) and ((t > 0) & (t < 1)).all()
    noise = (x + (1 - t)[:, None, None, None]) / t[:, None, None, None]
    assert noise.std() == pytest.approx(1, abs=0.1) and noise.mean() == pytest.approx(0, abs=0.1)


def test_the_peer_draws_in_euler_steps():
    """Its times end at 1/1000 and 0; with the velocity x each step multiplies by 1 + what it is."""
    seen = []

    def network(x, t, labels):
        seen.append(float(t[0]))
        return x

    noise = torch.full((2, 3, 4, 4), 0.5)
    drawn = bench.draw_peer(network, noise, torch.zeros(2), steps=3)
    assert seen == pytest.approx([1, 0.5005, 0.001])
    factor = (1 - 0.4995) * (1 - 0.4995) * (1 - 0.001)
    torch.testing.assert_close(drawn, noise * factor)


def test_both_sides_draw_all_classes():
    """Every turn asks each network once a step, for all pictures."""
    for shape in SMALL.values():
        turns = bench.drawing(shape, pictures=5, steps=3)
        for turn in turns.values():
            assert turn() is None


def test_the_table(monkeypatch, capsys):
    """The real command on small networks: rates, ratios and shares that fit each other."""
    monkeypatch.setattr(bench, "SHAPES", SMALL)
    monkeypatch.setattr(bench, "matrix_peak", lambda *_: 1e-3)  # 1 MFLOP/s: shares have digits
    monkeypatch.setattr(bench.hardware, "has_compiler", lambda: False)
    monkeypatch.setattr(bench, "waiting", lambda *_: (0.2, 0.001))
    flags = ["--rounds", "1", "--steps", "3", "--batch_size", "4", "--pictures", "2"]
    flags += ["--shapes", "dit", "--sampler_steps", "2", "--threads", "1"]
    commands.bench(["diffusion", *flags])
    output = capsys.readouterr().out
    rates, shares = (
        re.findall(rf"^ +{line} +([\d.,]+%?) +([\d.,]+%?)", output, re.M)
        for line in (r"(?:training|drawing in 2 steps), pictures/s", r"of 0 GFLOP/s")
    )
    costs = re.findall(r"GFLOP a picture +([\d.]+) +([\d.]+)", output)
    assert len(rates) == len(shares) == len(costs) == 2
    cost = flops(DiffusionModel(DIT)) / 1e6
    rate, share = float(rates[0][0].replace(",", "")), float(shares[0][0].rstrip("%"))
    assert share == pytest.approx(100 * rate * cost, rel=0.01, abs=1)
    assert "none" in output and "1.00 ms of 200, 0.50%" in output


def test_waiting_is_measured_on_the_presets_model_and_pictures(monkeypatch):
    tiny = dataclasses.replace(
        PRESETS["tiny"].config, data="embedded_pictures_sample", batch_size=4, widths=(16, 48)
    )
    monkeypatch.setitem(PRESETS, "tiny", dataclasses.replace(PRESETS["tiny"], config=tiny))
    timed, time_fit = [], bench.time_fit

    def noted(objective, *arguments, **named):
        timed.append(objective.model.config)
        return time_fit(objective, *arguments, **named)

    monkeypatch.setattr(bench, "time_fit", noted)
    step, batch = bench.waiting("crop", steps=3, rounds=1)
    assert 0 < batch < step
    assert [(c.size, c.patch, c.layers, c.widths) for c in timed] == [(16, 1, 3, (16, 48))]


def test_a_shape_that_does_not_exist():
    with pytest.raises(VermeilError, match="there is no shape 'dit_smal'") as error:
        commands.bench(["diffusion", "--shapes", "dit_smal"])
    assert "dit_small" in error.value.hint
