"""Horovod: two real processes compute what one does. Skipped where `make horovod` has not run."""

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch

from phase3_scaling.distributed import horovod
from shared.errors import VermeilError

ROOT = Path(__file__).resolve().parents[3]
built = pytest.mark.skipif(find_spec("horovod") is None, reason="not built: make horovod")

TRAIN = """
import json, os, sys
from pathlib import Path
import torch
from torch import nn
from shared.nn import Attention, Block, SwiGLU
from shared.objective import Objective
from shared.train_config import TrainConfig
from shared.training import fit

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.block = Block(nn.RMSNorm(8), Attention(8, 2), nn.RMSNorm(8), SwiGLU(8, 12))
        self.head = nn.Linear(8, 1)
    def forward(self, x):
        return self.head(self.block(x)).mean(dim=1)

class Fit(Objective):
    def loss(self, batch):
        x, y = batch
        return (self.model(x) - y).square().mean()

class Points:
    def rows(self, step, rows):
        if step == crash:
            raise SystemExit(5)
        generator = torch.Generator().manual_seed(step)
        x = torch.randn(8, 5, 8, generator=generator)[rows]
        return x, x.sum(dim=(1, 2))[:, None]

folder, strategy, crash = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
engine = None
if strategy == "horovod":
    from phase3_scaling.distributed.horovod import engine as horovod
    engine = horovod()
torch.manual_seed(int(os.environ.get("RANK", 0)))  # each process begins with weights of its own
config = TrainConfig(steps=12, batch_size=8, accumulate=2, optimizer="muon", clip=0.5, warmup=2,
                     learning_rate=0.01, cooldown=0, checkpoint_every=3, precision="fp32",
                     threads=1, trackers=())
objective = Fit(Net(), config)
found = {}
def look():
    strategy, rank = objective.trainer.strategy, objective.trainer.global_rank
    mine = torch.tensor([rank + 1.0])
    found.update(mean=strategy.reduce(mine.clone()).item(),
                 total=strategy.reduce(mine.clone(), reduce_op="sum").item(),
                 all=strategy.all_gather(mine).flatten().tolist(),
                 word=strategy.broadcast("first" if rank == 0 else 7),
                 every=strategy.reduce_boolean_decision(rank == 0, all=True),
                 some=strategy.reduce_boolean_decision(rank == 0, all=False),
                 group=torch.distributed.get_world_size())
if strategy == "horovod":
    objective.on_train_start = look
def write():
    weights = [p.tolist() for p in objective.parameters()]
    name = f"{strategy}-{os.environ.get('RANK', 0)}.json"
    (folder / name).write_text(json.dumps({"weights": weights, "found": found}))
objective.on_train_end = write
history = fit(objective, Points(), [], folder=folder, name="fit", unit="points",
              amount_per_step=8, engine=engine)
(folder / "losses.json").write_text(json.dumps(history.series("train_loss")[1]))
"""


def train(folder: Path, strategy: str, crash: int = -1) -> subprocess.CompletedProcess:
    folder.mkdir(exist_ok=True)
    script = folder / "train.py"
    script.write_text(TRAIN)
    starter = [sys.executable] if strategy == "single" else horovod.command(2)[:-2]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    environment |= {"PYTHONWARNINGS": "ignore", "HOROVOD_CYCLE_TIME": "1"}
    done = subprocess.run(
        [*starter, str(script), str(folder), strategy, str(crash)], cwd=ROOT, env=environment,
        capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert (done.returncode == 0) == (crash < 0), done.stdout[-2000:] + done.stderr[-2000:]
    return done


def weights(path: Path) -> torch.Tensor:
    nested = json.loads(path.read_text())["weights"]
    return torch.cat([torch.tensor(parameter).flatten() for parameter in nested])


@built
def test_two_processes_take_the_steps_of_one(tmp_path):
    """With Muon and AdamW together, accumulation and clipping; also after a crash and a resume."""
    train(tmp_path / "one", "single")
    train(tmp_path / "two", "horovod")
    one = weights(tmp_path / "one" / "single-0.json")
    first, second = (weights(tmp_path / "two" / f"horovod-{rank}.json") for rank in (0, 1))
    assert torch.equal(first, second)
    torch.testing.assert_close(first, one, rtol=0, atol=1e-5)
    losses = [json.loads((tmp_path / name / "losses.json").read_text()) for name in ("one", "two")]
    torch.testing.assert_close(*map(torch.tensor, losses), rtol=0, atol=1e-5)

    train(tmp_path / "cut", "horovod", crash=8)  # the last checkpoint is of step 6
    train(tmp_path / "cut", "horovod")
    resumed = weights(tmp_path / "cut" / "horovod-1.json")
    torch.testing.assert_close(resumed, first, rtol=0, atol=1e-6)

    found = json.loads((tmp_path / "two" / "horovod-1.json").read_text())["found"]
    assert found == {"mean": 1.5, "total": 3.0, "all": [1.0, 2.0], "word": "first",
                     "every": False, "some": True, "group": 2}  # fmt: skip


@built
def test_the_real_command_trains_and_publishes(command, tmp_path):
    assert command("train", "tokenizer", "smoke", home=tmp_path).returncode == 0
    words = ("train", "lm", "smoke", "--optimizer", "adamw")
    done = command(*words, "--strategy", "horovod", "--processes", "2", home=tmp_path)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "phase1/lm@smoke-" in done.stdout


def test_without_the_build_the_switch_says_how_to_make_it(monkeypatch):
    def missing(name):
        raise ModuleNotFoundError(f"No module named '{name}'", name="horovod")

    monkeypatch.setattr(horovod, "import_module", missing)
    for wanted in (horovod.engine, lambda: horovod.command(2)):
        with pytest.raises(VermeilError) as error:
            wanted()
        assert str(error.value) == "Horovod is not built here: make horovod"


def test_a_build_for_another_torch_is_named(monkeypatch):
    def broken(name):
        raise ImportError("undefined symbol: _ZN2at4_ops")

    monkeypatch.setattr(horovod, "import_module", broken)
    with pytest.raises(VermeilError, match=r"Horovod does not load \(undefined symbol") as error:
        horovod.package()
    assert error.value.hint == "make horovod"


def test_started_otherwise_it_says_how(monkeypatch):
    monkeypatch.setattr(horovod, "package", lambda: None)
    monkeypatch.delenv("HOROVOD_RANK", raising=False)
    with pytest.raises(VermeilError, match="not started by horovodrun: add --processes 2"):
        horovod.engine()
