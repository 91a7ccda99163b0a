"""A third drawing of the embedded concepts, never trained on: Google's Noto emoji."""

import re

import numpy as np

from data.embedded.packages import Package, unpack
from data.embedded_pictures import EmbeddedPictures, plain
from data.fetched_pictures import FetchedPictures, Part
from data.pictures import decode

FILE = re.compile(r"package/img/google/64/(.+)\.png")


class NotoPictures(FetchedPictures):
    """The test split alone: 64 x 64 pixels on white, style "noto", ids such as "noto/1f600".

    The concepts of all three embedded splits are in it, and what is behind the id's / is equal; who
    wants concepts that no style taught takes those of the embedded test split.
    """

    name = "noto_pictures"
    licence = "Apache-2.0 (Noto), MIT (emojibase)"
    description = "the embedded emoji in a third style, for testing alone"
    size = "23 MB"
    splits = "0 / 0 / 1,852"
    classes = EmbeddedPictures.classes
    parts = ("test",)
    package = Package(
        "npm",
        "emoji-datasource-google",
        "16.0.0",
        "emoji-datasource-google-16.0.0.tgz",
        "fb5fd131b362aab7a55542d2a147a79708cce0a8b1c1bbacd470172708b5c438",
    )

    def parse(self, blob: bytes) -> dict[str, Part]:
        """The pictures of the concepts that the embedded pack has."""
        files = unpack(self.package, blob)
        paths = {plain(m[1]): name for name in sorted(files) if (m := FILE.fullmatch(name))}
        pixels, facts = [], []
        for concept in EmbeddedPictures().concepts():
            if concept["id"] in paths:
                name = f"noto/{concept['id']}"
                pixels.append(decode(files[paths[concept["id"]]], name))
                words = {key: concept[key] for key in ("texts", "tags")}
                label = self.classes.index(concept["group"])
                facts.append({"id": name, "label": label, "style": "noto"} | words)
        return {"test": Part(np.stack(pixels), facts)}
