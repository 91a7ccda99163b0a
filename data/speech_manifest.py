"""A JSONL manifest as NeMo writes it: an object a line, with an audio file, its text and length."""

import os
from pathlib import Path, PurePosixPath

from data.folder_pictures import SPLIT_FOLDERS
from data.official_speech import Entry, Found, OfficialSpeech
from data.places import Folder, Place
from data.speech import Dropped
from data.transcripts import json_lines
from shared.errors import VermeilError

SUFFIXES = (".jsonl", ".json", ".manifest")


class Manifest(OfficialSpeech):
    """One manifest, or a folder with one for each split: train_manifest.json, dev.jsonl, ...

    Lines have audio_filepath, absolute or as seen from the manifest, and text; duration is not
    asked for, the audio knows. An "offset" is refused: a clip is a file. Ids are the paths.
    """

    name = "manifest"
    title = "a manifest of speech"
    licence = "your own"

    def __init__(self, root: Path):
        super().__init__(root)
        self.manifest = self.root if self.root.is_file() else None
        if self.manifest:
            self.root = self.root.parent

    def _find(self, place: Place, dropped: Dropped) -> Found:
        if not isinstance(place, Folder):
            raise VermeilError(f"{place.root} is an archive", "unpack it and give the folder")
        lists = [self.manifest.name] if self.manifest else _manifests(place)
        splits: dict[str, list[Entry]] = {}
        for name in lists:
            split = "train" if self.manifest else _split(name)
            if split is None:
                continue
            path = place.spelled(name)
            for said in json_lines(self._read(place, name), path):
                file = os.path.relpath(os.path.join(path.parent, said.file), place.root)
                if file.startswith(".."):
                    file = os.path.normpath(os.path.join(path.parent.absolute(), said.file))
                entry = Entry(said.file, file, said.text, said.speaker, said.language)
                splits.setdefault(split, []).append(entry)
        if "train" not in splits:
            raise VermeilError(
                f"{self.root} holds no manifest to learn from",
                "give one .jsonl, or a folder with train.jsonl and perhaps dev.jsonl, test.jsonl",
            )
        return Found(splits, lists)


def _manifests(place: Place) -> list[str]:
    return [name for name in place.sizes if "/" not in name and name.endswith(SUFFIXES)]


def _split(name: str) -> str | None:
    """The split that a manifest's name says: the first part of it that is one's name."""
    parts = PurePosixPath(name).stem.lower().replace("-", "_").replace(".", "_").split("_")
    return next((SPLIT_FOLDERS[part] for part in parts if part in SPLIT_FOLDERS), None)
