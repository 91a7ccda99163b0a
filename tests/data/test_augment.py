"""Heavier changes to pictures: repeatable, independent, with boxes and masks moving along."""

import subprocess
import sys
from collections import Counter

import numpy as np
import pytest

from data.augment import RECIPES, Annotated, Augmentation
from data.picture_batches import PictureBatches
from shared.errors import VermeilError

NOISE = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)


@pytest.fixture
def square() -> Annotated:
    """A white square on black, a box around it, its mask; and a box in the far corner."""
    pixels = np.zeros((64, 64, 3), np.uint8)
    pixels[20:44, 16:40] = 255
    boxes = np.array([[16.0, 20.0, 24.0, 24.0], [62.0, 62.0, 2.0, 2.0]])
    return Annotated(pixels, boxes, (pixels[None, ..., 0] > 0).astype(np.uint8))


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_change_depends_on_its_key_alone(recipe):
    change = Augmentation(recipe, 32)
    first = change((0, 1, 2), NOISE)
    assert first.shape == (32, 32, 3) and first.dtype == np.uint8
    change((5, 5, 5), NOISE)
    assert np.array_equal(change((0, 1, 2), NOISE), first)
    assert np.array_equal(Augmentation(recipe, 32)((0, 1, 2), NOISE), first)
    for other in ((0, 1, 3), (0, 2, 2), (1, 1, 2)):
        assert not np.array_equal(change(other, NOISE), first)


def test_changes_are_drawn_independently_of_each_other():
    """Whether a picture is mirrored must not say whether it is turned."""
    ramp = np.linspace(0, 255, 64).astype(np.uint8)[None, :, None].repeat(64, 0).repeat(3, 2)
    change = Augmentation("strong", 32)
    seen = Counter()
    for row in range(300):
        grey = change((0, 0, row), ramp)[..., 1].astype(float)
        left, right, top, bottom = (
            np.median(edge) for edge in (grey[:, :4], grey[:, -4:], grey[:4], grey[-4:])
        )
        seen[left > right, abs(top - bottom) > 8] += 1
    assert len(seen) == 4 and min(seen.values()) > 25, seen


@pytest.mark.parametrize("recipe", RECIPES)
def test_boxes_and_masks_move_with_the_picture(recipe, square):
    change = Augmentation(recipe, 64)
    compared = 0
    for row in range(60):
        found = change.annotated((0, 0, row), square)
        if recipe == "resized_crop":  # the other changes colours, too
            assert np.array_equal(change((0, 0, row), square.pixels), found.pixels)
        mask = found.masks[0] > 0
        if not mask.any() or 0 not in found.kept:
            continue
        x, y, width, height = found.boxes[found.kept.index(0)]
        down, right = np.nonzero(mask)
        seen = np.array([right.min(), down.min(), right.max() + 1, down.max() + 1])
        slack = 3 if recipe == "resized_crop" else 12  # the box of a turned square is larger
        assert np.abs(seen - (x, y, x + width, y + height)).max() <= slack
        if recipe == "resized_crop":
            assert np.array_equal(mask, found.pixels[..., 0] > 127) or (
                np.mean(mask != (found.pixels[..., 0] > 127)) < 0.06
            )
        compared += 1
    assert compared > 20


def test_boxes_that_left_the_picture_are_dropped_by_number(square):
    change = Augmentation("resized_crop", 64)
    kept = [change.annotated((0, 0, row), square).kept for row in range(60)]
    assert {(0,), (0, 1)} <= set(kept), "the corner is cut off sometimes, not always"


def test_a_picture_without_boxes():
    found = Augmentation("strong", 32).annotated((0,), Annotated(NOISE))
    assert found.boxes.shape == (0, 4) and found.masks is None and found.kept == ()


def test_batches_take_it():
    pixels = NOISE[None, :48, :48].repeat(5, 0)
    stream = PictureBatches(pixels, np.arange(5), 4, 0, Augmentation("strong", 24))
    whole, _ = stream.rows(2, slice(None))
    part, _ = stream.rows(2, slice(1, 3))
    assert whole.shape == (4, 3, 24, 24) and (whole[1:3] == part).all()


@pytest.mark.full
def test_importing_it_does_not_ask_the_network():
    code = (
        "import urllib.request, data.pictures\n"
        "def ask(*arguments, **more): raise SystemExit('asked the network')\n"
        "urllib.request.OpenerDirector.open = ask\n"
        "import data.augment"
    )
    subprocess.run([sys.executable, "-W", "ignore", "-c", code], check=True, timeout=300)


def test_a_recipe_that_does_not_exist():
    with pytest.raises(VermeilError, match="augment 'srong' does not exist: did you mean 'strong'"):
        Augmentation("srong", 32)
