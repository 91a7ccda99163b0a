"""COCO: tiny files in exactly the official form, whole and broken."""

import json
import os
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from data import load_any, load_pictures
from data.command import main
from data.pictures import SPLITS, arrays
from shared.errors import VermeilError

ARCHIVE = Path(os.environ.get("VERMEIL_REALDATA", "realdata")) / "coco-val2017-159.tar"
CATEGORIES = [
    {"supercategory": "animal", "id": 17, "name": "cat"},
    {"supercategory": "person", "id": 1, "name": "person"},
]


def name_of(number: int) -> str:
    return f"{number:012}.jpg"


def thing(number, category, box, crowd=0, segmentation=None):
    x, y, w, h = box
    corners = [x, y, x + w, y, x + w, y + h, x, y + h]
    return {
        "segmentation": segmentation or [corners], "area": w * h, "iscrowd": crowd,
        "image_id": number, "bbox": box, "category_id": category, "id": number * 10 + category,
    }  # fmt: skip


def write(root, part, numbers, things=None, captions=True, size=(40, 20)):
    """One part with pictures of 40 x 20 pixels, five captions each, and perhaps objects."""
    (root / part).mkdir(parents=True)
    (root / "annotations").mkdir(exist_ok=True)
    images = []
    for number in numbers:
        colour = (number % 256, 50, 100)
        Image.new("RGB", size, colour).save(root / part / name_of(number), quality=95)
        images.append({"license": 4, "file_name": name_of(number), "height": 20, "width": 40,
                       "coco_url": "http://images.cocodataset.org/", "id": number})  # fmt: skip
    head = {"info": {"year": 2017}, "licenses": [{"id": 4}], "images": images}
    if captions:
        said = [
            {"image_id": number, "id": 1000 * n + number, "caption": f" Caption {n}\nof {number}. "}
            for n in range(5)
            for number in reversed(numbers)
        ]
        save(root, f"captions_{part}", {**head, "annotations": said})
    if things is not None:
        save(root, f"instances_{part}", {**head, "annotations": things, "categories": CATEGORIES})


def save(root, name, content):
    (root / "annotations" / f"{name}.json").write_text(json.dumps(content))


@pytest.fixture
def coco(tmp_path):
    """Forty training and three validation pictures, three of them with objects."""
    write(tmp_path, "train2017", range(100, 140), [])
    things = [
        thing(1, 1, [2, 4, 10, 5]), thing(1, 17, [0, 0, 20.5, 10]), thing(1, 1, [30, 10, 5, 5]),
        thing(2, 1, [0, 0, 40, 20], 1, {"size": [20, 40], "counts": [0, 800]}),
        thing(2, 17, [10, 5, 4, 2]),
    ]  # fmt: skip
    write(tmp_path, "val2017", [1, 2, 3], things)
    return tmp_path


def read(root, split="test"):
    return {p.id: p for p in load_pictures(f"coco@{root}").pictures(split)}


def test_five_captions_and_the_class_of_the_largest_object(coco):
    found = read(coco)
    assert load_pictures(f"coco@{coco}").classes == ("person", "cat", "unlabelled")
    assert [*found] == [f"val2017/{name_of(n)}" for n in (1, 2, 3)]
    first, second, third = found.values()
    assert first.texts == tuple(f"Caption {n} of 1." for n in range(5))
    assert (first.label, first.tags) == (1, ("cat", "person"))
    assert (second.label, second.tags) == (1, ("cat", "person")), "a crowd comes last"
    assert (third.label, third.tags) == (2, ())
    assert first.pixels.shape == (20, 40, 3) and abs(first.pixels[0, 0] - [1, 50, 100]).max() < 4


def test_validation_of_theirs_is_the_test_split(coco):
    data = load_pictures(f"coco@{coco}")
    assert data.splits == "38 / 2 / 3"
    found = {split: {p.id for p in data.pictures(split)} for split in SPLITS}
    assert all(i.startswith("train2017/") for i in found["train"] | found["validation"])
    assert len(set.union(*found.values())) == 43


def test_one_part_alone_is_divided(tmp_path):
    write(tmp_path, "val2017", range(40))
    data = load_any(f"coco@{tmp_path}")
    assert data.splits == "36 / 2 / 2" and data.classes == ("unlabelled",)
    assert len({p.id for split in SPLITS for p in data.pictures(split)}) == 40


def test_without_captions_the_class_speaks(coco):
    for path in (coco / "annotations").glob("captions*"):
        path.unlink()
    assert [p.texts for p in read(coco).values()] == [("cat",), ("cat",), ("unlabelled",)]


