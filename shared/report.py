"""From every step's results to one report: JSON for programs, Markdown for readers, one HTML page.

Everything shown comes from `results.json` files alone; nothing is parsed back out of prose.
"""

import argparse
import html
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime
from math import inf
from pathlib import Path
from typing import Any

from shared.charts import bars, decimals_of, duration, is_compared, line_chart, number
from shared.errors import VermeilError
from shared.glossary import BASELINES, baseline_label, metric_label, metric_meaning
from shared.home import home, write_atomically
from shared.results import FILE, SCHEMA, Results, Row, beats_floor, strongest_floor


def collect(folder: Path, preset: str | None = None, order: Sequence[str] = ()) -> list[Results]:
    """The newest valid results of every step under `folder`/runs, of one preset or of any.

    `order` is the curriculum; steps that it does not name follow by time. A file that cannot be
    read is skipped with a line on standard error, and an older run of its step stands in.
    """
    newest: dict[str, Results] = {}
    for path in sorted(folder.glob(f"runs/*/*/{FILE}")):
        try:
            found = Results.load(path.parent)
        except VermeilError as error:
            print(f"skipped: {error}", file=sys.stderr)
            continue
        known = newest.get(found.step)
        if preset in (None, found.preset) and (known is None or known.date <= found.date):
            newest[found.step] = found
    place = {step: i for i, step in enumerate(order)}
    return sorted(newest.values(), key=lambda r: (place.get(r.step, len(place)), r.date))


def write(results: Sequence[Results], folder: Path, order: Sequence[str] = ()) -> Path:
    """Write report.json, report.md and report.html; return the path of the page.

    Steps of the curriculum `order` that have no results are named as not walked yet.
    """
    missing = [step for step in order if step not in {found.step for found in results}]
    steps = [asdict(found) for found in results]
    rows = [row for step in steps for row in step.pop("rows")]
    for step in steps:
        del step["exhibits"]  # pictures and curves stay in the run's own file
    document = {"schema": SCHEMA, "rows": rows, "steps": steps}
    write_atomically(folder / "report.json", json.dumps(document, indent=1) + "\n")
    write_atomically(folder / "report.md", markdown(results, missing))
    write_atomically(folder / "report.html", page(results, missing))
    return folder / "report.html"


def main(argv: Sequence[str], order: Sequence[str] = ()) -> None:
    """`vermeil report`: write the report of what has been trained, and say where it is."""
    parser = argparse.ArgumentParser("vermeil report", description=main.__doc__)
    parser.add_argument("--preset", help="only runs of this preset (default: the newest of any)")
    parser.add_argument("--open", action="store_true", help="show the page in the browser")
    arguments = parser.parse_args(argv)
    results = collect(home(), arguments.preset, order)
    if not results:
        of_preset = f" with preset {arguments.preset}" if arguments.preset else ""
        raise VermeilError(f"nothing has been trained yet{of_preset}", hint="vermeil run tiny")
    path = write(results, home() / "reports" / "latest", order)
    print(terminal([row for found in results for row in found.rows]))
    print(path)
    if arguments.open:
        import webbrowser

        webbrowser.open(path.as_uri())


def terminal(rows: Sequence[Row]) -> str:
    """The rows as aligned plain text: step, metric, split, value, best floor, n."""
    lines = [("step", "metric", "split", "value", "best floor", "n")]
    for row in rows:
        split, n = row.split or "", f"{row.n:,}"
        lines.append((row.step, row.metric, split, measured(row), _floor(row), n))
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )


def measured(row: Row) -> str:
    """The value with its interval and unit, or why it is not available."""
    if row.value is None:
        return f"not available: {row.note}"
    decimals = decimals_of(row)
    ends = f" [{number(row.low, decimals)}, {number(row.high, decimals)}]"
    interval = "" if row.low is None and row.high is None else ends
    return f"{number(row.value, decimals)}{interval} {row.unit}".rstrip()


