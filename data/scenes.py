"""Generated scenes: real emoji on a coloured ground, with exact truth.

One to three emoji stand in the cells of a 2 x 2 grid. A scene is a function of its split and number
alone, so there are as many as are asked for, and nothing is stored. What is held out:

    test     A  scenes never seen
    pairs    B  a fifth of the pairs of a thing and a ground, and of two things, never trained
    style    C  16 things trained in the flat style alone, here in the 3D one
    noto     D  a style that nobody trained on, of known things (fetched)
    unknown  E  things that nobody trained on
"""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache, cached_property
from itertools import product
from typing import TYPE_CHECKING

import numpy as np

from data.pictures import Picture, PictureData
from data.questions import VisualQuestion
from data.scene_concepts import BY_NAME, CATEGORIES, FIRST, FLAT_ONLY, KNOWN, UNKNOWN
from data.sprites import SpriteSheet, sheet_of
from shared.errors import VermeilError, nearest

if TYPE_CHECKING:
    from data.scene_words import SceneQuestion

GROUNDS = {
    "red": (200, 40, 40), "orange": (240, 145, 40), "yellow": (245, 225, 90),
    "green": (60, 160, 75), "blue": (50, 95, 205), "purple": (125, 60, 165),
    "pink": (250, 170, 200), "gray": (135, 135, 135),
}  # fmt: skip
CELLS = ("top left", "top right", "bottom left", "bottom right")
SIZES = {"large": 30 / 64, "small": 19 / 64}  # of the scene's side
GROUND_NAMES, SIZE_NAMES = [*GROUNDS], [*SIZES]
# How many of which: (2, 1) is two of one thing and one of another.
GROUPS = {(1,): 0.30, (1, 1): 0.22, (2,): 0.10, (1, 1, 1): 0.24, (2, 1): 0.08, (3,): 0.06}
HELD_OUT_SPLITS = ("test", "pairs", "style", "noto", "unknown")
SPLITS = ("train", "validation", *HELD_OUT_SPLITS)
HELD_OUT = 0.2  # of the pairs


@dataclass(frozen=True)
class Sprite:
    """One emoji in a scene."""

    concept: str
    cell: int  # its place in CELLS
    size: str  # "large" or "small"
    style: str

    @property
    def place(self) -> str:
        return CELLS[self.cell]

    @property
    def row(self) -> int:
        return self.cell // 2

    @property
    def column(self) -> int:
        return self.cell % 2


@dataclass(frozen=True)
class Scene:
    """What a picture shows, exactly; `seed` is for what words and pixels leave open."""

    id: str  # "train/12"
    ground: str
    sprites: tuple[Sprite, ...]
    seed: tuple[int, ...]

    @cached_property
    def counts(self) -> dict[str, int]:
        """How many there are of each thing, in the order of first appearance."""
        found: dict[str, int] = {}
        for sprite in self.sprites:
            found[sprite.concept] = found.get(sprite.concept, 0) + 1
        return found

    def random(self, purpose: int) -> np.random.Generator:
        """Numbers that depend on the scene and the purpose alone."""
        return np.random.default_rng((*self.seed, purpose))


WORDS, QUESTIONS, PIXELS = range(3)  # the purposes


def held_out(first: str, second: str) -> bool:
    """Whether a pair, of a thing and a ground or of two things, is never trained."""
    pair = " ".join(sorted((first, second))).encode()
    return hashlib.sha256(pair).digest()[0] < 256 * HELD_OUT


@dataclass(frozen=True)
class SceneConfig:
    """Which scenes there are."""

    size: int = 64  # pixels a side
    concepts: int = 0  # the first so many of FIRST; 0: all 64
    most: int = 3  # things in a scene
    train: int = 200_000  # how many different scenes training goes through
    test: int = 512  # in every split for validation and testing
    seed: int = 0


