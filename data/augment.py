"""Changes to training pictures that leave what they show: boxes and masks move along.

Albumentations 2.0.8, the last release under MIT. Every change depends on its key alone, so a run
that is resumed or divided among processes sees the same pictures.
"""

import os
import random
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from shared.errors import VermeilError, nearest

os.environ["NO_ALBUMENTATIONS_UPDATE"] = "1"  # otherwise importing it asks the network

try:
    import albumentations as A
    import cv2
except ImportError as error:
    raise VermeilError(
        f"changing pictures takes the package {error.name}, which is not installed",
        'pip install -c constraints.txt -e ".[vision]"',
    ) from None

cv2.setNumThreads(0)  # pictures are small, and other threads train

MIN_VISIBLE = 0.1  # a box of which less is left is dropped


def _resized_crop(size: int) -> list[Any]:
    """Szegedy et al. 2015, section 6: an eighth to all of the area, sides 3:4 to 4:3."""
    return [A.RandomResizedCrop((size, size), scale=(0.08, 1.0)), A.HorizontalFlip()]


def _strong(size: int) -> list[Any]:
    """For small sets: turned a little, brighter or duller, partly covered."""
    return [
        A.RandomResizedCrop((size, size), scale=(0.5, 1.0), ratio=(0.9, 1.1)),
        A.HorizontalFlip(),
        A.Rotate(limit=15, border_mode=cv2.BORDER_REFLECT_101, p=0.5),
        A.ColorJitter(0.2, 0.2, 0.2, 0.02, p=0.8),
        A.CoarseDropout(num_holes_range=(1, 1), hole_height_range=(0.1, 0.3),
                        hole_width_range=(0.1, 0.3), p=0.25),
    ]  # fmt: skip


RECIPES = {"resized_crop": _resized_crop, "strong": _strong}


@dataclass(frozen=True)
class Annotated:
    """A picture, with boxes and masks on it."""

    pixels: np.ndarray  # (H, W, 3) uint8
    boxes: np.ndarray = field(default_factory=lambda: np.empty((0, 4)))  # (N, 4): x, y, w, h
    masks: np.ndarray | None = None  # (M, H, W)
    kept: tuple[int, ...] = ()  # which of the boxes that were given these are


class Augmentation:
    """One recipe ("resized_crop", "strong") that gives pictures of `size` pixels."""

    def __init__(self, recipe: str, size: int):
        if recipe not in RECIPES:
            raise VermeilError(f"augment '{recipe}' does not exist", nearest(recipe, [*RECIPES]))
        self.size = size
        steps = RECIPES[recipe](size)
        self._pixels = A.Compose(steps)
        form = A.BboxParams("coco", label_fields=["kept"], min_visibility=MIN_VISIBLE)
        self._annotated = A.Compose(steps, bbox_params=form)

    def __call__(self, key: tuple[int, ...], pixels: np.ndarray) -> np.ndarray:
        """A changed picture, (size, size, 3) uint8, of one that is (H, W, 3) uint8."""
        _seed(self._pixels, key)
        return self._pixels(image=pixels)["image"]

    def annotated(self, key: tuple[int, ...], picture: Annotated) -> Annotated:
        """The same change for a picture, its boxes and masks; boxes that left it are dropped."""
        _seed(self._annotated, key)
        given = {"image": picture.pixels, "bboxes": picture.boxes,
                 "kept": np.arange(len(picture.boxes))}  # fmt: skip
        if picture.masks is not None:
            given["masks"] = picture.masks
        found = self._annotated(**given)
        kept = tuple(int(number) for number in found["kept"])
        return Annotated(found["image"], np.asarray(found["bboxes"]).reshape(-1, 4),
                         found.get("masks"), kept)  # fmt: skip


def _seed(changes: A.Compose, key: tuple[int, ...]) -> None:
    """One pair of generators for all changes; seeded one by one, as set_random_seed does it, they
    would draw the same numbers, and a picture would be mirrored by where it is cut."""
    generator = np.random.default_rng(key)
    changes.set_random_state(generator, random.Random(int(generator.integers(2**63))))
