"""ImageNet (ILSVRC 2012) as it is after unpacking the official archives."""

import re
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

from data.decoding import SUFFIXES
from data.folder_pictures import walk
from data.official_pictures import Entry, Found, OfficialPictures, listed, picture_files
from shared.errors import VermeilError

DEVKIT = "ILSVRC2012_devkit_t12"
META = "meta.mat"
TRUTH = "ILSVRC2012_validation_ground_truth.txt"
NAMED = re.compile(r"(ILSVRC2012_val_)0*([1-9]\d*)\..+", re.IGNORECASE)


class Synset(NamedTuple):
    """A class: its number in the devkit, its WordNet id, and the words for it."""

    number: int
    wnid: str
    words: tuple[str, ...]


class ImageNet(OfficialPictures):
    """`root` with train/WNID/*.JPEG, val/ILSVRC2012_val_*.JPEG, or one of them, and the devkit.

    The devkit is ILSVRC2012_devkit_t12/ or its data/. Classes are in the order of their WordNet
    ids, as in the literature (not in that of the devkit), each named by its first word; two that
    share it have the id behind it. Texts are all words. A val/ that was sorted into folders
    by WordNet id is read, too. The official test pictures have no labels and are not used.
    """

    name = "imagenet"
    title = "ImageNet (ILSVRC 2012)"
    licence = "research and education only; image-net.org/download"

    def _find(self) -> Found:
        devkit = self._devkit()
        synsets = _synsets(devkit / META)
        classes = _names(synsets)
        labels = {synset.wnid: label for label, synset in enumerate(synsets)}
        truth = devkit / TRUTH
        train, val = self.root / "train", self.root / "val"
        if not train.is_dir() and not val.is_dir():
            raise VermeilError(
                f"{self.root} holds neither train nor val", "unpack the pictures into them"
            )
        facts = [(devkit / META, META)]
        trained = self._by_folder(train, synsets, labels) if train.is_dir() else []
        tested: list[Entry] = []
        if val.is_dir():
            tested = self._by_folder(val, synsets, labels)
            if not tested:
                facts.append((truth, TRUTH))
                tested = self._by_number(val, synsets, _labels(truth, synsets))
        return Found(classes, trained, tested, facts)

    def _devkit(self) -> Path:
        places = (self.root / DEVKIT / "data", self.root / DEVKIT, self.root / "data", self.root)
        for place in places:
            if (place / META).is_file():
                return place
        raise VermeilError(
            f"{self.root} has no {DEVKIT}/data/{META}, which names the classes",
            f"unpack {DEVKIT}.tar.gz there",
        )

    def _by_folder(
        self, folder: Path, synsets: list[Synset], labels: dict[str, int]
    ) -> list[Entry]:
        entries = []
        for place in listed(folder):
            wnid = place.name
            if not place.is_dir():
                continue
            if wnid not in labels:
                raise VermeilError(
                    f"{place} is no class of the devkit", "move it out, or check its name"
                )
            label = labels[wnid]
            files = [path for path in walk(place) if path.suffix.lower() in SUFFIXES]
            if not files:
                raise VermeilError(
                    f"the class folder {place} holds no picture",
                    f"unpack {wnid}.tar in it, or remove it",
                )
            for path in files:
                identifier = path.relative_to(self.root).as_posix()
                entries.append(Entry(identifier, path, label, synsets[label].words))
        return entries

    def _by_number(self, folder: Path, synsets: list[Synset], labels: list[int]) -> list[Entry]:
        """One for each line of the ground truth, whether its file is there or not."""
        files: dict[int, Path] = {}
        for path in picture_files(folder):
            if named := NAMED.fullmatch(path.name):
                files[int(named[2])] = path
        if not files:
            raise VermeilError(
                f"{folder} holds no ILSVRC2012_val_00000001.JPEG or the like",
                "unpack ILSVRC2012_img_val.tar in it",
            )
        if max(files) > len(labels):
            raise VermeilError(
                f"{folder} has a picture number {max(files):,}, but {TRUTH} has "
                f"{len(labels):,} lines",
                "take both from the same year",
            )
        entries = []
        for number, label in enumerate(labels, 1):
            path = files.get(number, folder / f"ILSVRC2012_val_{number:08}.JPEG")
            entries.append(Entry(f"{folder.name}/{path.name}", path, label, synsets[label].words))
        return entries


def _synsets(path: Path) -> list[Synset]:
    """The classes of meta.mat that have none below them, in the order of their WordNet ids."""
    try:
        from scipy.io import loadmat
    except ImportError:
        raise VermeilError(
            f"reading {path} takes the package scipy, which is not installed", "pip install scipy"
        ) from None
    try:
        rows = loadmat(path, squeeze_me=True)["synsets"]
        synsets = [
            Synset(int(row["ILSVRC2012_ID"]), str(row["WNID"]), _words(row))
            for row in rows
            if not int(row["num_children"])
        ]
    except Exception as error:  # the reader of .mat raises nearly everything on damaged files
        reason = " ".join(str(error).split())[:100]
        raise VermeilError(
            f"{path} is not the devkit's list of classes ({type(error).__name__}: {reason})",
            f"unpack {DEVKIT}.tar.gz again",
        ) from None
    return sorted(synsets, key=lambda synset: synset.wnid)


def _words(row: Any) -> tuple[str, ...]:
    words = [word.strip() for word in str(row["words"]).split(",") if word.strip()]
    return tuple(words) or (str(row["WNID"]),)


def _names(synsets: list[Synset]) -> tuple[str, ...]:
    """The first words; "crane" is a bird and a machine."""
    times = Counter(synset.words[0] for synset in synsets)
    return tuple(
        synset.words[0] if times[synset.words[0]] == 1 else f"{synset.words[0]} ({synset.wnid})"
        for synset in synsets
    )


def _labels(path: Path, synsets: list[Synset]) -> list[int]:
    """The label of each validation picture; the file has the devkit's numbers, a line each."""
    labels = {str(synset.number): label for label, synset in enumerate(synsets)}
    try:
        lines = path.read_text(encoding="ascii").split()
    except (OSError, UnicodeDecodeError) as error:
        raise VermeilError(
            f"{path} cannot be read ({getattr(error, 'strerror', None) or 'no plain text'})",
            f"unpack {DEVKIT}.tar.gz again",
        ) from None
    for number, line in enumerate(lines, 1):
        if line not in labels:
            raise VermeilError(
                f"line {number:,} of {path} is '{line[:20]}', which is no class of {META}",
                f"unpack {DEVKIT}.tar.gz again",
            )
    return [labels[line] for line in lines]
