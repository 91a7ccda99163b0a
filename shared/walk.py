"""`vermeil run`: walk every step, skip what is done and valid, resume what was cut."""

import os
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from shared.charts import duration, number
from shared.config import Choice, Preset, find_preset
from shared.errors import VermeilError
from shared.hardware import cores, cpu_name
from shared.home import home
from shared.results import Results, Row, beats_floor, strongest_floor
from shared.side_by_side import SLOWER, Board, Lanes, can_share, family
from shared.step import Step, finished

USAGE = """usage: vermeil run [PRESET] [--jobs N] [--dry-run]

Walks the whole curriculum with one preset (default tiny). What is done and valid is skipped, what
was cut is resumed. --jobs N makes up to N steps at a time that do not need each other, each on its
share of the cores (default: 2 on Linux, and 1 where there is one core or a GPU). --dry-run shows
steps, expected time, memory and disk, and does nothing.

presets: smoke (seconds a step), tiny (minutes on 2 cores), small (hours), base (one large GPU),
large (many GPUs)"""


def main(arguments: Sequence[str], steps: Sequence[Step]) -> None:
    """Walk `steps` with the preset that the arguments name."""
    if "--help" in arguments or "-h" in arguments:
        print(USAGE)
        return
    options = _options(arguments)
    choices = [Choice(options.preset, find_preset(step.presets, options.preset).config)
               for step in steps]  # fmt: skip
    if options.dry_run:
        print(plan(steps, choices, options.jobs))
    else:
        walk(steps, choices, options.jobs)


@dataclass(frozen=True)
class Options:
    """What the command line asks for; 0 jobs: as many as suit this machine."""

    preset: str = "tiny"
    jobs: int = 0
    dry_run: bool = False


def _options(arguments: Sequence[str]) -> Options:
    found, words = Options(), iter(arguments)
    presets = 0
    for word in words:
        if word in ("--dry-run", "--dry_run"):
            found = replace(found, dry_run=True)
        elif word.partition("=")[0] == "--jobs":
            found = replace(found, jobs=_jobs(word.partition("=")[2] or next(words, "")))
        elif word.startswith("-"):
            hint = "a step takes keys: vermeil train STEP " + word
            raise VermeilError(f"run takes a preset, --jobs and --dry-run, not '{word}'", hint)
        elif presets:
            raise VermeilError(f"unexpected '{word}'", "vermeil run --help")
        else:
            found, presets = replace(found, preset=word), 1
    return found


def _jobs(asked: str) -> int:
    if not asked.isdecimal() or not 1 <= int(asked) <= cores():
        raise VermeilError(
            f"--jobs takes a number from 1 to {cores()}, the cores here, not '{asked}'",
            "vermeil run --jobs 1: one after the other",
        )
    if int(asked) > 1 and not hasattr(os, "sched_setaffinity"):
        raise VermeilError(
            "this system cannot give steps cores of their own", "vermeil run --jobs 1"
        )
    return int(asked)


def plan(steps: Sequence[Step], choices: Sequence[Choice], jobs: int = 0) -> str:
    """The steps with what they are expected to take."""
    lines = [
        f"{'step':<14}{'state':<8}{'time':<24}{'memory':>8}{'disk':>9}  expected result",
    ]
    open_steps: list[tuple[Step, Preset]] = []
    for step, choice in zip(steps, choices, strict=True):
        preset = step.presets[choice.preset]
        done = finished(step, choice) is not None
        lines.append(
            f"{step.name:<14}{'done' if done else 'to do':<8}{preset.time:<24}"
            f"{preset.memory_gb:>5.1f} GB{preset.disk_mb:>6.0f} MB  {preset.expect}"
        )
        open_steps += [] if done else [(step, preset)]
    free = shutil.disk_usage(home()).free / 2**20
    where = f"here: {cpu_name()}, {cores()} cores, {free:,.0f} MB of disk free, home {home()}"
    if not open_steps:
        return "\n".join([*lines, "\nnothing to do: all is done", where])
    jobs = jobs or jobs_here()
    alone = [preset.memory_gb for step, preset in open_steps if step.alone]
    beside = sorted(preset.memory_gb for step, preset in open_steps if not step.alone)
    memory = max(sum(beside[-jobs:]), *alone, 0.0)
    disk = sum(preset.disk_mb for _, preset in open_steps)
    time_left = expected([preset for _, preset in open_steps])
    lines.append(f"\nin all {time_left}, {memory:.1f} GB of memory, {disk:.0f} MB of disk")
    if jobs == 2 and len(open_steps) > 1:
        lines.append("one after the other; two at a time on two cores save about a fifth")
    return "\n".join([*lines, where])


