"""Official downloads of pictures: what is there is listed at once, and pixels are read when asked.

Three parts are kept as the authors made them. Of two, what they call validation is the test split,
since that is what the literature reports on; validation pictures are taken from their training
pictures. One alone is divided 90 / 5 / 5. Both by the hash of the ids, with at most 5,000 held out
for each.
"""

import hashlib
from abc import abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import zip_longest
from pathlib import Path
from typing import NamedTuple

from data.decoding import SUFFIXES
from data.files import Named, sha256_of
from data.folder_pictures import read
from data.pictures import SPLITS, BadPicture, Picture, PictureData, Skipped, check_split, decode
from data.splits import Census
from shared.errors import VermeilError

UNLABELLED = "unlabelled"  # the class of pictures without one


@dataclass(frozen=True)
class Entry:
    """One picture that should be there."""

    id: str
    path: Path
    label: int
    texts: tuple[str, ...]
    tags: tuple[str, ...] = ()


class Found(NamedTuple):
    """What a download holds."""

    classes: tuple[str, ...]
    train: Sequence[Entry]
    test: Sequence[Entry]
    facts: list[Named]  # the files that labels and texts come from
    validation: Sequence[Entry] = ()
    dropped: Skipped | None = None  # what the annotations hold that is of no use


class OfficialPictures(PictureData):
    """A folder as it is after unpacking; a picture file that is missing is counted by its name.

    The identity is the content of the annotations, and names and sizes of the picture files: to
    read 100 GB for a hash would take longer than to learn from them.
    """

    version = "1"
    title: str

    def __init__(self, root: Path):
        super().__init__()
        self.root = root
        self.name = f"{self.name}@{root.resolve().name}"
        self.description = f"{self.title} in {root}"

    @abstractmethod
    def _find(self) -> Found:
        """Read the annotations; complains about what is no such download."""

    @property
    def classes(self) -> tuple[str, ...]:  # type: ignore[override]
        """As the annotations name them."""
        return self._found.classes

    @property
    def size(self) -> str:
        """Megabytes of picture files."""
        sizes = (max(0, _bytes(entry)) for some in self._entries.values() for entry in some)
        return f"{sum(sizes) / 1e6:.1f} MB"

    @property
    def splits(self) -> str:
        """Pictures in train, validation and test, by the annotations."""
        return " / ".join(f"{len(self._entries[split]):,}" for split in SPLITS)

    def ready(self) -> bool:
        """Whether the folder is there."""
        return self.root.is_dir()

    def prepare(self) -> None:
        """Read the annotations and find the files."""
        self._sha256  # noqa: B018 (computed on first use)

    @property
    def dropped(self) -> Skipped:
        """What was passed over in the annotations, before any picture is read."""
        return self._found.dropped or Skipped()

    def sha256(self) -> str:
        """Over the annotations' contents, and names and sizes of the picture files."""
        return self._sha256

    def pictures(self, split: str) -> Iterator[Picture]:
        """The split's pictures in the order of their ids; bad and missing ones are counted."""
        check_split(split)
        return self._pictures(split, self._entries[split])

    def inventory(self) -> Iterator[str]:
        """Pictures by class and split as the annotations have them; no picture is opened."""
        from data.picture_tables import inventory

        yield from inventory(self, self._entries.__getitem__)
        if self.dropped.counts:
            yield f"\npassed over in the annotations: {self.dropped}"

    def excerpts(self, split: str, number: int, width: int) -> Iterator[str]:
        """The table, then the first picture of each class in turn; no others are opened."""
        from data.picture_tables import excerpts

        check_split(split)
        by_class: dict[int, list[Entry]] = {}
        for entry in self._entries[split]:
            by_class.setdefault(entry.label, []).append(entry)
        rounds = zip_longest(*by_class.values())
        first = [entry for turn in rounds for entry in turn if entry][:number]
        return excerpts(self, self._pictures(split, first), number, width)

    def _pictures(self, split: str, entries: Iterable[Entry]) -> Iterator[Picture]:
        skipped = self.skipped[split] = Skipped()
        for entry in entries:
            try:
                yield picture_of(entry)
            except BadPicture as bad:
                skipped.add(bad)

    @cached_property
    def _found(self) -> Found:
        if not self.root.is_dir():
            raise VermeilError(
                f"there is no folder {self.root}", f"give the folder of {self.title}"
            )
        return self._find()

    @cached_property
    def _entries(self) -> dict[str, list[Entry]]:
        found = self._found
        parts = (found.train, found.validation, found.test)
        train, validation, test = (sorted(part, key=lambda e: e.id) for part in parts)
        if not test:
            validation, test = [], validation
        if not train and not validation:
            train, test = test, []
        self._check_apart([*train, *validation, *test])
        divided: dict[str, list[Entry]] = {"train": [], "validation": validation, "test": test}
        missing = [split for split in SPLITS if split != "train" and not divided[split]]
        if not missing:
            return divided | {"train": train}
        if len(train) < len(SPLITS):
            raise VermeilError(
                f"{self.root} has {len(train)} picture(s) of {self.title} to divide, at least "
                f"{len(SPLITS)} are needed",
                f"passed over: {self.dropped}" if self.dropped.counts else "bring more",
            )
        census = Census()
        for entry in train:
            census.add(entry.id)
        cuts = census.splits()
        for entry in train:
            split = cuts.of(entry.id)
            divided[split if split in missing else "train"].append(entry)
        return divided

    def _check_apart(self, entries: list[Entry]) -> None:
        """A picture in two splits would be learned and then tested."""
        seen: set[str] = set()
        for entry in entries:
            if entry.id in seen:
                raise VermeilError(
                    f"{self.root} names the picture {entry.id} twice", "take one of them out"
                )
            seen.add(entry.id)

    @cached_property
    def _sha256(self) -> str:
        whole = hashlib.sha256(f"{self.version} {sha256_of(self._found.facts)}".encode())
        for split in SPLITS:
            for entry in self._entries[split]:
                whole.update(f"{entry.id}\0{_bytes(entry)}\0".encode())
        return whole.hexdigest()


def picture_of(entry: Entry) -> Picture:
    """Read and decode one; raises BadPicture."""
    if not entry.path.is_file():
        raise BadPicture(entry.id, "missing file")
    pixels = decode(read(entry.path, entry.id), entry.id)
    return Picture(entry.id, pixels, entry.label, entry.texts, tags=entry.tags)


def picture_files(folder: Path) -> list[Path]:
    """The picture files that lie in a folder itself, sorted."""
    return [path for path in listed(folder) if path.suffix.lower() in SUFFIXES]


def first_folder(*places: Path) -> Path | None:
    """The first of these places that is a folder."""
    return next((place for place in places if place.is_dir()), None)


def listed(folder: Path) -> list[Path]:
    """What lies in a folder, sorted, hidden names left out; one it may not read is an error."""
    try:
        found = sorted(folder.iterdir())
    except OSError as error:
        raise VermeilError(
            f"the folder {folder} cannot be read ({error.strerror})",
            "give yourself the right to read it, or move it away",
        ) from None
    return [path for path in found if not path.name.startswith(".")]


def _bytes(entry: Entry) -> int:
    try:
        return entry.path.stat().st_size
    except OSError:
        return -1
