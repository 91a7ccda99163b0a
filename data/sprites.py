"""Emoji cut out of their white paper, to be pasted onto coloured ones."""

from collections.abc import Mapping, Sequence
from functools import lru_cache

import numpy as np

from data.pictures import resized

WHITE = 235  # paper is lighter than this in every channel


def cut_out(pixels: np.ndarray) -> np.ndarray:
    """(H, W, 4) uint8: a picture on white with its paper, the white that the border touches, clear.

    White inside a shape (an eye, a cloud within its outline) stays.
    """
    white = pixels.min(axis=2) >= WHITE
    paper = np.zeros_like(white)
    paper[[0, -1]], paper[:, [0, -1]] = white[[0, -1]], white[:, [0, -1]]
    while True:  # the paper grows into its white neighbours until there are none
        grown = paper.copy()
        grown[1:] |= paper[:-1]
        grown[:-1] |= paper[1:]
        grown[:, 1:] |= paper[:, :-1]
        grown[:, :-1] |= paper[:, 1:]
        grown &= white
        if (grown == paper).all():
            break
        paper = grown
    opacity = np.where(paper, 0, 255).astype(np.uint8)
    return np.dstack([pixels, opacity])


class SpriteSheet:
    """Cut-outs by (style, concept), at any size, each made once."""

    def __init__(self, pictures: Mapping[tuple[str, str], np.ndarray]):
        self.pictures = {key: _trimmed(cut_out(pixels)) for key, pixels in pictures.items()}
        self.at = lru_cache(maxsize=None)(self._at)

    def _at(self, style: str, concept: str, side: int) -> tuple[np.ndarray, np.ndarray]:
        """Colours times opacity, float32 (h, w, 3), and 1 - opacity (h, w, 1); longer side given.

        Colours are weighed by their opacity before they are made smaller: no paper shines through.
        """
        whole = self.pictures[style, concept].astype(np.float32)
        opacity = whole[..., 3:] / 255
        square = np.concatenate([whole[..., :3] * opacity, np.repeat(255 * opacity, 3, 2)], axis=0)
        colour, alpha = (
            resized(half.round().astype(np.uint8), side).astype(np.float32)
            for half in np.split(square, 2)
        )
        return colour, 1 - alpha[..., :1] / 255

    def paste(
        self, canvas: np.ndarray, style: str, concept: str, top: int, left: int, side: int
    ) -> None:
        """Lay one onto a float32 canvas (H, W, 3), in place."""
        colour, clear = self.at(style, concept, side)
        part = canvas[top : top + side, left : left + side]
        part *= clear
        part += colour


def _trimmed(sprite: np.ndarray) -> np.ndarray:
    """The smallest centred square around what is not clear, so that sizes mean what is seen."""
    rows, columns = (np.flatnonzero(sprite[..., 3].any(axis=axis)) for axis in (1, 0))
    if not len(rows):  # a white picture on white
        return sprite
    height, width = rows[-1] - rows[0] + 1, columns[-1] - columns[0] + 1
    side = max(height, width)
    square = np.zeros((side, side, 4), np.uint8)
    top, left = (side - height) // 2, (side - width) // 2
    part = sprite[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    square[top : top + height, left : left + width] = part
    return square


def sheet_of(sources: Sequence, wanted: Mapping[str, str]) -> SpriteSheet:
    """The sheet of some emoji; `wanted` maps their codes to concepts, sources are picture sets."""
    found = {}
    for source in sources:
        for split in source.parts:
            for picture in source.pictures(split):
                code = picture.id.partition("/")[2]
                if code in wanted:
                    found[picture.style, wanted[code]] = picture.pixels
    return SpriteSheet(found)
