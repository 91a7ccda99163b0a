"""Masks in COCO's three forms, against what pycocotools 2.0 makes of them."""

import numpy as np
import pytest

from data.coco_masks import mask

# A disc with a hole and a box, packed by pycocotools.mask.encode.
PACKED = "j79c04M2N2N2O0O2OAK55KK55KK55KK55KK55:00001N101N2N2N3LZ11gN00000000000000000"
STAR = [2.4, 1.2, 9.7, 2.9, 8.1, 7.3, 4.6, 5.2, 1.3, 7.8]
RASTERED = """
000000000000
001100000000
001111110000
001111111100
001111111000
001101111000
001000010000
010000000000
000000000000
000000000000
"""  # STAR by pycocotools.mask.frPyObjects


def drawn() -> np.ndarray:
    down, across = np.mgrid[0:30, 0:40]
    disc = (down - 14) ** 2 + (across - 18) ** 2 < 120
    disc[10:14, 15:20] = False
    disc[20:, 30:] = True
    return disc.astype(np.uint8)


def test_packed_runs_are_unpacked():
    np.testing.assert_array_equal(
        mask({"size": [30, 40], "counts": PACKED}, 30, 40, (1, 1)), drawn()
    )


def test_plain_runs_go_down_the_columns():
    found = mask({"size": [3, 2], "counts": [1, 2, 1, 1, 1]}, 3, 2, (1, 1))
    assert found.tolist() == [[0, 0], [1, 1], [1, 0]]


def test_runs_of_a_larger_picture_are_shrunk():
    found = mask({"size": [30, 40], "counts": PACKED}, 15, 20, (0.5, 0.5))
    assert found.shape == (15, 20)
    np.testing.assert_array_equal(found, drawn()[1::2, 1::2])


def test_a_polygon_covers_the_pixels_whose_centres_it_holds():
    found = mask([[1, 1, 4, 1, 4, 3, 1, 3]], 5, 6, (1, 1))
    assert found.sum() == 6 and found[1:3, 1:4].all()
    np.testing.assert_array_equal(mask([[2, 2, 8, 2, 8, 6, 2, 6]], 5, 6, (0.5, 0.5)), found)


def test_polygons_agree_with_pycocotools_but_for_the_edge():
    peer = np.array([[*map(int, row)] for row in RASTERED.split()])
    found = mask([STAR], 10, 12, (1, 1))
    assert (found != peer).sum() == 1 and found[3, 9] == 0


def test_polygons_of_one_object_are_united_and_cut_at_the_edge():
    overlapping = [[0, 0, 4, 0, 4, 2, 0, 2], [2, 0, 99, 0, 99, 2, 2, 2], [1, 1]]
    found = mask(overlapping, 4, 6, (1, 1))
    assert found[:2].all() and not found[2:].any()


@pytest.mark.parametrize(
    "segmentation",
    [{"size": [3, 2], "counts": [1, 2]}, {"size": [3, 2], "counts": "~"}, {"counts": [6]},
     {"size": [10**6, 10**6], "counts": [10**12]},
     {"size": [3, 2], "counts": [7, -1]}, [[1, 2, 3]], [["a", "b"]], 7, [[0, 0, 1, float("nan")]]],
)  # fmt: skip
def test_what_is_no_mask(segmentation):
    with pytest.raises(ValueError):
        mask(segmentation, 3, 2, (1, 1))
