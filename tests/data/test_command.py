"""`vermeil data`: what it prints, what it refuses, and that the table of data sets is true."""

import subprocess
import sys

import pytest

from data import DATASETS, READERS, DataSet, load, load_any, load_pictures
from data.command import main
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
    data = load_any(name)
    assert isinstance(data, DataSet) and data.name == name
    assert all([data.version, data.licence, data.description, data.size, data.splits])


def test_list_fits_the_terminal(width, capsys):
    main(["list"])
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= width
    assert lines[0].split() == ["NAME", "SIZE", "SPLITS", "READY"]
    assert " ".join(lines[1].split()) == "embedded_text 16.0 MB 214 / 13 / 13 yes"
    assert lines[2].startswith("    English prose and speeches: Jane Austen, Moby Dick,")
    assert "licence: public domain" in " ".join(line.strip() for line in lines[2:5])
    ready = {line.split()[0] for line in lines if line.endswith("  yes")}
    embedded = {name for name in DATASETS if name.startswith("embedded")}
    made = {"curriculum_text", "scenes"}  # of the embedded ones
    assert ready == embedded | made, "nothing was fetched yet"


def test_prepare_prints_hash_and_counts(capsys):
    main(["prepare", "embedded_text"])
    out = capsys.readouterr().out
    assert "embedded_text 1 is ready: 16.0 MB\n" in out and load("embedded_text").sha256() in out
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


def test_preparing_pictures_counts_them_by_class(capsys):
    main(["prepare", "embedded_pictures_sample"])
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["class", "split", "pictures", "texts"] in rows
    assert ["all", "train", "232"] in [row[:3] for row in rows]


def test_show_looks_at_pictures_of_each_class_and_style_first(width, capsys):
    main(["show", "embedded_pictures_sample", "--number", "4"])
    out = capsys.readouterr().out
    assert out.startswith("embedded_pictures_sample 1: some of the embedded pictures")
    heads = [line for line in out.splitlines() if "64 x 64 pixels" in line]
    assert heads[0] == "grinning face  [flat/1f600, 64 x 64 pixels, smileys-emotion, flat]"
    assert "3D/1f600, 64 x 64 pixels, smileys-emotion, 3D]" in heads[1] and len(heads) == 4
    assert "  tags: cheerful, cheery, face" in out
    assert max(map(len, out.splitlines()[1:])) <= width


def test_a_folder_of_pictures_says_what_it_passes_over(tmp_path, capsys):
    from PIL import Image

    for name in ("cat", "dog"):
        (tmp_path / "mine" / name).mkdir(parents=True)
        for n in range(5):
            Image.new("RGB", (9, 9)).save(tmp_path / "mine" / name / f"{n}.png")
    train = [p.id for p in load_pictures(tmp_path / "mine").pictures("train")]
    (tmp_path / "mine" / train[0]).write_text("Dear diary")
    main(["show", str(tmp_path / "mine")])
    assert f"passed over in train: 1 not a picture ({train[0]})" in capsys.readouterr().out


@pytest.fixture
def crawl(tmp_path):
    """A WET file of 900 pages, every third one damaged."""
    head = "WARC/1.0\r\nWARC-Type: conversion\r\nWARC-Target-URI: http://a.org/{0}\r\n"
    head += "WARC-Record-ID: <urn:{0}>\r\nContent-Length: 4\r\n\r\n"
    pages = (head.format(n).encode() + (b"text" if n % 3 else b"\xff" * 4) for n in range(900))
    (tmp_path / "a.wet").write_bytes(b"\r\n\r\n".join(pages))
    return f"common_crawl@{tmp_path / 'a.wet'}"


def test_preparing_a_download_counts_what_it_passes_over(crawl, capsys):
    main(["prepare", crawl])
    out = capsys.readouterr().out
    assert "common_crawl@a.wet 1 is ready: 0.1 MB, packed\n" in out
    rows = [line.split() for line in out.splitlines()]
    assert sum(int(row[2]) for row in rows if row[:1] == ["all"]) == 600
    assert out.endswith("passed over: 300 text that is not UTF-8\n")


def test_showing_a_download_does_not_read_it_through(crawl, width, capsys):
    with open(crawl.partition("@")[2], "ab") as file:
        file.write(b"\r\n\r\ndamaged")
    main(["show", crawl, "--number", "2"])
    out = capsys.readouterr().out
    assert "documents are divided 98% / 1% / 1%" in out and "http://a.org/2  [urn:2, 4" in out
    assert out.count("characters]") == 2


def test_help_explains_what_can_be_named(capsys):
    with pytest.raises(SystemExit):
        main(["show", "--help"])
    out = capsys.readouterr().out
    assert all(f"  {name}@" in out for name in READERS)
    assert max(map(len, out.splitlines())) <= 100


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
            "--number: '-1' is not a number",
        ),
        (["prepare", "./nowhere"], "there is no folder or file nowhere"),
        (["prepare", "texts.jsonl"], r"there is no folder or file texts\.jsonl"),
        (["prepare", "./", "--root", "x"], "takes no root: leave out --root"),
        (["show", "wikipedia"], "wikipedia reads what you give it: write wikipedia@PLACE"),
        (["show", "wikipedia@"], "wikipedia reads what you give it: write wikipedia@PLACE"),
        (["show", "wikipedia@a.bz2", "--root", "b.bz2"], "takes no root: choose one"),
        (["show", "wikipedia@a.bz2"], "there is no folder or file a.bz2: give a file"),
        (["show", "wiki@a.bz2"], "there is no reader 'wiki': did you mean 'wikip"),
        (["show", "noto_pictures", "--split", "validation"], "for test alone.*choose --split test"),
        (["show", "cifar_10"], "cifar_10 is not on this machine: vermeil data prepare cifar_10"),
        (["prepare", "cifar_10", "--clean"], "cifar_10 holds pictures, not text: known: embedded"),
        (["show", "chats"], "chats is not on this machine: vermeil data prepare chats"),
    ],
)
def test_usage_mistakes(argv, message, capsys):
    with pytest.raises(VermeilError, match=message):
        main(argv)
    assert capsys.readouterr() == ("", "")


def test_import_is_light():
    heavy = "{'numpy', 'PIL', 'torch', 'lzma', 'argparse'} & sys.modules.keys()"
    check = f"import sys, data; assert not {heavy}, {heavy}"
    check += "; import data.command, data.embedded_text; assert 'numpy' not in sys.modules"
    subprocess.run([sys.executable, "-c", check], check=True, timeout=60)


def test_a_clean_copy_is_read_as_a_data_set(tmp_path, capsys):
    """`prepare --clean` on a user's folder with a copy in it, then `show` on what it wrote."""
    source = tmp_path / "texts"
    source.mkdir()
    for number, document in enumerate(load("embedded_sample").documents("train")):
        (source / f"{number}.txt").write_text(document.text[2000:6000])
    (source / "copy.txt").write_text((source / "0.txt").read_text())
    main(["prepare", str(source), "--clean", "--processes", "1"])
    [card] = (tmp_path / "home").rglob("data_card.json")
    assert "duplicate" in card.read_text()
    capsys.readouterr()
    main(["show", str(card.parent)])
    assert "train" in capsys.readouterr().out
