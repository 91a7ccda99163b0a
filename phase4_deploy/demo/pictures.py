"""A visitor's picture read, and a small drawing made large."""

from pathlib import Path

from PIL import Image

from shared.errors import VermeilError

SIDE = 512  # pixels that a drawing is shown with, at least


def opened(picture: tuple[Path, str] | None) -> Image.Image:
    """The picture of a file and its name, by the rules of the readers of data sets."""
    from data.decoding import decode
    from data.folder_pictures import read

    if picture is None:
        raise VermeilError("choose a picture first")
    path, name = picture
    return Image.fromarray(decode(read(path, name), name))


def enlarged(picture: Image.Image) -> Image.Image:
    """A small drawing with every pixel as a square."""
    times = max(1, -(-SIDE // picture.width))
    return picture.resize((picture.width * times, picture.height * times), Image.Resampling.NEAREST)
