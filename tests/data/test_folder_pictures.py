"""A folder per class: what is found, how it is divided, and what bad files do."""

import io
import os

import numpy as np
import pytest
from PIL import Image

from data import load, load_any, load_pictures
from data.folder_pictures import FolderPictures
from data.folder_text import FolderText
from data.pictures import SPLITS, arrays
from shared.errors import VermeilError


def save(path, grey=0, **how):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (12, 8), (grey, grey, grey)).save(path, **how)


@pytest.fixture
def folder(tmp_path):
    """Forty pictures in two classes."""
    for n in range(20):
        save(tmp_path / "mine" / "cat" / f"{n}.png", n)
        save(tmp_path / "mine" / "big_dog" / "deep" / f"{n}.JPG", 100 + n, format="JPEG")
    return tmp_path / "mine"


def everything(data) -> dict[str, list]:
    return {split: list(data.pictures(split)) for split in SPLITS}


def test_classes_are_folders_and_ids_are_paths(folder):
    data = load_pictures(folder)
    found = {picture.id: picture for part in everything(data).values() for picture in part}
    assert data.classes == ("big_dog", "cat") and data.name == "mine" and len(found) == 40
    cat, dog = found["cat/7.png"], found["big_dog/deep/7.JPG"]
    assert (cat.label, cat.texts, dog.label, dog.texts) == (1, ("cat",), 0, ("big dog",))
    assert cat.pixels.shape == (8, 12, 3) and (cat.pixels == 7).all()
    assert data.splits == "36 / 2 / 2"


def test_splits_depend_on_the_names_alone(folder, tmp_path):
    first = {
        split: [p.id for p in part] for split, part in everything(load_pictures(folder)).items()
    }
    assert [len(first[split]) for split in SPLITS] == [36, 2, 2]
    folder.rename(tmp_path / "renamed")
    save(tmp_path / "renamed" / "cat" / "1.png", 200)
    again = everything(load_pictures(tmp_path / "renamed"))
    assert {split: [p.id for p in part] for split, part in again.items()} == first


def test_folders_for_the_splits_are_taken_as_they_are(tmp_path):
    for split, names in (("train", "abcdef"), ("val", "gh"), ("test", "i")):
        for name in names:
            save(tmp_path / split / "cat" / f"{name}.png")
    data = load_pictures(tmp_path)
    assert data.classes == ("cat",)
    found = {split: [p.id for p in part] for split, part in everything(data).items()}
    assert found["validation"] == ["val/cat/g.png", "val/cat/h.png"]
    assert found["test"] == ["test/cat/i.png"] and len(found["train"]) == 6


def test_a_missing_split_is_taken_from_training(tmp_path):
    for split, number in (("train", 20), ("val", 2)):
        for n in range(number):
            save(tmp_path / split / "cat" / f"{n}.png")
    found = everything(load_pictures(tmp_path))
    assert [len(found[split]) for split in SPLITS] == [19, 2, 1]
    assert all(picture.id.startswith("val/") for picture in found["validation"])


def test_captions_beside_pictures(folder):
    (folder / "cat" / "3.txt").write_text("a black square\n\n a dark box \n")
    (folder / "cat" / "4.txt").write_bytes(b"\xff\xfe")
    texts = {p.id: p.texts for part in everything(load_pictures(folder)).values() for p in part}
    assert texts["cat/3.png"] == ("a black square", "a dark box")
    assert texts["cat/4.png"] == ("cat",)


def test_identity_is_names_contents_and_captions(folder):
    hashes = {load_pictures(folder).sha256()}
    save(folder / "cat" / "1.png", 99)
    hashes.add(load_pictures(folder).sha256())
    (folder / "cat" / "1.png").rename(folder / "cat" / "x.png")
    hashes.add(load_pictures(folder).sha256())
    (folder / "cat" / "x.txt").write_text("a cat")
    hashes.add(load_pictures(folder).sha256())
    assert len(hashes) == 4
    (folder / ".DS_Store").write_text("hidden")
    (folder / "cat" / "notes.md").write_text("no picture")
    assert load_pictures(folder).sha256() in hashes


def test_bad_pictures_are_passed_over_and_counted(folder):
    train = [picture.id for picture in load_pictures(folder).pictures("train")]
    content = io.BytesIO()
    noise = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    Image.fromarray(noise).save(content, "PNG")
    empty, text, cut, gone = (folder / name for name in train[:4])
    empty.write_bytes(b"")
    text.write_text("Dear diary")
    cut.write_bytes(content.getvalue()[:1000])
    data = load_pictures(folder)
    stream = data.pictures("train")
    gone.unlink()  # while it is being read
    assert [picture.id for picture in stream] == train[4:]
    said = str(data.skipped["train"])
    for reason, name in zip(
        ("empty file", "not a picture", "damaged", "unreadable"), train[:4], strict=True
    ):
        assert f"1 {reason} ({name})" in said
    again = load_pictures(folder)
    assert (
        len(arrays(again, "train", 8).pixels) == 32 and again.skipped["train"].counts.total() == 3
    )


def test_a_folder_of_pictures_and_one_of_texts_are_told_apart(folder, tmp_path):
    assert isinstance(load_any(folder), FolderPictures)
    texts = tmp_path / "texts"
    texts.mkdir()
    (texts / "a.txt").write_text("text")
    assert isinstance(load_any(texts), FolderText)
    assert isinstance(load(folder), FolderText), "who asks for text gets text"


def test_an_unreadable_folder_is_named(folder, monkeypatch):
    walk = os.scandir

    def refuse(path):
        if str(path).endswith("deep"):
            raise PermissionError(13, "Permission denied", str(path))
        return walk(path)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(
        VermeilError, match=r"the folder .*deep cannot be read \(Permission denied\)"
    ):
        load_pictures(folder).prepare()


def test_an_empty_class_is_named(folder):
    (folder / "cow").mkdir()
    with pytest.raises(VermeilError, match=r"class folder .*cow holds no picture: remove it"):
        load_pictures(folder).prepare()


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ((), "holds no folder with pictures: put them in one folder per class"),
        (("a.png",), "holds no folder with pictures"),
        (("cat/a.png", "dog/a.png"), r"holds 2 picture\(s\), at least 3 are needed"),
    ],
)
def test_too_little(tmp_path, files, message):
    root = tmp_path / "few"
    root.mkdir()
    for name in files:
        save(root / name)
    with pytest.raises(VermeilError, match=message):
        load_pictures(root).prepare()


def test_what_is_no_folder(tmp_path):
    with pytest.raises(VermeilError, match=r"there is no folder .*nowhere: give a folder"):
        load_pictures(tmp_path / "nowhere").prepare()


def test_links_in_a_circle_end(folder):
    (folder / "cat" / "again").symlink_to(folder / "cat", target_is_directory=True)
    assert load_pictures(folder).splits == "36 / 2 / 2"
