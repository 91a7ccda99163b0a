"""The splits of COCO and Flickr that captioning reports on: dataset_coco.json and the like.

Karpathy and Fei-Fei, "Deep Visual-Semantic Alignments", 2015. The files hold the captions, too.
"""

from pathlib import Path
from typing import NamedTuple

from data.official_json import formed, inside, load, one_line
from data.pictures import BadPicture, Skipped

FORM = "Karpathy"
SPLIT_OF = {"train": "train", "restval": "train", "val": "validation", "test": "test"}


class Described(NamedTuple):
    """A picture of the file."""

    folder: str  # "val2014" of COCO; empty of Flickr
    name: str
    split: str  # one of ours
    texts: tuple[str, ...]


def karpathy(path: Path, dropped: Skipped) -> list[Described]:
    """The pictures with at least one caption; empty captions and others are added to `dropped`.

    "restval", the part of COCO's validation pictures that nobody tests on, is for training.
    """
    with formed(path, FORM):
        # Each sentence's tokens are most of the file.
        content = load(path, FORM, lambda d: one_line(d["raw"]) if "raw" in d else d)
        found = [_described(image, dropped) for image in content["images"]]
        seen: set[tuple[str, str]] = set()
        for folder, name, _, _ in found:
            if (folder, name) in seen:
                raise ValueError(f"{name} stands there twice")
            seen.add((folder, name))
    return [picture for picture in found if picture.texts]


def _described(image: dict, dropped: Skipped) -> Described:
    name, said = inside(image["filename"]), image["sentences"]
    if image["split"] not in SPLIT_OF:
        raise ValueError(f"{name} in a split '{image['split']}'")
    if not all(isinstance(text, str) for text in said):
        raise ValueError(f'a sentence of {name} without "raw"')
    texts = tuple(text for text in said if text)
    for _ in range(len(said) - len(texts)):
        dropped.add(BadPicture(name, "empty caption"))
    if not texts:
        dropped.add(BadPicture(name, "no caption"))
    folder = inside(image["filepath"]) if "filepath" in image else ""
    return Described(folder, name, SPLIT_OF[image["split"]], texts)
