"""Rows, exhibits and results files: what they refuse, and that they come back as they were."""

import json
from dataclasses import FrozenInstanceError, asdict, fields

import pytest

from shared.artifact import fingerprint
from shared.errors import VermeilError
from shared.results import (
    RESULTS,
    ROW,
    Results,
    Row,
    beats_floor,
    check,
    curve,
    images,
    strongest_floor,
    table,
    texts,
)
from tests.shared.made_up_results import HARDWARE


def row(**changes) -> Row:
    values = {
        "step": "lm",
        "metric": "bits_per_byte",
        "value": 1.91,
        "unit": "bit/byte",
        "better": "lower",
        "n": 412331,
        "low": 1.90,
        "high": 1.92,
        "protocol": "strided 512/256, sentencepiece 4096",
        "split": "test",
        "baselines": {"unigram": 4.4, "byte_5gram": 1.7, "xz": 2.17},
        "artifact": "phase1/lm@tiny-1a2b3c4d",
        "preset": "tiny",
    }
    return Row(**{**values, **changes})


def results(**changes) -> Results:
    values = {
        "step": "lm",
        "preset": "tiny",
        "title": "Language model",
        "artifact": "phase1/lm@tiny-1a2b3c4d",
        "seconds": 171.0,
        "hardware": HARDWARE,
        "parents": [{"id": "phase1/tokenizer@tiny-77aa01ce", "sha256": "ab" * 32}],
        "data": [{"name": "text", "version": "1", "sha256": "cd" * 32, "licence": "CC0-1.0"}],
        "verdict": {"normal": True, "text": "inside the band"},
        "rows": [row()],
        "exhibits": [
            curve("Loss", "step", "nats", {"train": ([0, 1], [8.3, 5.0])}),
            texts("Samples", [("step 1", "Once", " upon a time, naïve 東京")]),
        ],
    }
    return Results(**{**values, **changes})


def test_the_tables_name_exactly_the_fields():
    assert list(ROW) == [field.name for field in fields(Row)]
    assert list(RESULTS) == [field.name for field in fields(Results)]


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"metric": "bitsPerByte"}, "snake case"),
        ({"metric": "bits__per_byte"}, "snake case"),
        ({"better": "bigger"}, "better is 'bigger', not one of higher, lower, none"),
        ({"better": ["lower"]}, "better is"),
        ({"n": 0}, "n is 0"),
        ({"n": 1.5}, "n is 1.5"),
        ({"n": True}, "n is True"),
        ({"value": float("nan")}, "value is nan"),
        ({"value": "1.91"}, "value is '1.91' (str), not a finite number"),
        ({"low": 1.95}, "outside"),
        ({"high": 1.85}, "outside"),
        ({"low": None, "high": 1.90}, "outside"),
        ({"value": None, "low": None, "high": None}, "no note"),
        ({"value": None, "low": None, "high": None, "note": " "}, "no note"),
        ({"value": None, "note": "no Java"}, "interval without a value"),
        ({"baselines": {"xz": "2.17"}}, "baselines: xz is '2.17'"),
        ({"baselines": {5: 1.0}}, "baselines: a key is 5"),
        ({"reference": 1.2}, "reference is 1.2"),
    ],
)
def test_a_row_refuses(changes, says):
    with pytest.raises(VermeilError) as error:
        row(**changes)
    assert says in error.value.message
    assert "row lm/" in error.value.message


def test_a_row_is_frozen_and_its_dict_is_the_schema():
    with pytest.raises(FrozenInstanceError):
        row().value = 0.1
    assert Row(**asdict(row())) == row()
    check(asdict(row()), ROW, "a row")


def test_a_value_that_is_not_available_needs_a_reason_and_no_n():
    missing = row(value=None, low=None, high=None, n=0, note="needs Java")
    assert missing.value is None
    assert beats_floor(missing) is None


def test_floors_by_hand():
    assert strongest_floor(row()) == ("byte_5gram", 1.7)
    assert beats_floor(row()) is False
    assert beats_floor(row(baselines={"unigram": 4.4, "xz": 2.17})) is True
    assert beats_floor(row(baselines={"same": 1.91})) is False

    higher = {"metric": "cider", "better": "higher"}
    assert strongest_floor(row(**higher, baselines={"a": 0.2, "b": 0.7})) == ("b", 0.7)
    assert beats_floor(row(**higher, baselines={"a": 0.2, "b": 0.7})) is True

    assert strongest_floor(row(baselines={"ppm_primed": None, "xz": 2.17})) == ("xz", 2.17)
    for without in ({"baselines": {}}, {"baselines": {"xz": None}}, {"better": "none"}):
        assert strongest_floor(row(**without)) is None
        assert beats_floor(row(**without)) is None


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: curve("Loss", "x", "y", {"a": ([1, 2], [3.0])}), "lengths in a differ: [1, 2]"),
        (
            lambda: curve("Loss", "x", "y", {}, band={"x": [1], "low": [1, 2], "high": [2]}),
            "lengths in the band",
        ),
        (lambda: curve("Loss", "x", "y", {}, band={"x": [1], "low": [1]}), "lacks high"),
        (lambda: table("T", ["a", "b"], [["1", "2"], ["3"]]), "lengths in row 1"),
        (lambda: table("T", ["a"], [[["nested"]]]), "rows[0][0] is ['nested']"),
        (lambda: images("I", [], columns=0), "columns is 0"),
        (lambda: results(exhibits=[{"kind": "curv"}]), "'curv' is unknown"),
        (lambda: results(exhibits=[{"kind": "table", "title": "T", "rows": []}]), "lacks columns"),
    ],
)
def test_an_exhibit_refuses(make, says):
    with pytest.raises(VermeilError) as error:
        make()
    assert says in error.value.message


