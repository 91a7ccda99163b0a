"""Picture files read, decoded, cut and made small by NVIDIA DALI, on a GPU.

The pixels are nearly those of `data.decoding`: of DALI's filters the Gaussian comes nearest to
Hamming's (on photographs made eight times smaller 1.1 of 255 apart in the mean, the triangle 3.7).
Transparency is left out, where ours lies over white.
"""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from data.decoding import SUFFIXES, BadPicture, decode
from data.folder_pictures import FolderPictures, read, texts_of
from data.official_pictures import OfficialPictures
from data.pictures import PictureData, Skipped, check_split
from shared.errors import VermeilError

FORMATS = frozenset(SUFFIXES) - {".gif", ".avif"}  # DALI has no decoder for these two
TORCH = "--loader torch"


class PictureFile(NamedTuple):
    """A picture that lies in a file of its own."""

    id: str
    path: Path
    texts: tuple[str, ...]


def picture_files(data: PictureData, split: str) -> list[PictureFile]:
    """The files of a split's pictures in the order of their ids, without opening one.

    Missing files, and those of other formats, are counted in `data.skipped`. VermeilError for data
    sets whose pictures are no such files.
    """
    check_split(split)
    if isinstance(data, OfficialPictures):
        found = [PictureFile(entry.id, entry.path, entry.texts) for entry in data._entries[split]]
    elif isinstance(data, FolderPictures):
        found = [PictureFile(e.id, e.path, texts_of(e)) for e in data._index.splits[split]]
    else:
        raise VermeilError(
            f"DALI reads pictures from files of their own, and those of {data.name} are not", TORCH
        )
    skipped = data.skipped[split] = Skipped()
    kept = []
    for file in found:
        if file.path.suffix.lower() not in FORMATS:
            skipped.add(BadPicture(file.id, "of a format that DALI does not read"))
        elif not file.path.is_file():
            skipped.add(BadPicture(file.id, "missing file"))
        else:
            kept.append(file)
    if not kept:
        raise VermeilError(
            f"the {split} split of {data.name} has no picture that DALI can read",
            f"passed over: {skipped}",
        )
    return kept


def gpu() -> int:
    """The number of this process's GPU; complains where DALI or a GPU is missing."""
    import torch

    if not torch.cuda.is_available():
        raise VermeilError("DALI decodes pictures on an NVIDIA GPU, and there is none here", TORCH)
    try:
        import nvidia.dali  # noqa: F401  # type: ignore[import-not-found]
    except ImportError as error:
        raise VermeilError(
            f"DALI is not installed (no {error.name})",
            f"pip install nvidia-dali-cuda{(torch.version.cuda or '13').partition('.')[0]}0, or "
            + TORCH,
        ) from None
    return int(os.environ.get("LOCAL_RANK", 0)) % torch.cuda.device_count()


def pipeline(size: int, most: int, device: int | None, threads: int) -> Any:
    """From up to `most` paths to the middle squares of the pictures, (size, size, 3) uint8, RGB.

    Turned as their EXIF data says. `device` None is the CPU.
    """
    from nvidia.dali import fn, math, pipeline_def, types  # type: ignore[import-not-found]

    @pipeline_def(batch_size=most, num_threads=threads, device_id=device, prefetch_queue_depth=1)
    def squares():
        encoded = fn.io.file.read(fn.external_source(name="paths", dtype=types.UINT8, ndim=1))
        pictures = fn.decoders.image(
            encoded, device="cpu" if device is None else "mixed", output_type=types.RGB
        )
        shape = fn.peek_image_shape(encoded)
        side = fn.cast(math.min(shape[0], shape[1]), dtype=types.FLOAT)
        return fn.resize(
            fn.crop(pictures, crop_h=side, crop_w=side), size=(size, size),
            min_filter=types.INTERP_GAUSSIAN, mag_filter=types.INTERP_CUBIC,
        )  # fmt: skip

    made = squares()
    made.build()
    return made


class DaliReader:
    """Pixels of picture files, while those of the next request are being decoded.

    `squares` is a `pipeline`.
    """

    def __init__(self, squares: Any):
        self.squares = squares
        self.begun: list[Path] = []  # what the pipeline is at work on

    def __call__(self, paths: Sequence[Path], then: Sequence[Path] = ()) -> np.ndarray:
        """(B, size, size, 3) uint8; `then` is what is expected to be asked for next.

        VermeilError names the file that cannot be read: DALI passes none over.
        """
        wanted = [*paths]
        if self.begun and self.begun != wanted:
            self._finish()  # somebody else was expected
        if not self.begun:
            self._begin(wanted)
        pixels = self._finish()
        self._begin([*then])
        return pixels

    def _begin(self, paths: list[Path]) -> None:
        self.begun = paths
        if paths:
            names = [np.frombuffer(os.fsencode(path), np.uint8) for path in paths]
            try:
                self.squares.feed_input("paths", names)
                self.squares.schedule_run()
            except RuntimeError as error:
                raise _blamed(paths, error) from None

    def _finish(self) -> np.ndarray:
        paths, self.begun = self.begun, []
        try:
            [made] = self.squares.share_outputs()
            pixels = np.array(made.as_cpu().as_array())  # a copy: the pipeline's is used again
            self.squares.release_outputs()
        except RuntimeError as error:
            raise _blamed(paths, error) from None
        return pixels


def _blamed(paths: Sequence[Path], error: RuntimeError) -> VermeilError:
    """What DALI stopped at; it does not say which file it was."""
    for path in paths:
        try:
            decode(read(path, str(path)), str(path))
        except BadPicture as bad:
            hint = f"mend it or take it out; {TORCH} passes such pictures over and counts them"
            return VermeilError(bad.message, hint)
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    at = lines.index("encountered:") + 1 if "encountered:" in lines else 0
    said = lines[at] if at < len(lines) else "no reason given"
    return VermeilError(f"DALI stopped at one of {len(paths):,} pictures ({said})", TORCH)
