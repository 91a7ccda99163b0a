"""COCO in its official form: photographs with five captions, and objects with boxes and masks."""

import json
import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from data.decoding import BadPicture
from data.official_pictures import Entry, Found, OfficialPictures, picture_of
from data.pictures import Picture, Skipped, check_split
from shared.errors import VermeilError

if TYPE_CHECKING:  # it takes the `vision` extra
    from data.augment import Annotated

NAMED = re.compile(r"(captions|instances)_((train|val)\w*)\.json")
UNLABELLED = "unlabelled"  # the last class: pictures without objects, or no instances_*.json
DIFFERENCE = 0.05  # of the sides' ratio, where a copy was made smaller; more is another picture


@dataclass(frozen=True)
class CocoEntry(Entry):
    """A picture with its size in the annotations, and the objects as they stand there."""

    width: int = 0
    height: int = 0
    objects: tuple[dict, ...] = ()


class Objects(NamedTuple):
    """A picture with what is to be seen where; `data.augment` takes `annotated`."""

    picture: Picture
    annotated: "Annotated"  # boxes (N, 4): x, y, w, h in pixels; masks (N, H, W) uint8
    labels: np.ndarray  # (N,) int64, places in `classes`
    crowd: np.ndarray  # (N,) bool: several of a class, not told apart


class Coco(OfficialPictures):
    """`root` with captions_*.json, instances_*.json or both, in it or in annotations/.

    The pictures of *_val2017.json lie in val2017/ or images/val2017/; annotations without such a
    folder are left out. Texts are the captions, without them the class's name; the label is the
    class of the object with the largest area, crowds only where there is nothing else; tags are
    all classes in the picture. Copies of the pictures may be smaller than the annotations say.
    """

    name = "coco"
    title = "COCO"
    licence = 'annotations CC BY 4.0; each photograph its own, see its "license"'

    def annotated(self, split: str) -> Iterator[Objects]:
        """The pictures that have objects, with boxes and masks; bad ones are counted."""
        import data.augment  # noqa: F401 (complains now if it is not installed)

        check_split(split)
        return self._annotated(split)

    def _annotated(self, split: str) -> Iterator[Objects]:
        skipped = self.skipped[split] = Skipped()
        for entry in self._entries[split]:
            if isinstance(entry, CocoEntry) and entry.objects:
                try:
                    yield objects_of(entry)
                except BadPicture as bad:
                    skipped.add(bad)

    def _find(self) -> Found:
        parts: dict[str, dict[str, Path]] = defaultdict(dict)
        for folder in (self.root, self.root / "annotations"):
            for path in sorted(folder.glob("*.json")):
                if named := NAMED.fullmatch(path.name):
                    parts[named[2]][named[1]] = path
        if not parts:
            raise VermeilError(
                f"{self.root} holds no captions_*.json and no instances_*.json, nor does its "
                "folder annotations",
                "give the folder in which COCO's archives were unpacked",
            )
        folders = {name: _folder(self.root, name) for name in parts}
        present = {name: folder for name, folder in folders.items() if folder is not None}
        if not present:
            raise VermeilError(
                f"{self.root} holds annotations, but no pictures",
                f"put them in {' or '.join(str(self.root / name) for name in sorted(parts))}",
            )
        return self._found_in({name: parts[name] for name in sorted(present)}, present)

    def _found_in(self, parts: dict[str, dict[str, Path]], folders: dict[str, Path]) -> Found:
        """The pictures of the parts of one year."""
        kinds = [name[: 5 if name.startswith("train") else 3] for name in parts]
        if len(set(kinds)) < len(kinds):
            raise VermeilError(
                f"{self.root} holds pictures of several years: {', '.join(parts)}",
                "keep one, they share pictures",
            )
        read = {name: _Part(folders[name], files) for name, files in parts.items()}
        categories: dict[int, str] = {}
        for part in read.values():
            for number, name in part.categories.items():
                if categories.setdefault(number, name) != name:
                    raise VermeilError(
                        f"category {number} is '{categories[number]}' and '{name}' in {self.root}",
                        "download its annotations again",
                    )
        classes = (*(categories[number] for number in sorted(categories)), UNLABELLED)
        labels = {number: label for label, number in enumerate(sorted(categories))}
        found: dict[str, list[Entry]] = {"train": [], "val": []}
        for kind, part in zip(kinds, read.values(), strict=True):
            found[kind] += part.entries(classes, labels)
        facts = [(path, path.name) for files in parts.values() for path in files.values()]
        return Found(classes, found["train"], found["val"], facts)


