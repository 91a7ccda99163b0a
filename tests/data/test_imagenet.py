"""ImageNet: a few pictures in exactly the official form, with a devkit made by scipy."""

import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat

from data import load_any, load_pictures
from data.command import main
from data.pictures import SPLITS
from shared.errors import VermeilError

# In the devkit's order, which is not that of the WordNet ids; the last one is no leaf.
SYNSETS = [
    (1, "n02119789", "kit fox, Vulpes macrotis", 0),
    (2, "n03126707", "crane", 0),
    (3, "n02012849", "crane", 0),
    (4, "n01440764", "tench, Tinca tinca", 0),
    (5, "n02083346", "canine, canid", 1),
]
TRUTH = [4, 1, 2, 3, 1]
FIELDS = ("ILSVRC2012_ID", "WNID", "words", "gloss", "num_children", "children", "wordnet_height",
          "num_train_images")  # fmt: skip


def devkit(root, synsets=SYNSETS, truth=TRUTH):
    folder = root / "ILSVRC2012_devkit_t12" / "data"
    folder.mkdir(parents=True, exist_ok=True)
    rows = np.empty((len(synsets), 1), [(name, object) for name in FIELDS])
    for row, (number, wnid, words, children) in zip(rows, synsets, strict=True):
        row[0] = (float(number), wnid, words, "a gloss", float(children),
                  np.arange(float(children)), 0.0, 1300.0)  # fmt: skip
    savemat(folder / "meta.mat", {"synsets": rows})
    lines = "".join(f"{number}\n" for number in truth)
    (folder / "ILSVRC2012_validation_ground_truth.txt").write_text(lines)


def save(path, grey):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (12, 8), (grey, grey, grey)).save(path, "JPEG", quality=95)


def val(number: int) -> str:
    return f"val/ILSVRC2012_val_{number:08}.JPEG"


@pytest.fixture
def imagenet(tmp_path):
    """Ten training pictures of each class and five flat validation pictures."""
    root = tmp_path / "ilsvrc"
    devkit(root)
    for row, (_, wnid, _, children) in enumerate(SYNSETS):
        for n in range(0 if children else 10):
            save(root / "train" / wnid / f"{wnid}_{n}.JPEG", 10 * row)
    for number in range(1, 6):
        save(root / val(number), 100 + number)
    return root


def test_labels_are_in_the_order_of_the_wordnet_ids(imagenet):
    data = load_any(f"imagenet@{imagenet}")
    assert data.name == "imagenet@ilsvrc" and data.splits == "38 / 2 / 5"
    assert data.classes == ("tench", "crane (n02012849)", "kit fox", "crane (n03126707)")
    wnids = ("n01440764", "n02012849", "n02119789", "n03126707")
    for split in ("train", "validation"):
        for picture in data.pictures(split):
            assert picture.id.startswith(f"train/{wnids[picture.label]}/{wnids[picture.label]}_")
            grey = 10 * [wnid for _, wnid, _, _ in SYNSETS].index(wnids[picture.label])
            assert abs(int(picture.pixels[0, 0, 0]) - grey) < 4


def test_the_ground_truth_labels_the_flat_folder(imagenet):
    found = list(load_pictures(f"imagenet@{imagenet}").pictures("test"))
    assert [p.id for p in found] == [val(n) for n in range(1, 6)]
    assert [p.label for p in found] == [0, 2, 3, 1, 2]
    assert found[0].texts == ("tench", "Tinca tinca") and found[2].texts == ("crane",)
    assert [round(p.pixels.mean()) for p in found] == [101, 102, 103, 104, 105]


def test_validation_pictures_may_be_sorted_into_folders(imagenet):
    for number, truth in enumerate(TRUTH, 1):
        folder = imagenet / "val" / SYNSETS[truth - 1][1]
        folder.mkdir(exist_ok=True)
        (imagenet / val(number)).rename(folder / f"ILSVRC2012_val_{number:08}.JPEG")
    found = load_pictures(f"imagenet@{imagenet}").pictures("test")
    labels = {p.id[-9:-5]: p.label for p in found}
    assert [labels[f"000{n}"] for n in range(1, 6)] == [0, 2, 3, 1, 2]


