"""Masks as COCO writes them: polygons, runs, and runs packed into a string."""

from itertools import pairwise
from typing import Any

import numpy as np

from data.decoding import MAX_PIXELS


def mask(segmentation: Any, height: int, width: int, scale: tuple[float, float]) -> np.ndarray:
    """One object's pixels, (H, W) uint8 of 0 and 1, in a picture of that size.

    `scale` is the picture's width and height over those in the annotations. Raises ValueError for
    what is in none of the three forms.
    """
    try:
        if isinstance(segmentation, dict):
            return _of_runs(segmentation, height, width)
        return _of_polygons(segmentation, height, width, scale)
    except (IndexError, KeyError, TypeError) as error:
        raise ValueError(f"no mask in COCO's form ({error})") from None


def _of_polygons(polygons: list, height: int, width: int, scale: tuple) -> np.ndarray:
    found = np.zeros((height, width), np.uint8)
    for numbers in polygons:
        corners = np.asarray(numbers, np.float64).reshape(-1, 2) * scale
        if not np.isfinite(corners).all():
            raise ValueError("a corner that is no number")
        found |= _inside(corners, height, width)
    return found


def _inside(corners: np.ndarray, height: int, width: int) -> np.ndarray:
    """Pixels whose centre a line from the left reaches over an odd number of edges, (H, W)."""
    crossed = np.zeros((height, width + 1), np.uint8)
    for (x0, y0), (x1, y1) in zip(corners, np.roll(corners, -1, axis=0), strict=True):
        low, high = np.ceil(np.clip([min(y0, y1) - 0.5, max(y0, y1) - 0.5], 0, height)).astype(int)
        rows = np.arange(low, high)
        if len(rows):
            at = x0 + (rows + 0.5 - y0) * (x1 - x0) / (y1 - y0)
            crossed[rows, np.ceil(np.clip(at - 0.5, 0, width)).astype(int)] ^= 1
    return np.bitwise_xor.accumulate(crossed, axis=1)[:, :width]


def _of_runs(segmentation: dict, height: int, width: int) -> np.ndarray:
    counts = segmentation["counts"]
    runs = _unpacked(counts) if isinstance(counts, str) else counts
    rows, columns = segmentation["size"]
    if sum(runs) != rows * columns or min(runs, default=0) < 0 or sum(runs) > MAX_PIXELS:
        raise ValueError(f"runs of {sum(runs)} pixels for {rows} x {columns}")
    found = np.zeros(rows * columns, np.uint8)
    for start, end in list(pairwise(np.cumsum([0, *runs])))[1::2]:
        found[start:end] = 1
    found = found.reshape(columns, rows).T  # the runs go down the columns
    down, across = np.arange(height) + 0.5, np.arange(width) + 0.5
    return found[(down * rows / height).astype(int)][:, (across * columns / width).astype(int)]


def _unpacked(text: str) -> list[int]:
    """Runs out of characters of five bits and one that says "more follows", lowest bits first.

    From the fourth on they are differences from the run before the last. A run ends in its sign.
    """
    runs: list[int] = []
    place = 0
    while place < len(text):
        value, shift, more = 0, 0, True
        while more:
            bits = ord(text[place]) - 48
            value |= (bits & 31) << shift
            shift += 5
            place += 1
            more = bits & 32
        if bits & 16:
            value -= 1 << shift
        runs.append(value + runs[-2] if len(runs) > 2 else value)
    return runs
