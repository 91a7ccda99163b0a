"""Conceptual Captions and SBU: links to pictures with captions, as their authors give them."""

import json
from collections import Counter
from functools import cached_property
from pathlib import Path

from data.files import Named, decode, find, lines, reading
from data.laion import DONE, Laion, place_of
from data.link_lists import download, write_list
from shared.errors import VermeilError
from shared.home import home, replacing, write_atomically

HELD_OUT = "validation"  # the folder of shards; beside it "train"
LABELLED = "labels"  # in the name of the list of Conceptual Captions that repeats part of another
SBU_PAIR = ("SBU_captioned_photo_dataset_urls.txt", "SBU_captioned_photo_dataset_captions.txt")


class OfficialLinks(Laion):
    """Lists of links read as `Laion` reads them, in a place of their own and with their splits.

    Each split's lists are downloaded into a folder of shards of its own; dead links are counted
    over all of them.
    """

    source: str

    def __init__(self, root: Path):
        super().__init__(root)
        self.lists = self._wanted(self.lists)
        if self.lists:
            self.root = home() / "data" / self.source / place_of(root, self.lists).name / "shards"
        self.name = f"{self.source}@{root.resolve().name}"

    def _wanted(self, lists: list[Path]) -> list[Path]:
        """Which of the lists found are read."""
        return lists

    def _by_split(self) -> dict[str, list[Path]]:
        """The lists, by the folder of shards that they go to."""
        return {"train": self.lists}

    @cached_property
    def _shards(self) -> dict[str, list[Named]]:  # type: ignore[override]
        if self.lists and not self.ready():
            raise VermeilError(
                f"{self.name} is a list of links, its pictures are not on this machine",
                f"vermeil data prepare {self.source}@{self.place}",
            )
        return super()._shards

    def _download(self) -> None:
        from filelock import FileLock

        place = self.root.parent
        place.mkdir(parents=True, exist_ok=True)
        with FileLock(place / "lock"):
            if self.ready():
                return
            counts: Counter[str] = Counter()
            for split, lists in self._by_split().items():
                listing, counted = place / f"{split}.parquet", place / f"{split}.json"
                if not counted.is_file():
                    write_atomically(counted, json.dumps(write_list(lists, listing)) + "\n")
                counts.update(json.loads(counted.read_text()))
                download(listing, self.root / split, place / "log.txt")
            write_atomically(place / DONE, json.dumps(counts) + "\n")


class ConceptualCaptions(OfficialLinks):
    """GCC-training.tsv and GCC-1.1.0-Validation.tsv, or what img2dataset made of them.

    A list with "valid" in its name is the official validation part, which is the test split since
    the tests are not public; so are the shards of img2dataset in a folder called validation or val.
    Validation pictures are 1 % of those for training. The list with labels, which repeats others,
    is left out.
    """

    source = "conceptual_captions"
    licence = "the lists free for any use; each picture as its owner states"

    def _wanted(self, lists: list[Path]) -> list[Path]:
        return [path for path in lists if LABELLED not in path.name.lower()] or lists

    def _by_split(self) -> dict[str, list[Path]]:
        held_out = [path for path in self.lists if HELD_OUT[:5] in path.name.lower()]
        trained = [path for path in self.lists if path not in held_out]
        if not trained or not held_out:
            return {"train": self.lists}
        return {"train": trained, HELD_OUT: held_out}

    @cached_property
    def _shards(self) -> dict[str, list[Named]]:  # type: ignore[override]
        found = super()._shards
        if found["test"]:
            return found
        return {"train": found["train"], "validation": [], "test": found["validation"]}


class Sbu(OfficialLinks):
    """sbu-captions-all.json, or SBU_captioned_photo_dataset_urls.txt with the captions beside it.

    There are no official splits: 1 % of the pictures are held out for each of validation and test.
    """

    source = "sbu"
    licence = "research only; each photograph as its owner on Flickr states"

    def _wanted(self, lists: list[Path]) -> list[Path]:
        pair = [self.place / name for name in SBU_PAIR]
        if lists or not pair[0].is_file() or find(self.place, (".tar",)):
            return lists
        if not pair[1].is_file():
            raise VermeilError(
                f"{self.place} has no {SBU_PAIR[1]}", "bring it from the same download"
            )
        return pair

    def _by_split(self) -> dict[str, list[Path]]:
        if self.lists[0].suffix != ".txt":
            return super()._by_split()
        table = self.root.parent / "pair.tsv"
        write_pair(self.lists[0], self.lists[1], table)
        return {"train": [table]}


def write_pair(links: Path, captions: Path, target: Path) -> None:
    """Write two files of a line for each picture as one table; VermeilError if one is longer."""
    counts = [_count(path) for path in (links, captions)]
    if counts[0] != counts[1]:
        raise VermeilError(
            f"{links} has {counts[0]:,} lines and {captions.name} has {counts[1]:,}",
            "take both from the same download",
        )
    with replacing(target) as temporary, temporary.open("w", encoding="utf-8") as file:
        file.write("url\tcaption\n")
        with reading(links), reading(captions):
            for (at, link), (place, caption) in zip(lines(links), lines(captions), strict=True):
                words = " ".join(decode(caption, captions, place).split())
                file.write(f"{decode(link, links, at).strip()}\t{words}\n")


def _count(path: Path) -> int:
    with reading(path):
        return sum(1 for _ in lines(path))
