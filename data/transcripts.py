"""Lists of what is said in audio files, in the forms that speech corpora come with."""

import csv
import io
import json
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path, PurePosixPath
from posixpath import normpath
from typing import NamedTuple

from shared.errors import VermeilError

FESTIVAL = re.compile(r'\(\s*(\S+)\s+"(.*)"\s*\)')
# What people call the columns of a table, the best first.
FILES = ("file_name", "audio_filepath", "path", "file", "audio", "wav", "id")
TEXTS = ("text", "transcription", "transcript", "sentence", "normalized_text", "raw_transcription")
SPEAKERS = ("speaker", "speaker_id", "client_id")
LANGUAGES = ("language", "lang", "locale")


class Said(NamedTuple):
    """One line of a list."""

    file: str  # an audio file's name, often without its suffix
    text: str
    speaker: str = ""
    language: str = "en"


def piped(text: str, path: Path) -> Iterator[Said]:
    """ID|TEXT, or LJSpeech's ID|TEXT|TEXT with numbers and abbreviations in words."""
    for number, line in _lines(text):
        file, mark, said = line.partition("|")
        if not mark or not file.strip():
            raise VermeilError(f"{path} line {number} is not ID|TEXT", "mend it or take it out")
        first, _, normalised = said.partition("|")
        yield Said(file.strip(), normalised.strip() or first.strip())


def festival(text: str, path: Path) -> Iterator[Said]:
    """( ID "TEXT" ), as Festival and CMU ARCTIC's txt.done.data have it."""
    for number, line in _lines(text):
        parts = FESTIVAL.fullmatch(line.strip())
        if parts is None:
            raise VermeilError(f'{path} line {number} is not ( ID "TEXT" )', "download it again")
        yield Said(parts[1], parts[2].replace('\\"', '"'))


def spaced(text: str, path: Path) -> Iterator[Said]:
    """ID TEXT, as LibriSpeech's .trans.txt and Kaldi's `text` have it."""
    for _, line in _lines(text):
        file, *said = line.split(maxsplit=1)
        yield Said(file, said[0].strip() if said else "")


def tabbed(text: str, path: Path) -> Iterator[Said]:
    """A table whose first line names its columns, with tabs and without quotes (Common Voice)."""
    rows = csv.DictReader(io.StringIO(text), delimiter="\t", quoting=csv.QUOTE_NONE)
    yield from _table(rows, path)


def comma(text: str, path: Path) -> Iterator[Said]:
    """A table whose first line names its columns, with commas, as the Hub's audio folders have."""
    yield from _table(csv.DictReader(io.StringIO(text)), path)


def json_lines(text: str, path: Path) -> Iterator[Said]:
    """An object a line, with audio_filepath and text as NeMo has it; parts of files are refused."""
    for number, line in _lines(text):
        try:
            row = json.loads(line)
        except (json.JSONDecodeError, RecursionError) as error:
            raise VermeilError(f"{path} line {number} is not JSON ({error})", NEMO) from None
        if not isinstance(row, dict):
            raise VermeilError(f"{path} line {number} is no JSON object", NEMO)
        file, said = _first(row, FILES), _first(row, TEXTS)
        if not isinstance(file, str) or not isinstance(said, str):
            raise VermeilError(f"{path} line {number} has no audio_filepath and text", NEMO)
        if row.get("offset"):
            raise VermeilError(
                f"{path} line {number} is a part of {file}, from {row['offset']} s on",
                "cut it into files of its own, e.g. with sox",
            )
        speaker, language = _first(row, SPEAKERS), _first(row, LANGUAGES)
        yield Said(file, said, str(speaker or ""), str(language or "en"))


NEMO = 'every line is one object such as {"audio_filepath": "a.wav", "text": "..."}'


def sniffed(text: str, path: Path) -> Iterator[Said]:
    """A .csv as it looks: with a first line of columns' names, or ID|TEXT."""
    first = text.partition("\n")[0]
    named = {cell.strip().lower() for cell in first.split(",")}
    return (comma if named & {*FILES} and named & {*TEXTS} else piped)(text, path)


# Name of a list -> how it is read and where its audio lies, beside it or one folder up.
LISTS: dict[str, Callable[[str, Path], Iterator[Said]]] = {
    "manifest.jsonl": json_lines,
    "metadata.jsonl": json_lines,
    "metadata.csv": sniffed,
    "transcripts.txt": piped,
    "txt.done.data": festival,
}
ABOVE = ("txt.done.data",)  # in etc/, beside wav/


class Stems:
    """Audio files by name and by stem, for lists that leave out folders and suffixes."""

    def __init__(self, files: Iterable[str]):
        self._files = set(files)
        self._called: dict[str, str | None] = {}  # None: by several
        for file in self._files:
            path = PurePosixPath(file)
            for name in {path.name, path.stem, str(path.with_suffix(""))}:
                self._called[name] = None if name in self._called else file

    def find(self, folder: str, said: str) -> str:
        """The file that a list in `folder` means.

        Where there is none, or several have that name in other folders, the name that it gives.
        """
        spelled = normpath(PurePosixPath(folder) / said)
        if spelled in self._files:
            return spelled
        known = self._called
        return known.get(spelled) or known.get(PurePosixPath(said).name) or spelled


def _lines(text: str) -> Iterator[tuple[int, str]]:
    return ((n, line) for n, line in enumerate(text.split("\n"), 1) if line.strip())


def _table(rows: csv.DictReader, path: Path) -> Iterator[Said]:
    names = [name for name in rows.fieldnames or () if name]
    lowered = {name.strip().lower(): name for name in names}

    def column(known: tuple[str, ...]) -> str | None:
        return next((lowered[name] for name in known if name in lowered), None)

    file, text = column(FILES), column(TEXTS)
    if file is None or text is None:
        raise VermeilError(
            f"{path} has no columns of files and texts (it has: {', '.join(names)[:100]})",
            f"name them {FILES[0]} and {TEXTS[0]}",
        )
    speaker, language = column(SPEAKERS), column(LANGUAGES)
    for row in rows:
        said = {key: value or "" for key, value in row.items() if isinstance(key, str)}
        yield Said(
            said[file].strip(),
            said[text],
            said[speaker].strip() if speaker else "",
            (said[language].strip() if language else "") or "en",
        )


def _first(row: dict, names: tuple[str, ...]):
    return next((row[name] for name in names if name in row), None)
