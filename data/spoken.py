"""Generated speech: espeak-ng says the closed vocabulary, questions about scenes, and prose.

A machine's voice, marked `synthetic`: its words are sure, its sound is not that of people. Voices,
speeds and pitches are drawn from a seed; a voice is of one split alone, so that what is measured on
the test split is measured on voices nobody trained on (one of them with an accent of its own).
Clips are made once, by `vermeil data prepare` or when a split is first asked for, and kept under
$VERMEIL_HOME/data.
"""

import hashlib
import io
import json
import re
import zipfile
from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from data import espeak
from data.espeak import Manner
from data.questions import VisualQuestion
from data.scenes import Scenes
from data.speech import SPLITS, Clip, SpeechData, check_split
from shared.errors import VermeilError
from shared.home import home, replacing

VOICES = {
    "train": ("en-us+f1", "en-us+m1", "en-us+f2", "en-us+m3", "en-us+f4", "en-us+m7", "en+f2",
              "en-gb-x-rp+m1"),
    "validation": ("en-us+f5", "en+m8"),
    "test": ("en-us+f3", "en-us+m5", "en-gb-scotland+m4"),
}  # fmt: skip
SPEEDS, PITCHES, LIVELINESS = (130, 200), (30, 70), (30, 70)
INDEX = "index.jsonl"


class Line(NamedTuple):
    """One clip to make."""

    id: str
    text: str
    manner: Manner


class Spoken(SpeechData):
    """Lines, each in one voice and manner; a clip is a function of its line alone."""

    version = "2"
    rate: int  # samples a second of the clips
    config_class: type

    def __init__(self, root: Path | None = None, config: Any = None):
        if root is not None:
            raise VermeilError(
                f"{self.name} is made, not read: it takes no root", "leave out --root"
            )
        self.config = config or self.config_class()

    @abstractmethod
    def lines(self, split: str) -> Iterator[Line]:
        """What is said in a split, always the same."""

    @abstractmethod
    def identity(self) -> str:
        """What the lines depend on, besides this code's version."""

    def ready(self) -> bool:
        """Whether all splits were made here, with this espeak-ng."""
        return espeak.available() and all(self._path(split).exists() for split in SPLITS)

    def prepare(self) -> None:
        """Make what is missing."""
        for split in SPLITS:
            self._made(split)

    def sha256(self) -> str:
        """Over the lines' origin, this code's version and espeak-ng's."""
        return self._sha256

    def clips(self, split: str) -> Iterator[Clip]:
        """The split's clips in the order of the lines; makes them where that was not done."""
        check_split(split)
        return self._clips(self._made(split))

    def _clips(self, path: Path) -> Iterator[Clip]:
        with zipfile.ZipFile(path) as archive:
            for number, line in enumerate(archive.read(INDEX).decode().splitlines()):
                row = json.loads(line)
                content = archive.read(f"{number}.flac")
                yield Clip(row["id"], row["text"], content, row["voice"], "synthetic")

    def _path(self, split: str) -> Path:
        return home() / "data" / self.name / f"{self._sha256[:16]}-{split}.zip"

    def _made(self, split: str) -> Path:
        from filelock import FileLock

        path = self._path(split)
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(path.with_suffix(".lock")):
            if not path.exists():
                lines = list(self.lines(split))
                with replacing(path) as temporary, zipfile.ZipFile(temporary, "w") as archive:
                    said = espeak.said((line.text, line.manner) for line in lines)
                    for number, samples in enumerate(said):
                        archive.writestr(f"{number}.flac", packed(samples, self.rate))
                    rows = ({"id": x.id, "text": x.text, "voice": x.manner.voice} for x in lines)
                    archive.writestr(INDEX, "".join(json.dumps(row) + "\n" for row in rows))
        return path

    @cached_property
    def _sha256(self) -> str:
        recipe = f"{self.name} {self.version} {espeak.version()} {VOICES} {self.identity()}"
        return hashlib.sha256(recipe.encode()).hexdigest()


