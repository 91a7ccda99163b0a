"""Training batches of pictures, drawn by step."""

from typing import Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from shared.errors import VermeilError, nearest

LIGHT = ("flip", "crop")
PADDING = 8  # an eighth of the side: 4 pixels for 32 (He et al. 2016, section 4.2)


@runtime_checkable
class Augment(Protocol):
    """What changes one picture, (H, W, 3) uint8, depending on `key` alone; data/augment.py is."""

    def __call__(self, key: tuple[int, ...], pixels: np.ndarray) -> np.ndarray: ...


class Order:
    """A random order in which each of so many things comes once before any comes again."""

    def __init__(self, length: int, seed: int):
        self.length, self.seed = length, seed
        self._orders: dict[int, np.ndarray] = {}

    def pick(self, places: np.ndarray) -> np.ndarray:
        """What stands at these places of the endless line of epochs."""
        epochs, within = np.divmod(places, self.length)
        picked = np.empty(len(places), np.int64)
        for epoch in np.unique(epochs).tolist():
            picked[epochs == epoch] = self._order(epoch)[within[epochs == epoch]]
        return picked

    def _order(self, epoch: int) -> np.ndarray:
        if epoch not in self._orders:
            if len(self._orders) > 1:  # a batch spans two epochs, rarely more
                self._orders.clear()
            random = np.random.default_rng((self.seed, epoch))
            self._orders[epoch] = random.permutation(self.length)
        return self._orders[epoch]


class PictureBatches:
    """Batches of pictures in a random order in which each comes once before any comes again.

    `augment` is None, "flip" (mirrors half of them), "crop" (moves them by up to an eighth, too) or
    an `Augment`. A batch depends on the seed
    and the step alone: however it is divided among processes, it holds the same pictures, changed
    in the same way.
    """

    def __init__(
        self,
        pixels: np.ndarray,
        labels: np.ndarray,
        batch_size: int,
        seed: int,
        augment: Augment | str | None = None,
    ):
        if not len(pixels) or len(pixels) != len(labels):
            raise VermeilError(f"{len(pixels)} pictures with {len(labels)} labels make no batch")
        if isinstance(augment, str) and augment not in LIGHT:
            raise VermeilError(f"augment '{augment}' does not exist", nearest(augment, [*LIGHT]))
        self.pixels, self.labels = pixels, labels  # (N, H, W, 3) uint8; (N,)
        self.batch_size, self.seed, self.augment = batch_size, seed, augment
        self.order = Order(len(pixels), seed)

    def rows(self, step: int, rows: slice) -> tuple[Float[Tensor, "b 3 h w"], Int[Tensor, " b"]]:
        """Rows `rows` of the batch of that step: pixels in [-1, 1], channels last, and labels."""
        places = np.arange(self.batch_size)[rows]
        picked = self.order.pick(step * self.batch_size + places)
        pixels = self._augmented(step, places, self.pixels[picked])
        return to_tensor(pixels), torch.from_numpy(self.labels[picked])

    def _augmented(self, step: int, places: np.ndarray, pixels: np.ndarray) -> np.ndarray:
        if self.augment is None:
            return pixels
        if isinstance(self.augment, str):
            draws = np.random.default_rng((self.seed, step, 1)).random((self.batch_size, 3))[places]
            pixels = moved(pixels, draws[:, 1:]) if self.augment == "crop" else pixels
            mirrored = draws[:, 0] < 0.5
            pixels[mirrored] = pixels[mirrored, :, ::-1]
            return pixels
        changed = zip(places.tolist(), pixels, strict=True)
        return np.stack([self.augment((self.seed, step, row), picture) for row, picture in changed])


def moved(pixels: np.ndarray, draws: np.ndarray) -> np.ndarray:
    """Pictures (B, H, W, 3) moved down and right by draws (B, 2) from [0, 1), edges mirrored."""
    _, height, width, _ = pixels.shape
    axes = []
    for length, draw in zip((height, width), draws.T, strict=True):
        most = length // PADDING
        first = np.floor(draw * (2 * most + 1)).astype(int) - most
        place = np.abs(first[:, None] + np.arange(length))  # (B, length)
        axes.append(np.where(place < length, place, 2 * (length - 1) - place))
    rows, columns = axes
    return pixels[np.arange(len(pixels))[:, None, None], rows[:, :, None], columns[:, None, :]]


def to_tensor(pixels: np.ndarray) -> Float[Tensor, "b 3 h w"]:
    """Pictures (B, H, W, 3) of 0 to 255 as a network takes them: -1 to 1, channels last."""
    channels_last = torch.from_numpy(pixels).permute(0, 3, 1, 2)  # (B, 3, H, W)
    return channels_last.float().div_(127.5).sub_(1)


def to_pixels(pictures: Float[Tensor, "b 3 h w"]) -> np.ndarray:
    """The inverse of `to_tensor`, (B, H, W, 3) uint8; what lies outside is cut off."""
    scaled = (pictures.detach().float() + 1).mul(127.5).round().clamp(0, 255)
    return scaled.to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy()
