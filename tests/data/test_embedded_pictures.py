"""The embedded pictures: what is in the pack, how it is divided, and what a damaged one says."""

import hashlib
import itertools
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from data import load_pictures
from data.embedded_pictures import PACK_SHA256, STYLES, EmbeddedPictures, plain
from data.pictures import SPLITS, resized
from shared.errors import VermeilError

PACK = Path(__file__).parents[2] / "data" / "embedded" / "pictures.zip"


@pytest.fixture(scope="module")
def splits():
    data = EmbeddedPictures()
    return {split: list(data.pictures(split)) for split in SPLITS}


@pytest.fixture(scope="module")
def pictures(splits):
    return {picture.id: picture for part in splits.values() for picture in part}


def test_both_styles_of_every_concept(pictures):
    concepts = {identifier.partition("/")[2] for identifier in pictures}
    assert len(concepts) == 1852 and len(pictures) == 2 * 1852
    for code in concepts:
        flat, solid = (pictures[f"{style}/{code}"] for style in STYLES)
        assert (flat.texts, flat.tags, flat.label) == (solid.texts, solid.tags, solid.label)
        assert (flat.style, solid.style) == STYLES


def test_they_are_small_squares_on_white(pictures):
    for picture in pictures.values():
        assert picture.pixels.shape == (64, 64, 3) and picture.pixels.dtype == np.uint8
    corners = np.stack([p.pixels[[0, 0, -1, -1], [0, -1, 0, -1]] for p in pictures.values()])
    assert (corners > 250).all(-1).mean() > 0.9, "the corners of nearly all are white"


@pytest.mark.parametrize(
    ("code", "group", "first", "also", "tag", "colour"),
    [
        ("1f600", "smileys-emotion", "grinning face", "grinning", "smile", (230, 160, 90)),
        ("1f40b", "animals-nature", "whale", None, "animal", (90, 170, 220)),
        ("1f34e", "food-drink", "red apple", "apple", "fruit", (220, 50, 60)),
        ("2764", "smileys-emotion", "red heart", "heart", "love", (220, 50, 70)),
        ("1f1f3-1f1f4", "flags", "flag of Norway", "norway", "NO", (200, 90, 100)),
        ("0031-20e3", "symbols", "keycap: 1", "one", "keycap", (60, 140, 220)),
    ],
)
def test_known_concepts(pictures, code, group, first, also, tag, colour):
    for style in STYLES:
        picture = pictures[f"{style}/{code}"]
        assert EmbeddedPictures.classes[picture.label] == group
        assert picture.texts[0] == first and tag in picture.tags
        assert also is None or also in picture.texts[1:]
        drawn = picture.pixels[(picture.pixels < 240).any(-1)]
        assert np.abs(drawn.mean(0) - colour).max() < 65, (style, drawn.mean(0))


def test_there_are_no_skin_colours_and_no_components(pictures):
    for identifier, picture in pictures.items():
        assert not any(f"1f3f{digit}" in identifier for digit in "bcdef"), identifier
        assert "skin tone" not in " ".join(picture.texts)


def test_phrases_are_for_people(pictures):
    for picture in pictures.values():
        folded = [" ".join(text.lower().split()) for text in picture.texts]
        assert folded and len(set(folded)) == len(folded)
        assert all(text.strip() == text and "_" not in text for text in picture.texts)
    assert np.mean([len(p.texts) for p in pictures.values()]) > 1.8
    assert np.mean([len(p.tags) for p in pictures.values()]) > 5


def test_a_concept_and_its_like_are_in_one_split(splits):
    ids = [{p.id.partition("/")[2] for p in splits[split]} for split in SPLITS]
    assert not any(a & b for a, b in itertools.combinations(ids, 2))
    split_of = {p.texts[0]: split for split in SPLITS for p in splits[split]}
    for family in (
        ("teacher", "man teacher", "woman teacher"),
        ("one o’clock", "two o’clock", "twelve-thirty"),
        ("white small square", "white large square"),
        ("grinning cat", "cat face"),
        ("family: man, woman, boy", "family: woman, girl"),
    ):
        assert len({split_of[label] for label in family}) == 1, family


def test_nothing_held_out_looks_like_a_training_picture(splits):
    for style in STYLES:
        small = {
            split: np.stack(
                [resized(p.pixels, 16).ravel() for p in splits[split] if p.style == style]
            ).astype(float)
            for split in SPLITS
        }
        for held_out in ("validation", "test"):
            for picture in small[held_out]:
                nearest = np.square(small["train"] - picture).mean(1).min()
                assert nearest**0.5 > 5


def test_every_class_is_in_every_split_in_its_share(splits):
    counts = {split: Counter(p.label for p in splits[split]) for split in SPLITS}
    for label in range(9):
        whole = sum(counts[split][label] for split in SPLITS)
        for split in ("validation", "test"):
            assert 0.07 < counts[split][label] / whole < 0.12, (label, split)


def test_pictures_come_in_the_same_order_each_time(splits):
    again = [picture.id for picture in EmbeddedPictures().pictures("validation")]
    assert again == [picture.id for picture in splits["validation"]]
    assert again[0].startswith("flat/") and again[1] == again[0].replace("flat", "3D")


def test_what_it_says_of_itself_is_so(splits):
    data = load_pictures("embedded_pictures")
    assert data.ready() and data.sha256() == PACK_SHA256
    assert data.splits == " / ".join(f"{len(splits[split]):,}" for split in SPLITS)
    assert data.size == f"{PACK.stat().st_size / 1e6:.1f} MB" and PACK.stat().st_size < 10_000_000
    assert PACK_SHA256 in (PACK.parent / "PICTURES.md").read_text()
    assert hashlib.sha256(PACK.read_bytes()).hexdigest() == PACK_SHA256


def test_the_sample_is_a_part_with_every_class(splits):
    data = load_pictures("embedded_pictures_sample")
    found = {split: list(data.pictures(split)) for split in SPLITS}
    assert data.splits == " / ".join(f"{len(found[split]):,}" for split in SPLITS)
    assert data.sha256() != PACK_SHA256
    for split in SPLITS:
        assert {p.id for p in found[split]} < {p.id for p in splits[split]}
    assert {picture.label for picture in found["train"]} == set(range(9))


def test_code_points_without_what_names_differ_in():
    assert plain("0023-FE0F-20E3") == "0023-20e3" and plain("1F600") == "1f600"


@pytest.mark.parametrize("damage", ["flipped", "cut", "missing"])
def test_a_damaged_pack_hands_out_nothing(tmp_path, damage):
    content = bytearray(PACK.read_bytes())
    content[len(content) // 2] ^= 1
    if damage != "missing":
        (tmp_path / PACK.name).write_bytes(content if damage == "flipped" else content[:-1000])
    data = EmbeddedPictures(tmp_path)
    for ask in (data.prepare, data.sha256, data.concepts, lambda: data.pictures("train")):
        with pytest.raises(VermeilError, match=r"pictures\.zip .*git checkout -- data/embedded"):
            ask()