def manner(voice: str, *seed: int) -> Manner:
    """A voice with speed, pitch and liveliness that depend on the seed alone."""
    random = np.random.default_rng(seed)
    drawn = (int(random.integers(*ends)) for ends in (SPEEDS, PITCHES, LIVELINESS))
    return Manner(voice, *drawn)


def packed(samples: bytes, rate: int) -> bytes:
    """FLAC at `rate` of what espeak-ng said."""
    import soundfile
    from scipy.signal import resample_poly

    divisor = int(np.gcd(rate, espeak.rate()))
    up, down = rate // divisor, espeak.rate() // divisor
    wave = np.frombuffer(samples, "<i2").astype(np.float32)
    wave = resample_poly(wave, up, down, window=_filter(max(up, down)))
    content = io.BytesIO()
    whole = np.clip(np.round(wave), -32768, 32767).astype(np.int16)
    soundfile.write(content, whole, rate, format="FLAC")
    return content.getvalue()


@cache
def _filter(most: int) -> np.ndarray:
    """The one that scipy's `resample_poly` designs, anew for each call, if left to itself."""
    from scipy.signal import firwin

    window: Any = ("kaiser", 5.0)  # its annotations know names alone
    return np.asarray(firwin(20 * most + 1, 1 / most, window=window), np.float32)


@dataclass(frozen=True)
class WordsConfig:
    """How often what is said."""

    takes: int = 1  # of each word by each voice for training
    sentences: int = 2  # voices for each short sentence, for training
    longest: int = 8  # words of a sentence
    seed: int = 0


class SpokenWords(Spoken):
    """Digits, letters, words and short sentences of `embedded_speech` in the band of a telephone.

    Training has every text of the closed vocabulary, also those whose recordings are held out, in
    each of its voices, and the training sentences; validation and test have the vocabulary in
    voices of their own. 8,000 Hz, as the recordings.
    """

    name = "spoken_words"
    licence = "CC-BY-SA-3.0 (the words)"
    description = "espeak-ng says the vocabulary of embedded_speech, several voices"
    size = "made once, 15 MB"
    rate = 8_000
    config_class = WordsConfig

    @property
    def splits(self) -> str:  # type: ignore[override]
        """Clips in train, validation and test."""
        return " / ".join(f"{sum(1 for _ in self.lines(split)):,}" for split in SPLITS)

    def identity(self) -> str:
        """The pack that the words are of, and the configuration."""
        from data.embedded_speech import PACK_SHA256

        return f"{PACK_SHA256} {sorted(asdict(self.config).items())}"

    def lines(self, split: str) -> Iterator[Line]:
        """Every voice with every text."""
        from data.embedded_speech import EmbeddedSpeech, vocabulary

        seed, own = self.config.seed, SPLITS.index(split)
        takes = self.config.takes if split == "train" else 1
        for number, text in enumerate(vocabulary()):
            for n, voice in enumerate(VOICES[split]):
                for take in range(takes):
                    name = f"{voice}/{text.replace(' ', '_')}/{take}"
                    yield Line(name, text, manner(voice, seed, own, number, n, take))
        if split != "train":
            return
        rows = [row for row in EmbeddedSpeech().table() if row["category"] == "sentences"]
        texts = sorted({row["text"] for row in rows if row["split"] == "train"})
        known = set(vocabulary())
        short = [t for t in texts if len(t.split()) <= self.config.longest and t not in known]
        for number, text in enumerate(short):
            for n in range(self.config.sentences):
                voice = VOICES[split][(number + n) % len(VOICES[split])]
                name = f"{voice}/{text.replace(' ', '_')}/0"
                yield Line(name, text, manner(voice, seed, own, number, n, 1000))


class Counted(Spoken):
    """Lines of which the configuration says how many there are, in `train` and in `test`."""

    @property
    def splits(self) -> str:  # type: ignore[override]
        """Clips in train, validation and test."""
        return " / ".join(f"{self.number(split):,}" for split in SPLITS)

    def number(self, split: str) -> int:
        """How many a split has; validation as many as test."""
        check_split(split)
        return self.config.train if split == "train" else self.config.test


