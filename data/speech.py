"""What every reader of speech gives: clips of audio with what is said in them, in three splits."""

from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from data.dataset import SPLITS, DataSet, check_split
from data.pictures import BadPicture, Skipped

__all__ = ["LABEL_METHODS", "SPLITS", "SUFFIXES", "Clip", "Dropped", "SpeechData", "check_split"]

# Who wrote down what is said: a person, the one who named the file, programs that listened and
# agreed, or nobody, since the words were there before a program spoke them.
LABEL_METHODS = ("human", "file_name", "recognisers", "synthetic")
SUFFIXES = (".wav", ".flac", ".ogg", ".opus", ".mp3", ".aiff", ".aif", ".au")


@dataclass(frozen=True)
class Clip:
    """One recording, with what is said in it."""

    id: str  # unique within its data set and stable over time, e.g. "digits/1"
    text: str  # what is said, as written by the source
    source: Path | bytes  # an audio file, or one's encoded bytes (WAV, FLAC, OGG, MP3)
    speaker: str = ""
    label_method: str = "human"  # one of LABEL_METHODS
    language: str = "en"


class Dropped(Skipped):
    """What a data set's lists hold that is of no use: how many for each reason, and a few names."""

    def drop(self, name: str, reason: str) -> None:
        """Count one."""
        self.add(BadPicture(name, reason))


class SpeechData(DataSet):
    """A data set of speech; `clips` streams, and decodes nothing: a source is a file or its bytes.

    `dropped` says what was passed over when the lists were read, before any audio is.
    """

    parts: tuple[str, ...] = SPLITS  # the splits that it has

    @property
    def dropped(self) -> Dropped:
        """Nothing, unless the data set reads what others wrote."""
        return Dropped()

    @abstractmethod
    def clips(self, split: str) -> Iterator[Clip]:
        """The clips of "train", "validation" or "test", always in the same order."""

    def inventory(self) -> Iterator[str]:
        """Clips, minutes and words by label method and split, and what is strange or missing."""
        from data.speech_tables import inventory

        return inventory(self)

    def excerpts(self, split: str, number: int, width: int) -> Iterator[str]:
        """The table, then words, speaker and length of a few clips, of many speakers."""
        from data.speech_tables import excerpts

        check_split(split)
        return excerpts(self, self.clips(split), number, width)
