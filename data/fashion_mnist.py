"""Fashion-MNIST: 70,000 grey pictures of clothes, 28 pixels, ten classes (Xiao et al. 2017)."""

import gzip

import numpy as np

from data.embedded.packages import Package, unpack
from data.fetched_pictures import FetchedPictures, Part, divided, labelled
from shared.errors import VermeilError

FOLDER = "usr/share/datasets/fashion-mnist/"
UINT8 = 8  # the third byte of an IDX file: its type


class FashionMnist(FetchedPictures):
    """The whole set, in the official order."""

    name = "fashion_mnist"
    licence = "MIT"
    description = "grey pictures of clothes, 28 pixels, in ten classes (Fashion-MNIST)"
    size = "55 MB"
    splits = "55,000 / 5,000 / 10,000"
    classes = ("T-shirt or top", "trousers", "pullover", "dress", "coat", "sandal", "shirt",
               "sneaker", "bag", "ankle boot")  # fmt: skip
    package = Package(
        "apt",
        "dataset-fashion-mnist",
        "0.0~git20200523.55506a9-1",
        "dataset-fashion-mnist_0.0~git20200523.55506a9-1_all.deb",
        "39e172fe32dd318ebb3e512220c3beea2fa47d7e20bab348fb4e0922d6beefc0",
    )

    def parse(self, blob: bytes) -> dict[str, Part]:
        """Four IDX files, packed."""
        files = unpack(self.package, blob)

        def part(name: str, prefix: str) -> Part:
            pixels, labels = (
                idx(gzip.decompress(files[f"{FOLDER}{prefix}-{kind}-ubyte.gz"]))
                for kind in ("images-idx3", "labels-idx1")
            )
            return labelled(name, pixels, labels)

        return {**divided(part("train", "train")), "test": part("test", "t10k")}


def idx(content: bytes) -> np.ndarray:
    """The array in an IDX file of bytes.

    Two zeros, the type, the number of axes, their lengths in four bytes each, the highest first
    (Y. LeCun, "The MNIST database").
    """
    zero, kind, axes = int.from_bytes(content[:2], "big"), content[2], content[3]
    shape = tuple(np.frombuffer(content, ">u4", axes, 4).tolist())
    body = content[4 + 4 * axes :]
    if zero or kind != UINT8 or len(body) != np.prod(shape):
        raise VermeilError(f"no IDX file of bytes: {content[:4].hex()}, {len(body):,} values")
    return np.frombuffer(body, np.uint8).reshape(shape)
