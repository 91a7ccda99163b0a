"""One table of what every variant of a model costs and what it keeps.

A variant that another one equals or beats in time, size and quality is dominated: there is no
reason to take it, and the table says so.
"""

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median, quantiles
from typing import Any

import torch
from torch import nn

from phase3_scaling.compression.memory import peak_bytes
from phase3_scaling.compression.shape import multiply_adds
from phase3_scaling.compression.subjects import Example, Subject
from shared.benchmark import conditions, turns
from shared.errors import VermeilError
from shared.metrics.intervals import Mean
from shared.results import Row, curve, table

Variant = Callable[[nn.Module, Sequence[Example]], nn.Module]

BATCH = 16  # rows at which throughput is measured
REFERENCE = "eager_fp32"


def as_it_is(module: nn.Module) -> Variant:
    """A model that was made elsewhere, as a variant."""
    return lambda model, examples: module


@dataclass(frozen=True)
class Measurement:
    """One variant of one model; where it could not be had, `note` says why."""

    variant: str
    megabytes: float = 0.0  # on disk
    peak: float | None = None  # megabytes of memory, BATCH rows at a time; None: not asked
    p50: float = 0.0  # milliseconds for one row
    p95: float = 0.0
    per_second: float = 0.0  # rows, BATCH at a time
    calls: int = 0  # that were timed
    quality: Mean | None = None
    note: str = ""


@dataclass(frozen=True)
class Table:
    """What was measured, and what it was measured on."""

    found: list[Measurement]
    modules: dict[str, nn.Module]

    def module(self, variant: str) -> nn.Module:
        """One that is needed; VermeilError with the reason where it could not be had."""
        if variant not in self.modules:
            note = next(one.note for one in self.found if one.variant == variant)
            raise VermeilError(f"the variant {variant} could not be made", note)
        return self.modules[variant]


