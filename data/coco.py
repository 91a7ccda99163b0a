"""COCO in its official form: photographs with five captions, and objects with boxes and masks."""

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from data.decoding import BadPicture
from data.files import Named
from data.karpathy import karpathy
from data.official_json import formed, inside, load, one_line
from data.official_pictures import (
    UNLABELLED,
    Entry,
    Found,
    OfficialPictures,
    first_folder,
    picture_of,
)  # fmt: skip
from data.pictures import SPLITS, Picture, Skipped, check_split
from shared.errors import VermeilError

if TYPE_CHECKING:  # it takes the `vision` extra
    from data.augment import Annotated

NAMED = re.compile(r"(captions|instances)_((train|val|test)\w*)\.json")
KARPATHY = "dataset_coco.json"
FORM = "COCO"
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
    folder are left out. With dataset_coco.json in `root`, splits and captions are Karpathy's. Texts
    are the captions, without them the class's name; the label is the class of the object with the
    largest area, crowds only where there is nothing else, "unlabelled" where there is no object;
    tags are all classes in the picture. Copies of the pictures may be smaller than the annotations
    say.
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
        if (path := self.root / KARPATHY).is_file():
            return self._found_by_karpathy(path, parts)
        if not parts:
            raise VermeilError(
                f"{self.root} holds no captions_*.json and no instances_*.json, nor does its "
                "folder annotations",
                "give the folder in which COCO's archives were unpacked",
            )
        folders = self._folders(parts)
        return self._found_in({name: parts[name] for name in sorted(folders)}, folders)

    def _folders(self, names: Iterable[str]) -> dict[str, Path]:
        """The folders of pictures that are there; complains if there is none."""
        places = {name: (self.root / name, self.root / "images" / name) for name in names}
        found = {name: first_folder(*some) for name, some in places.items()}
        present = {name: folder for name, folder in found.items() if folder is not None}
        if not present:
            raise VermeilError(
                f"{self.root} holds annotations, but no pictures",
                f"put them in {' or '.join(str(self.root / name) for name in sorted(places))}",
            )
        return present

    def _found_in(self, parts: dict[str, dict[str, Path]], folders: dict[str, Path]) -> Found:
        """The pictures of the parts of one year."""
        kinds = [kind_of(name) for name in parts]
        if len(set(kinds)) < len(kinds):
            raise VermeilError(
                f"{self.root} holds pictures of several years: {', '.join(parts)}",
                "keep one, they share pictures",
            )
        dropped = Skipped()
        classes, entries = self._read(parts, folders, dropped)
        found = dict(zip(kinds, entries, strict=True))
        train, val, test = (found.get(kind, []) for kind in ("train", "val", "test"))
        return Found(classes, train, test, _facts(parts), val, dropped)

    def _found_by_karpathy(self, path: Path, parts: dict[str, dict[str, Path]]) -> Found:
        """The pictures of dataset_coco.json; where instances_*.json are, with their objects."""
        dropped = Skipped()
        described = karpathy(path, dropped)
        folders = self._folders({picture.folder for picture in described})
        objects = {name: {"instances": parts[name]["instances"]}
                   for name in sorted(folders) if "instances" in parts[name]}  # fmt: skip
        classes, read = self._read(objects, folders, Skipped())
        known = {entry.id: entry for entries in read for entry in entries}
        found: dict[str, list[Entry]] = {split: [] for split in SPLITS}
        for folder, name, split, texts in described:
            identifier = f"{folder}/{name}"
            if folder not in folders:
                dropped.add(BadPicture(identifier, f"no folder {folder}"))
                continue
            entry = Entry(identifier, folders[folder] / name, len(classes) - 1, texts)
            if identifier in known:
                entry = replace(known[identifier], texts=texts)
            found[split].append(entry)
        facts = [(path, path.name), *_facts(objects)]
        return Found(classes, found["train"], found["test"], facts, found["validation"], dropped)

    def _read(
        self, parts: dict[str, dict[str, Path]], folders: dict[str, Path], dropped: Skipped
    ) -> tuple[tuple[str, ...], list[list[Entry]]]:
        """The classes of all parts, and each part's pictures."""
        read = [_Part(folders[name], files, dropped) for name, files in parts.items()]
        categories: dict[int, str] = {}
        for part in read:
            for number, name in part.categories.items():
                if categories.setdefault(number, name) != name:
                    raise VermeilError(
                        f"category {number} is '{categories[number]}' and '{name}' in {self.root}",
                        "download its annotations again",
                    )
        classes = (*(categories[number] for number in sorted(categories)), UNLABELLED)
        labels = {number: label for label, number in enumerate(sorted(categories))}
        return classes, [part.entries(classes, labels) for part in read]


class _Part:
    """One part's annotation files, read; only what is used is kept."""

    def __init__(self, folder: Path, files: dict[str, Path], dropped: Skipped):
        self.folder, self.files, self.dropped = folder, files, dropped
        self.images: dict[int, tuple[str, int, int]] = {}
        self.categories: dict[int, str] = {}
        self.captions: dict[int, list[str]] = defaultdict(list)
        self.objects: dict[int, list[dict]] = defaultdict(list)
        for kind, path in sorted(files.items()):
            content = load(path, FORM)
            with formed(path, FORM):
                self._take(kind, content)

    def _take(self, kind: str, content: dict[str, Any]) -> None:
        for image in content["images"]:
            name = inside(image["file_name"])
            width, height = int(image["width"]), int(image["height"])
            if min(width, height) < 1:
                raise ValueError(f"{name} with {width} x {height} pixels")
            self.images[image["id"]] = (name, width, height)
        if kind == "captions":
            for caption in content["annotations"]:
                number, text = caption["image_id"], one_line(caption["caption"])
                if number not in self.images:
                    self._drop(f"image {number}", "caption of no picture")
                elif text:
                    self.captions[number].append(text)
                else:
                    self._drop(self.images[number][0], "empty caption")
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
        """All pictures that the annotations list, except those that have nothing to them."""
        wanted = []
        for number, (name, _, _) in self.images.items():
            if "captions" in self.files and not self._said(number):
                self._drop(name, "no caption")
            else:
                wanted.append(self._entry(number, classes, labels))
        return wanted

    def _said(self, number: int) -> bool:
        return number in self.captions or number in self.objects

    def _drop(self, name: str, reason: str) -> None:
        self.dropped.add(BadPicture(f"{self.folder.name}/{name}", reason))

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


def kind_of(part: str) -> str:
    """What a part is called without its year: "train", "val" or "test"."""
    return re.match("train|val|test", part)[0]  # type: ignore[index]


def _facts(parts: dict[str, dict[str, Path]]) -> list[Named]:
    return [(path, path.name) for files in parts.values() for path in files.values()]