def test_boxes_and_masks(coco):
    first, second = load_pictures(f"coco@{coco}").annotated("test")
    assert first.labels.tolist() == [1, 0, 0] and not first.crowd.any()
    assert first.annotated.boxes.tolist() == [[0, 0, 20.5, 10], [2, 4, 10, 5], [30, 10, 5, 5]]
    assert first.annotated.masks.sum((1, 2)).tolist() == [200, 50, 25]
    assert second.crowd.tolist() == [False, True] and second.annotated.masks[1].all()


def test_a_smaller_copy_takes_its_boxes_and_masks_along(coco):
    Image.new("RGB", (20, 10)).save(coco / "val2017" / name_of(1))
    first = next(load_pictures(f"coco@{coco}").annotated("test"))
    assert first.annotated.boxes[1].tolist() == [1, 2, 5, 2.5]
    assert first.annotated.masks.shape == (3, 10, 20)
    assert first.annotated.masks[2].sum() == 4, "2.5 x 2.5 pixels hold 2 x 2 centres"


def test_augmentation_moves_them_alike(coco):
    from data.augment import Augmentation

    first = next(load_pictures(f"coco@{coco}").annotated("test"))
    augment = Augmentation("resized_crop", 16)
    for key in range(20):
        moved = augment.annotated((key,), first.annotated)
        assert moved.pixels.shape == (16, 16, 3)
        for (x, y, w, h), place in zip(moved.boxes, moved.kept, strict=True):
            down, across = np.nonzero(moved.masks[place])
            if len(down):
                assert x - 1 <= across.min() and across.max() <= x + w
                assert y - 1 <= down.min() and down.max() <= y + h


def test_boxes_are_cut_at_the_edge_and_empty_ones_left_out(tmp_path):
    things = [
        thing(7, 1, [30, 10, 20, 20]),
        thing(7, 17, [5, 5, 0, 3]),
        thing(7, 17, [50, 0, 5, 5]),
    ]
    write(tmp_path, "val2017", [7, 8, 9], things)
    data = load_pictures(f"coco@{tmp_path}")
    (found,) = (objects for split in SPLITS for objects in data.annotated(split))
    assert found.annotated.boxes.tolist() == [[30, 10, 10, 10]] and len(found.annotated.masks) == 1


def test_missing_and_broken_pictures_are_counted_by_name(coco):
    (coco / "val2017" / name_of(1)).unlink()
    (coco / "val2017" / name_of(2)).write_bytes(b"")
    data = load_pictures(f"coco@{coco}")
    assert len([*data.pictures("test")]) == 1
    assert str(data.skipped["test"]) == (
        f"1 missing file (val2017/{name_of(1)}), 1 empty file (val2017/{name_of(2)})"
    )
    assert len(arrays(data, "test", 8).pixels) == 1


def test_pictures_that_do_not_fit_their_annotations_have_no_boxes(coco):
    Image.new("RGB", (20, 40)).save(coco / "val2017" / name_of(1))
    path = coco / "annotations" / "instances_val2017.json"
    path.write_text(path.read_text().replace('"counts": [0, 800]', '"counts": [0, 801]'))
    data = load_pictures(f"coco@{coco}")
    assert [*data.annotated("test")] == []
    assert data.skipped["test"].counts == {"another shape than annotated": 1, "damaged mask": 1}
    assert len([*data.pictures("test")]) == 3


def test_identity_is_annotations_and_file_sizes(coco):
    hashes = {load_pictures(f"coco@{coco}").sha256() for _ in range(2)}
    (coco / "annotations" / "person_keypoints_val2017.json").write_text("not read")
    hashes.add(load_pictures(f"coco@{coco}").sha256())
    assert len(hashes) == 1
    with (coco / "val2017" / name_of(1)).open("ab") as file:
        file.write(b"\0")
    hashes.add(load_pictures(f"coco@{coco}").sha256())
    path = coco / "annotations" / "captions_val2017.json"
    path.write_text(path.read_text().replace("Caption 0", "Caption 9"))
    hashes.add(load_pictures(f"coco@{coco}").sha256())
    assert len(hashes) == 3


def test_show_opens_only_what_it_shows(coco, capsys):
    for number in range(100, 140):
        (coco / "train2017" / name_of(number)).write_bytes(b"broken")
    main(["show", f"coco@{coco}", "--split", "test", "--number", "2"])
    out = capsys.readouterr().out
    rows = [line.split() for line in out.splitlines()]
    assert ["unlabelled", "train", "38", "190"] in rows and ["all", "test", "3", "15"] in rows
    assert f"Caption 0 of 1.  [val2017/{name_of(1)}, 40 x 20 pixels, cat]" in out
    assert f"[val2017/{name_of(3)}, 40 x 20 pixels, unlabelled]" in out, "one of each class first"


