"""What a step measured: rows, exhibits, and the one file `results.json` that carries both.

The tables below are the schema. The same check runs when a step builds its results and when the
report reads them back; a key that the tables do not name is an error.
"""

import base64
import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from shared.artifact import fingerprint
from shared.errors import VermeilError, nearest
from shared.home import write_atomically

SCHEMA = 1
FILE = "results.json"

# A shape is a type, a {set} of allowed values, a (tuple) of alternatives, a [list of one shape],
# a {str: shape} mapping of any names, or a {"key": shape} mapping of exactly these keys.
ROW = {
    "step": str,
    "metric": str,
    "value": (float, None),
    "unit": str,
    "better": {"lower", "higher", "none"},
    "n": int,
    "low": (float, None),
    "high": (float, None),
    "protocol": str,
    "split": (str, None),
    "baselines": {str: (float, None)},
    "ceilings": {str: (float, None)},
    "reference": ({str: float}, None),
    "artifact": str,
    "preset": str,
    "seconds": (float, None),
    "note": str,
}
RESULTS = {
    "step": str,
    "preset": str,
    "title": str,
    "artifact": str,
    "created": str,
    "seconds": float,
    "hardware": {
        "cpu": str,
        "cores": int,
        "threads": int,
        "gpu": (str, None),
        "dtype": str,
        "torch": (str, None),
        "load": (float, None),
    },
    "parents": [{"id": str, "sha256": str}],
    "data": [{"name": str, "version": str, "sha256": str, "licence": str}],
    "verdict": ({"normal": bool, "text": str}, None),
    "reuse": (
        {
            "taken": int,
            "new": int,
            "frozen": int,
            "loss_with_parent": (float, None),
            "loss_with_random": (float, None),
        },
        None,
    ),
    "rows": list,
    "exhibits": list,
}
FATES = {"equal", "substitute", "delete", "insert"}  # of words that a recogniser heard
EXHIBITS = {
    "curve": {
        "x_label": str,
        "y_label": str,
        "series": [{"name": str, "x": [float], "y": [(float, None)]}],
        "band": ({"x": [float], "low": [float], "high": [float]}, None),
        "log_y": bool,
    },
    "table": {"columns": [str], "rows": [[(str, float, None)]]},
    "texts": {"items": [{"label": str, "prompt": str, "text": str}]},
    "images": {"items": [{"label": str, "png_base64": str}], "columns": int},
    "audio": {"items": [{"label": str, "wav_base64": str, "text": str}]},
    "transcripts": {
        "items": [
            {
                "label": str,
                "wav_base64": (str, None),
                "png_base64": (str, None),
                "words": [{"kind": FATES, "said": str, "heard": str}],
            }
        ]
    },
}


@dataclass(frozen=True, kw_only=True)
class Row:
    """One measured number with its interval, its protocol, and its floors and ceilings beside it.

    `value` is None where the number could not be had; `note` then says why (it is never 0).
    `n` counts what was averaged over. A floor that could not be measured is None. `reference` holds
    what others report on comparable data, by name. Raises VermeilError for anything else.
    """

    step: str
    metric: str
    value: float | None
    unit: str
    better: Literal["lower", "higher", "none"]
    n: int
    low: float | None = None
    high: float | None = None
    protocol: str
    split: str | None
    baselines: dict[str, float | None] = field(default_factory=dict)
    ceilings: dict[str, float | None] = field(default_factory=dict)
    reference: dict[str, float] | None = None
    artifact: str
    preset: str
    seconds: float | None = None
    note: str = ""

    def __post_init__(self) -> None:
        where = f"row {self.step}/{self.metric}"
        check(vars(self), ROW, where)
        if not re.fullmatch(r"[a-z][a-z0-9]*(_[a-z0-9]+)*", self.metric):
            raise VermeilError(f"{where}: the metric's name is not in snake case")
        if self.value is None:
            if not self.note.strip():
                raise VermeilError(f"{where}: no value, and no note that says why")
            if (self.low, self.high) != (None, None):
                raise VermeilError(f"{where}: an interval without a value")
            return
        if self.n <= 0:
            raise VermeilError(f"{where}: n is {self.n}; a measured value needs n > 0")
        low = self.value if self.low is None else self.low
        high = self.value if self.high is None else self.high
        if not low <= self.value <= high:
            raise VermeilError(f"{where}: {self.value} lies outside [{low}, {high}]")


def strongest_floor(row: Row) -> tuple[str, float] | None:
    """The measured floor that is hardest to beat, as (name, value); None where there is none."""
    measured = [(name, floor) for name, floor in row.baselines.items() if floor is not None]
    if not measured or row.better == "none":
        return None
    return (min if row.better == "lower" else max)(measured, key=lambda floor: floor[1])


def beats_floor(row: Row) -> bool | None:
    """Whether the value is better than every measured floor; None where that has no answer."""
    floor = strongest_floor(row)
    if floor is None or row.value is None:
        return None
    return row.value < floor[1] if row.better == "lower" else row.value > floor[1]


