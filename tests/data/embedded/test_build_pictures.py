"""The script of the pack of pictures: families, phrases, and the same bytes again."""

from pathlib import Path

import numpy as np
import pytest

from data.embedded import build_pictures
from data.embedded.build_pictures import PACKAGES, divide, family, main, phrases, unite
from data.embedded.packages import obtain
from shared.errors import VermeilError

EMBEDDED = Path(build_pictures.__file__).parent


@pytest.mark.parametrize(
    ("label", "group", "expected"),
    [
        ("woman teacher", "people-body", "teacher"),
        ("person running: facing right", "people-body", "running"),
        ("woman", "people-body", "person"),
        ("family: man, woman, boy", "people-body", "family"),
        ("six-thirty", "travel-places", "clock face"),
        ("twelve o’clock", "travel-places", "clock face"),
        ("black medium-small square", "symbols", "black square"),
        ("flag: Norway", "flags", "flag: norway"),
        ("keycap: 1", "symbols", "keycap: 1"),
        ("womanly hat", "objects", "womanly hat"),
    ],
)
def test_families(label, group, expected):
    assert family(label, group) == expected


def test_phrases_differ_in_their_words():
    codes = ["nerd_face", "nerd", "u55b6", "face-nerd"]
    assert phrases(["nerd face", "nerdy face"], codes) == ["nerd face", "nerdy face", "nerd"]
    assert phrases(["flag: Norway"], ["flag_no", "no", "norway", "flag-no"]) == [
        "flag of Norway",
        "norway",
    ]
    assert phrases(["one o’clock"], ["clock1"]) == ["one o’clock"]


def concept(name, group="a"):
    return {"id": name, "family": name, "group": group}


def test_what_looks_alike_in_one_style_is_one_family():
    base = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    near = np.clip(base.astype(int) + 4, 0, 255).astype(np.uint8)
    far = np.clip(base.astype(int) + 8, 0, 255).astype(np.uint8)
    other = base[::-1]
    concepts = [concept(name) for name in "abcd"]
    unite(
        concepts,
        {
            "flat": {"a": base, "b": other, "c": near, "d": other[:, ::-1]},
            "3D": {"a": base, "b": other, "c": base.transpose(1, 0, 2), "d": far},
        },
    )
    assert [c["family"] for c in concepts] == ["a", "b", "a", "d"]


def test_families_are_divided_within_their_groups():
    concepts = [concept(f"{group}{n}", group) for group in "ab" for n in range(60)]
    concepts += [concept("a0", "a") | {"id": "again"}]
    divide(concepts)
    for group in "ab":
        found = [c["split"] for c in concepts[:-1] if c["group"] == group]
        assert [found.count(split) for split in ("train", "validation", "test")] == [48, 6, 6]
    assert concepts[0]["split"] == concepts[-1]["split"]


@pytest.fixture(scope="module")
def fetched(tmp_path_factory) -> Path:
    """The three packages, through their ordinary client."""
    folder = tmp_path_factory.mktemp("packages")
    for package in PACKAGES.values():
        try:
            blob = obtain(package)
        except VermeilError as error:
            if "is not the file it should be" in error.message:
                raise
            pytest.skip(f"the packages cannot be fetched here: {error.message}")
        (folder / package.file).write_bytes(blob)
    return folder


@pytest.mark.full
def test_rebuilds_to_the_same_bytes(fetched, tmp_path, capsys):
    main(["--packages", str(fetched), "--output", str(tmp_path)])
    for name in ("pictures.zip", "PICTURES.md"):
        assert (tmp_path / name).read_bytes() == (EMBEDDED / name).read_bytes(), name
    assert "the code expects another pack" not in capsys.readouterr().out