def test_annotations_without_pictures_are_left_out(coco):
    (coco / "train2017").rename(coco / "elsewhere")
    assert load_pictures(f"coco@{coco}").splits == "1 / 1 / 1"
    (coco / "val2017").rename(coco / "pictures")
    with pytest.raises(VermeilError, match=r"holds annotations, but no pictures: put them in"):
        load_pictures(f"coco@{coco}").prepare()


def test_pictures_may_lie_in_images(coco):
    before = [*read(coco)]
    (coco / "images").mkdir()
    (coco / "val2017").rename(coco / "images" / "val2017")
    assert [*read(coco)] == before


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        (lambda text: text[:300], r"captions_val2017.json is no whole JSON \(.*line 1 column"),
        (lambda text: "", r"is no whole JSON \(Expecting value"),
        (lambda text: "[]", r"captions_val2017.json is not in COCO's form"),
        (lambda text: "{}", r"not in COCO's form \(KeyError: 'images'\): download it again"),
        (lambda text: text.replace('"caption"', '"said"'), r"\(KeyError: 'caption'\)"),
        (lambda text: text.replace("000000000001", "../x"), "a picture outside its folder, ../x"),
        (lambda text: text.replace('"width": 40', '"width": 0'), "with 0 x 20 pixels"),
    ],
)
def test_broken_captions(coco, broken, message):
    path = coco / "annotations" / "captions_val2017.json"
    path.write_text(broken(path.read_text()))
    with pytest.raises(VermeilError, match=message):
        load_pictures(f"coco@{coco}").prepare()


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('"category_id": 17', '"category_id": 99', "category 99 has no name"),
        ("[2, 4, 10, 5]", "[2, 4, 10]", r"a box \[2, 4, 10\] with area 50"),
        ('"name": "cat"', '"name": "dog"', r"category 17 is '(cat|dog)' and '(cat|dog)' in"),
    ],
)
def test_broken_instances(coco, old, new, message):
    path = coco / "annotations" / "instances_val2017.json"
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(VermeilError, match=message):
        load_pictures(f"coco@{coco}").prepare()


def test_what_is_no_coco(tmp_path, coco):
    with pytest.raises(VermeilError, match=r"no folder .*nowhere: give the folder of COCO"):
        load_pictures(f"coco@{tmp_path / 'nowhere'}").prepare()
    (tmp_path / "empty").mkdir()
    with pytest.raises(VermeilError, match=r"holds no captions_\*.json and no instances_\*.json"):
        load_pictures(f"coco@{tmp_path / 'empty'}").prepare()
    write(coco, "val2014", [1])
    with pytest.raises(VermeilError, match=r"several years: train2017, val2014, val2017"):
        load_pictures(f"coco@{coco}").prepare()
    write(tmp_path / "few", "val2017", [1, 2])
    with pytest.raises(VermeilError, match=r"has 2 picture\(s\) of COCO to divide"):
        load_pictures(f"coco@{tmp_path / 'few'}").prepare()


def karpathy(root, rows):
    """dataset_coco.json of (folder, number, split), five sentences each."""
    images = [
        {"filepath": folder, "sentids": [*range(5)], "filename": name_of(number), "imgid": place,
         "split": split, "cocoid": number,
         "sentences": [{"tokens": ["said"], "raw": f"Said {n} of {number}", "imgid": place,
                        "sentid": n} for n in range(5)]}
        for place, (folder, number, split) in enumerate(rows)
    ]  # fmt: skip
    (root / "dataset_coco.json").write_text(json.dumps({"images": images, "dataset": "coco"}))


@pytest.fixture
def split_by_karpathy(tmp_path):
    write(tmp_path, "train2014", range(1, 5), [])
    things = [thing(11, 17, [0, 0, 20.5, 10])]
    write(tmp_path, "val2014", range(11, 17), things)
    rows = [("train2014", n, "train") for n in range(1, 4)]
    rows += [("val2014", 11, "test"), ("val2014", 12, "restval"), ("val2014", 13, "val"),
             ("val2014", 14, "test")]  # fmt: skip
    karpathy(tmp_path, rows)
    return tmp_path


