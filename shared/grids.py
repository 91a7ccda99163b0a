"""Pictures side by side, for reports, trackers and files."""

import io
from collections.abc import Sequence

import numpy as np
from jaxtyping import UInt8
from PIL import Image

GAP = 2  # white pixels between pictures


def grid(pictures: Sequence[np.ndarray], columns: int) -> UInt8[np.ndarray, "h w 3"]:
    """Pictures (H, W, 3) uint8 of one size in rows of `columns`, on white."""
    height, width, _ = pictures[0].shape
    rows = -(-len(pictures) // columns)
    shape = (rows * (height + GAP) + GAP, columns * (width + GAP) + GAP, 3)
    sheet = np.full(shape, 255, np.uint8)
    for i, picture in enumerate(pictures):
        row, column = divmod(i, columns)
        top, left = GAP + row * (height + GAP), GAP + column * (width + GAP)
        sheet[top : top + height, left : left + width] = picture
    return sheet


def enlarged(picture: UInt8[np.ndarray, "h w 3"], times: int) -> UInt8[np.ndarray, "h2 w2 3"]:
    """Every pixel as a square, so that small pictures stay sharp on a large screen."""
    return picture.repeat(times, axis=0).repeat(times, axis=1)


def png(picture: UInt8[np.ndarray, "h w 3"]) -> bytes:
    """A picture as the bytes of a PNG file."""
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "PNG")
    return buffer.getvalue()