class _Part:
    """One part's annotation files, read; only what is used is kept."""

    def __init__(self, folder: Path, files: dict[str, Path]):
        self.folder = folder
        self.images: dict[int, tuple[str, int, int]] = {}
        self.categories: dict[int, str] = {}
        self.captions: dict[int, list[str]] = defaultdict(list)
        self.objects: dict[int, list[dict]] = defaultdict(list)
        for kind, path in sorted(files.items()):
            content = _load(path)
            try:
                self._take(kind, content)
            except (AttributeError, KeyError, TypeError, ValueError) as error:
                raise VermeilError(
                    f"{path} is not in COCO's form ({type(error).__name__}: {error})",
                    "download it again",
                ) from None

    def _take(self, kind: str, content: dict[str, Any]) -> None:
        for image in content["images"]:
            name = Path(image["file_name"])
            if name.is_absolute() or ".." in name.parts:
                raise ValueError(f"a picture outside its folder, {name}")
            width, height = int(image["width"]), int(image["height"])
            if min(width, height) < 1:
                raise ValueError(f"{name} with {width} x {height} pixels")
            self.images[image["id"]] = (name.as_posix(), width, height)
        if kind == "captions":
            for caption in content["annotations"]:
                if text := " ".join(caption["caption"].split()):
                    self.captions[caption["image_id"]].append(text)
            return
        for category in content["categories"]:
            self.categories[int(category["id"])] = str(category["name"])
        for thing in content["annotations"]:
            kept = {key: thing[key] for key in ("category_id", "area", "bbox", "segmentation")}
            kept["iscrowd"] = bool(thing.get("iscrowd"))
            if kept["category_id"] not in self.categories:
                raise ValueError(f"category {kept['category_id']} has no name")
            if len(kept["bbox"]) != 4 or not np.isfinite([kept["area"], *kept["bbox"]]).all():
                raise ValueError(f"a box {kept['bbox']} with area {kept['area']}")
            self.objects[thing["image_id"]].append(kept)

    def entries(self, classes: tuple[str, ...], labels: dict[int, int]) -> list[Entry]:
        """All pictures that the annotations list."""
        return [self._entry(number, classes, labels) for number in self.images]

    def _entry(self, number: int, classes: tuple[str, ...], labels: dict[int, int]) -> CocoEntry:
        name, width, height = self.images[number]
        things = sorted(self.objects.get(number, ()), key=lambda t: (t["iscrowd"], -t["area"]))
        things = [{**thing, "label": labels[thing["category_id"]]} for thing in things]
        found = [thing["label"] for thing in things] or [len(classes) - 1]
        tags = tuple(dict.fromkeys(classes[label] for label in found)) if things else ()
        texts = tuple(self.captions.get(number, ())) or (classes[found[0]],)
        identifier = f"{self.folder.name}/{name}"
        return CocoEntry(identifier, self.folder / name, found[0], texts, tags,
                         width, height, tuple(things))  # fmt: skip


def objects_of(entry: CocoEntry) -> Objects:
    """Read a picture with its boxes and masks, in its own size; raises BadPicture.

    Boxes are cut at the picture's edges; objects that then have no extent are left out.
    """
    from data.augment import Annotated
    from data.coco_masks import mask

    picture = picture_of(entry)
    height, width, _ = picture.pixels.shape
    if abs(width * entry.height / max(1, height * entry.width) - 1) > DIFFERENCE:
        said = f"{width} x {height}, not {entry.width} x {entry.height} pixels"
        raise BadPicture(entry.id, "another shape than annotated", said)
    scale = (width / entry.width, height / entry.height)
    corners = np.array([thing["bbox"] for thing in entry.objects], np.float64)  # (N, 4)
    corners[:, 2:] += corners[:, :2]
    corners = (corners.reshape(-1, 2, 2) * scale).clip(0, (width, height))  # (N, 2, 2)
    extents = corners[:, 1] - corners[:, 0]
    things = [thing for thing, box in zip(entry.objects, extents, strict=True) if box.min() > 0]
    boxes = np.concatenate([corners[:, 0], extents], 1)[extents.min(1) > 0]
    try:
        masks = [mask(thing["segmentation"], height, width, scale) for thing in things]
    except ValueError as error:
        raise BadPicture(entry.id, "damaged mask", str(error)) from None
    stacked = np.stack(masks) if masks else np.zeros((0, height, width), np.uint8)
    numbers = np.array([thing["label"] for thing in things], np.int64)
    crowd = np.array([thing["iscrowd"] for thing in things], bool)
    return Objects(picture, Annotated(picture.pixels, boxes, stacked), numbers, crowd)


def _folder(root: Path, name: str) -> Path | None:
    places = (root / name, root / "images" / name)
    return next((place for place in places if place.is_dir()), None)


def _load(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_bytes())
    except OSError as error:
        raise VermeilError(f"{path} cannot be read ({error.strerror})", "mend it") from None
    except (ValueError, RecursionError) as error:
        raise VermeilError(f"{path} is no whole JSON ({error})", "download it again") from None
    if not isinstance(content, dict):
        raise VermeilError(f"{path} is not in COCO's form", "download it again")
    return content
