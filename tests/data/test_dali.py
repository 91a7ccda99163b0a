"""Files for DALI, in which order they are asked for, and what is said when it cannot be."""

import io
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from data import dali, load_pictures
from data.dali import DaliReader, gpu, picture_files, pipeline
from data.folder_pictures import FolderPictures
from data.pictures import decode, resized
from shared.errors import VermeilError


@pytest.fixture
def folder(tmp_path):
    """Three pictures a split: one of them missing later, a GIF, and captions beside one."""
    for split in ("train", "val", "test"):
        (tmp_path / "own" / split / "dogs").mkdir(parents=True)
        for name in ("a.png", "b.gif", "c.jpg"):
            picture = Image.new("RGB", (12, 8), (200, 0, 0))
            picture.save(tmp_path / "own" / split / "dogs" / name)
        (tmp_path / "own" / split / "dogs" / "c.txt").write_text("a red dog\nred\n")
    return tmp_path / "own"


def test_the_files_of_a_folder(folder):
    data = FolderPictures(folder)
    found = picture_files(data, "train")
    assert [(file.id, file.path.name, file.texts) for file in found] == [
        ("train/dogs/a.png", "a.png", ("dogs",)),
        ("train/dogs/c.jpg", "c.jpg", ("a red dog", "red")),
    ]
    assert str(data.skipped["train"]) == "1 of a format that DALI does not read (train/dogs/b.gif)"


def test_the_files_of_an_official_set_with_one_missing(tmp_path):
    (tmp_path / "images").mkdir()
    for number in range(6):
        Image.new("RGB", (8, 8)).save(tmp_path / "images" / f"{number}.jpg")
    rows = [f"{n}.jpg#0\tpicture {n} .\n" for n in range(6)]
    (tmp_path / "Flickr8k.token.txt").write_text("".join(rows))
    lists = {"train": range(4), "dev": range(4, 5), "test": range(5, 6)}
    for name, numbers in lists.items():
        listed = "".join(f"{number}.jpg\n" for number in numbers)
        (tmp_path / f"Flickr_8k.{name}Images.txt").write_text(listed)
    (tmp_path / "images" / "2.jpg").unlink()
    data = load_pictures(f"flickr@{tmp_path}")
    found = picture_files(data, "train")
    assert [file.texts for file in found] == [(f"picture {n} .",) for n in (0, 1, 3)]
    assert str(data.skipped["train"]) == "1 missing file (images/2.jpg)"
    (tmp_path / "images" / "5.jpg").unlink()
    with pytest.raises(
        VermeilError, match=r"no picture that DALI can read: passed over: 1 missing"
    ):
        picture_files(data, "test")


def test_pictures_that_are_no_files_of_their_own():
    with pytest.raises(
        VermeilError, match="and those of embedded_pictures are not: --loader torch"
    ):
        picture_files(load_pictures("embedded_pictures"), "train")


