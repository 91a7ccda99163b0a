"""Picture files of every kind, and what is refused by name."""

import contextlib
import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from data.decoding import MAX_PIXELS, BadPicture, decode, resized

RED, GREEN, BLUE = (255, 0, 0), (0, 255, 0), (0, 0, 255)


@pytest.fixture
def corners() -> Image.Image:
    """8 x 4 pixels: red, green, blue and black quarters."""
    image = Image.new("RGB", (8, 4))
    for place, colour in (((0, 0), RED), ((4, 0), GREEN), ((0, 2), BLUE)):
        image.paste(colour, (*place, place[0] + 4, place[1] + 2))
    return image


def packed(image: Image.Image, form: str = "PNG", **how) -> bytes:
    file = io.BytesIO()
    image.save(file, form, **how)
    return file.getvalue()


@pytest.mark.parametrize("form", ["PNG", "WEBP", "BMP", "TIFF", "PPM", "GIF"])
def test_every_kind_has_the_same_pixels(corners, form):
    how = {"lossless": True} if form == "WEBP" else {}
    pixels = decode(packed(corners, form, **how), "a")
    assert pixels.dtype == np.uint8 and np.array_equal(pixels, np.asarray(corners))


def test_exif_says_what_is_up(corners):
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by 90 degrees: the first row is the right side
    turned = decode(packed(corners, exif=exif), "a")
    assert np.array_equal(turned, np.rot90(np.asarray(corners), -1))


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")  # data.decoding ignores it, pytest resets that
def test_damaged_exif_does_no_harm(corners):
    content = packed(corners, "JPEG", exif=b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12", quality=95)
    assert decode(content, "a").shape == (4, 8, 3)


def test_transparency_is_over_white(corners):
    corners.putalpha(Image.new("L", (8, 4), 0))
    corners.putpixel((0, 0), (*RED, 255))
    corners.putpixel((4, 0), (0, 0, 0, 128))
    pixels = decode(packed(corners), "a")
    assert pixels[0, 0].tolist() == list(RED) and pixels[3, 7].tolist() == [255, 255, 255]
    assert pixels[0, 4].tolist() == [127, 127, 127]


def test_palette_with_and_without_transparency(corners):
    palette = corners.convert("P", palette=Image.Palette.ADAPTIVE)
    assert np.array_equal(decode(packed(palette), "a"), np.asarray(corners))
    black = palette.getpixel((7, 3))
    for transparency in (black, bytes(0 if n == black else 255 for n in range(256))):
        pixels = decode(packed(palette, transparency=transparency), "a")
        assert pixels[3, 7].tolist() == [255] * 3 and pixels[0, 0].tolist() == list(RED)


def test_cmyk(corners):
    ink = Image.new("CMYK", (2, 1), (0, 255, 255, 0))
    assert decode(packed(ink, "TIFF"), "a")[0, 0].tolist() == list(RED)
    assert decode(packed(ink, "JPEG", quality=100), "a")[0, 0, 0] > 240


def test_sixteen_bits_keep_their_greys():
    grey = np.array([[0, 256, 32768, 65535]], np.uint16)
    for content in (packed(Image.fromarray(grey)), packed(Image.fromarray(grey), "TIFF")):
        assert decode(content, "a")[0, :, 1].tolist() == [0, 1, 128, 255]


def test_one_bit_and_grey_with_transparency():
    assert decode(packed(Image.new("1", (1, 1), 1)), "a").tolist() == [[[255, 255, 255]]]
    assert decode(packed(Image.new("LA", (1, 1), (0, 51))), "a").tolist() == [[[204, 204, 204]]]


@pytest.mark.parametrize("form", ["GIF", "WEBP", "PNG"])
def test_of_an_animation_the_first_frame(form):
    frames = [Image.new("RGB", (2, 2), colour) for colour in (RED, GREEN)]
    how = {"lossless": True} if form == "WEBP" else {}
    content = packed(frames[0], form, save_all=True, append_images=frames[1:], **how)
    assert decode(content, "a")[0, 0].tolist() == list(RED)


def bomb(width: int, height: int) -> bytes:
    """A PNG that claims that many pixels in a few bytes."""
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = zlib.compress(bytes(3 * width + 1))
    chunks = ((b"IHDR", head), (b"IDAT", body), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(part)) + name + part + struct.pack(">I", zlib.crc32(name + part))
        for name, part in chunks
    )


