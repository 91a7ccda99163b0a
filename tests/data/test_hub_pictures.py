"""Pictures of the Hub: folders that `datasets` wrote, a Hub on this machine, and no Hub at all."""

import io
import json
from itertools import chain
from pathlib import Path

import numpy as np
import pytest
from datasets import ClassLabel, Dataset, Features, Image, Sequence, Value
from PIL import Image as PILImage

from data import load_any, load_pictures
from data.hub_pictures import HubPictures
from data.pictures import SPLITS, arrays
from data.splits import BY_SHARE
from shared.errors import VermeilError


def png(grey: int) -> bytes:
    content = io.BytesIO()
    PILImage.new("RGB", (6, 4), (grey, grey, grey)).save(content, "PNG")
    return content.getvalue()


def write(path: Path, images: list, **columns) -> Path:
    """A parquet as `datasets` writes it; a column is its values and its type."""
    path.parent.mkdir(parents=True, exist_ok=True)
    files = [{"bytes": one, "path": None} if isinstance(one, bytes) else one for one in images]
    features = Features({"image": Image(), **{name: kind for name, (_, kind) in columns.items()}})
    values = {name: values for name, (values, _) in columns.items()}
    Dataset.from_dict({"image": files, **values}, features).to_parquet(path, batch_size=100)
    return path.parent


def pets(folder: Path, split="train", number=6) -> Path:
    labels = ([n % 2 for n in range(number)], ClassLabel(names=["cat", "dog"]))
    path = folder / "pets" / f"{split}-00000-of-00001.parquet"
    return write(path, [png(n) for n in range(number)], label=labels)


def greys(data, split="train") -> list[int]:
    return [int(picture.pixels[0, 0, 0]) for picture in data.pictures(split)]


def test_columns_are_found_by_their_types(tmp_path):
    pets(tmp_path, number=3)
    pets(tmp_path, "validation", 2)
    data = load_any(f"hub_pictures@{pets(tmp_path, 'test', 1)}")
    data.prepare()
    assert isinstance(data, HubPictures) and data.ready()
    assert (data.name, data.classes, data.size) == (
        "hub_pictures@pets", ("cat", "dog"), "streamed")  # fmt: skip
    assert data.splits == "train / validation / test"
    first, second, third = data.pictures("train")
    assert (first.id, first.label, first.texts) == ("train/0", 0, ("cat",))
    assert (third.id, second.label, second.texts) == ("train/2", 1, ("dog",))
    np.testing.assert_array_equal(third.pixels, np.full((4, 6, 3), 2, np.uint8))
    assert [greys(data, split) for split in SPLITS[1:]] == [[0, 1], [0]], "the Hub's own splits"
    assert arrays(data, "train", 8).labels.tolist() == [0, 1, 0]


def test_missing_splits_are_taken_from_the_training_rows(tmp_path):
    data = load_pictures(f"hub_pictures@{pets(tmp_path, number=600)}")
    assert data.splits == "train / 1% / 1%"
    found = {split: [picture.id for picture in data.pictures(split)] for split in SPLITS}
    assert sorted(chain(*found.values())) == sorted(f"train/{n}" for n in range(600))
    assert all(BY_SHARE.of(i) == split for split, ids in found.items() for i in ids)
    pets(tmp_path, "test", 2)
    data = load_pictures(f"hub_pictures@{tmp_path}/pets")
    assert [p.id for p in data.pictures("test")] == ["test/0", "test/1"]
    assert [p.id for p in data.pictures("validation")] == found["validation"]
    own = {p.id for p in data.pictures("train")}
    assert own == {*found["train"], *found["test"]}, "test has its own rows, none are taken"


def test_captions(tmp_path):
    string = Value("string")
    path = tmp_path / "one" / "train.parquet"
    said = (["A  cat.", None, " "], string)
    data = load_pictures(f"hub_pictures@{write(path, [png(n) for n in range(3)], text=said)}")
    assert [p.texts for p in data.pictures("train")] == [("A cat.",)]
    assert str(data.skipped["train"]) == "2 no caption (train/1, train/2)"
    assert data.classes == ("unlabelled",)
    path = tmp_path / "five" / "train.parquet"
    several = ([["A cat.", "It sits."], [], ["", "Dog"]], Sequence(string))
    labels = ([1, 0, 1], ClassLabel(names=["a", "b"]))
    folder = write(path, [png(n) for n in range(3)], captions=several, label=labels)
    data = load_pictures(f"hub_pictures@{folder}")
    found = [(p.texts, p.label) for p in data.pictures("train")]
    assert found == [(("A cat.", "It sits."), 1), (("a",), 0), (("Dog",), 1)]