@pytest.mark.parametrize(("other", "number"), [("val", 40), ("train", 5)])
def test_one_part_alone_is_divided(imagenet, other, number):
    (imagenet / other).rename(imagenet / "elsewhere")
    data = load_pictures(f"imagenet@{imagenet}")
    assert sum(map(int, data.splits.split(" / "))) == number
    assert len({p.id for split in SPLITS for p in data.pictures(split)}) == number


def test_missing_and_broken_pictures_are_counted_by_name(imagenet):
    (imagenet / val(2)).unlink()
    (imagenet / val(4)).write_bytes(b"<html>")
    data = load_pictures(f"imagenet@{imagenet}")
    assert [p.label for p in data.pictures("test")] == [0, 3, 2]
    said = str(data.skipped["test"])
    assert f"1 missing file ({val(2)})" in said and f"1 not a picture ({val(4)})" in said


def test_identity_is_devkit_and_files(imagenet):
    hashes = {load_pictures(f"imagenet@{imagenet}").sha256() for _ in range(2)}
    assert len(hashes) == 1
    (imagenet / val(5)).unlink()
    hashes.add(load_pictures(f"imagenet@{imagenet}").sha256())
    devkit(imagenet, truth=TRUTH[::-1])
    hashes.add(load_pictures(f"imagenet@{imagenet}").sha256())
    assert len(hashes) == 3


def test_show(imagenet, capsys):
    main(["show", f"imagenet@{imagenet}", "--split", "test", "--number", "1"])
    out = capsys.readouterr().out
    assert f"tench  [{val(1)}, 12 x 8 pixels, tench]\n  also: Tinca tinca" in out
    rows = [line.split()[:3] for line in out.splitlines()]
    assert ["all", "train", "38"] in rows and ["tench", "test", "1"] in rows


def ground_truth(root):
    return root / "ILSVRC2012_devkit_t12" / "data" / "ILSVRC2012_validation_ground_truth.txt"


def meta(root):
    return root / "ILSVRC2012_devkit_t12" / "data" / "meta.mat"


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (lambda r: meta(r).unlink(), r"has no ILSVRC2012_devkit_t12/data/meta.mat, which names"),
        (lambda r: meta(r).write_bytes(b"no"), r"meta.mat is not the devkit's list of classes \("),
        (lambda r: savemat(meta(r), {"x": 1}), r"list of classes \(KeyError: 'synsets'\)"),
        (lambda r: ground_truth(r).unlink(), r"ground_truth.txt cannot be read \(No such file"),
        (lambda r: ground_truth(r).write_text("4\ncat\n"), r"line 2 of .* is 'cat', which is no"),
        (lambda r: ground_truth(r).write_text("4\n5\n"), r"line 2 of .* is '5', which is no class"),
        (lambda r: ground_truth(r).write_text("4\n1\n"), r"picture number 5, but .* has 2 lines"),
        (lambda r: ground_truth(r).write_bytes(b"\xff"), r"cannot be read \(no plain text\)"),
        (lambda r: (r / "train" / "cats").mkdir(), r"train/cats is no class of the devkit"),
        (
            lambda r: [p.unlink() for p in (r / "train" / "n01440764").iterdir()],
            r"class folder .*n01440764 holds no picture: unpack n01440764.tar in it",
        ),
        (
            lambda r: [p.unlink() for p in (r / "val").iterdir()],
            r"val holds no ILSVRC2012_val_00000001.JPEG",
        ),
        (
            lambda r: [(r / part).rename(r / f"my_{part}") for part in ("train", "val")],
            "holds neither train nor val",
        ),
    ],
)
def test_what_is_no_imagenet(imagenet, harm, message):
    harm(imagenet)
    with pytest.raises(VermeilError, match=message):
        load_pictures(f"imagenet@{imagenet}").prepare()
