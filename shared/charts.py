"""The geometry of the report's charts, and the spelling of its numbers.

Lines live in a square of 1000 x 1000 units that the page stretches to the width it has. Labels are
ordinary text placed by per cent, so that they keep their size on a phone.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise
from typing import Any

from shared.results import Row, strongest_floor

SIDE = 1000
MOST_POINTS = 300  # of one line: more than a screen can tell apart
DOTTED = 40  # a line of fewer points shows each of them

Point = tuple[float, float | None]  # x and y in the data's units; None is a gap
Place = tuple[float, float]  # from the left and the top, of 1


def number(value: float | None, decimals: int | None = None) -> str:
    """Spell a number with `decimals`, or with three significant digits; whole ones in full.

    >>> [number(value) for value in (1.9134, 14213.4, 4096, 0.00002, None)]
    ['1.91', '14,213', '4,096', '2.00e-05', '-']
    """
    if value is None:
        return "-"
    if value and not 1e-4 <= abs(value) < 1e12:
        return f"{value:.2e}"
    if decimals is None:
        decimals = 0 if value == int(value) else _decimals(value)
    return f"{value:,.{decimals}f}"


def _decimals(value: float) -> int:
    return max(0, 2 - math.floor(math.log10(abs(value)))) if value else 0


def decimals_of(row: Row) -> int:
    """Decimals that keep the value apart from its interval's ends and from the strongest floor."""
    floor = strongest_floor(row)
    ends = (row.value, row.low, row.high, floor[1] if floor else None)
    shown = {value for value in ends if value is not None}
    if all(value == int(value) for value in shown):
        return 0
    fewest = _decimals(row.value or max(shown, key=abs))
    for decimals in range(fewest, 6):
        if len({number(value, decimals) for value in shown}) == len(shown):
            return decimals
    return 6


def duration(seconds: float) -> str:
    """Spell a time as people say it: '0.8 s', '2 min 51 s', '1 h 03 min', '3 d 4 h'."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02} s"
    minutes = round(seconds / 60)
    if minutes < 24 * 60:
        return f"{minutes // 60} h {minutes % 60:02} min"
    return f"{minutes // 1440} d {minutes % 1440 // 60} h"


def nice_ticks(low: float, high: float, count: int = 5) -> list[float]:
    """About `count` round numbers within [low, high], 1, 2 or 5 times a power of ten apart.

    Heckbert, "Nice numbers for graph labels", Graphics Gems (1990).
    """
    if not high > low:
        return [low]
    rough = (high - low) / count
    power = math.floor(math.log10(rough))
    fraction = rough / 10.0**power
    step = (1 if fraction < 1.5 else 2 if fraction < 3 else 5 if fraction < 7 else 10) * 10.0**power
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    # Rounded, because 3 * 0.1 is not 0.3; `+ 0.0` because -0.0 is spelled with its sign.
    return [round(i * step, max(0, 1 - power)) + 0.0 for i in range(first, last + 1)]


def log_ticks(low: float, high: float) -> list[float]:
    """Powers of ten within [low, high], with their 2 and 5 where there are fewer than three."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for digits in ((1,), (1, 2, 5)):
        ticks = [d * 10.0**p for p in powers for d in digits if low <= d * 10.0**p <= high]
        if len(ticks) > 2:
            return ticks
    return nice_ticks(low, high)


def tick_labels(ticks: Sequence[float]) -> list[str]:
    """Spell ticks alike: '0.5 1.0 1.5', '2,000 4,000', '10M 20M'."""
    largest = max(map(abs, ticks), default=0)
    unit, suffix = next(((u, s) for u, s in ((1e9, "B"), (1e6, "M")) if largest >= u), (1, ""))
    scaled = [tick / unit for tick in ticks]
    decimals = next(d for d in range(10) if d == 9 or all(round(t, d) == t for t in scaled))
    return [f"{tick:,.{decimals}f}{suffix}" for tick in scaled]


