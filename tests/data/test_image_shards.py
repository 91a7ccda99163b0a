"""Tar shards: written and read again, divided among processes, and damaged in every way."""

import io
import json
import tarfile
from collections import Counter

import numpy as np
import pytest
from PIL import Image
from torch.utils.data import DataLoader

from data import load_any, load_pictures
from data.command import main
from data.image_shards import WebDataset, write_shards
from data.pictures import SPLITS, Picture, PictureData, Skipped, arrays
from data.shard_stream import ShardStream
from shared.errors import VermeilError


class Made(PictureData):
    """Grey pictures whose brightness is their number."""

    name, version, licence, description = "made", "1", "MIT", "grey pictures"
    size, splits, classes = "0 MB", "10 / 0 / 0", ("even", "odd one")

    def __init__(self, number=10):
        super().__init__()
        self.number = number

    def ready(self):
        return True

    def prepare(self):
        pass

    def sha256(self):
        return f"{self.number}"

    def pictures(self, split):
        self.skipped[split] = Skipped()
        for n in range(self.number):
            pixels = np.full((6, 9, 3), n, np.uint8)
            yield Picture(f"{n}", pixels, n % 2, (f"grey\n{n}", "é"), "flat", (f"tag {n}",))


def encoded(grey: int, kind="JPEG") -> bytes:
    content = io.BytesIO()
    Image.new("RGB", (8, 8), (grey, grey, grey)).save(content, kind)
    return content.getvalue()


