"""The speech that travels with the code: telephone prompts in English, of one voice.

568 prompts for the telephone exchange Asterisk, spoken by Allison Smith; kept are those whose words
are sure. `category` tells digits (numbers and ordinals), letters, words and sentences apart; ids
begin with it. The closed vocabulary is the first three, all labelled by file name.

What is held out, and how to read a number on it (SPEECH.md has the table):

- Every prompt was recorded about once, so a test clip is a *recording* nobody trained on, of the
  same voice. For another voice ask FSDD, Tux Paint, or a held-out voice of `spoken_words`.
- Of digits, letters and words a quarter of the recordings is the test split and a tenth validation,
  of sentences a tenth and a twentieth, in the order of the hash of the file's name: in turn one
  whose words this voice says in training clips too, and one whose words it says nowhere else.
  That is 53 clips, 55 words; 24 clips with words heard elsewhere, 29 without. Recordings of the
  package that are one take under two names are in one split, and no clip named by its file was
  found inside another prompt (cross-correlation, `SAME_TAKE` in embedded/prompt_labels.py).
- `heard` says whether this voice says the words of a held-out clip in some training clip: "yes"
  (another take, or within a sentence), "partly", "no". Where it says no, a model that learns from
  the pack alone cannot know the word; it hears all of the closed vocabulary from the generated
  voices of `spoken_words`, which trains along. Report the two apart.
- Words that sound like others of the vocabulary (four and for, b and be) are never held out.
- Sentences of the test split have labels that Whisper tiny helped to make. Whisper may not be
  measured on them; on the closed vocabulary it may.
"""

import io
import json
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from data.packs import verified
from data.speech import Clip, SpeechData, check_split

# Of speech.zip, as data/embedded/build_speech.py makes it.
PACK_SHA256 = "67ab4de133488c5d46b55ed2aadfb8721ec6545258cdf2a61f34a732841ac140"
PACK, TABLE = "speech.zip", "clips.jsonl"
SPEAKER = "Allison Smith"
CLOSED = ("digits", "letters", "words")


class EmbeddedSpeech(SpeechData):
    """The pack in data/embedded; `root` is another folder that holds the same file.

    Ogg Vorbis, 8,000 Hz, mono. Texts are lower case, without punctuation, numbers in words.
    """

    name = "embedded_speech"
    version = "1"
    licence = "CC-BY-SA-3.0"
    description = "telephone prompts in English of one voice: digits, letters, words, sentences"
    size = "3.6 MB"
    splits = "312 / 30 / 73"

    def __init__(self, root: Path | None = None):
        self.pack = (root or Path(__file__).parent / "embedded") / PACK

    def ready(self) -> bool:
        """Whether the pack is there."""
        return self.pack.is_file()

    def prepare(self) -> None:
        """Verify the pack; there is nothing to fetch."""
        self._verified_bytes()

    def sha256(self) -> str:
        """The pack's own hash, verified."""
        self._verified_bytes()
        return PACK_SHA256

    def table(self) -> list[dict[str, Any]]:
        """Every clip's "id", "text", "category", "label_method", "split", "heard", "seconds",
        and "file", its name in the package."""
        return _table(zipfile.ZipFile(io.BytesIO(self._verified_bytes())))

    def clips(self, split: str) -> Iterator[Clip]:
        """The split's clips in the order of their names in the package."""
        check_split(split)
        return self._clips(split, zipfile.ZipFile(io.BytesIO(self._verified_bytes())))

    def _clips(self, split: str, archive: zipfile.ZipFile) -> Iterator[Clip]:
        for row in _table(archive):
            if row["split"] == split:
                content = archive.read(f"{row['id']}.ogg")
                yield Clip(row["id"], row["text"], content, SPEAKER, row["label_method"])

    def _verified_bytes(self) -> bytes:
        return verified(self.pack, PACK_SHA256, "speech")


def vocabulary() -> list[str]:
    """What the closed vocabulary's clips say, each text once, sorted: held-out ones too."""
    rows = EmbeddedSpeech().table()
    return sorted({row["text"] for row in rows if row["category"] in CLOSED})


def _table(archive: zipfile.ZipFile) -> list[dict[str, Any]]:
    return [json.loads(line) for line in archive.read(TABLE).decode().splitlines()]
