"""The formulas against real models, against published numbers, and what the command says."""

import pytest
import torch

from phase1_foundation.language.bench import Shape, training_flops
from phase1_foundation.language.model import LanguageModel, LanguageModelConfig
from phase3_scaling.distributed import costs
from phase3_scaling.distributed.plan import GPUS, PlanConfig, choose, curve, memory, plan
from shared.errors import VermeilError

GROUPED = LanguageModelConfig(512, 64, 2, 4, 2, 192, 128)
TIED_NOT = LanguageModelConfig(1024, 128, 4, 4, 4, 384, 64, tie_embeddings=False)


@pytest.mark.parametrize("c", [GROUPED, TIED_NOT], ids=["grouped", "untied"])
def test_parameters_and_adams_states_are_those_of_a_real_model(c):
    model = LanguageModel(c)
    assert costs.parameters(c) == sum(p.numel() for p in model.parameters())
    optimizer = torch.optim.AdamW(model.parameters())
    model.loss(torch.randint(c.vocab_size, (1, 9))).backward()
    optimizer.step()
    held = [t for state in optimizer.state.values() for t in state.values() if t.dim()]
    size = sum(t.nbytes for t in held)
    assert size == costs.ENGINES["ddp"].optimizer * costs.parameters(c)
    gradients = sum(p.grad.nbytes for p in model.parameters() if p.grad is not None)
    assert gradients == costs.ENGINES["ddp"].gradients * costs.parameters(c)


def kept_for_backward(c: LanguageModelConfig, sequences: int, *, mixed: bool) -> int:
    """Bytes of the storages that torch saves, the model's own left out."""
    model = LanguageModel(c)
    own = {t.untyped_storage().data_ptr() for t in (*model.parameters(), *model.buffers())}
    saved: dict[int, int] = {}

    def pack(tensor):
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            saved[storage.data_ptr()] = storage.nbytes()
        return tensor

    tokens = torch.randint(c.vocab_size, (sequences, c.context + 1))
    hooks = torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor)
    with hooks, torch.autocast("cpu", torch.bfloat16, enabled=mixed):
        kept = model.loss(tokens)  # noqa: F841, the graph must live while addresses are compared
    return sum(saved.values())


@pytest.mark.parametrize("mixed", [False, True], ids=["fp32", "bf16"])
@pytest.mark.parametrize("c", [GROUPED, TIED_NOT], ids=["grouped", "untied"])
def test_activations_are_what_torch_keeps(c, mixed):
    predicted = costs.activations(c, 8, mixed=mixed, fused=False)
    predicted += 4 * c.vocab_size * c.dim  # the output layer's gradient is made early
    if mixed:  # and autocast's copies of the blocks' matrices live as long
        norms = (2 * c.layers + 1) * c.dim
        embeddings = c.vocab_size * c.dim * (1 if c.tie_embeddings else 2)
        predicted += 2 * (costs.parameters(c) - embeddings - norms)
    assert kept_for_backward(c, 8, mixed=mixed) == pytest.approx(predicted, rel=0.01)


def test_flops_are_those_of_the_benchmark():
    assert costs.flops(GROUPED) * GROUPED.context == pytest.approx(
        training_flops(Shape(GROUPED, 1))
    )
    assert costs.flops(GROUPED, checkpointing=True) < 4 / 3 * costs.flops(GROUPED)


def test_states_are_those_of_the_zero_paper():
    """Figure 1: 7.5 B parameters on 64 cards take 120, 31.4, 16.6 and 1.9 GB."""
    billion = 7.5e9
    sizes = [costs.ENGINES[f"deepspeed_zero{stage}"].states(billion, 64) / 1e9
             for stage in (1, 2, 3)]  # fmt: skip
    assert sizes == pytest.approx([31.4, 16.6, 1.9], abs=0.05)
    assert costs.ENGINES["deepspeed_zero1"].states(billion, 1) == 120e9


def test_expected_loss_is_chinchillas():
    """70 B parameters, 1.4 T tokens: equation 10 gives 1.936."""
    assert costs.expected_loss(70e9, 1.4e12) == pytest.approx(1.936, abs=0.001)


@pytest.mark.parametrize("size", [1e7, 1.24e8, 1e9, 7e9, 7e10, 1e12])
def test_a_shape_has_about_the_size_that_was_asked_for(size):
    c = costs.shape_of(size, context=2048, vocab_size=32_768 if size > 5e7 else 4096)
    assert costs.parameters(c) == pytest.approx(size, rel=0.05)
    assert 16 < c.dim / c.layers < 128 or size < 1e8


def test_what_is_spread_shrinks_with_the_cards_and_what_is_not_stays():
    c = costs.shape_of(1e9, context=2048, vocab_size=32_768)
    assert memory(c, "ddp", 64, 1) == memory(c, "ddp", 1, 1)
    zero = [memory(c, f"deepspeed_zero{stage}", 8, 1).states for stage in (1, 2, 3)]
    assert memory(c, "ddp", 8, 1).states > zero[0] > zero[1] > zero[2]
    assert zero[2] == pytest.approx(memory(c, "deepspeed_zero3", 1, 1).states / 8)
    m = memory(c, "fsdp", 8, 8)
    assert m.recomputed < m.activations / 5
    assert memory(c, "fsdp", 8, 16).activations == pytest.approx(2 * m.activations)


def test_the_simplest_engine_that_fits_is_taken():
    small = PlanConfig()
    c = costs.shape_of(small.params, context=small.context, vocab_size=small.vocab)
    assert choose(c, small, GPUS["h200"]) == ("ddp", False)
    large = costs.shape_of(7e10, context=2048, vocab_size=32_768)
    config = PlanConfig(gpus=512, batch_tokens=4e6, micro_batch=1)
    assert choose(large, config, GPUS["h100"]) == ("deepspeed_zero3", True)


def test_time_is_flops_over_flops_a_second():
    """Without traffic, n cards take a step in FLOPs / (n peak MFU) seconds."""
    config = PlanConfig()
    c = costs.shape_of(config.params, context=config.context, vocab_size=config.vocab)
    one, eight = curve(c, config, GPUS["h200"], [1, 8])
    seconds = costs.flops(c) * config.batch_tokens / (989e12 * 0.4)
    assert one.step == pytest.approx(seconds)
    assert eight.step == pytest.approx(seconds / 8)
    many = curve(c, config, GPUS["h200"], [256])[0]
    assert many.step > seconds / 256
    assert many.waiting > 0.2


def test_the_command_prints_every_page(capsys):
    plan(["--gpus", "8", "--params", "1e9", "--tokens", "2e10", "--gpu", "a100", "--price", "2"])
    text = capsys.readouterr().out
    for expected in ("0.988 B parameters", "deepspeed_zero3", "GPU hours", "at $2.00 an hour",
                     "  4096 ", "a real curve lies below"):  # fmt: skip
        assert expected in text
    assert all(len(line) < 250 for line in text.splitlines())


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--params", "0"], "--params must be at least 1000000"),
        (["--params", "nan"], "--params must be at least"),
        (["--gpus", "1000"], "less than one sequence of 2,048"),
        (["--gpu", "h2000"], "--gpu cannot be 'h2000'"),
        (["--params", "1e12"], "no engine fits 1e+12 parameters on 8 h200"),
        (["--params", "1e6"], "no model with a vocabulary of 32,768 has about 1e+06"),
        (["--mfu", "40"], "--mfu must be at most 1"),
        (["h200"], "unexpected 'h200'"),
    ],
)
def test_bad_input_is_one_sentence(words, message):
    with pytest.raises(VermeilError, match=message.replace("+", r"\+")):
        plan(words)