def test_a_loss_that_diverged_becomes_a_gap():
    exhibit = curve("Loss", "step", "nats", {"train": ([0, 1, 2], [8.3, float("nan"), 5])})
    assert exhibit["series"][0]["y"] == [8.3, None, 5.0]


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"hardware": {"cpu": "x"}}, "hardware lacks cores"),
        ({"verdict": {"normal": 1, "text": ""}}, "verdict: normal is 1"),
        ({"created": "yesterday"}, "created is 'yesterday'"),
        ({"created": "2026-11-21T09:30:00"}, "with a zone"),
        ({"rows": [row(step="vision")]}, "row vision/bits_per_byte (tiny) is not of lm"),
        ({"rows": [row(preset="base")]}, "(base)"),
        ({"rows": [asdict(row())]}, "not Row"),
        ({"parents": [{"id": "x", "sha256": "y", "shasum": "z"}]}, "unknown key 'shasum'"),
        ({"reuse": {"taken": 1, "new": 0, "frozen": 0}}, "reuse lacks loss_with_parent"),
    ],
)
def test_results_refuse(changes, says):
    with pytest.raises(VermeilError) as error:
        results(**changes)
    assert says in error.value.message


def test_save_and_load_give_the_same(tmp_path):
    losses = {"loss_with_parent": 4.1, "loss_with_random": 8.3}
    made = results(reuse={"taken": 9, "new": 1, "frozen": 0, **losses})
    path = made.save(tmp_path / "runs" / "lm" / "tiny-1a2b3c4d")
    assert path.name == "results.json"
    assert Results.load(path.parent) == made
    assert made.date.utcoffset() is not None
    assert [file.name for file in path.parent.iterdir()] == ["results.json"]  # no leftovers


def test_save_checks_what_was_added_later(tmp_path):
    made = results()
    made.rows.append(row(preset="base"))
    with pytest.raises(VermeilError, match="base"):
        made.save(tmp_path)
    assert not list(tmp_path.iterdir())


def rewrite(path, **changes) -> None:
    """Change the file and seal it again, as a foreign program that knows the seal would."""
    document = {**json.loads(path.read_text()), **changes}
    body = {key: document[key] for key in document if key not in ("schema", "sha256")}
    path.write_text(json.dumps({**document, "sha256": fingerprint(body)}))


@pytest.mark.parametrize(
    ("changes", "says", "hint"),
    [
        ({"schema": 2}, "schema 2 is newer", "git pull"),
        ({"schema": "1"}, "schema is '1'", "vermeil train lm"),
        ({"titel": "x"}, "unknown key 'titel'", "did you mean 'title'?"),
        ({"rows": [{**asdict(row()), "val": 1}]}, "a row has an unknown key 'val'", "value"),
        ({"rows": [{"step": "lm"}]}, "a row lacks metric", "vermeil train lm"),
        ({"rows": {}}, "rows is {}", "vermeil train lm"),
        ({"seconds": None}, "seconds is None", "vermeil train lm"),
    ],
)
def test_a_foreign_file_is_refused_by_name(tmp_path, changes, says, hint):
    path = results().save(tmp_path / "lm" / "tiny-1")
    rewrite(path, **changes)
    with pytest.raises(VermeilError) as error:
        Results.load(path.parent)
    assert str(path) in error.value.message
    assert says in error.value.message
    assert hint in error.value.hint


def test_a_flipped_bit_anywhere_is_noticed(tmp_path):
    path = results().save(tmp_path / "lm" / "tiny-1")
    whole = path.read_bytes()
    for place in range(0, len(whole), 5):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        with pytest.raises(VermeilError) as error:
            Results.load(path.parent)
        assert str(path) in error.value.message


@pytest.mark.parametrize("content", [b"", b"[]", b"null", b"{", b"\xff\xfe", b"[" * 100_000])
def test_what_is_not_a_results_file_is_said(tmp_path, content):
    (tmp_path / "results.json").write_bytes(content)
    with pytest.raises(VermeilError, match=r"results\.json"):
        Results.load(tmp_path)


def test_a_missing_file_is_said(tmp_path):
    with pytest.raises(VermeilError, match="No such file"):
        Results.load(tmp_path)
