"""The compressors' floors, against known entropies and against the file format itself."""

import lzma
import math
import random

import pyppmd
import pytest

from shared.errors import VermeilError
from shared.metrics import compressors


def xz_bits_per_byte(text: bytes, primed_with: bytes = b"") -> float:
    return compressors.xz_bits_per_byte([text], primed_with)[0]


def ppm_bits_per_byte(text: bytes, primed_with: bytes = b"") -> float:
    return compressors.ppm_bits_per_byte([text], primed_with)[0]


BOTH = pytest.mark.parametrize("bits_per_byte", [xz_bits_per_byte, ppm_bits_per_byte])

RANDOM = random.Random(0)
NOISE = RANDOM.randbytes(100_000)
DIGITS = bytes(48 + byte % 10 for byte in RANDOM.randbytes(1_000_000))
WORDS = ["".join(RANDOM.choices("etaoinshrdlu", k=RANDOM.randint(2, 8))) for _ in range(500)]
# Words drawn at random: the text cannot be told in fewer bits than this, nor learned much sooner.
PROSE, LIKE_PROSE = (" ".join(RANDOM.choices(WORDS, k=5000)).encode() for _ in range(2))
ENTROPY = 5000 * math.log2(500) / len(PROSE)


@BOTH
def test_random_bytes_cost_their_eight_bits(bits_per_byte):
    assert 8 < bits_per_byte(NOISE) < 8.25


@BOTH
def test_a_text_primed_with_itself_is_nearly_free(bits_per_byte):
    assert bits_per_byte(PROSE, primed_with=PROSE) < 0.03


@BOTH
def test_a_text_of_one_letter_is_nearly_free(bits_per_byte):
    assert bits_per_byte(b"a" * 100_000) < 0.02


@BOTH
def test_priming_with_like_text_helps_and_with_noise_does_not(bits_per_byte):
    alone = bits_per_byte(PROSE)
    assert ENTROPY < bits_per_byte(PROSE, primed_with=LIKE_PROSE) < 0.93 * alone
    assert bits_per_byte(PROSE, primed_with=NOISE) > alone


@BOTH
def test_the_start_of_a_long_priming_is_remembered(bits_per_byte):
    """A dictionary or a model too small for its input would have lost the text by its end."""
    assert bits_per_byte(PROSE, primed_with=PROSE + DIGITS) < 0.03


@BOTH
def test_an_empty_text_is_refused(bits_per_byte):
    with pytest.raises(ValueError, match="empty"):
        bits_per_byte(b"", primed_with=PROSE)


def test_a_process_that_ends_is_told(monkeypatch):
    monkeypatch.setattr(compressors.sys, "executable", "false")
    with pytest.raises(VermeilError, match="the compressor ppm ended early: status 1"):
        ppm_bits_per_byte(PROSE)


@pytest.mark.parametrize("name", ["xz_bits_per_byte", "ppm_bits_per_byte"])
def test_texts_do_not_know_of_each_other(name):
    """Primed once for all of them; each is what it would be alone."""
    bits_per_byte = getattr(compressors, name)
    texts = [LIKE_PROSE, LIKE_PROSE, NOISE, PROSE[:2000]]
    together = bits_per_byte(texts, PROSE)
    assert together == [bits_per_byte([text], PROSE)[0] for text in texts]
    assert together[0] == together[1]


def test_xz_primed_is_what_the_stream_grows_by():
    def size(data: bytes) -> int:
        filters = [{"id": lzma.FILTER_LZMA2, "preset": 9 | lzma.PRESET_EXTREME}]
        return len(lzma.compress(data, format=lzma.FORMAT_RAW, filters=filters))

    grown = size(PROSE + LIKE_PROSE) - size(PROSE)
    assert xz_bits_per_byte(LIKE_PROSE, PROSE) == 8 * grown / len(LIKE_PROSE)


def test_ppm_comes_close_to_the_entropy_once_it_knows_the_words():
    assert ppm_bits_per_byte(PROSE, primed_with=LIKE_PROSE) < 1.15 * ENTROPY


def test_xz_counts_the_payload_of_an_xz_file():
    file = lzma.compress(PROSE, preset=9 | lzma.PRESET_EXTREME, check=lzma.CHECK_NONE)
    container = len(file) - xz_bits_per_byte(PROSE) * len(PROSE) / 8
    assert 12 + 12 + 8 + 12 <= container <= 12 + 12 + 12 + 12 + 3  # the payload is padded to 4


def test_ppm_counts_the_whole_stream():
    stream = pyppmd.compress(PROSE, max_order=16, mem_size=2**24, variant="H")
    assert ppm_bits_per_byte(PROSE) == 8 * len(stream) / len(PROSE)
