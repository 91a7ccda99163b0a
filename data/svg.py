"""Drawings as squares of pixels: SVG files rasterised, margins cut, the rest fitted on white."""

import re

import numpy as np
from PIL import Image

from data.pictures import BadPicture, decode
from shared.errors import VermeilError

OVERSAMPLED = 2  # a drawing may take half of its page
MARGIN = 1.06  # of the longer side
PAPER = 250  # what is as bright in all channels is paper
# Files of the machine would make pictures that differ from one machine to the next.
ELSEWHERE = re.compile(r"""(href\s*=\s*)(["'])(?!data:|#)[^"']*\2""")


def rasterised(content: bytes, name: str, side: int) -> np.ndarray:
    """An SVG file as pixels on white, (H, W, 3) uint8, the longer side `side`.

    Writing is left out where it needs a font, since fonts differ from machine to machine, and so
    is what lies in other files. Raises BadPicture with `name`.
    """
    try:
        import resvg_py
    except ImportError:
        raise VermeilError(
            "drawing SVG files takes the package resvg_py, which is not installed",
            'pip install -c constraints.txt -e ".[vision]"',
        ) from None
    if not content:
        raise BadPicture(name, "empty file")
    try:
        drawing = ELSEWHERE.sub(r"\1\2\2", content.decode())
        png = resvg_py.svg_to_bytes(
            svg_string=drawing,
            width=side,
            height=side,
            dpi=96,  # CSS's own, for sizes in millimetres
            background="white",
            skip_system_fonts=True,
        )
    except UnicodeDecodeError:
        raise BadPicture(name, "damaged", "not UTF-8") from None
    except ValueError as error:
        raise BadPicture(name, "damaged", " ".join(str(error).split())[:100]) from None
    return decode(png, name)


def squared(pixels: np.ndarray, name: str, side: int) -> np.ndarray:
    """What is drawn on a white page, whole, in the middle of a square, (side, side, 3) uint8.

    Shrunk by Hamming's filter, enlarged by bicubic interpolation. Raises BadPicture for an empty
    page.
    """
    drawn = (pixels < PAPER).any(2)  # (H, W)
    if not drawn.any():
        raise BadPicture(name, "blank")
    rows, columns = np.flatnonzero(drawn.any(axis=-1)), np.flatnonzero(drawn.any(axis=0))
    top, bottom, left, right = rows[0], rows[-1] + 1, columns[0], columns[-1] + 1
    height, width = bottom - top, right - left
    whole = max(round(MARGIN * max(height, width)), 2)
    page = np.full((whole, whole, 3), 255, np.uint8)
    y, x = (whole - height) // 2, (whole - width) // 2
    page[y : y + height, x : x + width] = pixels[top:bottom, left:right]
    method = Image.Resampling.HAMMING if whole > side else Image.Resampling.BICUBIC
    return np.array(Image.fromarray(page).resize((side, side), method))
