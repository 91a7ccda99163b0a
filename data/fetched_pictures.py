"""Pictures of one size that lie in an ordinary package, kept as arrays."""

import json
from abc import abstractmethod
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from data.fetched import Fetched
from data.pictures import Picture, PictureData, check_split
from data.shards import save
from data.splits import place
from shared.errors import VermeilError
from shared.home import write_atomically

VALIDATION = 5_000  # pictures of the official training part


class Part(NamedTuple):
    """Pictures of one size, and of each what stands in `Picture` beside its pixels."""

    pixels: np.ndarray  # (N, H, W) grey or (N, H, W, 3), uint8
    facts: list[dict]  # N times id, label and, where it is not the class's name, texts


class FetchedPictures(Fetched, PictureData):
    """A split is SPLIT.npy with pixels and SPLIT.json with ids, labels and words.

    Official test pictures are the test split. Where the set comes without validation pictures,
    5,000 of the official training pictures are it, by the hash of their ids; train and validation
    together are then what the literature trains on.
    """

    def __init__(self, root: Path | None = None):
        super().__init__()
        self.root = root

    @property
    def files(self) -> tuple[str, ...]:
        """A pair for each split."""
        return tuple(f"{split}{suffix}" for split in self.parts for suffix in (".json", ".npy"))

    @abstractmethod
    def parse(self, blob: bytes) -> dict[str, Part]:
        """The splits in the package."""

    def pictures(self, split: str) -> Iterator[Picture]:
        """The split's pictures in the order of the package."""
        check_split(split)
        if split not in self.parts:
            raise VermeilError(
                f"{self.name} is for {' and '.join(self.parts)} alone, it has no {split} split",
                f"choose --split {self.parts[0]}, or another data set",
            )
        self._verified  # noqa: B018 (complains now, not at the first picture)
        return self._pictures(split)

    def _pictures(self, split: str) -> Iterator[Picture]:
        pixels = np.load(self.folder / f"{split}.npy", mmap_mode="r")
        facts = json.loads((self.folder / f"{split}.json").read_text())
        for picture, known in zip(pixels, facts, strict=True):
            rgb = np.broadcast_to(picture[..., None], (*picture.shape, 3))
            texts = tuple(known.get("texts") or (self.classes[known["label"]],))
            yield Picture(
                id=known["id"],
                pixels=np.array(rgb if picture.ndim == 2 else picture),
                label=known["label"],
                texts=texts,
                style=known.get("style", ""),
                tags=tuple(known.get("tags", ())),
            )

    def unpack(self, blob: bytes) -> Mapping[str, int]:
        """Write the splits; returns how many pictures there are."""
        parts = self.parse(blob)
        for split, (pixels, facts) in parts.items():
            save(self.folder / f"{split}.npy", np.ascontiguousarray(pixels))
            write_atomically(
                self.folder / f"{split}.json", json.dumps(facts, ensure_ascii=False) + "\n"
            )
        return {"pictures": sum(len(facts) for _, facts in parts.values())}


def labelled(name: str, pixels: np.ndarray, labels: np.ndarray) -> Part:
    """Pictures with labels and the ids NAME/0, NAME/1, ..."""
    found = enumerate(labels.tolist())
    return Part(pixels, [{"id": f"{name}/{n}", "label": label} for n, label in found])


def divided(part: Part, held_out: int = VALIDATION) -> dict[str, Part]:
    """An official training part as train and validation, both in its order."""
    by_place = sorted(range(len(part.facts)), key=lambda n: place(part.facts[n]["id"]))
    chosen = {"validation": sorted(by_place[:held_out]), "train": sorted(by_place[held_out:])}
    return {
        split: Part(part.pixels[rows], [part.facts[row] for row in rows])
        for split, rows in chosen.items()
    }