def _floor(row: Row) -> str:
    floor, beaten = strongest_floor(row), beats_floor(row)
    if floor is None:
        return "" if row.better == "none" else "not measured"
    said = {True: " (beaten)", False: " (not beaten)", None: ""}[beaten]
    return f"{floor[0]} {number(floor[1], decimals_of(row))}{said}"


def comparison(row: Row) -> str:
    """One honest sentence about the run and its floors; empty where better has no direction."""
    if row.better == "none" or row.value is None:
        return ""
    floor = strongest_floor(row)
    if floor is None:
        return "no floor was measured for this number"
    name, value = floor
    named = f"the strongest floor ({baseline_label(name)} {number(value, decimals_of(row))})"
    gap = abs(row.value - value)
    amount = f"{number(gap)} {row.unit}".rstrip()
    if value > 0 and gap < 10 * value:
        amount = f"{100 * gap / value:.{0 if gap > 0.02 * value else 1}f} %"
    if row.value == value:
        said = f"does not beat {named}: it equals it"
    elif beats_floor(row):
        said = f"beats {named} by {amount}"
    else:
        said = f"does not beat {named}: worse by {amount}"
    if row.low is not None and row.high is not None and row.low <= value <= row.high:
        said += "; the interval reaches the floor, so this may be chance"
    return said


def summary(results: Sequence[Results]) -> str:
    """What was trained, how long it took and on what, in one sentence."""
    first, *others = [found.title for found in results]
    if len(others) > 3:
        what = f"{len(results)} steps, from {_inside(first)} to {_inside(others[-1])}"
    else:
        comma = ", ".join([first, *map(_inside, others[:-1])])
        what = f"{comma} and {_inside(others[-1])}" if others else first
    most: dict[str, dict[str, Any]] = {}  # of each processor, what had most of its cores
    for hardware in sorted((found.hardware for found in results), key=lambda had: had["cores"]):
        most[hardware["gpu"] or hardware["cpu"]] = hardware
    where = " and ".join(sorted(had["gpu"] or cores_of(had) for had in most.values()))
    return f"{what}, trained from scratch in {duration(together(results))} on {where}."


def together(results: Sequence[Results]) -> float:
    """Seconds in which at least one of the runs was at work: they may have run side by side.

    A run that was cut and resumed counts as if in one piece.
    """
    ends = [datetime.fromisoformat(found.created).timestamp() for found in results]
    spans = sorted((end - found.seconds, end) for end, found in zip(ends, results, strict=True))
    total, until = 0.0, -inf
    for begin, end in spans:
        total += max(0.0, end - max(begin, until))
        until = max(until, end)
    return total


def cores_of(hardware: dict[str, Any]) -> str:
    """A processor with its cores: '2 cores of AMD EPYC'."""
    return f"{hardware['cores']} core{'s' * (hardware['cores'] != 1)} of {hardware['cpu']}"


def _inside(title: str) -> str:
    """A title within a sentence: 'Language model' -> 'language model', but 'VQA' stays."""
    return title if title[1:2].isupper() else title[:1].lower() + title[1:]


def machine(found: Results) -> str:
    """The accelerator, or the processor with its threads."""
    hardware = found.hardware
    threads = f"{hardware['threads']} thread" + "s" * (hardware["threads"] != 1)
    return hardware["gpu"] or f"{threads} of {hardware['cpu']}"


def day(found: Results) -> str:
    """The date in words: '21 November 2026'."""
    return f"{found.date.day} {found.date:%B %Y}"


def reuse_sentence(reuse: dict[str, Any]) -> str:
    """What was taken over from the parents, and what that was worth at step 0."""
    said = (
        f"{reuse['taken']} tensors taken over from the parents, {reuse['new']} new, "
        f"{reuse['frozen']} frozen"
    )
    with_parent, with_random = reuse["loss_with_parent"], reuse["loss_with_random"]
    if with_parent is None or with_random is None:
        return said
    losses = f"{number(with_parent)} with their weights, {number(with_random)} with random ones"
    return f"{said}; loss at step 0: {losses}"


