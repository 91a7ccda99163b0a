"""Mozilla's Common Voice: sentences read by volunteers, one language in a folder."""

from pathlib import PurePosixPath

from data.official_speech import Entry, Found, OfficialSpeech, audio_below
from data.places import Place
from data.speech import Dropped
from data.transcripts import tabbed
from shared.errors import VermeilError

TABLES = {"train": "train.tsv", "validation": "dev.tsv", "test": "test.tsv"}


class CommonVoice(OfficialSpeech):
    """train.tsv, dev.tsv and test.tsv beside clips/, as cv-corpus-*/LANGUAGE has them.

    A row has client_id, path and sentence; the official splits share no speaker. Recordings in
    clips/ that are in none of the three (validated.tsv's rest, invalidated.tsv) are not counted.
    """

    name = "common_voice"
    title = "Common Voice"
    licence = "CC0-1.0"

    def _find(self, place: Place, dropped: Dropped) -> Found:
        found = {
            split: name
            for split, table in TABLES.items()
            for name in [self._table(place, table)]
            if name
        }
        if "train" not in found:
            raise VermeilError(
                f"{self.root} holds no {TABLES['train']}",
                "give the folder of one language, cv-corpus-*/LANGUAGE",
            )
        return Found(
            {split: self._entries_of(place, name) for split, name in found.items()},
            list(found.values()),
        )

    def _table(self, place: Place, table: str) -> str | None:
        names = [name for name in place.sizes if PurePosixPath(name).name == table]
        if len(names) > 1:
            raise VermeilError(
                f"{self.root} holds {' and '.join(names[:2])}", "give the folder of one language"
            )
        return names[0] if names else None

    def _entries_of(self, place: Place, name: str) -> list[Entry]:
        folder = PurePosixPath(name).parent
        clips, entries = folder / "clips", []
        known = set(audio_below(place, str(clips).removeprefix("./")))
        for said in tabbed(self._read(place, name), place.spelled(name)):
            file = str(clips / said.file)  # old releases leave out the suffix
            file = file if file in known or f"{file}.mp3" not in known else f"{file}.mp3"
            entry = Entry(PurePosixPath(file).name, file, said.text, said.speaker, said.language)
            entries.append(entry)
        return entries
