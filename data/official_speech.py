"""Downloads of speech: lists are read at once and compared with the files, audio when asked.

What cannot be used is left out, counted by reason and named: an entry without words or whose audio
is missing or empty, audio that no list mentions, and what is listed twice. A clip that two splits
hold is an error: it would be learned and then tested. Splits that the authors did not make are
taken from the training clips: 90 / 5 / 5 % by the hash of their words, so that a sentence is of
one split. Where every text is spoken often (commands, digits) that would hold out all of a word's
clips, so there the hash is that of the clips' ids.
"""

import hashlib
from abc import abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

from data.files import decode
from data.places import Place, place_of
from data.speech import SPLITS, SUFFIXES, Clip, Dropped, SpeechData, check_split
from data.splits import Census
from shared.errors import VermeilError

OFTEN = 4  # clips of each text, on average, from which on a text may be in several splits


@dataclass(frozen=True)
class Entry:
    """One clip that should be there."""

    id: str
    file: str  # its name in the place, or a path elsewhere
    text: str
    speaker: str = ""
    language: str = "en"
    label_method: str = "human"


class Found(NamedTuple):
    """What a download's lists say."""

    splits: dict[str, list[Entry]]  # some of "train", "validation", "test"
    lists: Sequence[str]  # the files it was read from
    unlisted: Iterable[str] = ()  # audio files that no list mentions


class OfficialSpeech(SpeechData):
    """A folder as it is after unpacking, or the .zip or plain .tar of one.

    The identity is the content of the lists, and names and sizes of the audio files, wherever they
    lie: to read 60 GB for a hash would take longer than to learn from them.
    """

    version = "1"
    title: str
    options: tuple[str, ...] = ()  # what may stand behind a # of the place, as NAME=VALUE

    def __init__(self, root: Path):
        place, mark, chosen = str(root).partition("#")
        self.root = Path(place)
        self.chosen = options_of(chosen, self.options, self.name)
        self.name = f"{self.name}@{self.root.resolve().name}{mark}{chosen}"
        self.description = f"{self.title} in {place}"

    @abstractmethod
    def _find(self, place: Place, dropped: Dropped) -> Found:
        """Read the lists; complains about what is no such download."""

    @property
    def size(self) -> str:
        """Megabytes of audio files."""
        sizes = (_bytes(self._place, e.file) for some in self._entries.values() for e in some)
        return f"{sum(sizes) / 1e6:.1f} MB"

    @property
    def splits(self) -> str:
        """Clips in train, validation and test."""
        return " / ".join(f"{len(self._entries[split]):,}" for split in SPLITS)

    @property
    def dropped(self) -> Dropped:
        """What was passed over in the lists."""
        self._entries  # noqa: B018 (counted on first use)
        return self._dropped

    def ready(self) -> bool:
        """Whether the folder or archive is there."""
        return self.root.exists()

    def prepare(self) -> None:
        """Read the lists and find the files."""
        self._sha256  # noqa: B018 (computed on first use)

    def sha256(self) -> str:
        """Over the lists' contents, the clips of each split, and sizes of the audio files."""
        return self._sha256

    def clips(self, split: str) -> Iterator[Clip]:
        """The split's clips in the order of the lists."""
        check_split(split)
        return (self._clip(entry) for entry in self._entries[split])

    def _clip(self, e: Entry) -> Clip:
        listed = e.file in self._place.sizes
        source = self._place.source(e.file) if listed else Path(e.file)
        return Clip(e.id, e.text, source, e.speaker, e.label_method, e.language)

    def _read(self, place: Place, name: str) -> str:
        """A list's text."""
        return decode(place.read(name), place.spelled(name)).removeprefix("\ufeff")

    @cached_property
    def _place(self) -> Place:
        return place_of(self.root, self.title)

    @cached_property
    def _dropped(self) -> Dropped:
        return Dropped()

    @cached_property
    def _found(self) -> Found:
        found = self._find(self._place, self._dropped)
        for name in found.unlisted:
            self._dropped.drop(name, "no transcript")
        return found

    @cached_property
    def _entries(self) -> dict[str, list[Entry]]:
        seen: dict[str, str] = {}
        divided: dict[str, list[Entry]] = {split: [] for split in SPLITS}
        for split, entries in self._found.splits.items():
            divided[split] = [e for e in map(_tidied, entries) if self._usable(e, split, seen)]
        return self._divide(divided)

    def _usable(self, entry: Entry, split: str, seen: dict[str, str]) -> bool:
        size = _bytes(self._place, entry.file)
        if entry.id in seen and seen[entry.id] != split:
            raise VermeilError(
                f"{self.root} has {entry.id} in {seen[entry.id]} and in {split}",
                "take it out of one of them",
            )
        reason = (
            "listed twice" if entry.id in seen
            else "empty transcript" if not entry.text
            else "missing audio" if size < 0
            else "empty file" if size == 0
            else ""
        )  # fmt: skip
        if reason:
            self._dropped.drop(entry.id, reason)
        seen[entry.id] = split
        return not reason

    def _divide(self, divided: dict[str, list[Entry]]) -> dict[str, list[Entry]]:
        """Take from the training clips for the splits that have none."""
        missing = [split for split in ("validation", "test") if not divided[split]]
        train = divided["train"]
        texts = {words_of(entry.text) for entry in train}
        often = len(train) >= OFTEN * len(texts)
        families = [entry.id if often else words_of(entry.text) for entry in train]
        number = len(set(families))
        if not any(divided.values()) or (missing and number < len(SPLITS)):
            what = f"{len(train)} clip(s) with {len(texts)} text(s) of {self.title} to divide"
            raise VermeilError(
                f"{self.root} has {what}, at least {len(SPLITS)} are needed",
                f"passed over: {self._dropped}" if self._dropped.counts else "bring more",
            )
        if not missing:
            return divided
        census = Census()
        for family in dict.fromkeys(families):
            census.add(family)
        cuts = census.splits()
        divided["train"] = []
        for entry, family in zip(train, families, strict=True):
            split = cuts.of(family)
            divided[split if split in missing else "train"].append(entry)
        return divided

    @cached_property
    def _sha256(self) -> str:
        whole = hashlib.sha256(f"{self.version} {sorted(self.chosen.items())}".encode())
        for name in self._found.lists:
            whole.update(hashlib.sha256(self._place.read(name)).digest())
        for split in SPLITS:
            for entry in self._entries[split]:
                size = _bytes(self._place, entry.file)
                whole.update(f"{split}\0{entry.id}\0{entry.text}\0{size}\0".encode())
        return whole.hexdigest()