def pack(path, members):
    """A shard as others write it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as archive:
        for name, content in members:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))


def header(path, name) -> int:
    """Where the header of a member stands."""
    with tarfile.open(path) as archive:
        return archive.getmember(name).offset


def overwrite(path, place, content):
    with path.open("r+b") as file:
        file.seek(place)
        file.write(content)


@pytest.fixture
def shards(tmp_path):
    """Ten pictures in shards of four."""
    write_shards(Made(), "train", tmp_path, 4)
    write_shards(Made(2), "validation", tmp_path, 4)
    write_shards(Made(1), "test", tmp_path, 4)
    return tmp_path


def greys(data, split="train") -> list[int]:
    return [int(picture.pixels[0, 0, 0]) for picture in data.pictures(split)]


def test_what_is_written_is_read(shards):
    assert sorted(path.name for path in shards.iterdir()) == [
        "classes.txt", "test-000000.tar", "train-000000.tar", "train-000001.tar",
        "train-000002.tar", "validation-000000.tar",
    ]  # fmt: skip
    data = load_any(f"webdataset@{shards}")
    assert isinstance(data, WebDataset) and data.classes == ("even", "odd one")
    assert data.splits == "3 shards / 1 shards / 1 shards"
    for written, read in zip(Made().pictures("train"), data.pictures("train"), strict=True):
        np.testing.assert_array_equal(read.pixels, written.pixels)
        assert (read.label, read.style, read.tags) == (written.label, "flat", written.tags)
        assert read.texts == (f"grey {written.id}", "é")
        assert read.id == f"train-{int(written.id) // 4:06}/{int(written.id):09}"
    assert [greys(data, split) for split in SPLITS[1:]] == [[0, 1], [0]]
    assert not data.skipped["train"].counts
    assert arrays(data, "train", 8).labels.tolist() == [0, 1] * 5


def test_the_same_data_give_the_same_bytes(shards, tmp_path_factory):
    again = tmp_path_factory.mktemp("again")
    for path in write_shards(Made(), "train", again, 4):
        assert path.read_bytes() == (shards / path.name).read_bytes()


def test_a_shard_is_whole_or_absent(tmp_path):
    class Broken(Made):
        def pictures(self, split):
            yield from list(super().pictures(split))[:6]
            raise VermeilError("broken")

    with pytest.raises(VermeilError, match="broken"):
        write_shards(Broken(), "train", tmp_path, 4)
    assert [path.name for path in tmp_path.glob("*train*")] == ["train-000000.tar"]
    with pytest.raises(VermeilError, match=r"holds shards of train already: remove them first"):
        write_shards(Made(), "train", tmp_path, 4)
    (tmp_path / "classes.txt").write_text("cat\n")
    with pytest.raises(VermeilError, match="names other classes than made"):
        write_shards(Made(), "test", tmp_path, 4)
    with pytest.raises(VermeilError, match="0 pictures make no shard"):
        write_shards(Made(), "test", tmp_path, 0)


@pytest.mark.parametrize(("world", "workers"), [(1, 0), (1, 3), (2, 1), (2, 3), (3, 2), (5, 2)])
def test_no_picture_comes_twice_over_ranks_and_workers(tmp_path, world, workers):
    write_shards(Made(31), "train", tmp_path, 3)
    data = WebDataset(tmp_path)
    seen = Counter()
    for rank in range(world):
        for worker in range(max(1, workers)):
            parts = world * max(1, workers)
            seen.update(p.id for p in data.share("train", rank + world * worker, parts))
    assert len(seen) == 31 and set(seen.values()) == {1}


@pytest.mark.filterwarnings("ignore:This DataLoader will create")  # on one core
def test_loaders_of_two_processes_share_the_shards(tmp_path):
    write_shards(Made(10), "train", tmp_path, 2)
    data = WebDataset(tmp_path)
    seen = []
    for rank in range(2):
        stream = ShardStream(data, "train", 4, rank, 2)
        for pixels, labels, texts in DataLoader(stream, batch_size=2, num_workers=2):
            assert pixels.shape[1:] == (4, 4, 3) and len(texts) == len(labels) == len(pixels)
            assert labels.tolist() == (pixels[:, 0, 0, 0] % 2).tolist()
            seen += pixels[:, 0, 0, 0].tolist()
    assert sorted(seen) == list(range(10))


def test_more_processes_than_shards(shards):
    with pytest.raises(VermeilError, match=r"3 shard\(s\) of .* among 4 processes: write more"):
        ShardStream(WebDataset(shards), "train", 8, 0, 4)
    with pytest.raises(VermeilError, match="process 2 of 2 does not exist"):
        ShardStream(WebDataset(shards), "train", 8, 2, 2)


def test_shards_of_others(tmp_path):
    pack(tmp_path / "part" / "imagenet-val-0.tar", [("a/1.jpg", encoded(9)), ("a/1.cls", b"0")])
    members = []
    for n, kind in enumerate(("JPEG", "PNG", "WEBP")):
        members += [(f"./x/{n}.{kind.replace('JPEG', 'JPG').lower()}", encoded(50 + n, kind)),
                    (f"./x/{n}.cls", f"{2 * n}\n".encode()),
                    (f"./x/{n}.seg.png", encoded(200)),
                    (f"./x/{n}.json", json.dumps({"caption": f"a\n{n}"}).encode())]  # fmt: skip
    members += [("x/3.jpeg", encoded(53)), ("x/3.cls", b"1"), ("x/3.txt", b"one\n\ntwo\n")]
    pack(tmp_path / "some.tar", members)
    data = load_pictures(f"webdataset@{tmp_path}")
    found = {p.id: p for p in data.pictures("train")}
    assert data.classes == ("0", "1", "2", "3", "4")
    assert [*found] == [f"some/x/{n}" for n in range(4)]
    assert [p.label for p in found.values()] == [0, 2, 4, 1]
    assert [p.texts for p in found.values()] == [("a 0",), ("a 1",), ("a 2",), ("one", "two")]
    assert greys(data, "validation") == [9]


def test_without_labels_there_is_one_class(tmp_path):
    pack(tmp_path / "a.tar", [(f"{n}.jpg", encoded(n)) for n in range(400)])
    data = WebDataset(tmp_path)
    assert data.classes == ("unlabelled",) and data.splits == "1 shards / 1% / 1%"
    found = {split: [p.id for p in data.pictures(split)] for split in SPLITS}
    assert len(found["train"]) > 370 and found["validation"] and found["test"]
    assert sorted(i for some in found.values() for i in some) == sorted(
        f"a/{n}" for n in range(400)
    )


@pytest.mark.parametrize("kind", ["png", "cls", "txt", "json"])
def test_a_damaged_header_costs_its_sample(shards, kind):
    path = shards / "train-000000.tar"
    place = header(path, f"000000001.{kind}")
    overwrite(path, place, b"\xff" * 300)
    data = WebDataset(shards)
    assert greys(data) == [0, *range(2, 10)]
    assert str(data.skipped["train"]) == (f"1 damaged shard (train-000000.tar at byte {place:,})")


@pytest.mark.parametrize(("number", "left"), [(0, [1, 2, 3]), (3, [0, 1, 2])])
def test_damage_at_either_end(shards, number, left):
    path = shards / "train-000000.tar"
    names = [f"{number:09}.{kind}" for kind in ("png", "cls", "txt", "json")]
    places = [header(path, name) for name in names]
    for place in places:
        overwrite(path, place, b"\xff" * 512)
    data = WebDataset(shards)
    assert greys(data) == [*left, *range(4, 10)]
    assert data.skipped["train"].counts == {"damaged shard": 1}


def test_a_damaged_picture_costs_itself(shards):
    path = shards / "train-000001.tar"
    overwrite(path, header(path, "000000005.png") + 512, b"\0" * 60)
    data = WebDataset(shards)
    assert greys(data) == [0, 1, 2, 3, 4, 6, 7, 8, 9]
    assert str(data.skipped["train"]) == "1 not a picture (train-000001/000000005)"


@pytest.mark.parametrize("after", [0, 512, 530])
def test_a_shard_that_is_cut_short_gives_what_is_whole(shards, after):
    path = shards / "train-000000.tar"
    cut = header(path, "000000002.cls") + after
    path.write_bytes(path.read_bytes()[:cut])
    data = WebDataset(shards)
    assert greys(data) == [0, 1, *range(4, 10)]
    assert str(data.skipped["train"]) == "1 shard cut short (train-000000.tar)"


def test_a_shard_cut_between_samples_is_noticed(shards):
    path = shards / "train-000000.tar"
    path.write_bytes(path.read_bytes()[: header(path, "000000002.png")])
    data = WebDataset(shards)
    assert greys(data) == [0, 1, *range(4, 10)]
    assert data.skipped["train"].counts == {"shard cut short": 1}


def test_what_is_no_shard_is_counted(shards):
    (shards / "train-000000.tar").write_bytes(b"<html>" * 1000)
    (shards / "train-000001.tar").write_bytes(b"")
    data = WebDataset(shards)
    assert greys(data) == [8, 9]
    assert data.skipped["train"].counts == {"damaged shard": 1, "shard cut short": 1}


def test_a_missing_shard_is_counted(shards):
    data = WebDataset(shards)
    stream = data.pictures("train")
    (shards / "train-000001.tar").unlink()
    assert [int(p.pixels[0, 0, 0]) for p in stream] == [0, 1, 2, 3, 8, 9]
    assert str(data.skipped["train"]) == "1 unreadable shard (train-000001.tar)"


def test_shards_put_together_are_read_through(tmp_path):
    write_shards(Made(), "train", tmp_path, 5)
    first, second = sorted(tmp_path.glob("*.tar"))
    first.write_bytes(first.read_bytes() + second.read_bytes())
    second.unlink()
    data = WebDataset(tmp_path)
    seen = [grey for split in SPLITS for grey in greys(data, split)]
    assert sorted(seen) == list(range(10)) and not data.skipped["train"].counts


def test_bad_samples_are_counted_by_name(tmp_path):
    pack(tmp_path / "train.tar", [
        ("1.jpg", encoded(1)), ("1.cls", b"0"), ("2.cls", b"0"), ("3.jpg", encoded(3)),
        ("3.cls", b"cat"), ("4.jpg", encoded(4)), ("5.jpg", encoded(5)), ("5.cls", b"7"),
        ("6.jpg", b""), ("6.cls", b"0"), ("7.jpg", encoded(7)), ("7.cls", b"0"),
        ("7.json", b"{"), ("8.jpg", encoded(8)), ("8.cls", b"0"), ("8.txt", b"\xff"),
        ("9.jpg", encoded(9)), ("9.cls", b"1"),
    ])  # fmt: skip
    (tmp_path / "classes.txt").write_text("cat\ndog\n")
    pack(tmp_path / "val.tar", [("1.jpg", encoded(1)), ("1.cls", b"0")])
    pack(tmp_path / "test.tar", [("1.jpg", encoded(1)), ("1.cls", b"0")])
    data = WebDataset(tmp_path)
    assert greys(data) == [1, 9]
    said = str(data.skipped["train"])
    assert "3 no label of a class (train/3, train/4, train/5)" in said
    assert "1 no picture (train/2)" in said and "1 empty file (train/6)" in said
    assert "2 damaged .txt or .json (train/7, train/8)" in said


def test_identity_is_the_shards_and_the_classes(shards):
    hashes = {WebDataset(shards).sha256() for _ in range(2)}
    assert len(hashes) == 1
    (shards / "classes.txt").write_text("a\nb\n")
    hashes.add(WebDataset(shards).sha256())
    first = shards / "train-000000.tar"
    overwrite(first, header(first, "000000001.cls") + 512, b"0")
    hashes.add(WebDataset(shards).sha256())
    assert len(hashes) == 3


def test_classes_that_are_no_text(shards):
    (shards / "classes.txt").write_bytes(b"\xe9\n")
    with pytest.raises(VermeilError, match=r"classes.txt is not UTF-8: byte 0xe9 at offset 0"):
        load_pictures(f"webdataset@{shards}").pictures("train")


def test_show(shards, capsys):
    main(["show", f"webdataset@{shards}", "--number", "2"])
    out = capsys.readouterr().out
    assert "3 shards / 1 shards / 1 shards" in out
    assert out.count(" x 6 pixels, ") == 2
    assert "grey 1  [train-000000/000000001, 9 x 6 pixels, odd one, flat]" in out


def test_what_is_no_set_of_shards(tmp_path):
    with pytest.raises(VermeilError, match=r"there is no folder or file .*nowhere"):
        load_pictures(f"webdataset@{tmp_path / 'nowhere'}").prepare()
    with pytest.raises(VermeilError, match=r"no \.tar shard to learn from: name them train-000000"):
        load_pictures(f"webdataset@{tmp_path}").prepare()