@pytest.mark.filterwarnings("ignore")  # the refusal must not hang on Pillow's warning
@pytest.mark.parametrize("side", [30_000, 11_000, int(MAX_PIXELS**0.5) + 1])
def test_decompression_bombs_are_not_unpacked(side):
    with pytest.raises(BadPicture, match=r"bomb\.png is no picture .*too large") as caught:
        decode(bomb(side, side), "bomb.png")
    assert caught.value.reason == "too large" and "take it out" in caught.value.hint


def test_a_bomb_of_text_in_a_small_picture(corners):
    texts = PngImagePlugin.PngInfo()
    texts.add_text("comment", "a" * 2**27, zip=True)
    with pytest.raises(BadPicture, match="damaged"):
        decode(packed(corners, pnginfo=texts), "a.png")


@pytest.mark.parametrize("form", ["PNG", "JPEG", "WEBP", "GIF", "TIFF"])
def test_cut_short_at_any_place(form):
    noise = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    content = packed(Image.fromarray(noise), form)
    for share in (0.1, 0.5, 0.9):
        with pytest.raises(BadPicture, match=r"^cut is no picture to learn from \("):
            decode(content[: int(share * len(content))], "cut")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "empty file"),
        (b"Dear diary,\n", "not a picture"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "not a picture"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "not a picture"),
        (b"\x89PNG\r\n\x1a\n" + bytes(64), "not a picture"),
    ],
)
def test_what_is_no_picture(content, reason):
    with pytest.raises(BadPicture, match=reason) as caught:
        decode(content, "notes.png")
    assert caught.value.reason == reason and caught.value.name == "notes.png"


def test_flipped_bytes_are_a_picture_or_refused():
    noise = np.random.default_rng(1).integers(0, 256, (24, 24, 3), dtype=np.uint8)
    for form in ("PNG", "JPEG", "WEBP", "GIF", "TIFF", "BMP"):
        content = packed(Image.fromarray(noise), form)
        random = np.random.default_rng(2)
        for _ in range(60):
            broken = bytearray(content)
            for place in random.integers(len(broken), size=3):
                broken[place] ^= 1 << int(random.integers(8))
            with contextlib.suppress(BadPicture):
                assert decode(bytes(broken), "a").ndim == 3


def test_the_middle_square():
    pixels = np.zeros((4, 8, 3), np.uint8)
    pixels[:, 2:6] = 200
    assert (resized(pixels, 4) == 200).all() and (resized(pixels, 2) == 200).all()
    assert (resized(pixels.transpose(1, 0, 2), 4) == 200).all()


def test_shrinking_does_not_alias_and_keeps_the_mean():
    stripes = np.zeros((64, 64, 3), np.uint8)
    stripes[:, ::2] = 255
    assert np.abs(resized(stripes, 16)[:, 1:-1].astype(int) - 127).max() <= 2
    noise = np.random.default_rng(0).integers(0, 256, (96, 96, 3), dtype=np.uint8)
    assert resized(noise, 32).mean() == pytest.approx(noise.mean(), abs=0.5)


def test_shrinking_does_not_ring():
    edge = np.full((64, 64, 3), 100, np.uint8)
    edge[:, 32:] = 200
    small = resized(edge, 20)
    assert small.min() >= 100 and small.max() <= 200


def test_enlarging():
    assert (resized(np.full((3, 3, 3), 77, np.uint8), 32) == 77).all()
