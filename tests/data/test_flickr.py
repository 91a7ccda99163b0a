"""Flickr8k and Flickr30k: tiny files in exactly the official form, and the part at hand."""

import json
import os
import tarfile
from pathlib import Path

import pytest
from PIL import Image

from data import load_pictures
from data.command import main
from data.pictures import SPLITS, arrays
from shared.errors import VermeilError

REAL = Path(os.environ.get("VERMEIL_REALDATA", "realdata"))
ARCHIVE = REAL / "flickr8k-train-dev-128px.tar"
LISTS = {"train": "trainImages", "validation": "devImages", "test": "testImages"}
NUMBERS = {"train": range(6), "validation": range(6, 8), "test": range(8, 10)}


def name_of(number: int) -> str:
    return f"{1000268201 + number}_693b08cb0e.jpg"


def caption(number: int, n: int) -> str:
    return f"Dog {number} runs , caption {n} ."


@pytest.fixture
def flickr(tmp_path):
    """Ten pictures in three lists, five captions each, and one picture on no list."""
    (tmp_path / "Flicker8k_Dataset").mkdir()
    rows = []
    for number in range(11):
        path = tmp_path / "Flicker8k_Dataset" / name_of(number)
        Image.new("RGB", (12, 8), (20 * number, 0, 0)).save(path, quality=95)
        rows += [f"{name_of(number)}#{n}\t{caption(number, n)}\n" for n in range(5)]
    (tmp_path / "Flickr8k.token.txt").write_text("".join(rows))
    for split, numbers in NUMBERS.items():
        names = "".join(f"{name_of(number)}\n" for number in reversed(numbers))
        (tmp_path / f"Flickr_8k.{LISTS[split]}.txt").write_text(names)
    return tmp_path


def read(root):
    data = load_pictures(f"flickr@{root}")
    return {split: [*data.pictures(split)] for split in SPLITS}


def numbers_of(pictures):
    return [int(picture.id.split("/")[1][:10]) - 1000268201 for picture in pictures]


def test_official_splits_and_five_captions(flickr):
    found = read(flickr)
    assert {split: numbers_of(some) for split, some in found.items()} == {
        split: [*numbers] for split, numbers in NUMBERS.items()
    }
    first = found["validation"][0]
    assert first.id == f"Flicker8k_Dataset/{name_of(6)}" and first.label == 0
    assert first.texts == tuple(caption(6, n) for n in range(5))
    assert first.pixels.shape == (8, 12, 3) and abs(int(first.pixels[0, 0, 0]) - 120) < 4
    assert str(load_pictures(f"flickr@{flickr}").dropped) == f"1 on no list ({name_of(10)})"


def test_without_the_test_list_dev_is_the_test_split(flickr):
    (flickr / "Flickr_8k.testImages.txt").unlink()
    found = read(flickr)
    assert numbers_of(found["test"]) == [6, 7]
    held = numbers_of(found["train"]) + numbers_of(found["validation"])
    assert sorted(held) == [*range(6)] and len(found["validation"]) == 1


def test_without_lists_pictures_are_divided(flickr):
    for path in flickr.glob("Flickr_8k.*"):
        path.unlink()
    (flickr / "Flickr8k.token.txt").rename(flickr / "results_20130124.token")
    (flickr / "Flicker8k_Dataset").rename(flickr / "flickr30k-images")
    assert load_pictures(f"flickr@{flickr}").splits == "9 / 1 / 1"


def karpathy(name, splits, **more):
    """As Karpathy's files are, of (number, split)."""
    images = [
        {"sentids": [*range(5)], "imgid": number, "split": split, "filename": name_of(number),
         "sentences": [{"tokens": ["a", "b"], "raw": caption(number, n), "imgid": number,
                        "sentid": n} for n in range(5)], **more}
        for number, split in splits
    ]  # fmt: skip
    return json.dumps({"images": images, "dataset": name})


def test_karpathy_instead_of_lists_is_the_same(flickr):
    def told():
        return {s: [(p.id, p.texts) for p in some] for s, some in read(flickr).items()}

    official = told()
    names = {"train": "train", "validation": "val", "test": "test"}
    splits = [(number, names[split]) for split, some in NUMBERS.items() for number in some]
    other = [(number, "train") for number, _ in splits]
    (flickr / "dataset_flickr8k.json").write_text(karpathy("flickr8k", other))
    assert told() == official, "lists win"
    (flickr / "dataset_flickr8k.json").write_text(karpathy("flickr8k", reversed(splits)))
    for path in flickr.glob("Flickr_8k.*"):
        path.unlink()
    assert told() == official
    (flickr / "Flickr8k.token.txt").unlink()
    assert told() == official
    dropped = load_pictures(f"flickr@{flickr}").dropped
    assert str(dropped) == f"1 no caption ({name_of(10)})", "a picture of the folder"


def change(path, old, new):
    content = path.read_text()
    assert old in content
    path.write_text(content.replace(old, new))


def test_what_is_missing_is_counted_by_name(flickr):
    (flickr / "Flicker8k_Dataset" / name_of(0)).unlink()
    tokens = flickr / "Flickr8k.token.txt"
    change(tokens, caption(1, 2), "  ")
    for n in range(5):
        change(tokens, f"{name_of(2)}#{n}\t{caption(2, n)}\n", "")
    change(flickr / "Flickr_8k.devImages.txt", name_of(6), f"{name_of(6)}\ngone.jpg")
    data = load_pictures(f"flickr@{flickr}")
    found = {picture.id: picture for picture in data.pictures("train")}
    assert numbers_of(found.values()) == [1, 3, 4, 5]
    assert len(found[f"Flicker8k_Dataset/{name_of(1)}"].texts) == 4
    assert str(data.skipped["train"]) == f"1 missing file (Flicker8k_Dataset/{name_of(0)})"
    assert data.dropped.names == {
        "empty caption": [f"{name_of(1)}#2"],
        "no caption": [name_of(2), "gone.jpg", name_of(2)],
        "on no list": [name_of(10)],
    }


