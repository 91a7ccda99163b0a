"""Read sentences of one voice or a few: CMU ARCTIC, LJ Speech, and folders made like them."""

import re
from pathlib import PurePosixPath

from data.official_speech import Entry, Found, OfficialSpeech, audio_below, words_of
from data.places import Place
from data.speech import Dropped
from data.transcripts import ABOVE, LISTS, Stems
from shared.errors import VermeilError

NAMES = ("txt.done.data", "metadata.csv", "transcripts.txt")
ARCTIC = re.compile(r"cmu_us_(\w+)_arctic")
TEST, MOST = 8, 500  # an eighth of the sentences, and not more than so many


class Sentences(OfficialSpeech):
    """CMU ARCTIC's etc/txt.done.data beside wav/, LJ Speech's metadata.csv beside wavs/, or
    transcripts.txt with ID|TEXT beside or above the audio.

    The authors make no splits. The test split is the last eighth of the sentences in the order of
    the list, at most 500; validation is half as many before it: of 800 sentences the last 100 and
    the 50 before them. With several voices it is the sentences that are held out, in every voice.
    """

    name = "sentences"
    title = "read sentences"
    licence = "as the corpus states"

    def _find(self, place: Place, dropped: Dropped) -> Found:
        lists = [name for name in place.sizes if PurePosixPath(name).name in NAMES]
        if not lists:
            raise VermeilError(
                f"{self.root} holds none of {', '.join(NAMES)}",
                "put a transcripts.txt there, with ID|TEXT a line",
            )
        entries, heard = [], set()
        for name in lists:
            path = PurePosixPath(name)
            folder = path.parent.parent if path.name in ABOVE else path.parent
            base = "" if str(folder) == "." else str(folder)
            files = audio_below(place, base)
            stems, voices = Stems(files), ARCTIC.findall(str(place.spelled(name)))
            for said in LISTS[path.name](self._read(place, name), place.spelled(name)):
                file = stems.find(base, said.file)
                heard.add(file)
                start = f"{base}/" if len(lists) > 1 and base else ""
                speaker = said.speaker or (voices[-1] if voices else base)
                entries.append(Entry(f"{start}{said.file}", file, said.text, speaker))
        unlisted = [name for name in audio_below(place) if name not in heard]
        return Found(self._by_order(entries, dropped), lists, unlisted)

    def _by_order(self, entries: list[Entry], dropped: Dropped) -> dict[str, list[Entry]]:
        texts = [*dict.fromkeys(words_of(entry.text) for entry in entries if entry.text.strip())]
        test = min(len(texts) // TEST, MOST)
        if test < 2:
            return {"train": entries}  # too few: divided by the hash, or refused
        cut = len(texts) - test
        held_out = dict.fromkeys(texts[cut:], "test")
        held_out |= dict.fromkeys(texts[cut - test // 2 : cut], "validation")
        splits = {"train": [], "validation": [], "test": []}
        for entry in entries:
            splits[held_out.get(words_of(entry.text), "train")].append(entry)
        return splits
