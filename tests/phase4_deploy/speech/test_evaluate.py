"""Which clips a recogniser is told the texts of."""

import pytest

from phase4_deploy.speech.alphabet import Alphabet
from phase4_deploy.speech.evaluate import CLOSED, closed


@pytest.mark.parametrize(("texts", "told"), [
    (["one", "two", "one"], True),
    (["room service please"], True),
    (["at the tone please record"], False),  # a sentence
    (["one", "2"], False),  # cannot be spelled, which must not end a run that has learned
    (["one", "?"], False),  # nothing is left of it
    ([f"{'ab'[n % 2]}{'abcdefghijklmnopqrstuvwxyz'[n // 2 % 26]}{'x' * (n // 52)}"
      for n in range(CLOSED + 1)], False),
])  # fmt: skip
def test_a_closed_vocabulary_is_short_small_and_in_our_letters(texts, told):
    assert closed(texts, Alphabet()) == told