def measure(
    subject: Subject, variants: Mapping[str, Variant], size: Callable[[nn.Module], int],
    rounds: int, processes: int = 0,
) -> Table:  # fmt: skip
    """Make every variant, ask it for its quality, and time all of them in turns.

    Its memory is the least of so many processes that load it, which takes seconds each.
    """
    made: dict[str, nn.Module] = {}
    missing: list[Measurement] = []
    for name, variant in variants.items():
        try:
            module = variant(subject.model, subject.examples).eval()
            with torch.inference_mode():
                module(*subject.rows(1))  # what a runtime cannot do shows only here
            made[name] = module
        except VermeilError as error:
            missing.append(Measurement(name, note=f"{error.message}: {error.hint}"))
        except Exception as error:  # runtimes' own errors have no kind in common
            said = " ".join(str(error).split())
            missing.append(Measurement(name, note=f"does not run: {said:.120}"))
    single = timed(made, subject.rows(1), rounds)
    batched = timed(made, subject.rows(BATCH), max(3, rounds // 8))
    with torch.inference_mode():
        found = [
            Measurement(
                name, size(module) / 1e6,
                _peak(module, subject.rows(BATCH), processes) if processes else None,
                1000 * median(single[name]), 1000 * quantiles(single[name], n=20)[-1],
                BATCH / median(batched[name]), rounds, subject.quality(module),
            )
            for name, module in made.items()
        ]  # fmt: skip
    return Table(found + missing, made)


def _peak(module: nn.Module, example: Example, processes: int) -> float | None:
    """Megabytes; None where no process can say: a card's memory, another system than Linux."""
    try:
        return peak_bytes(module, example, processes) / 1e6
    except VermeilError as error:
        print(f"peak memory: {error.message}", file=sys.stderr)
        return None


@torch.inference_mode()
def timed(
    modules: Mapping[str, nn.Module], example: Example, rounds: int
) -> dict[str, list[float]]:
    """Seconds of every call, in turns."""

    def call(module: nn.Module) -> Callable[[], None]:
        def once() -> None:
            module(*example)

        return once

    return turns({name: call(module) for name, module in modules.items()}, rounds, warmup=2)


def dominated(found: Sequence[Measurement], lower_is_better: bool) -> dict[str, str]:
    """Of each variant that there is no reason to take: the one that makes it so."""

    def costs(one: Measurement) -> tuple[float, ...]:
        assert one.quality is not None
        worth = one.quality.value if lower_is_better else -one.quality.value
        return one.p50, one.megabytes, worth

    there = [one for one in found if one.quality]
    return {
        one.variant: other.variant
        for one in there
        for other in there
        if costs(other) != costs(one)
        and all(a <= b for a, b in zip(costs(other), costs(one), strict=True))
    }


BESIDE = ("eager_fp32", "eager_bf16", "ort_fp32")  # what a chosen variant is compared with


def rows(
    subject: Subject, found: Sequence[Measurement], chosen: str, about: dict[str, Any],
    floors: Sequence[str] = (),
) -> list[Row]:  # fmt: skip
    """Quality, latency and size of one variant, beside the plain ways to run the same model.

    `floors` are variants whose quality it should pass.
    """
    by_name = {one.variant: one for one in found if one.quality}
    good = {one.variant: one.quality for one in found if one.quality}
    one, plain = by_name[chosen], [name for name in BESIDE if name in by_name]

    def others(of: Callable[[Measurement], float]) -> dict[str, float | None]:
        return {name: of(by_name[name]) for name in plain}

    speed = f"{subject.unit}, batch 1, {conditions()}"
    return [
        Row(metric=f"{subject.name}_{subject.metric}", **good[chosen]._asdict(), unit="",
            better=subject.better, protocol=f"{chosen}; {subject.protocol}", split="test",
            baselines={name: good[name].value for name in floors},
            ceilings={REFERENCE: good[REFERENCE].value}, **about),
        Row(metric=f"{subject.name}_latency_p50_ms", value=one.p50, unit="ms", better="lower",
            n=one.calls, protocol=f"{chosen}; {speed}", split=None,
            baselines=others(lambda other: other.p50), **about),
        Row(metric=f"{subject.name}_size_mb", value=one.megabytes, unit="MB", better="lower", n=1,
            protocol=chosen, split=None, baselines=others(lambda other: other.megabytes), **about),
    ]  # fmt: skip


def products(subject: Subject, small: nn.Module, about: dict[str, Any]) -> Row:
    """The multiply-adds of one example, beside those of the whole model."""
    before, after = (
        multiply_adds(model, lambda one: one(*subject.rows(1))) / 1e6
        for model in (subject.model, small)
    )
    return Row(metric=f"{subject.name}_multiply_adds", value=after, unit="M", better="lower", n=1,
               protocol=f"products and convolutions of one {subject.unit}", split=None,
               baselines={REFERENCE: before}, **about)  # fmt: skip


def exhibit(subject: Subject, found: Sequence[Measurement]) -> dict[str, Any]:
    """The table of one model."""
    beaten = dominated(found, subject.better == "lower")
    rows: list[list[Any]] = []
    for one in found:
        if one.quality is None:
            rows.append([one.variant, *[None] * 6, one.note])
            continue
        note = f"dominated by {beaten[one.variant]}" if one.variant in beaten else ""
        rows.append([one.variant, one.megabytes, one.peak, one.p50, one.p95, one.per_second,
                     one.quality.value, note])  # fmt: skip
    columns = ["variant", "MB on disk", "MB of memory", "ms, p50", "ms, p95",
               f"rows/s, {BATCH} at once", subject.metric, ""]  # fmt: skip
    return table(f"{subject.name}: what each variant costs and keeps", columns, rows)


def frontier(measured: Sequence[tuple[Subject, Sequence[Measurement]]]) -> dict[str, Any]:
    """Quality kept against time, of what is not dominated; both as shares of eager fp32's."""
    series: dict[str, tuple[list[float], list[float | None]]] = {}
    for subject, some in measured:
        lower = subject.better == "lower"
        beaten = dominated(some, lower)
        kept = [one for one in some if one.quality and one.variant not in beaten]
        whole = next(one for one in some if one.variant == REFERENCE)
        assert whole.quality is not None
        times, kept_shares = [], []
        for one in sorted(kept, key=lambda one: one.p50):
            assert one.quality is not None
            ratio = one.quality.value / whole.quality.value
            times.append(one.p50 / whole.p50)
            kept_shares.append(1 / ratio if lower else ratio)
        series[subject.name] = times, kept_shares
    return curve("What is worth taking: quality against time, both beside eager fp32's",
                 "time / eager fp32's", "quality / eager fp32's", series)  # fmt: skip