def curve(
    title: str,
    x_label: str,
    y_label: str,
    series: Mapping[str, tuple[Iterable[float], Iterable[float | None]]],
    band: Mapping[str, Sequence[float]] | None = None,
    log_y: bool = False,
) -> dict[str, Any]:
    """Lines (name -> x, y) with the band {x, low, high} that a run is expected to stay in.

    A y that is None or not finite (a diverged loss) becomes a gap in the line.
    """
    lines = []
    for name, (xs, ys) in series.items():
        finite = [None if y is None or not math.isfinite(y) else float(y) for y in ys]
        lines.append({"name": name, "x": [float(x) for x in xs], "y": finite})
    region = {key: list(values) for key, values in band.items()} if band else None
    labels = {"x_label": x_label, "y_label": y_label}
    return _exhibit("curve", title, **labels, series=lines, band=region, log_y=log_y)


def table(
    title: str, columns: Sequence[str], rows: Iterable[Sequence[str | float | None]]
) -> dict[str, Any]:
    """A table of words and numbers; None is an empty cell."""
    return _exhibit("table", title, columns=list(columns), rows=[list(row) for row in rows])


def texts(title: str, items: Iterable[tuple[str, str, str]]) -> dict[str, Any]:
    """Text samples as (label, prompt, what was written after it), in the order of training."""
    keys = ("label", "prompt", "text")
    return _exhibit("texts", title, items=[dict(zip(keys, item, strict=True)) for item in items])


def images(title: str, items: Iterable[tuple[str, bytes]], columns: int = 8) -> dict[str, Any]:
    """Pictures as (label, the bytes of a PNG file), laid out in rows of `columns`."""
    coded = [{"label": label, "png_base64": _base64(png)} for label, png in items]
    return _exhibit("images", title, items=coded, columns=columns)


def audio(title: str, items: Iterable[tuple[str, bytes, str]]) -> dict[str, Any]:
    """Clips as (label, the bytes of a WAV file, what is said in it)."""
    coded = [
        {"label": label, "wav_base64": _base64(wav), "text": text} for label, wav, text in items
    ]
    return _exhibit("audio", title, items=coded)


def transcripts(
    title: str,
    items: Iterable[tuple[str, Sequence[tuple[str, str, str]], bytes | None, bytes | None]],
) -> dict[str, Any]:
    """What was heard beside what was said, as (label, words, WAV file, PNG file).

    `words` are (equal | substitute | delete | insert, said, heard), aligned as by `marks` of
    `shared.metrics.speech`; the clip itself and a picture of it may be left out.
    """
    coded = [
        {
            "label": label,
            "wav_base64": _base64(wav) if wav else None,
            "png_base64": _base64(png) if png else None,
            "words": [dict(zip(("kind", "said", "heard"), word, strict=True)) for word in words],
        }
        for label, words, wav, png in items
    ]
    return _exhibit("transcripts", title, items=coded)


def _base64(content: bytes) -> str:
    return base64.b64encode(content).decode()


def _exhibit(kind: str, title: str, **content: Any) -> dict[str, Any]:
    exhibit = {"kind": kind, "title": title, **content}
    check_exhibit(exhibit)
    return exhibit


def check_exhibit(exhibit: Any) -> None:
    """Raise VermeilError unless the exhibit has the keys, types and lengths of its kind."""
    kind = exhibit.get("kind") if isinstance(exhibit, dict) else exhibit
    if not isinstance(kind, str) or kind not in EXHIBITS:
        raise VermeilError(f"exhibit kind {kind!r:.60} is unknown", nearest(str(kind), [*EXHIBITS]))
    where = f"exhibit {exhibit.get('title')!r:.60}"
    check(exhibit, {"kind": str, "title": str, **EXHIBITS[kind]}, where)
    lengths: list[tuple[str, set[int]]] = []  # of columns that belong together
    if kind == "curve":
        lengths = [(line["name"], {len(line["x"]), len(line["y"])}) for line in exhibit["series"]]
        lengths += [("the band", {*map(len, exhibit["band"].values())})] if exhibit["band"] else []
    elif kind == "table":
        width = len(exhibit["columns"])
        lengths = [(f"row {i}", {width, len(row)}) for i, row in enumerate(exhibit["rows"])]
    elif kind == "images" and exhibit["columns"] < 1:
        raise VermeilError(f"{where}: columns is {exhibit['columns']}")
    for name, found in lengths:
        if len(found) > 1:
            raise VermeilError(f"{where}: the lengths in {name} differ: {sorted(found)}")


