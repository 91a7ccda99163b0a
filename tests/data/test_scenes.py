"""Generated scenes: always the same, held-out ones apart, drawn where and as large as they say."""

from dataclasses import replace
from itertools import combinations, product

import numpy as np
import pytest

import data
from data.official_writer import write_official
from data.scene_concepts import BY_NAME, FIRST, FLAT_ONLY, KNOWN, UNKNOWN
from data.scenes import GROUNDS, SIZES, SPLITS, Scene, SceneConfig, Scenes, Sprite, held_out
from shared.errors import VermeilError

NAMES = {concept.name for concept in KNOWN}
N = 300


@pytest.fixture(scope="module")
def scenes() -> Scenes:
    return Scenes()


@pytest.fixture(scope="module")
def first(scenes) -> dict[str, list[Scene]]:
    return {split: [scenes.scene(split, number) for number in range(N)] for split in SPLITS}


def pairs(scene: Scene) -> set[tuple[str, str]]:
    """Every thing with the ground, and every two things."""
    things = sorted({sprite.concept for sprite in scene.sprites})
    return {(thing, scene.ground) for thing in things} | {*combinations(things, 2)}


def test_a_scene_is_the_same_whoever_asks_and_when(scenes, first):
    other = Scenes(config=SceneConfig(size=32))
    for number in (17, 3, 17, 250):
        assert other.scene("test", number) == first["test"][number]
        at_32 = other.render(first["test"][number])
        assert np.array_equal(at_32, scenes.at_size(32).render(scenes.scene("test", number)))


def test_splits_and_seeds_hold_other_scenes(first):
    shown = {split: [(s.ground, s.sprites) for s in some] for split, some in first.items()}
    for one, two in combinations(("train", "validation", "test"), 2):
        same = sum(a == b for a, b in zip(shown[one], shown[two], strict=True))
        assert same < N / 20
    reseeded = [Scenes(config=SceneConfig(seed=1)).scene("train", i).sprites for i in range(N)]
    same = sum(a == b.sprites for a, b in zip(reseeded, first["train"], strict=True))
    assert same < N / 20


def test_held_out_pairs_are_in_their_split_alone(first):
    for split, some in first.items():
        holding = [any(held_out(*pair) for pair in pairs(scene)) for scene in some]
        assert all(holding) if split == "pairs" else not any(holding)


def test_a_fifth_of_the_pairs_is_held_out_whatever_their_order():
    with_ground = [held_out(*pair) for pair in product(NAMES, GROUNDS)]
    of_things = [held_out(*pair) for pair in combinations(sorted(NAMES), 2)]
    assert np.mean(with_ground) == pytest.approx(0.2, abs=0.04)
    assert np.mean(of_things) == pytest.approx(0.2, abs=0.02)
    assert all(held_out(a, b) == held_out(b, a) for a, b in product(["dog", "car"], GROUNDS))
    for ground in GROUNDS:  # a ground without a held-out thing would not be tested
        assert 5 < sum(held_out(name, ground) for name in NAMES) < 25


def test_each_split_shows_what_it_is_for(first):
    shown = {split: {(s.style, s.concept) for scene in some for s in scene.sprites}
             for split, some in first.items()}  # fmt: skip
    for split in ("train", "validation", "test", "pairs"):
        assert {style for style, _ in shown[split]} == {"flat", "3D"}
        assert {concept for _, concept in shown[split]} <= NAMES
        assert not {concept for style, concept in shown[split] if style == "3D"} & FLAT_ONLY
    assert shown["style"] == {("3D", concept) for concept in FLAT_ONLY}
    assert len(FLAT_ONLY) == 16
    assert {concept for _, concept in shown["unknown"]} == {concept.name for concept in UNKNOWN}
    assert {style for style, _ in shown["noto"]} == {"noto"}
    everywhere = set[str]().union(*({name for _, name in shown[s]} for s in ("train", "noto")))
    assert everywhere == NAMES


def test_what_stands_where(first):
    for scene in first["train"]:
        cells = [sprite.cell for sprite in scene.sprites]
        assert len({*cells}) == len(cells) <= 3
        assert len({sprite.style for sprite in scene.sprites}) == 1
    numbers = np.bincount([len(scene.sprites) for scene in first["train"]], minlength=4)[1:] / N
    assert numbers == pytest.approx([0.30, 0.32, 0.38], abs=0.08)  # GROUPS, added up


def test_fewer_things_for_smaller_models():
    small = Scenes(config=SceneConfig(concepts=4, most=1))
    shown = {sprite.concept for i in range(60) for sprite in small.scene("train", i).sprites}
    assert shown == {*FIRST[:4]}
    assert all(len(small.scene("train", i).sprites) == 1 for i in range(60))
    with pytest.raises(VermeilError, match="17 concepts"):
        Scenes(config=SceneConfig(concepts=17)).scene("train", 0)


