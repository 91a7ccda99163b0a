"""Ticks, lines and bars, at places that can be computed by hand."""

import pytest

from shared.charts import (
    Axis,
    bars,
    decimals_of,
    duration,
    line_chart,
    log_ticks,
    nice_ticks,
    number,
    thin,
    tick_labels,
)
from shared.results import Row, curve


def row(**changes) -> Row:
    """Bits a byte with an interval, beside one floor."""
    values = {
        "step": "lm", "metric": "bits_per_byte", "value": 1.61, "unit": "bit/byte",
        "better": "lower", "n": 412331, "low": 1.597, "high": 1.623, "protocol": "strided 512/256",
        "split": "test", "baselines": {"xz": 2.17}, "artifact": "phase1/lm@tiny-1a2b3c4d",
        "preset": "tiny",
    }  # fmt: skip
    return Row(**values | changes)


def test_nice_ticks_by_hand():
    assert nice_ticks(0, 10) == [0, 2, 4, 6, 8, 10]
    assert nice_ticks(3.2, 9.1) == [4, 5, 6, 7, 8, 9]
    assert nice_ticks(0, 1) == [0, 0.2, 0.4, 0.6, 0.8, 1.0]
    assert nice_ticks(-0.13, 0.12) == [-0.1, -0.05, 0.0, 0.05, 0.1]
    assert nice_ticks(0, 1234) == [0, 200, 400, 600, 800, 1000, 1200]
    assert nice_ticks(7, 7) == [7]
    assert log_ticks(0.5, 2000) == [1, 10, 100, 1000]
    assert log_ticks(1, 60) == [1, 2, 5, 10, 20, 50]
    assert log_ticks(4.1, 8.3) == [5, 6, 7, 8]  # less than a power of ten: evenly
    assert tick_labels([0, 0.5, 1.0]) == ["0.0", "0.5", "1.0"]
    assert tick_labels([0, 500, 1000]) == ["0", "500", "1,000"]
    assert tick_labels([0, 5e5, 1e6]) == ["0.0M", "0.5M", "1.0M"]


def test_numbers_and_times_as_people_write_them():
    values = (1.9134, 57.31, 14213.4, 4096, 4096.0, 0.0412, 0, 0.00002, -3.2, None)
    spelled = ["1.91", "57.3", "14,213", "4,096", "4,096", "0.0412", "0", "2.00e-05", "-3.20", "-"]
    assert [number(value) for value in values] == spelled
    times = (0.84, 59.2, 171, 3599.9, 4210, 273600)
    said = ["0.8 s", "59 s", "2 min 51 s", "1 h 00 min", "1 h 10 min", "3 d 4 h"]
    assert [duration(seconds) for seconds in times] == said


def test_decimals_keep_apart_what_differs():
    assert decimals_of(row(low=None, high=None)) == 2
    assert decimals_of(row(low=1.6099, high=1.6101)) == 4
    assert decimals_of(row(baselines={"xz": 1.6104})) == 4
    assert decimals_of(row(value=5160.0, low=None, high=None, baselines={})) == 0


def test_thinning_keeps_the_ends_a_spike_and_a_gap():
    points = [(float(i), 1.0) for i in range(100_000)]
    points[0], points[-1], points[777], points[4321] = (
        (0, 9.0),
        (99_999, 8.0),
        (777, 50.0),
        (4321, None),
    )
    kept = thin(points)
    assert len(kept) <= 300
    assert kept[0] == (0, 9.0)
    assert kept[-1] == (99_999, 8.0)
    assert (777, 50.0) in kept
    assert (4321, None) in kept
    assert kept == sorted(kept)
    assert thin(points[:300]) == points[:300]


def test_a_chart_by_hand():
    """Two lines over x 0..4, y 0..10 with 4 % spare above and below: places are computable."""
    chart = line_chart(
        curve(
            "C",
            "x",
            "y",
            {"many": ([0, 1, 2, 4], [0, 5, None, 10]), "few": ([0, 4], [10, 0])},
            band={"x": [0, 4], "low": [1, 1], "high": [2, 2]},
        )
    )
    assert [(line.name, line.shade) for line in chart.lines] == [("many", 1), ("few", 0)]
    top, bottom = 1000 * 0.4 / 10.8, 1000 * 10.4 / 10.8
    ends = [("0.0", top), ("1000.0", bottom)]
    assert chart.lines[1].path == f"M0.0 {top:.1f}L1000.0 {bottom:.1f}"
    assert chart.lines[1].dots == "".join(f"M{x} {y:.1f}L{x} {y:.1f}" for x, y in ends)
    many = chart.lines[0]
    assert many.path == f"M0.0 {bottom:.1f}L250.0 500.0M1000.0 {top:.1f}"  # the gap stays a gap
    assert [point[2:] for point in many.points] == [("0", "0"), ("1", "5"), ("4", "10")]
    low, high = (1000 - 1000 * (y + 0.4) / 10.8 for y in (1, 2))
    corners = f"M0.0 {low:.1f}L1000.0 {low:.1f}L1000.0 {high:.1f}L0.0 {high:.1f}Z"
    assert chart.band == corners
    assert chart.x_ticks[0] == (0, "0")
    assert chart.y_ticks[-1] == (pytest.approx(top / 10), "10")


def test_logarithmic_axis_and_points_it_cannot_show():
    axis = Axis([1, 100], log=True)
    assert axis.place(10) == pytest.approx(0.5)
    chart = line_chart(curve("C", "x", "y", {"a": ([0, 1, 2], [1, 0, 100])}, log_y=True))
    assert [point[3] for point in chart.lines[0].points] == ["1", "100"]
    assert line_chart(curve("C", "x", "y", {"a": ([0], [float("nan")])})) is None
    single = line_chart(curve("C", "x", "y", {"a": ([7], [3])}))
    assert single.lines[0].dots == "M500.0 500.0L500.0 500.0"


def test_bars_share_one_axis():
    measured = row(value=1.0, low=0.8, high=1.2, baselines={"a": 2.0, "b": -2.0, "c": None})
    placed = {bar.name: (bar.left, bar.width) for bar in bars(measured)}
    assert placed == {"b": (0, 50), "this run": (50, 25), "a": (50, 50), "c": (0, 0)}
    assert [bar.name for bar in bars(measured)] == ["b", "this run", "a", "c"]  # best first
    run = bars(measured)[1]
    assert run.interval == (pytest.approx(70), pytest.approx(10))
    assert run.end == pytest.approx(80)
    assert bars(measured)[-1].value == "not measured"
