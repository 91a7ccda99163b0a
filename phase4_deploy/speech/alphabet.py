"""The characters that a recogniser writes, and texts as their numbers."""

import unicodedata
from collections.abc import Sequence

from shared.errors import VermeilError
from shared.metrics.speech import normalise

BLANK = 0  # CTC's "nothing new here"; characters count from 1
ENGLISH = " 'abcdefghijklmnopqrstuvwxyz"


class Alphabet:
    """Text to ids and back; id 0 is the blank, then come the characters in their order."""

    def __init__(self, characters: str = ENGLISH):
        if len(set(characters)) != len(characters) or " " not in characters:
            raise VermeilError(
                f"the alphabet {characters!r} has a character twice, or no space",
                "name each character once, the space between words too",
            )
        self.characters = characters
        self._ids = {character: id for id, character in enumerate(characters, start=1)}

    def __len__(self) -> int:
        """How many ids there are, the blank's included."""
        return 1 + len(self.characters)

    def spell(self, text: str) -> str:
        """A text in this alphabet's characters: as `shared.metrics.speech.normalise` writes it.

        Accents that the alphabet lacks fall away ("naïve" is "naive"). VermeilError names the
        characters that are still none of its own: digits (a reader of data spells numbers, who
        knows how they are said) and other scripts.
        """
        normal = "".join(map(self._without_accent, normalise(text)))
        foreign = sorted(set(normal) - {*self.characters})
        if foreign:
            named = " ".join(foreign[:12]) + (" ..." if len(foreign) > 12 else "")
            digits = any(character.isdigit() for character in foreign)
            raise VermeilError(
                f"the text {text[:60]!r} has characters that the recogniser does not write: "
                f"{named}",
                "spell numbers as they are said, in words" if digits
                else f"leave the clip out, or train with their alphabet (here: {self.characters})",
            )  # fmt: skip
        return normal

    def encode(self, text: str) -> list[int]:
        """Ids of a text, after `spell`."""
        return [self._ids[character] for character in self.spell(text)]

    def decode(self, ids: Sequence[int]) -> str:
        """The text of ids; blanks leave nothing behind, and of several spaces one is left."""
        characters = (self.characters[id - 1] for id in ids if id != BLANK)
        return " ".join("".join(characters).split())

    def _without_accent(self, character: str) -> str:
        if character in self._ids:
            return character
        parts = unicodedata.normalize("NFKD", character)
        return "".join(part for part in parts if not unicodedata.combining(part))