@dataclass(frozen=True)
class QuestionsConfig:
    """How many scenes have one of their questions asked aloud."""

    train: int = 1_500
    test: int = 256  # and as many for validation
    seed: int = 0


class SpokenQuestions(Counted):
    """One question about each of the first scenes of `scenes`, aloud; 16,000 Hz.

    A clip's id is SPLIT/QUESTION with the question's own id; `asked` gives the two together.
    """

    name = "spoken_questions"
    licence = "MIT (the words)"
    description = "espeak-ng asks questions about generated scenes, several voices"
    size = "made once, 60 MB"
    rate = 16_000
    config_class = QuestionsConfig

    def identity(self) -> str:
        """The scenes and the configuration."""
        return f"{Scenes().sha256()} {sorted(asdict(self.config).items())}"

    def questions(self, split: str) -> Iterator[VisualQuestion]:
        """The questions that are asked, one of each scene, in the order of the scenes."""
        scenes, own = Scenes(), SPLITS.index(split)
        for number in range(self.number(split)):
            known = list(scenes.asked(scenes.scene(split, number)))
            random = np.random.default_rng((self.config.seed, own, number))
            yield known[random.integers(len(known))]

    def lines(self, split: str) -> Iterator[Line]:
        """The questions, the split's voices in turn."""
        voices, own = VOICES[split], SPLITS.index(split)
        for number, question in enumerate(self.questions(split)):
            how = manner(voices[number % len(voices)], self.config.seed, own, number)
            yield Line(f"{split}/{question.id}", question.text, how)

    def asked(self, split: str) -> Iterator[tuple[VisualQuestion, Clip]]:
        """Each question with the clip that asks it."""
        clips = self.clips(split)
        return zip(self.questions(split), clips, strict=True)


@dataclass(frozen=True)
class ProseConfig:
    """How many sentences are read, and which."""

    train: int = 4_000
    test: int = 64  # and as many for validation
    words: tuple[int, int] = (4, 14)  # of a sentence
    seed: int = 0


class SpokenProse(Counted):
    """Sentences of `embedded_text`, read aloud: for a recogniser to begin with; 16,000 Hz.

    They are drawn from all documents of the split alike, a novel's as a short address's. Numbers
    and abbreviations, which are not read as they are written, are in none of them.
    """

    name = "spoken_prose"
    version = "3"
    licence = "public domain (the words)"
    description = "espeak-ng reads sentences of embedded_text, several voices"
    size = "made once, 220 MB"
    rate = 16_000
    config_class = ProseConfig

    def identity(self) -> str:
        """The text and the configuration."""
        from data.embedded_text import PACK_SHA256

        return f"{PACK_SHA256} {sorted(asdict(self.config).items())}"

    def lines(self, split: str) -> Iterator[Line]:
        """The sentences, the split's voices in turn."""
        from data.embedded_text import EmbeddedText

        most = self.number(split)
        found = dict.fromkeys(
            sentence
            for document in EmbeddedText().documents(split)
            for sentence in sentences(document.text, *self.config.words)
        )
        voices, own = VOICES[split], SPLITS.index(split)
        order = np.random.default_rng((self.config.seed, own)).permutation(len(found))[:most]
        known = [*found]
        for number, place in enumerate(order.tolist()):
            how = manner(voices[number % len(voices)], self.config.seed, own, number)
            yield Line(f"{split}/{number}", known[place], how)


SENTENCE = re.compile(r"(?<=[.!?])[\"')]*\s+|\n+")  # what stands between two
READABLE = re.compile(r"[A-Z][A-Za-z',;:!?. -]*[.!?]")
SHORTENED = re.compile(r"\b(Mr|Mrs|Messrs|Dr|St|Capt|Col|Gen|Hon|Rev|Esq|No|[A-Z])\.")


def sentences(text: str, fewest: int, most: int) -> Iterator[str]:
    """The sentences of `fewest` to `most` words that are written as they are read."""
    for part in SENTENCE.split(text):
        sentence = part.strip("\"'( ")
        spelled = READABLE.fullmatch(sentence) and not SHORTENED.search(sentence)
        if spelled and fewest <= len(sentence.split()) <= most:
            yield sentence