def test_the_content_is_the_identity():
    assert Scenes().sha256() == Scenes().sha256()
    others = [SceneConfig(size=32), SceneConfig(seed=1), SceneConfig(test=7)]
    assert len({Scenes(config=c).sha256() for c in (SceneConfig(), *others)}) == 4


def test_mistakes_are_named(tmp_path):
    with pytest.raises(VermeilError, match="take no root"):
        Scenes(root=tmp_path)
    with pytest.raises(VermeilError, match="'pair' does not exist") as error:
        Scenes().length("pair")
    assert "pairs" in error.value.hint
    with pytest.raises(VermeilError, match="'tset' does not exist"):
        next(iter(Scenes().pictures("tset")))


@pytest.mark.parametrize("size", [32, 64])
def test_a_picture_shows_the_scene(first, size):
    """The ground where nothing stands; each thing inside its cell, as large as it is said to be."""
    scenes, half = Scenes(config=SceneConfig(size=size)), size // 2
    for scene in (*first["test"][:25], *first["style"][:10], *first["unknown"][:10]):
        # A thing may have its ground's colour: on two grounds it shows on one of them at least.
        grounds = [scene.ground, "blue" if scene.ground != "blue" else "yellow"]
        drawn = [scenes.render(replace(scene, ground=ground)) for ground in grounds]
        assert all(picture.shape == (size, size, 3) for picture in drawn)
        assert all(picture.dtype == np.uint8 for picture in drawn)
        standing = {sprite.cell: sprite for sprite in scene.sprites}
        for cell in range(4):
            top, left = half * (cell // 2), half * (cell % 2)
            parts = [picture[top : top + half, left : left + half] for picture in drawn]
            plain = [plain_colour(picture, standing, half) for picture in drawn]
            for colour, name in zip(plain, grounds, strict=True):
                assert abs(colour - GROUNDS[name]).max() <= 12
            changed = np.any([(p != c).any(2) for p, c in zip(parts, plain, strict=True)], axis=0)
            if cell not in standing:
                assert not changed.any()
                continue
            rows, columns = (np.flatnonzero(changed.any(axis)) for axis in (1, 0))
            longer = max(np.ptp(rows), np.ptp(columns)) + 1
            side = round(SIZES[standing[cell].size] * size)
            assert side - 2 <= longer <= side


def plain_colour(picture: np.ndarray, standing: dict[int, Sprite], half: int) -> np.ndarray:
    """The colour of a cell in which nothing stands: there is one always."""
    empty = next(cell for cell in range(4) if cell not in standing)
    return picture[half * (empty // 2), half * (empty % 2)].astype(int)


def test_things_stand_anywhere_in_their_cells_on_tints_of_their_grounds(scenes, first):
    one = Scene("", "red", (Sprite("dog", 0, "small", "flat"),), (0,))
    drawn = [scenes.render(replace(one, seed=(0, 0, number))) for number in range(40)]
    assert len({tuple(picture[-1, -1]) for picture in drawn}) > 35
    tops = {int(np.flatnonzero((p != p[-1, -1]).any((1, 2)))[0]) for p in drawn}
    assert min(tops) <= 2
    assert max(tops) >= 10  # a small one has 32 - 19 = 13 pixels to go


def test_pictures_come_with_all_that_is_known(scenes):
    scene = scenes.scene("train", 0)
    picture = next(iter(scenes.pictures("train")))
    assert picture.id == "train/0"
    assert picture.tags == tuple(scene.counts)
    assert scenes.classes[picture.label] == BY_NAME[scene.sprites[0].concept].category
    assert picture.style == scene.sprites[0].style
    assert len(picture.texts) == 5


def test_the_official_forms_give_them_back(tmp_path):
    scenes = Scenes(config=SceneConfig(size=32, train=4, test=3))
    parts = {"train": "train2026", "validation": "val2026", "test": "test2026"}
    for split, part in parts.items():
        write_official(tmp_path, part, scenes.pictures(split), scenes.questions(split))
    coco = data.load_pictures(f"coco@{tmp_path}")
    vqa = data.load_pictures(f"vqa_v2@{tmp_path}")
    for split, part in parts.items():
        for back, picture in zip(coco.pictures(split), scenes.pictures(split), strict=True):
            assert back.texts == picture.texts
            assert np.array_equal(back.pixels, picture.pixels)
        for back, asked in zip(vqa.questions(split), scenes.questions(split), strict=True):
            number = int(asked.picture.partition("/")[2])
            assert back.picture == f"{part}/{number + 1:012}.png"
            assert (back.id, back.text) == (asked.id, asked.text)
            assert {*back.answers} == {*asked.answers}
            assert back.question_type == asked.question_type
            assert back.answer_type == asked.answer_type
