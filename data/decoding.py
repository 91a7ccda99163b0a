"""Picture files of every kind as plain pixels; what cannot be read says so by name."""

import io
import warnings

import numpy as np
from PIL import Image, ImageOps

from shared.errors import VermeilError

# Those that people have; EPS would start another program, and rare decoders are rarely tested.
WANTED = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "AVIF", "JPEG2000")
Image.init()
FORMATS = tuple(kind for kind in WANTED if kind in Image.OPEN)
SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".ppm", ".avif",
            ".jp2")  # fmt: skip
MAX_PIXELS = 89_478_485  # Pillow's own line, 256 MB of RGB; above it a file may be a bomb
MAX_BYTES = 2**28
WHITE = (255, 255, 255, 255)

# What Pillow remarks on a file is said here in our own words, or does no harm.
warnings.filterwarnings("ignore", module=r"PIL\..*")


class BadPicture(VermeilError):
    """One picture that cannot be used: passed over and counted, a run goes on without it."""

    def __init__(self, name: str, reason: str, detail: str = ""):
        said = f"{reason}: {detail}" if detail else reason
        super().__init__(f"{name} is no picture to learn from ({said})", "mend it or take it out")
        self.name, self.reason = name, reason  # the reason is one of few, to be counted by


def decode(content: bytes, name: str, most_pixels: int = MAX_PIXELS) -> np.ndarray:
    """The pixels of a picture file, (H, W, 3) uint8, RGB.

    Rotated as its EXIF data says, transparency over white, CMYK, palette, grey and 16 bits as RGB
    of 8 bits, of an animation the first frame. Raises BadPicture with `name` for everything else.
    """
    if not content:
        raise BadPicture(name, "empty file")
    if len(content) > MAX_BYTES:
        raise BadPicture(name, "too large", f"{len(content) / 2**20:,.0f} MB")
    try:
        with Image.open(io.BytesIO(content), formats=FORMATS) as image:
            if image.width * image.height > most_pixels:
                raise BadPicture(name, "too large", f"{image.width} x {image.height} pixels")
            image.load()
            return np.array(_rgb(_upright(image)))
    except BadPicture:
        raise
    except Image.UnidentifiedImageError:
        beginning = content[:12].decode("ascii", "backslashreplace")
        raise BadPicture(name, "not a picture", f"it begins with {beginning!r}") from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise BadPicture(name, "too large", f"over {MAX_PIXELS / 1e6:.0f} million pixels") from None
    except Exception as error:  # decoders raise nearly everything on damaged files
        raise BadPicture(name, "damaged", " ".join(str(error).split())[:100]) from None


def resized(pixels: np.ndarray, size: int) -> np.ndarray:
    """The middle square of a picture, (size, size, 3) uint8.

    Shrunk by Hamming's filter, which neither aliases nor rings, enlarged by bicubic interpolation.
    """
    height, width, _ = pixels.shape
    side = min(height, width)
    left, top = (width - side) // 2, (height - side) // 2
    square = pixels[top : top + side, left : left + side]
    if side == size:
        return square
    method = Image.Resampling.HAMMING if side > size else Image.Resampling.BICUBIC
    return np.array(Image.fromarray(square).resize((size, size), method))


def _upright(image: Image.Image) -> Image.Image:
    try:
        return ImageOps.exif_transpose(image)
    except Exception:  # damaged EXIF data is no reason to lose the picture
        return image


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I"):  # grey of 16 bits; Pillow would cut off all above 255
        grey = np.asarray(image).astype(np.int64) >> 8
        return Image.fromarray(grey.clip(0, 255).astype(np.uint8)).convert("RGB")
    if image.mode == "F":
        raise ValueError("floating-point pixels")
    if not image.has_transparency_data:
        return image.convert("RGB")
    paper = Image.new("RGBA", image.size, WHITE)
    paper.alpha_composite(image.convert("RGBA"))
    return paper.convert("RGB")
