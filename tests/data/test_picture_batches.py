"""Training batches of pictures: what is in them, and that steps and processes do not change it."""

import itertools

import numpy as np
import pytest
import torch

from data.picture_batches import PictureBatches, moved, to_pixels, to_tensor
from shared.errors import VermeilError

NUMBER, SIDE = 50, 16
LABELS = np.arange(NUMBER)
# Brightness grows to the right and downwards; the third colour is the picture's number.
ROWS, COLUMNS = np.mgrid[:SIDE, :SIDE]
PIXELS = np.stack(
    [np.stack([10 * COLUMNS, 10 * ROWS, np.full_like(ROWS, n)], -1) for n in range(NUMBER)]
).astype(np.uint8)


def batches(augment=None, seed=0, batch_size=8) -> PictureBatches:
    return PictureBatches(PIXELS, LABELS, batch_size, seed, augment)


def numbers(stream: PictureBatches, steps) -> list[int]:
    return [n for step in steps for n in stream.rows(step, slice(None))[1].tolist()]


class Brighter:
    """Adds the row's number, so that one sees which key it was given."""

    def __call__(self, key, pixels):
        return pixels + np.uint8(key[-1])


def test_a_batch_is_pixels_from_minus_one_to_one_and_labels():
    pixels, labels = batches().rows(0, slice(None))
    assert pixels.shape == (8, 3, SIDE, SIDE) and pixels.dtype == torch.float32
    assert pixels.is_contiguous(memory_format=torch.channels_last)
    assert labels.dtype == torch.int64
    assert np.array_equal(to_pixels(pixels), PIXELS[labels])


def test_tensors_and_pixels_are_inverse():
    pixels = np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1).repeat(3, -1)
    tensor = to_tensor(pixels)
    assert tensor.min() == -1 and tensor.max() == 1
    assert np.array_equal(to_pixels(tensor), pixels)
    assert to_pixels(torch.full((1, 3, 1, 1), 1.5)).max() == 255
    assert to_pixels(torch.full((1, 3, 1, 1), -1.5)).max() == 0


def test_each_picture_comes_once_an_epoch():
    seen = numbers(batches(), range(25))  # 200 rows: four epochs
    epochs = [seen[start : start + NUMBER] for start in range(0, 200, NUMBER)]
    assert all(sorted(epoch) == list(range(NUMBER)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 4, "two epochs in the same order"


def test_a_batch_larger_than_the_set():
    seen = numbers(batches(batch_size=120), range(5))
    assert sorted(seen) == sorted(list(range(NUMBER)) * 12)


@pytest.mark.parametrize("augment", [None, "flip", "crop", Brighter()])
@pytest.mark.parametrize("cuts", [(4,), (1, 2, 3), (3, 7)])
def test_processes_split_a_batch_without_changing_it(augment, cuts):
    whole = batches(augment).rows(5, slice(None))
    edges = (0, *cuts, 8)
    parts = [batches(augment).rows(5, slice(a, b)) for a, b in itertools.pairwise(edges)]
    for place, expected in enumerate(whole):
        assert torch.equal(torch.cat([part[place] for part in parts]), expected)
    strided = [batches(augment).rows(5, slice(rank, None, 2)) for rank in range(2)]
    for place, expected in enumerate(whole):
        found = torch.stack([part[place] for part in strided], dim=1).flatten(0, 1)
        assert torch.equal(found, expected)


@pytest.mark.parametrize("augment", [None, "flip", "crop"])
def test_a_batch_depends_on_seed_and_step_alone(augment):
    stream = batches(augment, seed=1)
    for step in (7, 0, 40, 3):
        stream.rows(step, slice(None))
    again = batches(augment, seed=1).rows(7, slice(None))
    assert all(map(torch.equal, stream.rows(7, slice(None)), again))
    assert numbers(batches(seed=1), range(6)) != numbers(batches(seed=2), range(6))


def test_half_of_them_are_mirrored():
    mirrored = 0
    for step in range(100):
        pixels, labels = batches("flip").rows(step, slice(None))
        for picture, number in zip(to_pixels(pixels), labels.tolist(), strict=True):
            if not np.array_equal(picture, PIXELS[number]):
                assert np.array_equal(picture, PIXELS[number][:, ::-1])
                mirrored += 1
    assert mirrored == pytest.approx(400, abs=60)


def test_moved_pictures_mirror_at_the_edge():
    draws = np.array([[0.5, 0.5], [0.0, 0.999], [0.999, 0.0]])  # not, up and right, down and left
    still, first, second = moved(PIXELS[:3], draws)
    assert np.array_equal(still, PIXELS[0])
    assert np.array_equal(first[2:, :-2, :2], PIXELS[1][:-2, 2:, :2])
    assert first[0, 0, 1] == PIXELS[1][2, 0, 1] and first[-0, -1, 0] == PIXELS[1][0, -3, 0]
    assert np.array_equal(second[:-2, 2:, :2], PIXELS[2][2:, :-2, :2])


def test_crop_moves_and_mirrors_independently():
    seen = set()
    for step in range(200):
        pixels, _ = batches("crop").rows(step, slice(None))
        middle = to_pixels(pixels)[:, 8, 6:10]  # (B, 4, 3)
        for row in middle.astype(int):
            mirrored = row[0, 0] > row[-1, 0]
            seen.add((bool(mirrored), int(row[0, 1]), int(row[:, 0].min())))
    assert len({down for _, down, _ in seen}) == 5, "two up to two down"
    assert len(seen) == 2 * 5 * 5


def test_an_augmentation_gets_seed_step_and_row():
    pixels, labels = batches(Brighter()).rows(3, slice(2, 5))
    added = to_pixels(pixels)[:, 0, 0, 2].astype(int) - labels.numpy()
    assert added.tolist() == [2, 3, 4]


def test_the_pictures_themselves_stay_as_they_are():
    before = PIXELS.copy()
    for augment in ("flip", "crop"):
        numbers(batches(augment), range(10))
    assert np.array_equal(PIXELS, before)


@pytest.mark.parametrize(
    ("pixels", "labels", "augment", "message"),
    [
        (PIXELS[:0], LABELS[:0], None, "0 pictures with 0 labels make no batch"),
        (PIXELS, LABELS[:-1], None, "50 pictures with 49 labels make no batch"),
        (PIXELS, LABELS, "flop", "augment 'flop' does not exist: did you mean 'flip'"),
    ],
)
def test_mistakes(pixels, labels, augment, message):
    with pytest.raises(VermeilError, match=message):
        PictureBatches(pixels, labels, 8, 0, augment)
