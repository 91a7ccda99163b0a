"""What the language model reads: the embedded text, and a tenth of talk about generated scenes.

The talk is captions and questions of training scenes alone, so that phase 2 finds a model that
knows the words. Held-out documents are those of the embedded text: bits per byte stay comparable.
"""

import hashlib
from collections.abc import Iterator
from itertools import chain

from data.embedded_text import EmbeddedText
from data.scenes import Scene, Scenes
from data.text import Document

SCENES = 3200  # about a tenth of the bytes
TOGETHER = 20  # scenes in a document


class CurriculumText(EmbeddedText):
    """The embedded documents, and for training pages of captions and questions."""

    name = "curriculum_text"
    version = "1"
    licence = "public domain; words of scenes MIT (emojibase)"
    description = "the embedded text, and captions and questions of generated scenes"
    size = "17.5 MB"
    splits = "374 / 13 / 13"

    def sha256(self) -> str:
        """The pack's hash, and that of the pages."""
        pages = hashlib.sha256("".join(page.text for page in _pages()).encode())
        return hashlib.sha256(f"{super().sha256()} {pages.hexdigest()}".encode()).hexdigest()

    def documents(self, split: str) -> Iterator[Document]:
        """The embedded documents, then, for training, the pages."""
        documents = super().documents(split)
        return chain(documents, _pages()) if split == "train" else documents


def _pages() -> Iterator[Document]:
    scenes = Scenes()
    for first in range(0, SCENES, TOGETHER):
        numbers = range(first, first + TOGETHER)
        text = "\n\n".join(_words(scenes.scene("train", number)) for number in numbers)
        yield Document(f"scenes/{first:05}", "scenes", "captions and questions of scenes", text)


def _words(scene: Scene) -> str:
    """A scene's captions, a line each, then its questions with their answers."""
    from data.scene_words import captions, questions

    asked = [f"{question.text} {question.answer}" for question in questions(scene)]
    return "\n".join([*captions(scene), *asked])
