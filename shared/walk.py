"""`vermeil run`: walk every step, skip what is done and valid, resume what was cut."""

import shutil
import time
from collections.abc import Sequence

from shared.charts import duration, number
from shared.config import Choice, Preset, find_preset
from shared.errors import VermeilError
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
            hint = "a step takes keys: vermeil train STEP " + word
            raise VermeilError(f"run takes a preset and --dry-run, not '{word}'", hint)
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
    open_presets = []
    for step, choice in zip(steps, choices, strict=True):
        preset = step.presets[choice.preset]
        done = finished(step, choice) is not None
        lines.append(
            f"{step.name:<14}{'done' if done else 'to do':<8}{preset.time:<24}"
            f"{preset.memory_gb:>5.1f} GB{preset.disk_mb:>6.0f} MB  {preset.expect}"
        )
        open_presets += [] if done else [preset]
    free = shutil.disk_usage(home()).free / 2**20
    where = f"here: {cpu_name()}, {cores()} cores, {free:,.0f} MB of disk free, home {home()}"
    if not open_presets:
        return "\n".join([*lines, "\nnothing to do: all is done", where])
    memory = max(preset.memory_gb for preset in open_presets)
    disk = sum(preset.disk_mb for preset in open_presets)
    lines.append(
        f"\nin all {expected(open_presets)}, {memory:.1f} GB of memory, {disk:.0f} MB of disk"
    )
    return "\n".join([*lines, where])


def expected(presets: Sequence[Preset]) -> str:
    """How long these presets take together, where each has been measured."""
    if all(preset.seconds for preset in presets):
        return f"about {duration(sum(preset.seconds for preset in presets))} on 2 quiet cores"
    return "an unknown time, since nobody has run all of it yet"


def walk(steps: Sequence[Step], choices: Sequence[Choice]) -> None:
    """Make what is missing, in order, and the report of exactly these runs at the end."""
    from shared import report

    start = time.monotonic()
    preset = choices[0].preset
    print(
        f"vermeil run {preset}: {len(steps)} steps; here {cores()} cores, {cpu_name()}", flush=True
    )
    found: list[Results] = []
    for nth, (step, choice) in enumerate(zip(steps, choices, strict=True), 1):
        place = f"[{nth}/{len(steps)}]"
        artifact = finished(step, choice)
        took = "done before"
        if artifact is None:
            time_left = expected([step.presets[preset]])
            print(f"{place} {step.name}: {step.title.lower()}, {time_left}", flush=True)
            begun = time.monotonic()
            artifact = step.train(choice)
            took = duration(time.monotonic() - begun)
        found.append(Results.load(home() / "runs" / step.name / artifact.folder.name))
        first, *others = headline(found[-1])
        print(f"{place} {step.name:<10} {took:<12} {first}", flush=True)
        for line in others:
            print(f"{'':<30}{line}", flush=True)
    page = report.write(found, home() / "reports" / "latest", [step.name for step in steps])
    print(f"\nall done in {duration(time.monotonic() - start)}. The report:\n{page}", flush=True)


def headline(results: Results) -> list[str]:
    """A step's first result beside its strongest floor, and whether its loss is normal."""
    lines = [sentence(row) for row in results.rows[:1]] or ["nothing was measured"]
    if results.verdict:
        normal = "normal" if results.verdict["normal"] else "NOT NORMAL"
        lines.append(f"the loss is {normal}: {results.verdict['text']}")
    return lines


def sentence(row: Row) -> str:
    """A row in words: value, unit and floor."""
    if row.value is None:
        return f"{row.metric} not available: {row.note}"
    text = f"{row.metric} {number(row.value, 3)} {row.unit}"
    floor = strongest_floor(row)
    if floor:
        text += f" ({'beats' if beats_floor(row) else 'behind'} {floor[0]} {number(floor[1], 3)})"
    return text
