"""Texts as numbers and back; what cannot be written is named."""

import pytest

from phase4_deploy.speech.alphabet import BLANK, ENGLISH, Alphabet
from shared.errors import VermeilError


def test_english_is_a_to_z_apostrophe_and_space():
    alphabet = Alphabet()
    assert len(alphabet) == 29 and {*ENGLISH} == {*"abcdefghijklmnopqrstuvwxyz' "}
    ids = alphabet.encode("Don’t  STOP, naïve dogs' café!")
    assert alphabet.decode(ids) == "don't stop naive dogs cafe"
    assert BLANK not in ids and max(ids) < 29 and alphabet.encode("") == []


def test_decoding_tidies_spaces_and_skips_blanks():
    alphabet = Alphabet()
    a, space = alphabet.encode("a")[0], ENGLISH.index(" ") + 1
    assert alphabet.decode([space, a, BLANK, space, space, a, space]) == "a a"


@pytest.mark.parametrize(
    ("text", "named", "hint"),
    [
        ("room 101", "0 1", "spell numbers"),
        ("привет", "в е и п р т", "train with their alphabet"),
        ("say 東京", "京 東", "train with their alphabet"),
    ],
)
def test_what_it_cannot_write_is_named(text, named, hint):
    with pytest.raises(VermeilError) as error:
        Alphabet().encode(text)
    assert error.value.message.endswith(f": {named}") and hint in error.value.hint


def test_other_alphabets():
    russian = Alphabet(" абвгдежзийклмнопрстуфхцчшщъыьэюя")
    assert russian.decode(russian.encode("Мой дом")) == "мой дом"  # й is no и with an accent here
    assert russian.spell("ёлка") == "елка"
    with pytest.raises(VermeilError, match="twice, or no space"):
        Alphabet("abc")
    with pytest.raises(VermeilError, match="twice, or no space"):
        Alphabet("aa ")
