"""What every reader of pictures gives: pictures with a label and human words, in three splits."""

import hashlib
import json
from abc import abstractmethod
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np

from data.dataset import SPLITS, DataSet, check_split
from data.decoding import BadPicture, decode, resized
from shared.errors import VermeilError
from shared.home import home, replacing, write_atomically

__all__ = ["SPLITS", "BadPicture", "Picture", "PictureArrays", "PictureData", "Skipped", "arrays",
           "check_split", "decode", "resized"]  # fmt: skip

RECIPE = 2  # changes when `resized` gives other pixels, and with what is kept
SIZES = range(4, 1025)
NAMES = 3  # of pictures that were passed over, for each reason
INDEX = "index.json"  # written last: where it stands, the arrays are whole


@dataclass(frozen=True)
class Picture:
    """One picture, with what people call it."""

    id: str  # unique within its data set and stable over time, e.g. "flat/1f600"
    pixels: np.ndarray  # (H, W, 3) uint8, RGB
    label: int  # its place in the data set's `classes`
    texts: tuple[str, ...]  # phrases for the whole picture; the first is the usual one
    style: str = ""  # how it is made, where the data set mixes kinds: "flat", "3D"
    tags: tuple[str, ...] = ()  # words for what one may think of, most of them in no phrase


@dataclass
class Skipped:
    """What was passed over in one reading: how many for each reason, and a few of the names."""

    counts: Counter[str] = field(default_factory=Counter)
    names: dict[str, list[str]] = field(default_factory=dict)

    def add(self, bad: BadPicture) -> None:
        """Count one."""
        self.counts[bad.reason] += 1
        names = self.names.setdefault(bad.reason, [])
        if len(names) < NAMES:
            names.append(bad.name)

    def __str__(self) -> str:
        """E.g. "2 damaged (a/1.png, b/7.jpg), 1 empty file (a/2.png)"; empty if there are none."""
        return ", ".join(
            f"{n:,} {reason} ({', '.join(names)}{', ...' if n > len(names) else ''})"
            for reason, n in self.counts.most_common()
            for names in [self.names[reason]]
        )


class PictureData(DataSet):
    """A data set of pictures; `pictures` streams, so that it may be larger than memory.

    `skipped` says by split what the latest reading passed over.
    """

    classes: tuple[str, ...]
    parts: tuple[str, ...] = SPLITS  # the splits that it has

    def __init__(self):
        self.skipped: dict[str, Skipped] = {}

    @abstractmethod
    def pictures(self, split: str) -> Iterator[Picture]:
        """The pictures of "train", "validation" or "test", always in the same order."""

    def inventory(self) -> Iterator[str]:
        """Pictures by class and split, and what was passed over."""
        from data.picture_tables import inventory

        return inventory(self)

    def excerpts(self, split: str, number: int, width: int) -> Iterator[str]:
        """The table, then size, class and words of the first picture of each class in turn."""
        from data.picture_tables import excerpts

        return excerpts(self, self.pictures(split), number, width)


class PictureArrays(NamedTuple):
    """A split as arrays of one size."""

    pixels: np.ndarray  # (N, size, size, 3) uint8, RGB, memory-mapped
    labels: np.ndarray  # (N,) int64
    texts: list[tuple[str, ...]]  # N
    ids: Sequence[str] = ()  # N


def arrays(data: PictureData, split: str, size: int) -> PictureArrays:
    """All pictures of a split as squares of `size` pixels, resized once and found again.

    They lie in $VERMEIL_HOME/cache/pictures under the content's hash. Of several processes that ask
    for the same, one works and the others wait. Pictures that cannot be read are left out and
    counted in `data.skipped`.
    """
    from filelock import FileLock

    check_split(split)
    if size not in SIZES:
        raise VermeilError(f"pictures of {size} pixels", f"from {SIZES[0]} to {SIZES[-1]}")
    identity = hashlib.sha256(f"{RECIPE} {data.sha256()}".encode()).hexdigest()
    folder = home() / "cache" / "pictures" / f"{identity[:16]}-{split}-{size}"
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / "lock"):
        if not (folder / INDEX).exists():
            _write(folder, data, split, size)
    return _open(folder, data, split, size)


def _write(folder: Path, data: PictureData, split: str, size: int) -> None:
    for orphan in folder.glob(".*.partial"):  # of a run that was killed
        orphan.unlink()
    labels, texts, ids = [], [], []
    with replacing(folder / "pixels.npy") as temporary, temporary.open("wb") as file:
        _header(file, 0, size)
        for picture in data.pictures(split):
            file.write(resized(picture.pixels, size).tobytes())
            labels.append(picture.label)
            texts.append(picture.texts)
            ids.append(picture.id)
        file.seek(0)
        _header(file, len(labels), size)
    skipped = data.skipped.get(split, Skipped())
    if not labels:
        raise VermeilError(
            f"the {split} split of {data.name} has no picture that can be read",
            f"passed over: {skipped}" if skipped.counts else f"look: vermeil data show {data.name}",
        )
    index = {"labels": labels, "texts": texts, "ids": ids}
    index |= {"skipped": [skipped.counts, skipped.names]}
    write_atomically(folder / INDEX, json.dumps(index, ensure_ascii=False))


def _header(file, number: int, size: int) -> None:
    """The head of a .npy file; numpy leaves room in it for the first axis to grow."""
    shape = {"descr": "|u1", "fortran_order": False, "shape": (number, size, size, 3)}
    np.lib.format.write_array_header_1_0(file, shape)


def _open(folder: Path, data: PictureData, split: str, size: int) -> PictureArrays:
    try:
        index = json.loads((folder / INDEX).read_text())
        pixels = np.load(folder / "pixels.npy", mmap_mode="r")
        labels = np.array(index["labels"], np.int64)
        counts, names = index["skipped"]
    except (OSError, ValueError, KeyError):
        pixels = labels = np.empty(0)
    if not len(labels) or pixels.shape != (len(labels), size, size, 3):
        raise VermeilError(
            f"the resized pictures in {folder} are damaged",
            f"rm -r {folder}; the next run makes them again",
        )
    data.skipped[split] = Skipped(Counter(counts), names)
    texts = [tuple(words) for words in index["texts"]]
    return PictureArrays(pixels, labels, texts, index["ids"])