def thin(points: Sequence[Point], most: int = MOST_POINTS) -> list[Point]:
    """At most `most` of the points, with both ends and every stretch's lowest, highest and gap.

    Spikes therefore stay visible, which picking every k-th point would not promise.
    """
    if len(points) <= most:
        return list(points)
    stretches = (most - 2) // 3
    edges = [1 + (len(points) - 2) * i // stretches for i in range(stretches + 1)]
    kept = {0, len(points) - 1}
    for start, stop in pairwise(edges):
        heights = {i: y for i in range(start, stop) if (y := points[i][1]) is not None}
        gaps = [i for i in range(start, stop) if i not in heights]
        kept |= {*gaps[:1]}
        if heights:
            kept |= {min(heights, key=heights.__getitem__), max(heights, key=heights.__getitem__)}
    return [points[i] for i in sorted(kept)]


@dataclass(frozen=True)
class Line:
    """One series: where it is drawn, and what the reader is told when pointing at it."""

    name: str
    shade: int  # 0 is the accent
    path: str  # SVG path data
    dots: str  # likewise
    points: list[tuple[float, float, str, str]]  # per cent from the left and the top, x, y


@dataclass(frozen=True)
class Chart:
    """A line chart, ready to be drawn: ticks are (per cent from the left or top, label)."""

    x_ticks: list[tuple[float, str]]
    y_ticks: list[tuple[float, str]]
    lines: list[Line]
    band: str


class Axis:
    """Maps values to [0, 1], linearly or by their logarithm, with round ticks inside."""

    def __init__(self, values: Sequence[float], log: bool = False, margin: float = 0.0):
        self.log = log
        start, stop = self._along(min(values)), self._along(max(values))
        spare = (stop - start) * margin if stop > start else abs(start) / 10 or 0.5
        self.start, self.stop = start - spare, stop + spare
        low, high = (10**end if log else end for end in (self.start, self.stop))
        ticks = log_ticks(low, high) if log else nice_ticks(low, high)
        self.ticks = [*zip(map(self.place, ticks), tick_labels(ticks), strict=True)]

    def _along(self, value: float) -> float:
        return math.log10(value) if self.log else value

    def place(self, value: float) -> float:
        return (self._along(value) - self.start) / (self.stop - self.start)


def line_chart(exhibit: dict[str, Any]) -> Chart | None:
    """Lay out a `curve` exhibit; None where it holds no point that can be drawn.

    The accent goes to the series with the fewest points (the measured one among the noisy ones),
    and it is drawn last, on top.
    """
    log, band = exhibit["log_y"], exhibit["band"]
    series = [_points(line["x"], line["y"], log) for line in exhibit["series"]]
    edges = _points(band["x"] * 2, [*band["low"], *band["high"]], log) if band else []
    seen = [(x, y) for points in [*series, edges] for x, y in points if y is not None]
    if not seen:
        return None
    across, up = Axis([x for x, _ in seen]), Axis([y for _, y in seen], log, margin=0.04)

    def place(x: float, y: float) -> Place:
        return across.place(x), 1 - up.place(y)

    ranked = sorted(range(len(series)), key=lambda i: len(series[i]))  # stable: first of equals
    names = [line["name"] for line in exhibit["series"]]
    lines = [_line(names[i], shade, series[i], place) for shade, i in enumerate(ranked)]
    half = len(edges) // 2
    outline = [place(x, y) for x, y in edges[:half] + edges[: half - 1 : -1] if y is not None]
    return Chart(
        x_ticks=[(100 * at, label) for at, label in across.ticks],
        y_ticks=[(100 - 100 * at, label) for at, label in up.ticks],
        lines=lines[::-1],
        band=_path(outline) + "Z" if outline else "",
    )


def _points(xs: Sequence[float], ys: Sequence[float | None], log: bool) -> list[Point]:
    """Pair the columns; what a logarithmic axis cannot show becomes a gap."""
    return [(x, None if y is None or (log and y <= 0) else y) for x, y in zip(xs, ys, strict=True)]


def _line(
    name: str, shade: int, points: list[Point], place: Callable[[float, float], Place]
) -> Line:
    kept = [(x, y, place(x, y) if y is not None else None) for x, y in thin(points)]
    runs = [
        [at for *_, at in run if at is not None]
        for finite, run in groupby(kept, key=lambda point: point[2] is not None)
        if finite
    ]
    dots = [at for run in runs for at in run] if len(points) <= DOTTED else []
    dots += [run[0] for run in runs if len(run) == 1 and not dots]  # else it would be invisible
    told = [
        (round(100 * at[0], 2), round(100 * at[1], 2), number(x), number(y))
        for x, y, at in kept
        if at is not None
    ]
    return Line(name, shade, "".join(map(_path, runs)), "".join(_path([a, a]) for a in dots), told)


def _path(places: Sequence[Place]) -> str:
    """SVG path data; a point drawn to itself is a dot where line caps are round."""
    return "M" + "L".join(f"{SIDE * x:.1f} {SIDE * y:.1f}" for x, y in places)


@dataclass(frozen=True)
class Bar:
    """One bar beside the others on the row's common axis; positions in per cent of its length."""

    name: str
    kind: str  # run, floor, ceiling or reference
    value: str
    left: float = 0.0
    width: float = 0.0
    interval: tuple[float, float] | None = None  # left and width of the whisker

    @property
    def end(self) -> float:
        """Where bar and whisker are over, and the number stands."""
        return max(self.left + self.width, sum(self.interval or (0.0,)))


def is_compared(row: Row) -> bool:
    """Whether anything stands beside the row's number."""
    return bool(row.baselines or row.ceilings or row.reference)


def bars(row: Row) -> list[Bar]:
    """The run beside every floor, ceiling and reference, best first, from zero on one axis."""
    entries = [("this run", "run", row.value)]
    entries += [(name, "floor", value) for name, value in row.baselines.items()]
    entries += [(name, "ceiling", value) for name, value in row.ceilings.items()]
    entries += [(name, "reference", value) for name, value in (row.reference or {}).items()]
    known = [value for *_, value in entries if value is not None]
    known += [end for end in (row.low, row.high) if end is not None]
    low, high = min([0.0, *known]), max([0.0, *known])
    scale, decimals = 100 / ((high - low) or 1.0), decimals_of(row)
    whisker = None
    if row.low is not None or row.high is not None:
        start, stop = ((row.value or 0) if end is None else end for end in (row.low, row.high))
        whisker = (scale * (start - low), scale * (stop - start))
    sign = 1 if row.better == "lower" else -1
    entries.sort(key=lambda entry: (entry[2] is None, sign * (entry[2] or 0)))
    return [
        Bar(name, kind, "not measured")
        if value is None
        else Bar(
            name,
            kind,
            number(value, decimals),
            left=scale * (min(value, 0) - low),
            width=scale * abs(value),
            interval=whisker if kind == "run" else None,
        )
        for name, kind, value in entries
    ]