def test_karpathy_decides_the_splits(split_by_karpathy):
    root = split_by_karpathy
    found = {split: read(root, split) for split in SPLITS}
    assert [*found["train"]] == [
        *(f"train2014/{name_of(n)}" for n in (1, 2, 3)),
        f"val2014/{name_of(12)}",
    ], "restval is for training"
    assert [*found["validation"]] == [f"val2014/{name_of(13)}"]
    assert [*found["test"]] == [f"val2014/{name_of(n)}" for n in (11, 14)]
    first, second = found["test"].values()
    assert first.texts == tuple(f"Said {n} of 11" for n in range(5))
    data = load_pictures(f"coco@{root}")
    assert data.classes == ("person", "cat", "unlabelled")
    assert (first.label, first.tags, second.label) == (1, ("cat",), 2)
    assert [len(objects.labels) for objects in data.annotated("test")] == [1]
    hashes = {data.sha256()}
    for path in (root / "annotations").iterdir():
        path.unlink()
    alone = load_pictures(f"coco@{root}")
    assert alone.classes == ("unlabelled",) and alone.splits == "4 / 1 / 2"
    assert [p.texts for p in alone.pictures("test")] == [first.texts, second.texts]
    karpathy(root, [("train2014", 1, "train"), ("val2014", 11, "test"), ("val2014", 12, "val")])
    assert len(hashes | {alone.sha256(), load_pictures(f"coco@{root}").sha256()}) == 3


def test_karpathy_without_some_pictures(split_by_karpathy):
    root = split_by_karpathy
    (root / "val2014" / name_of(14)).unlink()
    (root / "train2014").rename(root / "elsewhere")
    data = load_pictures(f"coco@{root}")
    assert data.splits == "1 / 1 / 2" and len([*data.pictures("test")]) == 1
    assert data.dropped.counts == {"no folder train2014": 3}
    assert str(data.skipped["test"]) == f"1 missing file (val2014/{name_of(14)})"
    (root / "val2014").rename(root / "elsewhere too")
    with pytest.raises(VermeilError, match=r"but no pictures: put them in .*train2014 or .*val201"):
        load_pictures(f"coco@{root}").prepare()
    (root / "dataset_coco.json").write_text('{"images": [')
    with pytest.raises(VermeilError, match=r"dataset_coco\.json is no whole JSON"):
        load_pictures(f"coco@{root}").prepare()


def test_three_parts_are_kept_as_they_are(coco):
    write(coco, "test2017", [200, 201])
    data = load_pictures(f"coco@{coco}")
    assert data.splits == "40 / 3 / 2"
    assert [*read(coco, "validation")] == [f"val2017/{name_of(n)}" for n in (1, 2, 3)]


def test_captions_without_words_or_picture_are_counted(coco):
    path = coco / "annotations" / "captions_val2017.json"
    content = json.loads(path.read_text())
    for said in content["annotations"]:
        if said["image_id"] == 3 or said["id"] == 1001:
            said["caption"] = " \n"
    content["annotations"].append({"image_id": 77, "id": 1, "caption": "Nothing"})
    path.write_text(json.dumps(content))
    data = load_pictures(f"coco@{coco}")
    assert {p.id: len(p.texts) for p in data.pictures("test")} == {
        f"val2017/{name_of(1)}": 4, f"val2017/{name_of(2)}": 5}  # fmt: skip
    assert data.dropped.counts == {"empty caption": 6, "caption of no picture": 1, "no caption": 1}
    assert data.dropped.names["caption of no picture"] == ["val2017/image 77"]


def test_a_caption_that_is_no_text_and_other_encodings(coco):
    path = coco / "annotations" / "captions_val2017.json"
    whole = path.read_bytes()
    path.write_bytes(whole.replace(b"Caption 1", b"Caption \xe9"))
    with pytest.raises(
        VermeilError, match=r"captions_val2017\.json is not UTF-8: byte 0xe9 at off"
    ):
        load_pictures(f"coco@{coco}").prepare()
    path.write_bytes(whole.replace(b'" Caption 1\\nof 1. "', b"null"))
    with pytest.raises(VermeilError, match=r"COCO's form \(TypeError: None where text belongs"):
        load_pictures(f"coco@{coco}").prepare()


@pytest.mark.skipif(not ARCHIVE.is_file(), reason="the real part is not on this machine")
def test_the_real_part(tmp_path):
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(tmp_path, filter="data")
    data = load_pictures(f"coco@{tmp_path}")
    assert data.splits == "143 / 8 / 8" and not data.dropped.counts
    pictures = [p for split in SPLITS for p in data.pictures(split)]
    assert len(pictures) == 159 and {len(p.texts) for p in pictures} == {5}


def test_parts_to_test_on_alone_are_not_divided(coco):
    write(coco, "test2017", [200, 201])
    (coco / "train2017").rename(coco / "elsewhere")
    data = load_pictures(f"coco@{coco}")
    assert data.splits == "0 / 3 / 2" and [*data.pictures("train")] == []