def expected(presets: Sequence[Preset]) -> str:
    """How long these presets take together, where each has been measured."""
    if all(preset.seconds for preset in presets):
        return f"about {duration(sum(preset.seconds for preset in presets))} on 2 quiet cores"
    return "an unknown time, since nobody has run all of it yet"


def jobs_here() -> int:
    """Steps at a time: two where they gain by it."""
    return min(2, cores()) if can_share() else 1


def walk(steps: Sequence[Step], choices: Sequence[Choice], jobs: int = 0) -> None:
    """Make what is missing, and the report of exactly these runs at the end."""
    from shared import report

    start = time.monotonic()
    jobs = jobs or jobs_here()
    preset, beside = choices[0].preset, f", {jobs} at a time" if jobs > 1 else ""
    print(
        f"vermeil run {preset}: {len(steps)} steps{beside}; here {cores()} cores, {cpu_name()}",
        flush=True,
    )
    told = Told(steps, Board())
    made = in_turn(steps, choices, told) if jobs == 1 else side_by_side(steps, choices, jobs, told)
    names = [step.name for step in steps]
    page = report.write([made[name] for name in names], home() / "reports" / "latest", names)
    print(f"\nall done in {duration(time.monotonic() - start)}. The report:\n{page}", flush=True)


class Told:
    """What the walk says of its steps: a line when one begins, and its results when it ends."""

    def __init__(self, steps: Sequence[Step], board: Board):
        self.board, self.begun = board, {}
        self.places = {s.name: f"[{n}/{len(steps)}]" for n, s in enumerate(steps, 1)}

    def begins(self, step: Step, preset: Preset, *, shared: bool = False) -> None:
        """What is made now, and how long it takes."""
        self.begun[step.name] = time.monotonic()
        time_left = expected([preset])
        if shared and preset.seconds:
            time_left = f"about {duration(SLOWER * preset.seconds)} beside another step"
        self.board.keep(f"{self.places[step.name]} {step.name}: {step.title.lower()}, {time_left}")

    def ends(self, step: Step, folder: Path) -> Results:
        """What came out."""
        begun = self.begun.get(step.name)
        took = duration(time.monotonic() - begun) if begun else "done before"
        results = Results.load(home() / "runs" / step.name / folder.name)
        first, *others = headline(results)
        self.board.keep(f"{self.places[step.name]} {step.name:<13} {took:<12} {first}")
        for line in others:
            self.board.keep(f"{'':<33}{line}")
        return results


def in_turn(steps: Sequence[Step], choices: Sequence[Choice], told: Told) -> dict[str, Results]:
    """Make one step after the other, each with the whole machine."""
    found = {}
    for step, choice in zip(steps, choices, strict=True):
        artifact = finished(step, choice)
        if artifact is None:
            told.begins(step, step.presets[choice.preset])
            artifact = step.train(choice)
        found[step.name] = told.ends(step, artifact.folder)
    return found


def side_by_side(
    steps: Sequence[Step], choices: Sequence[Choice], jobs: int, told: Told
) -> dict[str, Results]:
    """Make up to `jobs` steps at a time, each as soon as those are made that it needs."""
    by_name = {step.name: choice for step, choice in zip(steps, choices, strict=True)}
    presets = {step.name: step.presets[by_name[step.name].preset] for step in steps}
    seconds = {name: preset.seconds for name, preset in presets.items()}
    lanes = Lanes(steps, seconds, jobs, sorted(os.sched_getaffinity(0)))
    found = {}

    def ended(step: Step, folder: Path) -> None:
        found[step.name] = told.ends(step, folder)
        lanes.end(step.name)

    looked_at: set[str] = set()
    with family(told.board) as own:
        while len(found) < len(steps):
            for step in steps:  # what was done before takes no core
                if step.name not in looked_at and lanes.ready(step):
                    looked_at.add(step.name)
                    if artifact := finished(step, by_name[step.name]):
                        ended(step, artifact.folder)
            for step, share in lanes.begin():
                told.begins(step, presets[step.name], shared=len(share) < len(lanes.cores))
                own.begin(step, by_name[step.name], share)
            for step, folder in own.listen():
                ended(step, folder)
    return found


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
