"""`vermeil data`: what it prints, what it refuses, and that the table of data sets is true."""

import subprocess
import sys

import pytest

from data import DATASETS, load
from data.command import main
from data.text import TextData
from shared.errors import VermeilError


@pytest.fixture(params=[80, 100, 200])
def width(request, monkeypatch) -> int:
    """The terminal's width, beyond which nothing is printed; lines over 100 read badly."""
    monkeypatch.setenv("COLUMNS", str(request.param))
    return min(request.param, 100)


@pytest.fixture
def folder(tmp_path):
    texts = tmp_path / "mine"
    texts.mkdir()
    for i in range(3):
        (texts / f"{i}.txt").write_text("né le 5 mai\n\n" * 40)
    return texts


@pytest.mark.parametrize("name", DATASETS)
def test_every_row_of_the_table_loads(name):
    data = load(name)
    assert isinstance(data, TextData) and data.name == name
    assert all([data.version, data.licence, data.description, data.size, data.splits])


def test_list_fits_the_terminal(width, capsys):
    main(["list"])
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= width
    assert lines[0].split() == ["NAME", "SIZE", "SPLITS", "READY", "WHAT", "LICENCE"]
    assert lines[1].startswith("embedded_text  16.0 MB  214 / 13 / 13  yes    English prose")


def test_prepare_prints_hash_and_counts(capsys):
    main(["prepare", "embedded_text"])
    out = capsys.readouterr().out
    assert (
        "embedded_text 1 is ready: 16.0 MB of text" in out and load("embedded_text").sha256() in out
    )
    rows = [line.split() for line in out.splitlines()]
    assert ["austen", "test", "1", "464,345", "464,345"] in rows
    assert ["all", "train", "214", "14,098,350", "14,094,350"] in rows


def test_show_reads_into_one_document_of_each_source_first(width, capsys):
    main(["show", "embedded_text"])
    out = capsys.readouterr().out
    titles = [line.split("  [")[0] for line in out.splitlines() if "characters]" in line]
    assert titles == ["Emma", "Moby Dick", "State of the Union 1790, George Washington"]
    assert "  EMMA / By Jane Austen / VOLUME I / CHAPTER I / Emma Woodhouse, handsome," in out


def test_show_a_folder(folder, width, capsys):
    main(["show", str(folder), "--split", "test", "--number", "2"])
    out = capsys.readouterr().out
    rows = [line.split() for line in out.splitlines()]
    assert ["mine", "train", "1", "560", "520"] in rows, "é has two bytes and is one character"
    assert out.count("characters]") == 1, "the split has one document, though two were asked for"
    assert out.rstrip().endswith("…")
    assert max(map(len, out.splitlines()[2:])) <= width


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        ([], "required: ACTION: see vermeil data --help"),
        (["lst"], "invalid choice: 'lst'"),
        (["show"], "required: NAME: see vermeil data show --help"),
        (
            ["show", "embeded_text"],
            "data set 'embeded_text' does not exist.*did you mean 'embedded_",
        ),
        (["show", "embedded_text", "--split", "tset"], "split 'tset' .* did you mean 'test'"),
        (
            ["show", "embedded_text", "--number", "-1"],
            "--number: '-1' is not a number of documents",
        ),
        (["prepare", "./nowhere"], "there is no folder or file nowhere"),
        (["prepare", "texts.jsonl"], r"there is no folder or file texts\.jsonl"),
        (["prepare", "./", "--root", "x"], "takes no root: leave out --root"),
    ],
)
def test_usage_mistakes(argv, message, capsys):
    with pytest.raises(VermeilError, match=message):
        main(argv)
    assert capsys.readouterr() == ("", "")


def test_import_is_light():
    heavy = "{'numpy', 'torch', 'lzma', 'argparse'} & sys.modules.keys()"
    check = f"import sys, data; assert not {heavy}, {heavy}"
    check += "; import data.command, data.embedded_text; assert 'numpy' not in sys.modules"
    subprocess.run([sys.executable, "-c", check], check=True, timeout=60)
