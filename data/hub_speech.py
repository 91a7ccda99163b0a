"""Any speech data set of the Hugging Face Hub, streamed: nothing is kept on the disk."""

import hashlib
from collections.abc import Iterator
from functools import cached_property
from itertools import chain, islice
from pathlib import Path
from typing import Any, NamedTuple

from data.folder_pictures import SPLIT_FOLDERS
from data.hub import HubPlace
from data.official_speech import options_of
from data.speech import SPLITS, Clip, Dropped, SpeechData, check_split
from data.splits import BY_SHARE, SHARE
from data.transcripts import LANGUAGES, SPEAKERS, TEXTS
from shared.errors import VermeilError, nearest

MAX_BYTES = 2**28  # of one clip's file


class Columns(NamedTuple):
    """Where a row has its parts."""

    audio: str
    text: str
    speaker: str | None
    language: str | None


class HubSpeech(SpeechData):
    """The rows of the Hub's OWNER/NAME[/CONFIGURATION][@REVISION][#COLUMNS], or of a local folder.

    Audio is the first column of the type Audio, handed on as the file it is; words stand in a
    column with one of the names in `TEXTS`, speakers in one of `SPEAKERS`. Others are asked for
    with #audio=A,text=B,speaker=C. The Hub's splits are ours; where validation or test are
    missing, 1 % of the training rows each is it, by the hash of the ids, which are SPLIT/ROW.
    #split=NAME takes that one split alone and divides it. Rows without audio or words are counted
    in `dropped` as they are met.
    """

    version = "1"
    size = "streamed"

    def __init__(self, root: Path):
        place, mark, options = str(root).partition("#")
        self.hub = HubPlace(place, "hub_speech")
        self.name = f"{self.hub.name}{mark}{options}"
        self.description = f"speech of {place} of the Hugging Face Hub"
        self.chosen = options_of(options, ("audio", "text", "speaker", "split"), self.name)
        self._dropped: dict[str, Dropped] = {}

    @property
    def licence(self) -> str:
        """As the data set's card states it."""
        return self.hub.licence

    @property
    def splits(self) -> str:
        """The Hub's own names, or the share of the training rows."""
        streams = self._streams
        return " / ".join(streams[s][0] if s in streams else f"{SHARE:.0%}" for s in SPLITS)

    @property
    def dropped(self) -> Dropped:
        """What the latest reading of each split passed over."""
        whole = Dropped()
        for one in self._dropped.values():
            whole.counts.update(one.counts)
            for reason, names in one.names.items():
                whole.names.setdefault(reason, []).extend(names)
        return whole

    def ready(self) -> bool:
        """Whether it is a folder on this machine; the Hub is not asked."""
        return self.hub.local

    def prepare(self) -> None:
        """Ask the Hub for the data set, and look at its columns."""
        self._columns  # noqa: B018 (found on first use)

    def sha256(self) -> str:
        """Of the name, the revision and the columns; of a local folder's files."""
        identity = f"{self.version} {self.hub.sha256()} {sorted(self.chosen.items())}"
        return hashlib.sha256(identity.encode()).hexdigest()

    def inventory(self) -> Iterator[str]:
        """Nothing: going through it would download it thrice."""
        return iter(())

    def excerpts(self, split: str, number: int, width: int) -> Iterator[str]:
        """The first clips."""
        from data.speech_tables import described

        check_split(split)
        first = islice(self.clips(split), number)
        lines = chain.from_iterable(described(clip, width) for clip in first)
        return chain([f"{self.size}; {self.splits}"], lines)

    def clips(self, split: str) -> Iterator[Clip]:
        """The split's clips in the order of the rows."""
        check_split(split)
        return self._clips(split, self._columns)

    def _clips(self, split: str, columns: Columns) -> Iterator[Clip]:
        dropped = self._dropped[split] = Dropped()
        name, stream = self._streams.get(split) or self._streams["train"]
        without = [name for name in SPLITS if name not in self._streams]
        number = 0
        try:
            for number, row in enumerate(_undecoded(stream, columns), start=1):
                identifier = f"{name}/{number - 1}"
                own = BY_SHARE.of(identifier)
                divided = split == "train" or split in without
                if divided and split != (own if own in without else "train"):
                    continue
                clip = clip_of(row, identifier, columns)
                if isinstance(clip, str):
                    dropped.drop(identifier, clip)
                else:
                    yield clip
        except Exception as error:
            raise self.hub.refusal(error, f"stopped after row {number:,}") from None

    @cached_property
    def _streams(self) -> dict[str, tuple[str, Any]]:
        """By our name of a split, the Hub's name and its rows."""
        found = self.hub.splits()
        chosen = self.chosen.get("split")
        if chosen:
            if chosen not in found:
                raise VermeilError(
                    f"{self.name} has no split '{chosen}' (it has: {', '.join(found)})",
                    nearest(chosen, list(found)),
                )
            return {"train": (chosen, found[chosen])}
        streams = {
            ours: (name, stream)
            for name, stream in found.items()
            if (ours := SPLIT_FOLDERS.get(str(name).lower()))
        }
        if "train" not in streams:
            first = next(iter(found), "NAME")
            raise VermeilError(
                f"{self.name} has no split to learn from (it has: {', '.join(found)})",
                f"choose one to be divided: {self.name}#split={first}",
            )
        return streams

    @cached_property
    def _columns(self) -> Columns:
        from datasets import Audio

        stream = self._streams["train"][1]
        try:
            known = dict(stream.features or dict.fromkeys(next(iter(stream), {})))
        except Exception as error:
            raise self.hub.refusal(error, "cannot be read") from None
        for option, name in self.chosen.items():
            if option != "split" and name not in known:
                raise VermeilError(f'{self.name} has no column "{name}"', nearest(name, [*known]))
        sounds = [name for name, kind in known.items() if isinstance(kind, Audio)]
        audio = self.chosen.get("audio", sounds[0] if sounds else None)
        text = self.chosen.get("text") or next((name for name in TEXTS if name in known), None)
        for column, what, right in (
            (audio, "of the type Audio", audio in sounds),
            (text, f"called {TEXTS[0]} or {TEXTS[1]}", True),
        ):
            if column is None or not right:
                raise VermeilError(
                    f"{self.name} needs a column {what} (it has: {', '.join(known)})",
                    f"choose with {self.name}#audio=A,text=B, or take another data set",
                )
        assert audio and text
        speaker = self.chosen.get("speaker") or next((n for n in SPEAKERS if n in known), None)
        language = next((name for name in LANGUAGES if name in known), None)
        return Columns(audio, text, speaker, language)


def clip_of(row: dict[str, Any], identifier: str, columns: Columns) -> Clip | str:
    """A row as a clip, or why it is none."""
    said = row[columns.text]
    text = " ".join(said.split()) if isinstance(said, str) else ""
    if not text:
        return "empty transcript"
    audio = row[columns.audio] or {}
    content, path = audio.get("bytes"), audio.get("path")
    if content is None:
        if not path:
            return "missing audio"
        import fsspec

        try:
            with fsspec.open(path, "rb") as file:
                content = file.read(MAX_BYTES + 1)  # type: ignore[union-attr]
        except FileNotFoundError:
            return "missing audio"
    if not content:
        return "empty file"
    if len(content) > MAX_BYTES:
        return "file of more than 256 MB"
    speaker = row[columns.speaker] if columns.speaker else ""
    language = row[columns.language] if columns.language else ""
    return Clip(identifier, text, content, str(speaker), language=str(language or "en"))


def _undecoded(stream: Any, columns: Columns) -> Any:
    """The rows with audio as files, since `datasets` decodes with what may not be installed."""
    from datasets import Audio

    wanted = [name for name in columns if name]
    return stream.select_columns(wanted).cast_column(columns.audio, Audio(decode=False))
