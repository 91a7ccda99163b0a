"""Which variants are worth taking, and what the tables say of them."""

import time
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from phase3_scaling.compression import bench, pareto
from phase3_scaling.compression.pareto import Measurement
from phase3_scaling.compression.subjects import Subject
from shared.errors import VermeilError
from shared.metrics.intervals import Mean


def one(name: str, megabytes: float, p50: float, quality: float) -> Measurement:
    return Measurement(name, megabytes, None, p50, p50, 1 / p50, 9, Mean(quality, None, None, 5))


def test_dominated_is_what_another_equals_or_beats_in_everything():
    found = [
        one("eager_fp32", 4, 10, 0.80),
        one("small", 1, 8, 0.80),  # beats it in size and time, equals it in quality
        one("quick", 3, 2, 0.70),  # not as good, but the quickest
        one("useless", 3, 9, 0.60),
        one("twin", 1, 8, 0.80),  # equal to small: neither is a reason against the other
        Measurement("fp8", note="no card"),
    ]
    beaten = pareto.dominated(found, lower_is_better=False)
    assert {*beaten} == {"eager_fp32", "useless"}
    assert beaten["eager_fp32"] in ("small", "twin")
    # Where less is better, the worst in accuracy is the best.
    assert "useless" not in pareto.dominated(found, lower_is_better=True)


@pytest.fixture
def subject() -> Subject:
    torch.manual_seed(0)
    model = nn.Linear(4, 3)
    examples = tuple((torch.randn(16, 4),) for _ in range(2))
    target = model(examples[0][0]).detach()

    def quality(module: nn.Module) -> Mean:
        error = (module(examples[0][0]) - target).abs().mean().item()
        return Mean(1 - error, 0.0, 1.0, 16)

    return Subject("lm", SimpleNamespace(id="phase1/lm@x"), model, examples, "row", "accuracy",
                   "higher", "by hand", quality)  # type: ignore[arg-type]  # fmt: skip


class Slow(nn.Module):
    """The same, and 20 ms later."""

    def __init__(self, model: nn.Module):
        super().__init__()
        self.model = model

    def forward(self, x):
        time.sleep(0.02)
        return self.model(x)


def size(module: nn.Module) -> int:
    return sum(p.nbytes for p in module.parameters())


def refuse(model, examples):
    raise VermeilError("no card", "find one")


def test_variants_are_made_timed_and_measured(subject):
    halved = nn.Linear(4, 3)
    halved.load_state_dict({k: v / 2 for k, v in subject.model.state_dict().items()})
    variants = {
        "eager_fp32": pareto.as_it_is(subject.model),
        "slow": lambda model, examples: Slow(model),
        "halved": pareto.as_it_is(halved),
        "fp8": refuse,
        "broken": lambda model, examples: nn.Linear(5, 3),
    }
    table = pareto.measure(subject, variants, size, rounds=5)
    by_name = {found.variant: found for found in table.found}
    assert by_name["eager_fp32"].quality.value == 1
    assert by_name["halved"].quality.value < 1
    assert by_name["slow"].p50 >= 20 > by_name["eager_fp32"].p50
    assert by_name["slow"].per_second < 16 / 0.02
    assert by_name["eager_fp32"].megabytes == 60e-6
    assert by_name["fp8"].quality is None and "find one" in by_name["fp8"].note
    assert by_name["broken"].note.startswith("does not run: mat1 and mat2")
    assert isinstance(table.module("slow"), Slow)
    with pytest.raises(VermeilError, match="fp8 could not be made") as caught:
        table.module("fp8")
    assert caught.value.hint == "no card: find one"
    assert set(table.modules) == {"eager_fp32", "slow", "halved"}
    shown = pareto.exhibit(subject, table.found)
    notes = {row[0]: row[-1] for row in shown["rows"]}
    assert notes["slow"] == "dominated by eager_fp32" and notes["fp8"] == "no card: find one"
    about = {"step": "quantize", "artifact": "phase3/quantize@x", "preset": "tiny"}
    quality, latency, megabytes = pareto.rows(subject, table.found, "slow", about)
    assert quality.ceilings == {"eager_fp32": 1} and quality.metric == "lm_accuracy"
    assert latency.baselines == {"eager_fp32": by_name["eager_fp32"].p50} and latency.n == 5
    assert megabytes.value == 60e-6
    plot = pareto.frontier([(subject, table.found)])
    (line,) = plot["series"]
    assert len(line["x"]) == len(line["y"]) and 1.0 in line["y"]


def test_memory_is_asked_for_and_printed(subject, monkeypatch):
    """A number where a process said it, a dash where none did: 0 would be a lie."""

    def peak(module, example, processes):
        assert processes == 1
        if isinstance(module, Slow):
            raise VermeilError("it cannot be pickled", "name its parts")
        return 7_250_000

    monkeypatch.setattr(pareto, "peak_bytes", peak)
    variants = {
        "eager_fp32": pareto.as_it_is(subject.model),
        "slow": lambda model, examples: Slow(model),
    }
    found = pareto.measure(subject, variants, size, rounds=3, processes=1).found
    assert [one.peak for one in found] == [7.25, None]
    lines = bench.text(subject, found).splitlines()
    shown = {row[0]: row[2] for row in pareto.exhibit(subject, found)["rows"]}
    assert shown == {"eager_fp32": 7.25, "slow": None}
    columns = [line.split()[:3] for line in lines[1:4]]
    assert columns[0] == ["variant", "MB", "peak"]
    assert columns[1][2] == "7.2" and columns[2][2] == "-"
    assert [one.peak for one in pareto.measure(subject, variants, size, rounds=3).found] == [
        None
    ] * 2
