"""Your own recordings: a folder of audio files with their words beside them or in a list."""

import hashlib
from functools import cached_property
from pathlib import Path, PurePosixPath

from data.files import sha256_of
from data.folder_pictures import SPLIT_FOLDERS, walk
from data.official_speech import Entry, Found, OfficialSpeech, audio_below
from data.places import Folder, Place
from data.speech import SPLITS, SUFFIXES, Dropped
from data.transcripts import ABOVE, LISTS, Stems

PICTURES = (".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp")


class FolderSpeech(OfficialSpeech):
    """`root` with transcripts.txt (ID|TEXT), metadata.csv, manifest.jsonl, metadata.jsonl or
    txt.done.data, in it or in folders below, or NAME.txt beside NAME.wav.

    A file that a list mentions has its words from there. Ids are paths below `root`. Folders train,
    validation (val, dev) and test on the outermost floor are the splits; without them, and for
    those that are missing, training clips are divided. The first use reads everything once for
    its hash.
    """

    name = "speech"
    title = "your own speech"
    licence = "your own"

    def __init__(self, root: Path):
        super().__init__(root)
        self.name = self.root.resolve().name

    def _find(self, place: Place, dropped: Dropped) -> Found:
        lists = [name for name in place.sizes if PurePosixPath(name).name in LISTS]
        found: dict[str, Entry] = {}
        twice: list[Entry] = []
        for name in lists:
            path = PurePosixPath(name)
            folder = path.parent.parent if path.name in ABOVE else path.parent
            base = "" if str(folder) == "." else str(folder)
            stems = Stems(audio_below(place, base))
            for said in LISTS[path.name](self._read(place, name), place.spelled(name)):
                file = stems.find(base, said.file)
                entry = Entry(file, file, said.text, said.speaker, said.language)
                if found.setdefault(file, entry) is not entry:
                    twice.append(entry)
        beside, unlisted = [], []
        for file in audio_below(place):
            words = str(PurePosixPath(file).with_suffix(".txt"))
            if file in found:
                continue
            if words in place.sizes:
                found[file] = Entry(file, file, self._read(place, words))
                beside.append(words)
            else:
                unlisted.append(file)
        entries = sorted([*found.values(), *twice], key=lambda entry: entry.id)
        return Found(_by_folder(entries), [*lists, *beside], unlisted)

    @cached_property
    def _sha256(self) -> str:
        entries = [entry for split in SPLITS for entry in self._entries[split]]
        names = [*self._found.lists, *(entry.file for entry in entries)]
        if not isinstance(self._place, Folder):
            return super()._sha256
        files = [(self._place.source(name), name) for name in dict.fromkeys(names)]
        return hashlib.sha256(f"{self.version} {sha256_of(files)}".encode()).hexdigest()


def _by_folder(entries: list[Entry]) -> dict[str, list[Entry]]:
    """By the outermost folders, where one of them is for training."""
    own = [SPLIT_FOLDERS.get(entry.id.partition("/")[0].lower()) for entry in entries]
    if "train" not in own:
        return {"train": entries}
    splits: dict[str, list[Entry]] = {split: [] for split in SPLITS}
    for entry, split in zip(entries, own, strict=True):
        splits[split or "train"].append(entry)
    return splits


def has_speech(root: Path) -> bool:
    """Whether audio lies below `root`, before any picture; texts beside it are its words."""
    for path in walk(root):
        if path.suffix.lower() in (*SUFFIXES, *PICTURES):
            return path.suffix.lower() in SUFFIXES
    return False
