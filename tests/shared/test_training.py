"""The one fit: what it computes, and that stopping, killing and splitting change nothing."""

import json
import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from torch import nn

from shared.callbacks import MovingAverage
from shared.errors import Stopped, VermeilError
from shared.objective import Objective
from shared.optim import learning_rate_factor
from shared.trackers import read_metrics
from shared.train_config import TrainConfig
from shared.training import History, fit

QUIET = TrainConfig(
    steps=12, batch_size=8, learning_rate=0.01, warmup=2, validate_every=4, checkpoint_every=4,
    sample_every=6, precision="fp32", threads=1, trackers=(),
)  # fmt: skip


class Line(Objective):
    """Fits y = 2x with noise on the input: its loss uses the generator that the fit seeds."""

    def loss(self, batch):
        x, y = batch
        return (self.model(x + 0.01 * torch.randn_like(x)) - y).square().mean()


class Points:
    def rows(self, step, rows):
        generator = torch.Generator().manual_seed(step)
        x = torch.randn(8, 3, generator=generator)[rows]
        return x, 2 * x.sum(dim=1, keepdim=True)


def train(folder: Path, config: TrainConfig = QUIET, **more) -> tuple[nn.Module, History]:
    torch.manual_seed(0)
    objective = Line(nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1)), config)
    history = fit(
        objective, Points(), [Points().rows(999, slice(None))],
        folder=folder, name="line", unit="points", amount_per_step=8, **more,
    )  # fmt: skip
    return objective.model, history


def with_(config: TrainConfig = QUIET, **changes) -> TrainConfig:
    return TrainConfig(**(vars(config) | changes))


def weights(model: nn.Module) -> list:
    return [p.tolist() for p in model.parameters()]


def test_every_step_and_validation_is_recorded(tmp_path):
    _, history = train(tmp_path)
    steps, losses = history.series("train_loss")
    assert steps == list(range(1, 13))
    assert history.series("validation_loss")[0] == [0, 4, 8, 12]
    assert losses[-1] < losses[0]
    assert set(history.metrics[1]) == {"step", "train_loss", "learning_rate", "grad_norm"}


def test_the_learning_rate_rises_stays_and_falls():
    factor = learning_rate_factor(with_(steps=100, warmup=10, cooldown=0.4))
    assert [factor(s) for s in (0, 4, 9, 30, 60)] == [0.1, 0.5, 1, 1, 1]
    assert factor(80) == pytest.approx(0.5)
    assert factor(100) == 0


def test_the_same_seed_gives_the_same_losses_to_the_bit(tmp_path):
    first, again = train(tmp_path / "a")[1], train(tmp_path / "b")[1]
    assert first.metrics == again.metrics
    other = train(tmp_path / "c", with_(seed=1))[1]
    assert other.metrics != first.metrics


def test_accumulation_and_checkpointing_do_not_change_the_gradient(tmp_path):
    """Without noise (eval-free loss), four parts of a batch add up to the whole."""

    class Plain(Line):
        def loss(self, batch):
            x, y = batch
            return (self.model(x) - y).square().mean()

    finals = []
    for name, config in {"whole": QUIET, "parts": with_(accumulate=4)}.items():
        torch.manual_seed(0)
        objective = Plain(nn.Linear(3, 1), config)
        fit(objective, Points(), [Points().rows(999, slice(None))], folder=tmp_path / name,
            name="line", unit="points", amount_per_step=8)  # fmt: skip
        finals.append(torch.cat([p.detach().flatten() for p in objective.parameters()]))
    torch.testing.assert_close(finals[0], finals[1], rtol=1e-5, atol=1e-6)


def test_gradient_checkpointing_changes_memory_and_not_the_result(tmp_path):
    from shared.nn import Attention, Block, SwiGLU

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            block = Block(nn.RMSNorm(3), Attention(3, 1), nn.RMSNorm(3), SwiGLU(3, 5))
            self.block, self.head = block, nn.Linear(3, 1)

        def forward(self, x):
            return self.head(self.block(x[:, None])[:, 0])

    finals = []
    for checkpointing in (False, True):
        torch.manual_seed(0)
        objective = Line(Net(), with_(gradient_checkpointing=checkpointing))
        fit(objective, Points(), [], folder=tmp_path / str(checkpointing), name="line",
            unit="points", amount_per_step=8)  # fmt: skip
        finals.append({name: value.tolist() for name, value in objective.state_dict().items()})
    assert finals[0] == finals[1]


def test_a_batch_that_cannot_be_split_is_refused(tmp_path):
    with pytest.raises(VermeilError, match="batch_size 8 cannot be split in 3 parts") as error:
        train(tmp_path, with_(accumulate=3))
    assert "multiple of 3" in error.value.hint


@pytest.mark.parametrize("ema", [0.0, 0.9])
def test_stopped_and_resumed_equals_never_stopped(tmp_path, ema):
    config = with_(ema=ema, steps=12)
    whole, history = train(tmp_path / "whole", config)

    def interrupt(step: int) -> dict[str, str]:
        os.kill(os.getpid(), signal.SIGTERM)
        return {}

    with pytest.raises(Stopped, match="stopped at step 6 of 12, saved") as error:
        train(tmp_path / "cut", config, sample=interrupt)
    assert error.value.exit_code == 128 + signal.SIGTERM
    resumed, after = train(tmp_path / "cut", config)
    assert weights(resumed) == weights(whole)
    assert after.metrics == history.metrics


