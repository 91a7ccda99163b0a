"""`vermeil bench compress`: every variant of every model, what it costs and what it keeps."""

import sys
from dataclasses import dataclass
from typing import ClassVar

from phase3_scaling.compression import pareto, quantize
from phase3_scaling.compression.subjects import SUBJECTS, Subject, subjects
from shared import hardware
from shared.benchmark import conditions
from shared.charts import number
from shared.config import option, parse


@dataclass(frozen=True)
class BenchConfig:
    """What to compress and how long to time it."""

    POSITIONAL: ClassVar = ("what",)

    what: str = option("compress", "what to time")
    preset: str = option("tiny", "whose artifacts")
    models: tuple[str, ...] = option(tuple(SUBJECTS), "which of them")
    variants: tuple[str, ...] = option(tuple(quantize.VARIANTS), "which ways to run them")
    rounds: int = option(100, "turns of every variant", low=3)
    threads: int = option(1, "CPU threads; 0 takes every core", low=0)


def bench(arguments: list[str]) -> None:
    """Size, peak memory, latency, throughput and quality of every variant, in turns."""
    config = parse(BenchConfig, arguments, command="vermeil bench", about=str(bench.__doc__)).config
    hardware.set_threads(config.threads)
    print(f"{hardware.cpu_name()}, {conditions()}\n")
    variants = {name: quantize.variant(name) for name in config.variants}
    for load in subjects(config.models, config.preset):
        subject = load()
        found = pareto.measure(
            subject, variants, quantize.size_bytes, config.rounds, processes=3
        ).found
        print(text(subject, found), flush=True)


def text(subject: Subject, found: list[pareto.Measurement]) -> str:
    """One model's table for a terminal."""
    whole = next(one for one in found if one.variant == pareto.REFERENCE)
    beaten = pareto.dominated(found, subject.better == "lower")
    lines = [
        f"{subject.name}: {subject.artifact.id}, {subject.metric} ({subject.better} is better), "
        f"a row is one {subject.unit}; peak: what {pareto.BATCH} rows at once add to a process",
        f"{'variant':<20}{'MB':>8}{'peak MB':>9}{'p50 ms':>9}{'p95 ms':>9}{'faster':>8}"
        f"{'rows/s':>10}{'quality':>10}",
    ]
    for one in found:
        if one.quality is None:
            lines.append(f"{one.variant:<20}{one.note}")
            continue
        peak = "-" if one.peak is None else f"{one.peak:.1f}"
        note = f"  dominated by {beaten[one.variant]}" if one.variant in beaten else ""
        lines.append(
            f"{one.variant:<20}{one.megabytes:>8.2f}{peak:>9}"
            f"{one.p50:>9.2f}{one.p95:>9.2f}{whole.p50 / one.p50:>7.2f}x"
            f"{number(one.per_second):>10}{one.quality.value:>10.4f}{note}"
        )
    return "\n".join([*lines, ""])


if __name__ == "__main__":
    bench(sys.argv[1:])