@dataclass(kw_only=True)
class Results:
    """Everything that one run of one step found out, as the report shows it.

    The first row is the step's headline. `created` is the time of writing (ISO, with zone),
    `seconds` the run's wall time. `reuse` proves that parents' weights were used: tensors, and the
    loss at step 0 with them and without.
    """

    step: str
    preset: str
    title: str
    artifact: str
    created: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))
    seconds: float
    hardware: dict[str, Any]
    parents: list[dict[str, str]] = field(default_factory=list)
    data: list[dict[str, str]] = field(default_factory=list)
    verdict: dict[str, Any] | None = None
    reuse: dict[str, Any] | None = None
    rows: list[Row] = field(default_factory=list)
    exhibits: list[dict[str, Any]] = field(default_factory=list)

    def __post_init__(self) -> None:
        where = f"results of {self.step}"
        check(vars(self), RESULTS, where)
        if not _is_date(self.created):
            raise VermeilError(f"{where}: created is {self.created!r}, not an ISO time with a zone")
        for exhibit in self.exhibits:
            check_exhibit(exhibit)
        for row in self.rows:
            check(row, Row, f"{where}: a row")
            if (row.step, row.preset) != (self.step, self.preset):
                raise VermeilError(
                    f"row {row.step}/{row.metric} ({row.preset}) is not of {self.step} "
                    f"({self.preset}), whose results it was put into"
                )

    @property
    def date(self) -> datetime:
        """When the results were written, with the time zone."""
        return datetime.fromisoformat(self.created)

    def save(self, folder: Path) -> Path:
        """Write `results.json` whole or not at all, sealed with the sha256 of its content."""
        self.__post_init__()  # lists may have grown since
        body = asdict(self)
        document = {"schema": SCHEMA, **body, "sha256": fingerprint(body)}
        path = folder / FILE
        write_atomically(path, json.dumps(document, indent=1, ensure_ascii=False) + "\n")
        return path

    @classmethod
    def load(cls, folder: Path) -> "Results":
        """Read `results.json`; a damaged, foreign or newer file is an error that names it."""
        path = folder / FILE
        again = f"run that step again: vermeil train {folder.parent.name}"
        try:
            document = json.loads(path.read_text(encoding="utf-8"))
            return _parse(document)
        except OSError as error:
            raise VermeilError(f"{path} cannot be read ({error.strerror})", again) from None
        except (ValueError, RecursionError) as error:  # not UTF-8, or not JSON
            raise VermeilError(f"{path} is damaged ({error})", again) from None
        except VermeilError as error:
            raise VermeilError(f"{path}: {error.message}", error.hint or again) from None


def _parse(document: Any) -> Results:
    check(document, dict, "the file")
    schema, seal = document.pop("schema", None), document.pop("sha256", None)
    if isinstance(schema, int) and schema > SCHEMA:
        raise VermeilError(
            f"schema {schema} is newer than this Vermeil, which reads {SCHEMA}",
            hint="update it: git pull && make setup",
        )
    if schema != SCHEMA:
        raise VermeilError(f"schema is {schema!r:.60}, not {SCHEMA}")
    if seal != fingerprint(document):
        raise VermeilError("the content does not match its sha256: it was changed or damaged")
    check(document, RESULTS, "the file")
    for row in document["rows"]:
        check(row, ROW, "a row")
    return Results(**{**document, "rows": [Row(**row) for row in document["rows"]]})


def _is_date(text: str) -> bool:
    try:
        return datetime.fromisoformat(text).tzinfo is not None
    except ValueError:
        return False


def check(value: Any, shape: Any, where: str) -> None:
    """Raise VermeilError, naming `where`, unless the value has the shape (see above `ROW`)."""
    if isinstance(shape, tuple):
        if not any(_is_a(value, kind) for kind in shape):
            check(value, shape[0], where)  # the first alternative is the full one
    elif isinstance(shape, set):
        if not isinstance(value, str) or value not in shape:
            raise VermeilError(f"{where} is {value!r:.60}, not one of {', '.join(sorted(shape))}")
    elif isinstance(shape, list):
        check(value, list, where)
        for i, item in enumerate(value):
            check(item, shape[0], f"{where}[{i}]")
    elif isinstance(shape, dict):
        check(value, dict, where)
        known = dict.fromkeys(value, shape[str]) if str in shape else shape
        for key in value:
            check(key, str, f"{where}: a key")
            if key not in known:
                raise VermeilError(f"{where} has an unknown key {key!r}", nearest(key, [*known]))
        if missing := [key for key in known if key not in value]:
            raise VermeilError(f"{where} lacks {', '.join(missing)}")
        for key, item in value.items():
            check(item, known[key], f"{where}: {key}")
    elif not _is_a(value, shape):
        wanted = "a finite number" if shape is float else shape.__name__
        raise VermeilError(f"{where} is {value!r:.60} ({type(value).__name__}), not {wanted}")


def _is_a(value: Any, kind: Any) -> bool:
    if kind is None or type(value) is bool:
        return value is None if kind is None else kind is bool
    if kind is float:
        return isinstance(value, int | float) and -math.inf < value < math.inf
    return isinstance(kind, type) and isinstance(value, kind)
