"""`vermeil bench scaling`: how a table comes from times, and one real turn with its trace."""

import json
from types import SimpleNamespace

import pytest
import torch

from phase3_scaling.distributed import bench
from phase3_scaling.distributed.bench import SILENT, ScalingConfig, Timing, Turn, measure, table
from shared.errors import VermeilError

QUICK = ScalingConfig(models=("lm",), rounds=3, steps=8)


def turn(strategy: str, processes: int, threads: int = 1, *, silent: bool = False) -> Turn:
    return Turn("lm", strategy, processes, threads, 8, "fp32", silent)


def test_a_steps_parts_are_differences():
    """A process alone takes 200 ms, two 120 ms, of which 20 are communication."""
    lines = table(
        [
            Timing(turn("single", 1), 0.2, 0.002, 0.05, 10_000),
            Timing(turn("single", 1, 2), 0.13, 0.002, 0.05, 15_385),
            Timing(turn("ddp", 2, silent=True), 0.1, 0.001, 0.06, 20_000, 0.004),
            Timing(turn("ddp", 2), 0.12, 0.001, 0.06, 16_667, 0.004),
        ]
    )
    cells = [line[29:].split() for line in lines[1:]]
    assert cells[0][:4] == ["10,000", "100%", "1.00", "200.0"]
    assert cells[1][1:3] == ["77%", "1.00"]
    assert lines[3].startswith(SILENT)
    #                  rate, of two, beside two threads, step, compute, talk, data, save, all-reduce
    assert cells[3] == ["16,667", "83%", "1.08", "120.0", "99.0", "20.0", "1.0", "60.0", "4.0"]


def test_every_candidate_has_its_turn_in_every_round(monkeypatch):
    order = []

    def run(one):
        order.append(one.name)
        return Timing(one, step=len(order), data=0, save=0, rate=1.0)

    monkeypatch.setattr(bench, "run", run)
    monkeypatch.setattr(bench, "cores", lambda: 2)
    timings = measure("lm", QUICK)
    names = ["1 process, 1 thread", "1 process, 2 threads", f"{SILENT}, 2 processes",
             "ddp, 2 processes"]  # fmt: skip
    assert order == 3 * names
    assert [t.turn.name for t in timings] == names
    assert [t.step for t in timings] == [5, 6, 7, 8]  # medians of three


@pytest.mark.parametrize("model", ["lm", "diffusion"])
def test_a_turn_trains_tinys_shape_and_is_timed(tmp_path, model):
    trace = tmp_path / "traces" / "trace.json"
    one = Turn(model, "single", 1, 1, 8, "fp32", trace=str(trace) if model == "lm" else "")
    (tmp_path / "turn.json").write_text(json.dumps(vars(one)))
    bench.take_turn([str(tmp_path), "--strategy", "single", "--processes", "1"])
    timing = Timing(one, **json.loads((tmp_path / "result.json").read_text()))
    assert timing.step > timing.data > 0
    assert timing.save > 0
    assert timing.rate * timing.step == pytest.approx(2048 if model == "lm" else 32)
    if one.trace:
        events = json.loads(trace.read_text())["traceEvents"]
        assert any(event.get("name") == "aten::mm" for event in events)


def test_the_silent_turn_sends_nothing():
    """What it registers is torch's hook that leaves gradients as they are."""
    hooks = []
    model = SimpleNamespace(register_comm_hook=lambda state, hook: hooks.append(hook.__name__))
    trainer = SimpleNamespace(save_checkpoint=None, strategy=SimpleNamespace(model=model))
    objective = SimpleNamespace(trainer=trainer)
    for silent, registered in ((False, []), (True, ["noop_hook"])):
        bench.Watch(objective, None, turn("ddp", 2, silent=silent))
        objective.on_train_start()
        assert hooks == registered
    assert not torch.distributed.is_initialized()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--models", "lmm"], "--models has no 'lmm': did you mean 'lm'"),
        (["--engines", "dpp"], "--engines has no 'dpp': did you mean 'ddp'"),
        (["--processes", "3"], "batches of 16 cannot be divided among 3"),
        (["--processes", "1"], "among 1 processes"),
        (["--steps", "2"], "--steps must be at least 8"),
    ],
)
def test_bad_input_is_one_sentence(words, message):
    with pytest.raises(VermeilError, match=message):
        bench.bench(["scaling", *words])


def test_a_turn_that_fails_says_why(monkeypatch):
    said = "warning: x\nerror: the package deepspeed is not installed\n  -> pip install"
    failed = SimpleNamespace(returncode=2, stderr=said)
    monkeypatch.setattr(bench.subprocess, "run", lambda *_, **__: failed)
    with pytest.raises(VermeilError, match="lm with ddp, 2 processes failed: error: the package"):
        bench.run(turn("ddp", 2))
