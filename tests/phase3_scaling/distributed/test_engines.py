"""Engines in real processes: one checkpoint for all of them, and DeepSpeed's JSON."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from phase3_scaling.distributed.deepspeed import configuration, read
from phase3_scaling.distributed.launch import starter
from shared.errors import VermeilError
from shared.holding import Whole
from shared.train_config import TrainConfig
from shared.training import Engine, fit

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[2]


def line():
    """tests/.../line.py, imported."""
    spec = importlib.util.spec_from_file_location("line", HERE / "line.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def run(processes: int, *words: str) -> subprocess.CompletedProcess:
    """`line.py` in so many processes."""
    torchrun = starter("ddp", processes)[:-2]  # without `-m vermeil`
    command = torchrun if processes > 1 else [sys.executable]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        [*command, str(HERE / "line.py"), *words], env=environment, capture_output=True, text=True,
        timeout=240,
    )  # fmt: skip


def test_a_run_goes_on_with_any_engine_and_number_of_processes(tmp_path):
    """One process, two with each engine in turn, four, one: as if one had done it all.

    With accumulation, clipping, averaged weights and AdamW's state, which all have to cross over.
    """
    engines = ["ddp", "fsdp", "deepspeed_zero1", "deepspeed_zero2", "deepspeed_zero3"]
    alone = line().train(tmp_path / "alone", "single")
    folder = str(tmp_path / "chain")
    for processes, strategies in ((1, ["single"]), (2, engines), (4, ["fsdp"])):
        done = run(processes, "chain", folder, *strategies)
        assert done.returncode == 0, done.stderr[-3000:]
    saved = torch.load(tmp_path / "chain" / "checkpoint.ckpt", weights_only=True)
    assert saved["global_step"] == 35
    assert {name: value.shape for name, value in saved["state_dict"].items()} == {
        f"model.{name}": value.shape for name, value in alone.state_dict().items()
    }
    last = line().train(tmp_path / "chain", "single")
    for name, value in alone.state_dict().items():
        torch.testing.assert_close(last.state_dict()[name], value, atol=1e-5, rtol=0)
    lines = [(tmp_path / one / "metrics.jsonl").read_text() for one in ("alone", "chain")]
    losses = [
        {m["step"]: m["validation_loss"] for m in map(json.loads, text.splitlines())
         if "validation_loss" in m}
        for text in lines
    ]  # fmt: skip
    assert losses[0] == pytest.approx(losses[1], abs=1e-5)


def test_muon_is_refused_where_matrices_are_sliced(tmp_path):
    objective = line().Line(line().Net(), TrainConfig(optimizer="muon"))
    with pytest.raises(VermeilError, match="Muon needs whole matrices") as error:
        fit(objective, None, [], folder=tmp_path, name="line", unit="points", amount_per_step=8,
            engine=Engine(whole_matrices=False))  # fmt: skip
    assert "--optimizer adamw" in error.value.hint


def test_deepspeeds_json_says_what_our_configuration_says():
    config = TrainConfig(batch_size=32, accumulate=2, clip=0.7)
    made = configuration(config, 2, 4, bf16=True, offload="parameters")
    assert made["train_micro_batch_size_per_gpu"] == 4  # 32 rows in 2 parts on 4 processes
    assert (made["train_batch_size"], made["gradient_accumulation_steps"]) == (32, 2)
    assert made["gradient_clipping"] == 0.7
    assert made["torch_autocast"] == {"enabled": True, "dtype": "bfloat16"}
    zero = made["zero_optimization"]
    assert zero["stage"] == 2
    assert zero["offload_optimizer"] == zero["offload_param"] == {"device": "cpu"}
    assert "offload_optimizer" not in configuration(config, 2, 4)["zero_optimization"]


def test_a_users_json_is_merged(tmp_path):
    path = tmp_path / "zero.json"
    own = {
        "zero_optimization": {"stage": 3, "reduce_bucket_size": 77}, "wall_clock_breakdown": True,
        "train_batch_size": "auto", "bf16": {"enabled": "auto"}, "fp16": {"enabled": False},
    }  # fmt: skip
    path.write_text(json.dumps(own))
    made = configuration(TrainConfig(), 3, 2, own=read(path, 3))
    assert made["wall_clock_breakdown"] is True
    assert made["zero_optimization"] == {"stage": 3, "reduce_bucket_size": 77}
    assert made["train_batch_size"] == 16
    assert not {"bf16", "fp16"} & made.keys()


@pytest.mark.parametrize(
    ("own", "says", "hint"),
    [
        ({"train_batch_size": 8}, "sets 'train_batch_size'", "--batch_size"),
        ({"gradient_clipping": 2.0}, "sets 'gradient_clipping'", "--clip"),
        ({"bf16": {"enabled": True}}, "sets 'bf16'", "--precision"),
        ({"optimizer": {"type": "Adam"}}, "sets 'optimizer'", "--optimizer"),
        ({"zero_optimization": {"stage": 1}}, "wants stage 1", "--strategy deepspeed_zero1"),
        ([1], "is not DeepSpeed's configuration", "{"),
    ],
)
def test_a_users_json_that_contradicts_is_refused(own, says, hint, tmp_path):
    path = tmp_path / "zero.json"
    path.write_text(json.dumps(own))
    with pytest.raises(VermeilError, match=says) as error:
        read(path, 2)
    assert hint in error.value.hint


def test_a_json_that_cannot_be_read_is_named(tmp_path):
    for path in (tmp_path / "none.json", HERE / "line.py"):
        with pytest.raises(VermeilError, match=f"cannot read .*{path.name}"):
            read(path, 2)


def test_whole_weights_are_exchanged_and_come_back():
    model, other = torch.nn.Linear(2, 1), [torch.zeros(1, 2), torch.ones(1)]
    before = [p.clone() for p in model.parameters()]
    with Whole().shown(model, other):
        assert [p.tolist() for p in model.parameters()] == [[[0, 0]], [1]]
    assert all(map(torch.equal, model.parameters(), before))
    assert [value.tolist() for value in other] == [[[0, 0]], [1]]
    Whole().settle(model, other)
    assert model.bias.item() == 1
