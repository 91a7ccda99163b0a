"""What the recogniser hears: the embedded recordings, and generated voices that say the same words.

Generated speech is for training alone: words of the recordings' vocabulary (`spoken_words`), and
questions about scenes (`spoken_questions`), so that the unified model finds an encoder that knows
them. There are ten generated clips to a recorded one, so recordings come several times each.
Held-out clips are those of the embedded recordings.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import replace
from itertools import chain
from pathlib import Path

from data.embedded_speech import EmbeddedSpeech
from data.speech import Clip
from data.spoken import Spoken, SpokenQuestions, SpokenWords

TIMES = 6  # that a recording comes for each time a generated clip does


class CurriculumSpeech(EmbeddedSpeech):
    """The embedded clips, and for training the generated ones."""

    name = "curriculum_speech"
    version = "1"
    licence = "CC-BY-SA-3.0; generated voices: as their words"
    description = "the embedded recordings, and generated voices for training"
    size = "made once, 80 MB"

    def __init__(self, root: Path | None = None):
        super().__init__(root)
        self.generated: tuple[Spoken, ...] = (SpokenWords(), SpokenQuestions())

    @property
    def splits(self) -> str:  # type: ignore[override]
        """Clips in train, validation and test."""
        recorded = EmbeddedSpeech.splits.partition(" / ")
        more = sum(int(s.splits.partition(" / ")[0].replace(",", "")) for s in self.generated)
        return f"{int(recorded[0]) + more:,} / {recorded[2]}"

    def ready(self) -> bool:
        """Whether the pack is there and the rest was made."""
        return super().ready() and all(spoken.ready() for spoken in self.generated)

    def prepare(self) -> None:
        """Verify the pack, make what is missing."""
        super().prepare()
        for spoken in self.generated:
            spoken.prepare()

    def sha256(self) -> str:
        """The pack's hash, and what the generated clips come from."""
        parts = [super().sha256(), *(spoken.sha256() for spoken in self.generated)]
        return hashlib.sha256(" ".join(parts).encode()).hexdigest()

    def clips(self, split: str) -> Iterator[Clip]:
        """The embedded clips, then, for training, the generated ones."""
        clips = super().clips(split)
        if split != "train":
            return clips
        recorded = (
            replace(clip, id=f"{clip.id}/{time}") for clip in clips for time in range(TIMES)
        )
        return chain(recorded, *(spoken.clips(split) for spoken in self.generated))