def test_a_run_that_was_cut_after_its_last_step_has_the_same_weights(tmp_path):
    config = with_(ema=0.9)
    assert weights(train(tmp_path, config)[0]) == weights(train(tmp_path, config)[0])


def test_killed_at_a_random_step_and_resumed_equals_never_stopped(tmp_path):
    script = (
        "import sys; sys.path[:0] = [{root!r}, {tests!r}]\n"
        "from pathlib import Path\nimport test_training as t, time\n"
        "def slow(step): time.sleep(0.15); return {{}}\n"
        "config = t.with_(steps=30, sample_every=1, checkpoint_every=3)\n"
        "t.train(Path({folder!r}), config, sample=slow)\n"
    )
    here = Path(__file__).resolve()
    folder = tmp_path / "killed"
    text = script.format(root=str(here.parents[2]), tests=str(here.parent), folder=str(folder))
    process = subprocess.Popen([sys.executable, "-c", text])
    while len(read_metrics(folder / "metrics.jsonl")) < 8 and process.poll() is None:
        time.sleep(0.01)
    time.sleep(torch.rand(()).item())
    process.kill()
    process.wait()
    cut = read_metrics(folder / "metrics.jsonl")[-1]["step"]
    assert 0 < cut < 30
    config = with_(steps=30, sample_every=1, checkpoint_every=3)
    resumed, after = train(folder, config)
    whole, history = train(tmp_path / "whole", config)
    assert weights(resumed) == weights(whole)
    assert after.metrics == history.metrics


def test_the_moving_average_by_hand():
    model = nn.Linear(1, 1, bias=False)
    average = MovingAverage(0.9)
    average.average = [torch.zeros(1, 1)]
    with torch.no_grad():
        model.weight.fill_(1.0)
    average.after_step(None, model, step=1)  # decay min(.9, 2/11): early weights soon forgotten
    assert average.average[0].item() == pytest.approx(9 / 11)
    average.after_step(None, model, step=10**6)
    assert average.average[0].item() == pytest.approx(0.9 * 9 / 11 + 0.1)
    with average.applied(model):
        assert model.weight.item() == pytest.approx(0.9 * 9 / 11 + 0.1)
    assert model.weight.item() == 1.0


def test_a_loss_that_is_not_finite_ends_the_run(tmp_path):
    class Broken(Points):
        def rows(self, step, rows):
            x, y = super().rows(step, rows)
            return x, y * (math.nan if step == 5 else 1)

    torch.manual_seed(0)
    objective = Line(nn.Linear(3, 1), QUIET)
    with pytest.raises(VermeilError, match="the loss became nan at step 6"):
        fit(objective, Broken(), [], folder=tmp_path, name="line", unit="points", amount_per_step=8)
    resumable = torch.load(tmp_path / "checkpoint.ckpt", weights_only=True)
    assert resumable["global_step"] == 4


def test_a_full_disk_keeps_the_checkpoint_from_before(tmp_path):
    """Under a limit on file size (as `ulimit -f` sets), the second save fails half-way."""
    import resource

    train(tmp_path, with_(steps=4))
    path = tmp_path / "checkpoint.ckpt"
    before = path.read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) // 2, limits[1]))
    try:
        with pytest.raises(VermeilError, match=r"could not write .*checkpoint\.ckpt"):
            train(tmp_path, with_(steps=8))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir() if "partial" in p.name] == []


def test_a_damaged_checkpoint_is_named(tmp_path):
    train(tmp_path, with_(steps=4))
    path = tmp_path / "checkpoint.ckpt"
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(VermeilError, match=r"checkpoint\.ckpt cannot be read") as error:
        train(tmp_path, with_(steps=8))
    assert "rm " in error.value.hint


def test_all_trackers_get_the_same_numbers(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    os.environ["WANDB_SILENT"] = "true"
    config = with_(trackers=("tensorboard", "mlflow", "wandb"))
    _, history = train(tmp_path, config, sample=lambda step: {"prompt": f"text at {step}"})
    steps, losses = history.series("train_loss")
    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    scalars = events.Scalars("train_loss")
    assert [s.step for s in scalars] == steps
    assert [s.value for s in scalars] == pytest.approx(losses)
    texts = events.Tensors("prompt/text_summary")
    assert [t.step for t in texts] == [6, 12]
    assert texts[1].tensor_proto.string_val[0] == b"text at 12"

    import mlflow

    client = mlflow.MlflowClient(f"sqlite:///{tmp_path / 'mlflow.db'}")
    [experiment] = [e for e in client.search_experiments() if e.name == "vermeil"]
    [run] = client.search_runs([experiment.experiment_id])
    assert [m.value for m in client.get_metric_history(run.info.run_id, "train_loss")] == losses
    assert list(tmp_path.glob("wandb/offline-run-*/*.wandb"))


def test_an_unknown_tracker_is_named(tmp_path):
    with pytest.raises(VermeilError, match="no tracker 'tensorbord'") as error:
        train(tmp_path, with_(trackers=("tensorbord",)))
    assert "tensorboard" in error.value.hint


def test_a_crashed_line_is_left_out(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_text(json.dumps({"step": 1, "a": 2}) + '\n{"step": 2, "a')
    assert read_metrics(path) == [{"step": 1, "a": 2}]