class Scenes(PictureData):
    """Scenes as pictures with five captions each, and with questions."""

    name = "scenes"
    version = "1"
    licence = "CC-BY-4.0 (Twemoji), MIT (Fluent Emoji, emojibase)"
    description = "generated scenes of emoji with captions, questions and exact truth"
    size = "made as they are read"
    classes = CATEGORIES

    def __init__(self, root=None, config: SceneConfig | None = None):
        super().__init__()
        if root is not None:
            raise VermeilError("scenes are made, not read: they take no root", "leave out --root")
        self.config = config or SceneConfig()

    @property
    def splits(self) -> str:  # type: ignore[override]
        """How many there are."""
        return f"{self.config.train:,} / {self.config.test:,} / {self.config.test:,}"

    def ready(self) -> bool:
        """Whether the emoji are there."""
        from data.embedded_pictures import EmbeddedPictures

        return EmbeddedPictures().ready()

    def prepare(self) -> None:
        """Verify the emoji."""
        from data.embedded_pictures import EmbeddedPictures

        EmbeddedPictures().prepare()

    def sha256(self) -> str:
        """Over the emoji, this code's version and the configuration."""
        from data.embedded_pictures import PACK_SHA256

        identity = f"{PACK_SHA256} {self.version} {sorted(asdict(self.config).items())}"
        return hashlib.sha256(identity.encode()).hexdigest()

    def length(self, split: str) -> int:
        """How many scenes a split has."""
        if split not in SPLITS:
            raise VermeilError(f"split '{split}' does not exist", nearest(split, list(SPLITS)))
        return self.config.train if split == "train" else self.config.test

    def at_size(self, size: int) -> "Scenes":
        """The same scenes with so many pixels a side."""
        return Scenes(config=replace(self.config, size=size))

    def scenes(self, split: str) -> Iterator[Scene]:
        """The scenes of a split, always the same."""
        return (self.scene(split, number) for number in range(self.length(split)))

    def scene(self, split: str, number: int) -> Scene:
        """One of them."""
        seed = (self.config.seed, SPLITS.index(split), number)
        random = np.random.default_rng(seed)
        groups = [group for group in GROUPS if sum(group) <= self.config.most]
        chances = np.array([GROUPS[group] for group in groups])
        group = groups[random.choice(len(groups), p=chances / chances.sum())]
        while True:  # half of the draws hold a pair that is for another split
            scene = self._draw(random, group, split, f"{split}/{number}", seed)
            pairs = [(c, scene.ground) for c in scene.counts]
            pairs += [(a, b) for a, b in product(scene.counts, repeat=2) if a < b]
            if any(held_out(*pair) for pair in pairs) == (split == "pairs"):
                return scene

    def _draw(
        self, random: np.random.Generator, group: tuple[int, ...], split: str, id: str, seed: tuple
    ) -> Scene:
        style, shown = self._style(random, split)
        drawn = random.choice(len(shown), len(group), replace=False).tolist()
        names = [shown[int(which)] for which in drawn]
        cells = random.permutation(4)[: sum(group)].tolist()
        many = [name for name, n in zip(names, group, strict=True) for _ in range(n)]
        sizes = [SIZE_NAMES[which] for which in random.integers(len(SIZES), size=len(many))]
        sprites = map(Sprite, many, cells, sizes, [style] * len(many))
        ground = GROUND_NAMES[random.integers(len(GROUNDS))]
        return Scene(id, ground, tuple(sprites), seed)

    def _style(self, random: np.random.Generator, split: str) -> tuple[str, Sequence[str]]:
        """A style, and what may be shown in it."""
        style = "flat" if random.random() < 0.5 else "3D"
        if split == "style":
            return "3D", self._flat_only
        if split == "noto":
            return "noto", self.names
        if split == "unknown":
            return style, [concept.name for concept in UNKNOWN]
        return style, self.names if style == "flat" else self._in_3d

    @cached_property
    def names(self) -> list[str]:
        """The things that training shows."""
        wanted = self.config.concepts
        if wanted > len(FIRST):
            raise VermeilError(
                f"{wanted} concepts", f"0 for all {len(KNOWN)}, or up to {len(FIRST)}"
            )
        return [*FIRST[:wanted]] if wanted else [concept.name for concept in KNOWN]

    @cached_property
    def _flat_only(self) -> list[str]:
        return [name for name in self.names if name in FLAT_ONLY]

    @cached_property
    def _in_3d(self) -> list[str]:
        return [name for name in self.names if name not in FLAT_ONLY]

    def render(self, scene: Scene) -> np.ndarray:
        """Its pixels, (size, size, 3) uint8: sprites somewhere in their cells on a tint."""
        random, size = scene.random(PIXELS), self.config.size
        colour = np.array(GROUNDS[scene.ground]) + random.integers(-12, 13, 3)
        canvas = np.empty((size, size, 3), np.float32)
        canvas[:] = colour
        cell = size // 2
        for sprite in scene.sprites:
            side = round(SIZES[sprite.size] * size)
            down, right = random.integers(0, cell - side + 1, 2)
            sheet = noto_sheet() if sprite.style == "noto" else trained_sheet()
            place = (sprite.row * cell + int(down), sprite.column * cell + int(right))
            sheet.paste(canvas, sprite.style, sprite.concept, *place, side)
        return canvas.round().clip(0, 255).astype(np.uint8)

    def pictures(self, split: str) -> Iterator[Picture]:
        """The split's scenes, labelled with the category of the first thing."""
        from data.scene_words import captions

        for scene in self.scenes(split):
            first = BY_NAME[scene.sprites[0].concept]
            yield Picture(
                id=scene.id,
                pixels=self.render(scene),
                label=self.classes.index(first.category),
                texts=captions(scene),
                style=scene.sprites[0].style,
                tags=tuple(scene.counts),
            )

    def questions(self, split: str) -> Iterator[VisualQuestion]:
        """The questions of every scene in turn."""
        return (question for scene in self.scenes(split) for question in self.asked(scene))

    def asked(self, scene: Scene) -> Iterator[VisualQuestion]:
        """The questions about one scene."""
        from data.scene_words import questions

        return self._numbered(scene, questions(scene))

    def taught(self, scene: Scene, random: np.random.Generator) -> Iterator[VisualQuestion]:
        """What is asked about one scene in training, as it is drawn."""
        from data.scene_lessons import lessons

        return self._numbered(scene, lessons(scene, random))

    def _numbered(
        self, scene: Scene, questions: "Iterable[SceneQuestion]"
    ) -> Iterator[VisualQuestion]:
        """Questions in the official form; ids are unlike those of the other splits."""
        _, split, number = scene.seed
        for place, question in enumerate(questions):
            yield VisualQuestion(
                id=(number * len(SPLITS) + split) * 100 + place,
                picture=scene.id,
                text=question.text,
                answers=(question.answer,),
                answer_type=question.answer_type,
                question_type=question.kind,
            )


@cache
def trained_sheet() -> SpriteSheet:
    """The emoji of the two styles that are trained on; all sizes of scenes share it."""
    from data.embedded_pictures import EmbeddedPictures

    return sheet_of([EmbeddedPictures()], {c.code: c.name for c in BY_NAME.values()})


@cache
def noto_sheet() -> SpriteSheet:
    """The emoji of the third style; it is fetched: vermeil data prepare noto_pictures."""
    from data.noto_pictures import NotoPictures

    return sheet_of([NotoPictures()], {c.code: c.name for c in BY_NAME.values()})
