"""LibriSpeech: read books, by subset, speaker and chapter."""

from pathlib import PurePosixPath

from data.official_speech import Entry, Found, OfficialSpeech, audio_below
from data.places import Place
from data.speech import Dropped
from data.transcripts import spaced
from shared.errors import VermeilError, nearest

SUFFIX = ".trans.txt"
KINDS = {"train": "train", "dev": "validation", "test": "test"}
USUAL = ("dev-clean", "test-clean")  # the literature's headline; -other stands beside it


class LibriSpeech(OfficialSpeech):
    """SUBSET/SPEAKER/CHAPTER/SPEAKER-CHAPTER.trans.txt beside its .flac files (Panayotov et al.,
    2015), from LibriSpeech/ or the folder above it; MLS and LibriTTS's other forms are not read.

    Every train-* that is there is training. dev-clean is validation and test-clean the test split,
    with -other alone where -clean is missing; others are chosen with #validation=SUBSET,
    #test=SUBSET or #train=SUBSET. Transcripts are in capitals, as the authors have them.
    """

    name = "librispeech"
    title = "LibriSpeech"
    licence = "CC BY 4.0"
    options = ("train", "validation", "test")

    def _find(self, place: Place, dropped: Dropped) -> Found:
        lists = [name for name in place.sizes if name.endswith(SUFFIX)]
        subsets: dict[str, list[Entry]] = {}
        heard = set(audio_below(place))
        for name in lists:
            folder = PurePosixPath(name).parent
            if len(folder.parts) < 3 or folder.parts[-3].partition("-")[0] not in KINDS:
                raise VermeilError(
                    f"{place.spelled(name)} is not in SUBSET/SPEAKER/CHAPTER, e.g. "
                    "train-clean-100/19/198",
                    "unpack the archives as they are, and give the folder that holds them",
                )
            subset, speaker, _ = folder.parts[-3:]
            entries = subsets.setdefault(subset, [])
            for said in spaced(self._read(place, name), place.spelled(name)):
                file = f"{folder}/{said.file}.flac"
                heard.discard(file)
                entries.append(Entry(f"{subset}/{said.file}", file, said.text, speaker))
        if not subsets:
            raise VermeilError(
                f"{self.root} holds no {SUFFIX} file", "give the folder LibriSpeech/, unpacked"
            )
        return Found(self._chosen(subsets), lists, sorted(heard))

    def _chosen(self, subsets: dict[str, list[Entry]]) -> dict[str, list[Entry]]:
        for name in self.chosen.values():
            if name not in subsets:
                raise VermeilError(f"{self.name} has no subset {name}", nearest(name, [*subsets]))
        splits = {}
        for kind, split in KINDS.items():
            names = [name for name in subsets if name.partition("-")[0] == kind]
            usual = [name for name in names if name in USUAL or kind == "train"]
            names = [self.chosen[split]] if split in self.chosen else usual or names[:1]
            splits[split] = [entry for name in names for entry in subsets[name]]
        return splits
