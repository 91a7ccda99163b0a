"""What the demo offers to begin with: unseen scenes, recordings and questions, made at the start.

Nothing here is stored in the project: pictures come from `data/scenes.py`, recordings from the
embedded pack, the spoken question from a generated voice that nobody trained on.
"""

from collections.abc import Iterator
from pathlib import Path

from PIL import Image

from shared.errors import VermeilError

SCENES = (2, 8, 1, 6, 10, 12)  # of the test split: one to three things
QUESTIONS = (  # scene, what is asked
    (2, "what color is the background?"),
    (8, "how many stars are there?"),
    (1, "what is at the top right?"),
    (6, "is there a doughnut in the picture?"),
)
SPOKEN = (10, "what color is the background?")
RECORDINGS = ("words/hello", "words/digits-mon-10", "sentences/tt-weasels",
              "sentences/privacy-prompt", "sentences/demo-echotest")  # fmt: skip
PROMPTS = (  # what the language model has read: novels, Moby Dick, addresses, talk about scenes
    "She had been thinking of",
    "The captain stood upon the deck and",
    "The people of the United States",
    "It is a truth universally acknowledged, that",
)
DRAWINGS = (  # of the 16 things that the drawing model knows
    "a large sunflower at the top left on a blue background",
    "a large apple at the bottom left on a yellow background",
    "a large frog at the bottom right on a purple background",
    "a large boat at the bottom right on red",
)
TALK = ("what do you see?", "what color is the background?")


class Examples:
    """Files of examples in a folder, which is made when the demo starts."""

    def __init__(self, folder: Path):
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.pictures = {number: self._picture(number) for number in {*SCENES, SPOKEN[0]}}
        self.recordings = dict(self._recordings())
        self.spoken = self._spoken()

    def _picture(self, number: int) -> Path:
        """A scene in its own 64 pixels: what is enlarged and shrunk again is not what was drawn."""
        from data.scenes import Scenes

        scenes, path = Scenes(), self.folder / f"scene_{number}.png"
        Image.fromarray(scenes.render(scenes.scene("test", number))).save(path)
        return path

    def _recordings(self) -> Iterator[tuple[Path, str]]:
        """Recordings of the test split, and what is said in each."""
        from data.embedded_speech import EmbeddedSpeech

        clips = {clip.id: clip for clip in EmbeddedSpeech().clips("test") if clip.id in RECORDINGS}
        for name in RECORDINGS:
            path = self.folder / f"{name.rpartition('/')[2]}.ogg"
            sound = clips[name].source
            assert isinstance(sound, bytes)
            path.write_bytes(sound)
            yield path, clips[name].text

    def _spoken(self) -> Path | None:
        """The spoken question, or None on a machine without the synthesiser."""
        from data import espeak
        from data.spoken import VOICES, packed

        path = self.folder / "question.flac"
        try:
            [samples] = espeak.said([(SPOKEN[1], espeak.Manner(VOICES["test"][0], 150))])
            path.write_bytes(packed(samples, 16_000))
        except VermeilError:
            return None
        return path