def test_what_is_missing_is_one_sentence(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(VermeilError, match="on an NVIDIA GPU, and there is none here: --loader"):
        gpu()
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    monkeypatch.setitem(sys.modules, "nvidia.dali", None)
    with pytest.raises(VermeilError, match=r"DALI is not installed .*: pip install nvidia-dali-cu"):
        gpu()


def test_each_process_takes_its_own_gpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    for name in ("nvidia", "nvidia.dali"):
        monkeypatch.setitem(sys.modules, name, type(sys)(name))
    assert gpu() == 0
    monkeypatch.setenv("LOCAL_RANK", "3")
    assert gpu() == 3


class Squares:
    """A pipeline's face: a picture of every path, its shade the number that it is called by."""

    def __init__(self):
        self.fed: list[list[int]] = []  # every request, in its order
        self.taken = 0

    def feed_input(self, name, paths):
        assert name == "paths"
        self.fed.append([int(Path(path.tobytes().decode()).stem) for path in paths])

    def schedule_run(self):
        assert len(self.fed) == self.taken + 1, "it holds one request at a time"
        if 13 in self.fed[-1]:
            raise RuntimeError("Error in operator\n\nencountered:\n\nnvImageCodec failure: '#3'\n")

    def share_outputs(self):
        made = np.stack([np.full((2, 2, 3), shade, np.uint8) for shade in self.fed[self.taken]])
        self.taken += 1
        return [self.Lists(made)]

    def release_outputs(self):
        pass

    class Lists(np.ndarray):
        def __new__(cls, made):
            return made.view(cls)

        def as_cpu(self):
            return self

        def as_array(self):
            return self


def paths(*numbers: int) -> list[Path]:
    return [Path(f"/pictures/{number}.jpg") for number in numbers]


def test_what_follows_is_begun_and_used():
    squares = Squares()
    read = DaliReader(squares)
    first = read(paths(1, 2), paths(3, 4))
    assert first.shape == (2, 2, 2, 3) and first[:, 0, 0, 0].tolist() == [1, 2]
    assert squares.fed == [[1, 2], [3, 4]]
    assert read(paths(3, 4), paths(5))[:, 0, 0, 0].tolist() == [3, 4]
    assert squares.fed == [[1, 2], [3, 4], [5]], "nothing was read twice"


def test_what_was_not_asked_for_is_dropped():
    squares = Squares()
    read = DaliReader(squares)
    read(paths(1, 2), paths(3, 4))
    assert read(paths(7), ())[:, 0, 0, 0].tolist() == [7], "as after a resumed run's first look"
    assert squares.fed == [[1, 2], [3, 4], [7]]
    assert read(paths(8), paths(9))[:, 0, 0, 0].tolist() == [8], "nothing had been begun"


def test_pixels_stay_when_the_pipeline_goes_on():
    squares = Squares()
    made = squares.Lists(np.ones((1, 2, 2, 3), np.uint8))
    squares.share_outputs = lambda: [made]
    pixels = DaliReader(squares)(paths(1))
    made[:] = 0
    assert pixels.min() == 1


def test_a_file_that_cannot_be_read_is_named(tmp_path):
    good, bad = tmp_path / "1.png", tmp_path / "13.png"
    Image.new("RGB", (4, 4)).save(good)
    bad.write_bytes(good.read_bytes()[:40])
    with pytest.raises(
        VermeilError, match=r"13\.png is no picture to learn from \(not a picture.*torch p"
    ):
        DaliReader(Squares())([good, bad])
    bad.write_bytes(good.read_bytes())
    with pytest.raises(VermeilError, match=r"stopped at one of 2 pictures \(nvImageCodec failure"):
        DaliReader(Squares())([good, bad])


def test_the_real_pipeline_makes_nearly_our_pixels(tmp_path):
    """On a CPU, which DALI can do without a card; not in CI, where it is not installed."""
    pytest.importorskip("nvidia.dali")
    random = np.random.default_rng(0)
    smooth = Image.fromarray(random.integers(0, 256, (9, 12, 3), np.uint8))
    turned = Image.Exif()
    turned[0x0112] = 6  # a quarter to the right
    files = {name: tmp_path / name for name in ("wide.jpg", "tall.png", "turned.jpg", "grey.png")}
    smooth.resize((120, 90), Image.Resampling.BICUBIC).save(files["wide.jpg"], quality=95)
    smooth.resize((60, 100), Image.Resampling.BICUBIC).save(files["tall.png"])
    smooth.resize((120, 90), Image.Resampling.BICUBIC).save(files["turned.jpg"], exif=turned)
    smooth.resize((80, 80), Image.Resampling.BICUBIC).convert("L").save(files["grey.png"])
    ours = [resized(decode(path.read_bytes(), path.name), 16) for path in files.values()]
    read = DaliReader(pipeline(16, 4, None, 1))
    for _ in range(2):  # the second was begun by the first
        theirs = read([*files.values()], [*files.values()])
        assert theirs.shape == (4, 16, 16, 3) and theirs.dtype == np.uint8
        for name, a, b in zip(files, theirs, ours, strict=True):
            assert np.abs(a.astype(int) - b).mean() < 3, name
    files["grey.png"].write_bytes(io.BytesIO(files["tall.png"].read_bytes()[:500]).getvalue())
    broken = DaliReader(pipeline(16, 4, None, 1))
    with pytest.raises(VermeilError, match=r"grey\.png is no picture to learn from"):
        broken([*files.values()])


def test_formats_are_ours_without_two():
    assert {".jpg", ".png", ".webp"} <= dali.FORMATS and not {".gif", ".avif"} & dali.FORMATS