def test_other_columns_and_splits_are_asked_for(tmp_path):
    names = ClassLabel(names=["x", "y", "z"])
    string = Value("string")
    files = [{"bytes": png(9), "path": None}] * 2
    columns = {"image": files, "thumb": [{"bytes": png(50), "path": None}] * 2, "fine": [2, 1],
               "coarse": [0, 1], "alt": ["one", "two"], "text": ["no", "no"]}  # fmt: skip
    features = Features({"image": Image(), "thumb": Image(), "fine": names, "coarse": names,
                         "alt": string, "text": string})  # fmt: skip
    (tmp_path / "many").mkdir()
    table = Dataset.from_dict(columns, features)
    table.to_parquet(tmp_path / "many" / "test.parquet")
    chosen = "image=thumb,label=coarse,text=alt,split=test"
    data = load_pictures(f"hub_pictures@{tmp_path}/many#{chosen}")
    assert data.name == f"hub_pictures@many#{chosen}"
    found = [(p.id, p.pixels[0, 0, 0], p.label, p.texts) for p in data.pictures("train")]
    assert found == [("test/0", 50, 0, ("one",)), ("test/1", 50, 1, ("two",))]
    usual = load_pictures(f"hub_pictures@{tmp_path}/many#split=test")
    assert [(p.pixels[0, 0, 0], p.label) for p in usual.pictures("train")] == [(9, 2), (9, 1)]
    assert usual.sha256() != data.sha256(), "other columns are other data"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("", r'has no split to learn from .it has: test.: choose one .*many#split=test'),
        ("#split=tset", r"has no split 'tset' .it has: test.: did you mean 'test'"),
        ("#split=test,image=n", r'needs a column of the type Image, and "n" is none .*n .int64.'),
        ("#split=test,image=imag", 'has no column "imag": did you mean \'image\''),
        ("#split=test,label=n", 'the column "n" of .* is int64, not ClassLabel.*leave label= out'),
        ("#splitt=test", "'#splitt=test' is no column to choose: write #image=A"),
        ("#image=", "'#image=' is no column to choose"),
    ],
)  # fmt: skip
def test_what_is_not_there_says_what_is(tmp_path, options, message):
    folder = write(tmp_path / "many" / "test.parquet", [png(1)], n=([3], Value("int64")))
    with pytest.raises(VermeilError, match=message):
        load_pictures(f"hub_pictures@{folder}{options}").pictures("train")


def test_a_data_set_of_links_has_no_pictures(tmp_path):
    (tmp_path / "links").mkdir()
    row = {"url": "http://a.org/1.jpg", "caption": "A cat."}
    (tmp_path / "links" / "train.jsonl").write_text(json.dumps(row) + "\n")
    with pytest.raises(VermeilError, match=r"there is none \(it has: url .*a list of links: laion"):
        load_pictures(f"hub_pictures@{tmp_path}/links").prepare()


def test_bad_pictures_are_counted_by_name_and_end_nothing(tmp_path):
    missing = {"bytes": None, "path": str(tmp_path / "gone.png")}
    images = [png(1), b"", b"Dear diary", png(2)[:-30], None, missing, png(3), png(4), png(5)]
    labels = [0, 0, 0, 0, 0, 0, -1, None, 1]
    folder = write(
        tmp_path / "pets" / "train.parquet", images, label=(labels, ClassLabel(names=["a", "b"]))
    )
    data = load_pictures(f"hub_pictures@{folder}")
    assert greys(data) == [1, 5]
    assert data.skipped["train"].names == {
        "empty file": ["train/1"],
        "not a picture": ["train/2"],
        "damaged": ["train/3"],
        "no picture": ["train/4"],
        "missing file": ["train/5"],
        "no label of a class": ["train/6", "train/7"],
    }


def test_a_folder_of_picture_files(tmp_path):
    for split, name, grey in (("train", "cat", 1), ("train", "dog", 2), ("test", "dog", 3)):
        path = tmp_path / "files" / split / name / f"{grey}.png"
        path.parent.mkdir(parents=True)
        path.write_bytes(png(grey))
    (tmp_path / "files" / "train" / "cat" / "0.png").write_text("Dear diary")
    data = load_pictures(f"hub_pictures@{tmp_path}/files")
    assert [(p.texts, p.pixels[0, 0, 0]) for p in data.pictures("train")] == [
        (("cat",), 1), (("dog",), 2)]  # fmt: skip
    assert str(data.skipped["train"]) == "1 not a picture (train/0)"
    assert greys(data, "test") == [3]


def test_a_parquet_that_is_cut_short(tmp_path):
    folder = pets(tmp_path)
    path = next(folder.iterdir())
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(VermeilError, match=r"hub_pictures@pets (cannot be read|stopped after row)"):
        list(load_pictures(f"hub_pictures@{folder}").pictures("train"))


def test_identity_follows_the_content(tmp_path):
    before = load_pictures(f"hub_pictures@{pets(tmp_path)}").sha256()
    assert before == load_pictures(f"hub_pictures@{tmp_path}/pets").sha256()
    assert before != load_pictures(f"hub_pictures@{pets(tmp_path, number=5)}").sha256()


def test_the_first_ones_are_shown(tmp_path):
    lines = list(load_any(f"hub_pictures@{pets(tmp_path)}").excerpts("train", 2, 80))
    assert lines[0] == "streamed; train / 1% / 1%" and len(lines) == 3
    assert "cat  [train/0, 6 x 4 pixels, cat]" in lines[1]


ASK = """
    from data import load_pictures
    from shared.errors import VermeilError
    try:
        data = load_pictures("hub_pictures@{}")
        last = list(data.pictures("train"))[-1]
        print(data.hub.revision, data.licence, last.id, last.texts, last.pixels.max())
    except VermeilError as error:
        print(error)
    """


@pytest.fixture
def pets_on_a_hub(hub, tmp_path):
    [path] = pets(tmp_path / "made", number=5).iterdir()
    return hub("us/pets", {f"data/{path.name}": path.read_bytes()})


def test_a_data_set_of_the_hub(pets_on_a_hub):
    said = pets_on_a_hub.says(ASK.format("us/pets"))
    assert said == f"{pets_on_a_hub.revision} mit train/4 ('cat',) 4"


def test_a_data_set_that_the_hub_does_not_have(pets_on_a_hub):
    said = pets_on_a_hub.says(ASK.format("us/cats"))
    assert said.startswith("hub_pictures@us/cats cannot be had: the Hub has no such data set")
    assert "spell it hub_pictures@OWNER/NAME" in said


def test_a_hub_that_cannot_be_reached(hub):
    said = hub().says(ASK.format("us/pets"))
    assert said.startswith("hub_pictures@us/pets cannot be had: the Hub cannot be reached (")
    assert said.endswith("hub_pictures@./FOLDER")
