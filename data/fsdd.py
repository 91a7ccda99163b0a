"""The Free Spoken Digit Dataset: ten digits, fifty times each, by six people."""

import re
from pathlib import PurePosixPath

from data.official_speech import Entry, Found, OfficialSpeech, audio_below
from data.places import Place
from data.speech import Dropped
from shared.errors import VermeilError, nearest

DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
RECORDING = re.compile(r"(\d)_([a-z]+)_(\d+)\.wav")
TEST = 5  # recordings of each digit and speaker, the first ones, as its README has it


class SpokenDigits(OfficialSpeech):
    """recordings/DIGIT_SPEAKER_INDEX.wav, 8 kHz (Jackson et al.), from the folder or the .zip.

    Official split: index 0-4 is the test split, the rest training, of which validation is taken by
    the hash of the ids. #speaker=NAME leaves one speaker out instead: the test split is everything
    that NAME says, and training all that the others say.
    """

    name = "fsdd"
    title = "the Free Spoken Digit Dataset"
    licence = "CC BY-SA 4.0"
    options = ("speaker",)

    def _find(self, place: Place, dropped: Dropped) -> Found:
        entries: list[tuple[Entry, int]] = []
        for file in audio_below(place):
            path = PurePosixPath(file)
            if path.parent.name != "recordings":
                continue
            if name := RECORDING.fullmatch(path.name):
                text, speaker = DIGITS[int(name[1])], name[2]
                entry = Entry(path.stem, file, text, speaker, label_method="file_name")
                entries.append((entry, int(name[3])))
            else:
                dropped.drop(path.name, "name without digit, speaker and number")
        if not entries:
            raise VermeilError(
                f"{self.root} holds no recordings/DIGIT_SPEAKER_INDEX.wav",
                f"give the folder or the .zip of {self.title}",
            )
        entries.sort(key=lambda found: (found[0].speaker, found[0].text, found[1]))
        alone = self.chosen.get("speaker")
        speakers = sorted({entry.speaker for entry, _ in entries})
        if alone and alone not in speakers:
            raise VermeilError(f"nobody in {self.root} is called {alone}", nearest(alone, speakers))
        splits: dict[str, list[Entry]] = {"train": [], "test": []}
        for entry, index in entries:
            held_out = entry.speaker == alone if alone else index < TEST
            splits["test" if held_out else "train"].append(entry)
        return Found(splits, ())