def test_other_scripts_and_long_captions_are_kept(flickr):
    long = "very " * 999 + "long"
    change(flickr / "Flickr8k.token.txt", caption(8, 0), "Одна собака бежит 一只狗 كلب")
    change(flickr / "Flickr8k.token.txt", caption(8, 1), long)
    texts = read(flickr)["test"][0].texts
    assert texts[:2] == ("Одна собака бежит 一只狗 كلب", long)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (b"#3\tDog 1 runs", b"#3 Dog 1 runs", r"line 9 of .*token\.txt is not NAME\.jpg#NUMBER"),
        (b"#3\tDog 1 runs", b"\tDog 1 runs", r"line 9 of .* a tab and a caption: download it"),
        (b"Dog 1 runs", b"Dog \xe9 runs", r"token\.txt is not UTF-8: byte 0xe9 at offset 2"),
        (b"1000268202_", b"../", r"token\.txt names a picture outside its folder, \.\./693b"),
    ],
)
def test_broken_captions(flickr, old, new, message):
    path = flickr / "Flickr8k.token.txt"
    path.write_bytes(path.read_bytes().replace(old, new))
    with pytest.raises(VermeilError, match=message):
        load_pictures(f"flickr@{flickr}").prepare()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda text: text[:400], r"dataset_flickr8k\.json is no whole JSON"),
        (lambda text: "[]", r"dataset_flickr8k\.json is not in Karpathy's form"),
        (lambda text: text.replace('"raw"', '"said"'), r'a sentence of .*\.jpg without "raw"'),
        (lambda text: text.replace('"val"', '"dev"'), r"in a split 'dev'"),
        (lambda text: text.replace('"filename"', '"file"'), r"\(KeyError: 'filename'\)"),
        (lambda text: text.replace('"Dog 0 runs , caption 0 ."', "7"), "7 where text belongs"),
    ],
)
def test_broken_karpathy(flickr, change, message):
    (flickr / "Flickr8k.token.txt").unlink()
    text = karpathy("flickr8k", [(0, "train"), (1, "val"), (2, "test")])
    (flickr / "dataset_flickr8k.json").write_text(change(text))
    with pytest.raises(VermeilError, match=message):
        load_pictures(f"flickr@{flickr}").prepare()


def test_one_picture_in_two_splits_is_refused(flickr):
    with (flickr / "Flickr_8k.testImages.txt").open("a") as file:
        file.write(f"{name_of(0)}\n")
    message = rf"{name_of(0)} is on Flickr_8k\.trainImages\.txt and on Flickr_8k\.testImages\.txt"
    with pytest.raises(VermeilError, match=message):
        load_pictures(f"flickr@{flickr}").prepare()
    (flickr / "Flickr8k.token.txt").unlink()
    twice = [(0, "train"), (1, "train"), (0, "test")]
    (flickr / "dataset_flickr8k.json").write_text(karpathy("flickr8k", twice))
    with pytest.raises(VermeilError, match=rf"Karpathy's form .*{name_of(0)} stands there twice"):
        load_pictures(f"flickr@{flickr}").prepare()


def test_what_is_no_flickr(flickr, tmp_path):
    (flickr / "results_20130124.token").write_text("")
    with pytest.raises(VermeilError, match=r"holds Flickr8k\.token\.txt and results_2.*keep one"):
        load_pictures(f"flickr@{flickr}").prepare()
    for path in flickr.glob("*.t*"):
        path.unlink()
    with pytest.raises(VermeilError, match=r"holds none of Flickr8k\.token\.txt, results_2013"):
        load_pictures(f"flickr@{flickr}").prepare()
    (flickr / "Flicker8k_Dataset").rename(flickr / "elsewhere")
    with pytest.raises(VermeilError, match=r"has no folder of pictures: put them in .*images"):
        load_pictures(f"flickr@{flickr}").prepare()


def test_show_and_prepare(flickr, capsys):
    main(["show", f"flickr@{flickr}", "--split", "test", "--number", "1"])
    out = capsys.readouterr().out
    assert ["all", "test", "2", "10"] in [line.split() for line in out.splitlines()]
    assert f"{caption(8, 0)}  [Flicker8k_Dataset/{name_of(8)}, 12 x 8 pixels" in out
    main(["prepare", f"flickr@{flickr}"])
    assert "passed over in the annotations: 1 on no list" in capsys.readouterr().out


@pytest.mark.skipif(not ARCHIVE.is_file(), reason="the real part is not on this machine")
def test_the_real_part(tmp_path):
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(tmp_path, filter="data")
    data = load_pictures(f"flickr@{tmp_path}")
    assert data.splits == "5,700 / 300 / 1,000" and data.dropped.counts == {"on no list": 91}
    assert sum(int(n.replace(",", "")) for n in data.splits.split(" / ")) + 91 == 7091
    found = arrays(data, "test", 16)
    assert len(found.pixels) == 1000 and {len(texts) for texts in found.texts} == {5}
    dev = set((tmp_path / "Flickr_8k.devImages.txt").read_text().split())
    assert {Path(picture.id).name for picture in data.pictures("test")} == dev
