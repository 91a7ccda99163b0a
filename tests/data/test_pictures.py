"""The contract of pictures: arrays of one size, made once, and what was passed over."""

import json

import numpy as np
import pytest

from data import pictures
from data.pictures import BadPicture, Picture, PictureData, Skipped, arrays, resized
from shared.errors import VermeilError


class Made(PictureData):
    """Grey pictures whose brightness is their number; "bad" ones are passed over."""

    name, version, licence, description = "made", "1", "MIT", "grey pictures"
    size, splits, classes = "0 MB", "4 / 1 / 1", ("even", "odd")

    def __init__(self, number=4, bad=()):
        super().__init__()
        self.number, self.bad, self.read = number, bad, 0

    def ready(self):
        return True

    def prepare(self):
        pass

    def sha256(self):
        return f"{self.number} {self.bad}"

    def pictures(self, split):
        skipped = self.skipped[split] = Skipped()
        for n in range(self.number):
            self.read += 1
            if n in self.bad:
                skipped.add(BadPicture(f"{n}.png", "damaged"))
                continue
            yield Picture(f"{n}", np.full((6, 9, 3), 10 * n, np.uint8), n % 2, (f"grey {n}", "x"))


def test_arrays_hold_the_pictures_in_their_order():
    pixels, labels, texts, _ = arrays(Made(), "train", 8)
    assert pixels.shape == (4, 8, 8, 3) and pixels.dtype == np.uint8
    assert isinstance(pixels, np.memmap) and not pixels.flags.writeable
    assert pixels[:, 0, 0, 0].tolist() == [0, 10, 20, 30]
    assert labels.dtype == np.int64 and labels.tolist() == [0, 1, 0, 1]
    assert texts[3] == ("grey 3", "x")


def test_arrays_are_resized_pictures():
    class Noise(Made):
        def pictures(self, split):
            noise = np.random.default_rng(0).integers(0, 256, (40, 50, 3), dtype=np.uint8)
            yield Picture("a", noise, 0, ("noise",))

    [noise] = Noise().pictures("train")
    pixels, *_ = arrays(Noise(), "train", 16)
    assert np.array_equal(pixels[0], resized(noise.pixels, 16))


def test_they_are_made_once(home):
    first = Made()
    arrays(first, "train", 8)
    again = Made()
    arrays(again, "train", 8)
    assert first.read == 4 and again.read == 0
    for other in (("test", 8), ("train", 9)):
        data = Made()
        arrays(data, *other)
        assert data.read == 4
    data = Made(number=5)
    assert len(arrays(data, "train", 8).pixels) == 5
    assert len(list((home / "cache" / "pictures").iterdir())) == 4


def test_another_way_of_resizing_makes_them_anew(monkeypatch):
    arrays(Made(), "train", 8)
    monkeypatch.setattr(pictures, "RECIPE", -1)
    data = Made()
    arrays(data, "train", 8)
    assert data.read == 4


def test_what_was_passed_over_is_remembered():
    for _ in range(2):  # the second time from the cache
        data = Made(number=9, bad=(1, 2, 5, 7))
        assert len(arrays(data, "train", 8).labels) == 5
        assert str(data.skipped["train"]) == "4 damaged (1.png, 2.png, 5.png, ...)"


def test_skipped_counts_by_reason():
    skipped = Skipped()
    assert not str(skipped)
    for name, reason in (("a", "damaged"), ("b", "empty file"), ("c", "damaged")):
        skipped.add(BadPicture(name, reason))
    assert str(skipped) == "2 damaged (a, c), 1 empty file (b)"


def test_a_split_without_pictures_says_why():
    with pytest.raises(VermeilError, match=r"test split of made has no picture .*2 damaged \(0\.p"):
        arrays(Made(number=2, bad=(0, 1)), "test", 8)


def test_a_failure_leaves_nothing_that_is_taken_for_whole(home):
    class Breaks(Made):
        def pictures(self, split):
            yield next(super().pictures(split))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        arrays(Breaks(), "train", 8)
    [folder] = (home / "cache" / "pictures").iterdir()
    assert {path.name for path in folder.iterdir()} <= {"lock"}
    assert len(arrays(Made(), "train", 8).pixels) == 4


@pytest.mark.parametrize("damage", ["pixels", "index"])
def test_damaged_arrays_are_named(home, damage):
    arrays(Made(), "train", 8)
    [folder] = (home / "cache" / "pictures").iterdir()
    if damage == "pixels":
        (folder / "pixels.npy").write_bytes((folder / "pixels.npy").read_bytes()[:-9])
    else:
        index = json.loads((folder / "index.json").read_text())
        (folder / "index.json").write_text(json.dumps(index | {"labels": [0]}))
    with pytest.raises(VermeilError, match=r"resized pictures in .* are damaged: rm -r "):
        arrays(Made(), "train", 8)


@pytest.mark.parametrize(
    ("split", "size", "message"),
    [("dev", 8, "split 'dev' does not exist"), ("train", 2, "of 2 pixels: from 4 to 1024")],
)
def test_usage_mistakes(split, size, message):
    with pytest.raises(VermeilError, match=message):
        arrays(Made(), split, size)