def options_of(text: str, known: tuple[str, ...], name: str) -> dict[str, str]:
    """The parts of "test=A,speaker=B" behind a place."""
    chosen = {}
    for part in filter(None, text.split(",")):
        key, equals, value = part.partition("=")
        if key not in known or not equals or not value:
            usual = ",".join(f"{key}=..." for key in known)
            raise VermeilError(
                f"'#{part}' is nothing to choose of {name}",
                f"write #{usual}" if known else "leave out the #",
            )
        chosen[key] = value
    return chosen


def audio_below(place: Place, folder: str = "") -> list[str]:
    """The audio files below a folder of the place, in the order of their names."""
    start = f"{folder}/" if folder else ""
    return [n for n in place.sizes if n.startswith(start) and n.lower().endswith(SUFFIXES)]


def _tidied(entry: Entry) -> Entry:
    text = " ".join(entry.text.split())
    return entry if text == entry.text else Entry(**{**vars(entry), "text": text})


def words_of(text: str) -> str:
    """A text as it counts for the splits: capitals and punctuation are not said."""
    return " ".join("".join(c if c.isalnum() else " " for c in text.casefold()).split())


def _bytes(place: Place, file: str) -> int:
    if (size := place.sizes.get(file)) is not None:
        return size
    path = Path(file)
    return path.stat().st_size if path.is_absolute() and path.is_file() else -1
