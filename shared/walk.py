"""`vermeil run`: walk every step, skip what is done and valid, resume what was cut."""

import shutil
import sys
import time
from collections.abc import Sequence

from shared.artifact import Artifact
from shared.charts import duration
from shared.config import Choice, find_preset
from shared.errors import VermeilError, nearest
from shared.hardware import cores, cpu_name
from shared.home import home
from shared.results import Results, Row, beats_floor, strongest_floor
from shared.step import Step, finished

USAGE = """usage: vermeil run [PRESET] [--dry-run]

Walks the whole curriculum with one preset (default tiny). What is done and valid is skipped, what
was cut is resumed. --dry-run shows steps, expected time, memory and disk, and does nothing.

presets: smoke (seconds a step), tiny (minutes on 2 cores), small (hours), base (one large GPU),
large (many GPUs)"""


def main(arguments: Sequence[str], steps: Sequence[Step]) -> None:
    """Walk `steps` with the preset that the arguments name."""
    if "--help" in arguments or "-h" in arguments:
        print(USAGE)
        return
    words = [word for word in arguments if word not in ("--dry-run", "--dry_run")]
    for word in words:
        if word.startswith("-"):
            raise VermeilError(f"unknown key '{word}'", nearest(word, ["--dry-run", "--help"]))
    if len(words) > 1:
        raise VermeilError(f"unexpected '{words[1]}'", "vermeil run --help")
    preset = words[0] if words else "tiny"
    choices = [Choice(preset, find_preset(step.presets, preset).config) for step in steps]
    if len(words) < len(arguments):
        print(plan(steps, choices))
        return
    walk(steps, choices)


def plan(steps: Sequence[Step], choices: Sequence[Choice]) -> str:
    """The steps with what they are expected to take."""
    lines = [
        f"{'step':<14}{'state':<8}{'time':<24}{'memory':>8}{'disk':>9}  expected result",
    ]
    seconds = disk = memory = 0.0
    for step, choice in zip(steps, choices, strict=True):
        preset = step.presets[choice.preset]
        done = finished(step, choice) is not None
        lines.append(
            f"{step.name:<14}{'done' if done else 'to do':<8}{preset.time:<24}"
            f"{preset.memory_gb:>5.1f} GB{preset.disk_mb:>6.0f} MB  {preset.expect}"
        )
        seconds += 0 if done else preset.seconds
        disk += 0 if done else preset.disk_mb
        memory = max(memory, preset.memory_gb)
    free = shutil.disk_usage(home()).free / 2**20
    lines.append(
        f"\nin all about {duration(seconds)} (measured on 2 cores), {memory:.1f} GB of memory, "
        f"{disk:.0f} MB of disk ({free:,.0f} MB free)\nhere: {cpu_name()}, {cores()} cores, "
        f"home {home()}"
    )
    return "\n".join(lines)


def walk(steps: Sequence[Step], choices: Sequence[Choice]) -> None:
    """Make what is missing, in order, and the report at the end."""
    from shared import report

    start = time.monotonic()
    needed = sum(step.presets[c.preset].seconds for step, c in zip(steps, choices, strict=True))
    print(
        f"vermeil run {choices[0].preset}: {len(steps)} steps, about {duration(needed)} on "
        f"2 cores; here {cores()} cores, {cpu_name()}",
        flush=True,
    )
    for number, (step, choice) in enumerate(zip(steps, choices, strict=True), 1):
        name = f"[{number}/{len(steps)}] {step.name:<10}"
        artifact = finished(step, choice)
        if artifact is None:
            about = f"{step.title}, about {step.presets[choice.preset].time}"
            print(f"{name} {about}", flush=True)
            begun = time.monotonic()
            artifact = step.train(choice)
            took = f"{duration(time.monotonic() - begun)}"
        else:
            took = "done before"
        print(f"{name} {took:<12} {headline(step.name, artifact)}", flush=True)
    results = report.collect(home(), choices[0].preset, [step.name for step in steps])
    page = report.write(results, home() / "reports" / "latest", [step.name for step in steps])
    print(f"\nall done in {duration(time.monotonic() - start)}. The report:\n{page}")
    print(f'\nnext: vermeil sample lm@{choices[0].preset} "The people"', file=sys.stderr)


def headline(step: str, artifact: Artifact) -> str:
    """A step's first result beside its strongest floor, and whether its loss is normal."""
    try:
        results = Results.load(home() / "runs" / step / artifact.folder.name)
    except VermeilError:
        return ""
    lines = [sentence(row) for row in results.rows[:1]]
    if results.verdict:
        normal = "normal" if results.verdict["normal"] else "NOT NORMAL"
        lines.append(f"{'':<29}the loss is {normal}: {results.verdict['text']}")
    return "\n".join(lines)


def sentence(row: Row) -> str:
    """A row in words: value, unit and floor."""
    if row.value is None:
        return f"{row.metric} not available: {row.note}"
    text = f"{row.metric} {row.value:.3f} {row.unit}"
    floor = strongest_floor(row)
    if floor:
        text += f" ({'beats' if beats_floor(row) else 'behind'} {floor[0]} {floor[1]:.3f})"
    return text
