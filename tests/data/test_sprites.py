"""Cut-outs: the paper goes, white inside a shape stays, and nothing of the paper shines through."""

import numpy as np
import pytest

from data.scenes import trained_sheet
from data.sprites import SpriteSheet, cut_out

SIDE = 48
INK = np.array([20, 30, 160], np.uint8)


@pytest.fixture
def ring() -> np.ndarray:
    """A dark ring on white paper with a white heart in it."""
    rows, columns = np.mgrid[:SIDE, :SIDE] - (SIDE - 1) / 2
    distance = np.hypot(rows, columns)
    pixels = np.full((SIDE, SIDE, 3), 255, np.uint8)
    pixels[(distance < 18) & (distance > 8)] = INK
    return pixels


def test_paper_is_cleared_and_enclosed_white_stays(ring):
    cut = cut_out(ring)
    assert np.array_equal(cut[..., :3], ring)
    middle = SIDE // 2
    assert cut[0, 0, 3] == cut[3, middle, 3] == 0
    assert cut[middle, middle, 3] == 255, "the heart is enclosed"
    assert cut[middle, middle - 12, 3] == 255
    opened = ring.copy()
    opened[middle:, middle - 1 : middle + 1] = 255  # a gap through which paper flows in
    assert cut_out(opened)[middle, middle, 3] == 0


def test_paper_flows_around_corners():
    """A white spiral corridor is paper to its end, however often it turns."""
    pixels = np.zeros((9, 9, 3), np.uint8)
    corridor = [*((row, 1) for row in range(8)), *((7, column) for column in range(2, 8)),
                (6, 7), (5, 7), (4, 7), (3, 7), (3, 6), (3, 5)]  # fmt: skip
    for place in corridor:
        pixels[place] = 255
    clear = {(int(r), int(c)) for r, c in np.argwhere(cut_out(pixels)[..., 3] == 0)}
    assert clear == {*corridor}


@pytest.mark.parametrize("side", [10, 19, 30])
def test_no_halo(ring, side):
    """Between ink and ground every pixel is a mixture of the two: nothing is lighter than both."""
    solid = ring.copy()
    solid[14:34, 14:34] = INK  # no white heart
    sheet, red = SpriteSheet({("flat", "disk"): solid}), np.array([200, 40, 40], np.float32)
    canvas = np.empty((50, 50, 3), np.float32)
    canvas[:] = red
    sheet.paste(canvas, "flat", "disk", 7, 9, side)
    assert canvas.max(axis=(0, 1)) == pytest.approx(np.maximum(red, INK), abs=3)
    share = (canvas[..., 0] - red[0]) / (INK[0] - red[0])  # of ink, judged by red
    np.testing.assert_allclose(canvas[..., 2], red[2] + share * (INK[2] - red[2]), atol=4)
    outside = np.ones((50, 50), bool)
    outside[7 : 7 + side, 9 : 9 + side] = False
    assert (canvas[outside] == red).all()
    corner = canvas[7 : 7 + side // 8, 9 : 9 + side // 8]
    assert (corner == red).all(), "the corners of a disk's square are clear"


def test_sizes_are_those_of_what_is_seen():
    """A small drawing on a large paper becomes as large as it is asked to be; its shape stays."""
    pixels = np.full((64, 64, 3), 255, np.uint8)
    pixels[50:60, 3:23] = INK  # twice as wide as high
    sheet = SpriteSheet({("flat", "bar"): pixels})
    canvas = np.zeros((40, 40, 3), np.float32)
    sheet.paste(canvas, "flat", "bar", 5, 4, 30)
    rows, columns = np.nonzero(canvas[..., 2] > 80)
    assert (columns.min(), columns.max()) == (4, 33)
    assert rows.max() - rows.min() + 1 == pytest.approx(15, abs=1)
    assert (rows.max() + rows.min()) / 2 == pytest.approx(5 + 14.5, abs=0.5), "in the middle"


def test_emoji_leave_the_ground_around_them_alone():
    """Of all emoji in both styles: outside the square nothing changes, and some of it is clear."""
    sheet = trained_sheet()
    assert len(sheet.pictures) == 2 * 80
    for style, concept in sheet.pictures:
        canvas = np.full((40, 40, 3), (200, 40, 40), np.float32)
        sheet.paste(canvas, style, concept, 5, 5, 30)
        changed = (canvas != (200, 40, 40)).any(2)
        assert not changed[:5].any()
        assert not changed[35:].any()
        assert not changed[:, :5].any()
        assert not changed[:, 35:].any()
        assert 0.05 < changed[5:35, 5:35].mean() < 1, (style, concept)
        assert np.isfinite(canvas).all()
        assert canvas.min() >= -1
        assert canvas.max() <= 256