def page(results: Sequence[Results], missing: Sequence[str] = ()) -> str:
    """The HTML page: one file that needs nothing else, neither a network nor JavaScript."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,  # text samples are whatever a model wrote
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    charts = (bars, decimals_of, is_compared, line_chart)
    words = (summary, comparison, machine, day, reuse_sentence)
    terms = (metric_label, metric_meaning, baseline_label)
    functions = (*charts, *words, *terms)
    environment.globals |= {function.__name__: function for function in functions}
    environment.globals["baselines"] = BASELINES
    environment.filters |= {"number": number, "duration": duration}
    rows = [row for found in results for row in found.rows]
    met = {name for row in rows for name in (*row.baselines, *row.ceilings)}
    return environment.get_template("report.html.j2").render(
        results=results, missing=missing, names=[name for name in BASELINES if name in met]
    )


def markdown(results: Sequence[Results], missing: Sequence[str] = ()) -> str:
    """The report as plain Markdown: every row, curve ends, tables and text samples."""
    rows = [row for found in results for row in found.rows]
    parts = ["# Vermeil", summary(results), day(results[-1])]
    columns = ("step", "metric", "split", "value", "best floor", "n", "protocol")
    lines = [
        (r.step, r.metric, r.split, measured(r), _floor(r), f"{r.n:,}", r.protocol) for r in rows
    ]
    parts.append(_table(columns, lines))
    if missing:
        parts.append(f"Not walked yet: {', '.join(missing)}.")
    for found in results:
        parts += [f"## {_safe(found.title)}", f"`{found.artifact}` · {duration(found.seconds)}"]
        if found.verdict:
            normal = "Normal" if found.verdict["normal"] else "**Not normal**"
            parts.append(f"{normal}: {_safe(found.verdict['text'])}.")
        parts += [
            f"- {metric_label(row.metric)}: {said}."
            for row in found.rows
            if (said := comparison(row))
        ]
        for exhibit in found.exhibits:
            parts += [f"### {_safe(exhibit['title'])}", _exhibit(exhibit)]
    return "\n\n".join(parts) + "\n"


def _exhibit(exhibit: dict[str, Any]) -> str:
    if exhibit["kind"] == "curve":
        lines = []
        for line in exhibit["series"]:
            points = [p for p in zip(line["x"], line["y"], strict=True) if p[1] is not None]
            ends = [f"{number(y)} at {number(x)}" for x, y in points[:1] + points[-1:]]
            lines.append((line["name"], *(ends or ("no point", "no point"))))
        return _table((f"{exhibit['y_label']} by {exhibit['x_label']}", "first", "last"), lines)
    if exhibit["kind"] == "table":
        return _table(exhibit["columns"], exhibit["rows"])
    if exhibit["kind"] == "texts":
        return "\n\n".join(
            f"{_safe(item['label'])}\n\n{_fenced(item['prompt'] + item['text'])}"
            for item in exhibit["items"]
        )
    if exhibit["kind"] == "transcripts":
        lines = [(item["label"], *_marked(item["words"])) for item in exhibit["items"]]
        return _table(("clip", "said", "heard"), lines)
    return f"{len(exhibit['items'])} {exhibit['kind']} items: see report.html."


def _marked(words: Sequence[dict[str, str]]) -> tuple[str, str]:
    """What was said and what was heard, what differs in brackets."""
    return tuple(  # type: ignore[return-value]
        " ".join(
            word[side] if word["kind"] == "equal" else f"[{word[side]}]"
            for word in words
            if word[side]
        )
        for side in ("said", "heard")
    )


def _table(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    def line(cells: Sequence[Any]) -> str:
        return "| " + " | ".join(map(_cell, cells)) + " |"

    return "\n".join([line(columns), "|" + " --- |" * len(columns), *map(line, rows)])


def _cell(value: Any) -> str:
    said = value if isinstance(value, str) else "" if value is None else number(value)
    return _safe(said).replace("|", "\\|")


def _safe(text: str) -> str:
    """On one line, and without what Markdown would take for HTML."""
    return html.escape(" ".join(text.split()), quote=False)


def _fenced(text: str) -> str:
    fence = "```"
    while fence in text:
        fence += "`"
    return f"{fence}text\n{text}\n{fence}"
