"""The pictures that travel with the code: emoji in two styles, with what people call them."""

import hashlib
import io
import json
import zipfile
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from data.packs import verified
from data.pictures import Picture, PictureData, check_split, decode

# Of pictures.zip, as data/embedded/build_pictures.py makes it.
PACK_SHA256 = "f502003d7bdb569e980936bbab91180c177afe2d62eae010bd6cb9ffcb13da30"
PACK, WORDS = "pictures.zip", "words.jsonl"
STYLES = ("flat", "3D")


def plain(code: str) -> str:
    """The code points of an emoji, in hexadecimal, as all packages can agree on them.

    Left out is U+FE0F, which asks for the coloured form of a character: file names differ in it.
    """
    return code.lower().replace("-fe0f", "")


class EmbeddedPictures(PictureData):
    """The pack in data/embedded; `root` is another folder that holds the same file.

    64 x 64 pixels on white. Classes are Unicode's groups; a picture's texts are phrases of people
    for what it shows, its style is "flat" (Twemoji) or "3D" (Fluent), its id e.g. "flat/1f600".
    """

    name = "embedded_pictures"
    version = "1"
    licence = "CC-BY-4.0 (Twemoji), MIT (Fluent Emoji, emojibase)"
    description = "emoji in a flat and a 3D style, with labels, nicknames and tags"
    size = "9.6 MB"
    splits = "2,996 / 348 / 360"
    classes = (
        "smileys-emotion", "people-body", "animals-nature", "food-drink", "travel-places",
        "activities", "objects", "symbols", "flags",
    )  # fmt: skip

    def __init__(self, root: Path | None = None):
        super().__init__()
        self.pack = (root or Path(__file__).parent / "embedded") / PACK

    def ready(self) -> bool:
        """Whether the pack is there."""
        return self.pack.is_file()

    def prepare(self) -> None:
        """Verify the pack; there is nothing to fetch."""
        self._verified_bytes()

    def sha256(self) -> str:
        """The pack's own hash, verified."""
        self._verified_bytes()
        return PACK_SHA256

    def concepts(self) -> list[dict[str, Any]]:
        """Every concept's "id", "group", "family", "split", "texts", "tags", in Unicode's order."""
        return _concepts(zipfile.ZipFile(io.BytesIO(self._verified_bytes())))

    def pictures(self, split: str) -> Iterator[Picture]:
        """The split's pictures in Unicode's order, a concept's styles in turn."""
        check_split(split)
        return self._pictures(split, zipfile.ZipFile(io.BytesIO(self._verified_bytes())))

    def _pictures(self, split: str, archive: zipfile.ZipFile) -> Iterator[Picture]:
        for concept in self._of(split, _concepts(archive)):
            for style in STYLES:
                name = f"{style}/{concept['id']}"
                yield Picture(
                    id=name,
                    pixels=decode(archive.read(f"{name}.webp"), name),
                    label=self.classes.index(concept["group"]),
                    texts=tuple(concept["texts"]),
                    style=style,
                    tags=tuple(concept["tags"]),
                )

    def _of(self, split: str, concepts: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
        return (concept for concept in concepts if concept["split"] == split)

    def _verified_bytes(self) -> bytes:
        return verified(self.pack, PACK_SHA256, "pictures")


class EmbeddedPicturesSample(EmbeddedPictures):
    """Some of the pictures, for runs of seconds that test the way and not the result."""

    name = "embedded_pictures_sample"
    description = "some of the embedded pictures, for tests and `vermeil run smoke`"
    size = "0.8 MB"
    splits = "232 / 36 / 36"

    every, every_held_out = 13, 10  # of the split's concepts

    def sha256(self) -> str:
        """The hash of the pack's own and of what is taken from it."""
        return hashlib.sha256(
            f"{super().sha256()} {self.every} {self.every_held_out}".encode()
        ).hexdigest()

    def _of(self, split: str, concepts: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
        every = self.every if split == "train" else self.every_held_out
        return islice(super()._of(split, concepts), 0, None, every)


def _concepts(archive: zipfile.ZipFile) -> list[dict[str, Any]]:
    return [json.loads(line) for line in archive.read(WORDS).decode().splitlines()]
