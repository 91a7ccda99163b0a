"""Copies, near-duplicates and held-out text: documents that differ by a known number of words."""

import random
import re
import resource

import numpy as np
import pytest
from datatrove.pipeline.dedup.minhash import MinhashDedupSignature

import data.dedup
from data.dedup import DIGEST, MINHASH, NGRAM, HeldOut, Signatures, copies, digest, ngrams, sign
from data.parts import Workers

LETTERS = "abcdefghijklmnopqrstuvwxyz"


def words(seed: int, number: int = 300) -> list[str]:
    source = random.Random(seed)
    return ["".join(source.choices(LETTERS, k=6)) for _ in range(number)]


def text(seed: int, number: int = 300) -> str:
    return " ".join(words(seed, number))


def changed(seed: int, every: int) -> str:
    """`text(seed)` with every so manieth word replaced."""
    return " ".join(
        word if i % every else "replaced" for i, word in enumerate(words(seed), start=1)
    )


def test_copies_are_what_an_earlier_document_equals():
    texts = ["one", "two", " one\n", "three", "two", "one", "One"]
    found = copies(np.frombuffer(b"".join(map(digest, texts)), DIGEST))
    assert found.tolist() == [False, False, True, False, True, True, False]
    assert copies(np.empty(0, DIGEST)).tolist() == []


def test_ngrams_are_the_same_where_the_words_are():
    plain = ngrams("the ship left the harbour with twenty men", 5)
    assert len(plain) == 4 and len(set(plain.tolist())) == 4
    assert np.array_equal(plain, ngrams("The ship left — the harbour, with TWENTY\nmen!", 5))
    assert np.array_equal(ngrams("in 1804 or in 23", 3), ngrams("in 5 or in 77.5", 3))
    assert plain[1] == ngrams("ship left the harbour with", 5)[0]
    assert plain[0] != ngrams("left ship the the harbour", 5)[0], "their order counts"
    assert len(ngrams("too few words", 5)) == len(ngrams("", 5)) == 0


def test_ngrams_of_a_text_longer_than_a_piece(monkeypatch):
    long = text(0)
    expected = ngrams(long, 5)
    monkeypatch.setattr(data.dedup, "PIECE", re.compile(r"(?s).{1,50}(?=\s|\Z)|.{1,50}"))
    assert np.array_equal(ngrams(long, 5), expected)
    assert len(ngrams("x" * 120, 1)) == 3, "a word longer than a piece is cut"


def test_signatures_in_pieces_are_datatroves_own(monkeypatch):
    shingles = ngrams(text(0, 3000), 5)[:, None]
    expected = MinhashDedupSignature("unused", MINHASH).get_signature(shingles)
    assert Signatures("unused", MINHASH).get_signature(shingles) == expected
    monkeypatch.setattr(data.dedup, "SHINGLES_AT_ONCE", 100)
    assert Signatures("unused", MINHASH).get_signature(shingles) == expected


def near(tmp_path, *parts: list[str], processes: int = 1) -> dict[int, set[int]]:
    for number, texts in enumerate(parts):
        sign(texts, tmp_path / "signatures", number)
    with Workers(processes) as workers:
        return data.dedup.near_duplicates(tmp_path / "signatures", tmp_path, workers)


def test_a_few_changed_words_make_a_near_duplicate(tmp_path, capfd):
    first = [text(1), text(2), changed(1, every=60)]  # 0.84 of the 5-grams in both
    second = [text(3), changed(2, every=100), changed(3, every=4), "short", ""]
    assert near(tmp_path, first, second) == {0: {2}, 1: {1}}
    assert capfd.readouterr() == ("", ""), "datatrove's log and bars are silent"


def test_the_first_of_a_cluster_stays_whatever_its_size(tmp_path):
    # datatrove alone keeps a member of the larger of two clusters that are joined.
    chain = [changed(1, every) for every in (70, 80, 90, 100)]
    for order in (chain, chain[::-1], [chain[2], chain[0], chain[3], chain[1]]):
        folder = tmp_path / str(len(list(tmp_path.iterdir())))
        assert near(folder, [text(9)], order[:1], order[1:]) == {2: {0, 1, 2}}


def test_nothing_to_compare(tmp_path):
    assert near(tmp_path, [], [text(1)], []) == {}


def test_more_parts_than_a_process_may_open(tmp_path):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (100, hard))
    try:
        assert near(tmp_path, *[[text(i % 60, 30)] for i in range(120)]) == {
            i: {0} for i in range(60, 120)
        }
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.fixture
def index(tmp_path):
    return HeldOut.build([("a", text(1)), ("b", text(2)), ("short", text(3, 20))], tmp_path)


def test_unrelated_text_has_nothing_in_common(index):
    assert index.overlap(text(4)) == (0.0, "")
    assert index.overlap("") == (0.0, "")


def test_the_share_of_a_text_that_is_held_out(index):
    quote = " ".join(words(1)[100:200])  # 88 n-grams of 13 words
    share, closest = index.overlap(f"{quote} {text(4)}")
    assert closest == "a" and share == pytest.approx(88 / 288)
    share, closest = index.overlap(f"{quote} {text(4, 2000)}")
    assert closest == "a" and share == pytest.approx(88 / 288), "of the held-out text as much"
    assert index.overlap(quote) == (1.0, "a"), "an excerpt is held out whole"
    twelve = " ".join(words(1)[100 : 100 + NGRAM - 1])
    assert index.overlap(f"{twelve} {text(4)}") == (0.0, "")


def test_an_anthology_with_a_short_test_document(index):
    assert index.overlap(f"{text(5, 3000)} {text(3, 20)} {text(6, 3000)}") == (1.0, "short")


def test_a_text_made_of_many_held_out_ones(tmp_path):
    index = HeldOut.build([(str(i), text(i, 1000)) for i in range(20)], tmp_path)
    pieces = " ".join(" ".join(words(i, 1000)[:112]) for i in range(20))
    share, _ = index.overlap(pieces)
    assert 100 / 988 < 0.2 < share, "little of each, but nothing of its own"


def test_an_index_that_is_full_still_measures(tmp_path, monkeypatch):
    monkeypatch.setattr(data.dedup, "CAPACITY", 4000)
    index = HeldOut.build([(str(i), text(i, 1000)) for i in range(20)], tmp_path)
    assert 1000 < len(index.hashes) <= 4000, "of 19,760 n-grams"
    half = " ".join(words(7, 1000)[:500] + words(100, 500))
    share, closest = index.overlap(half)
    assert closest == "7" and share == pytest.approx(0.5, abs=0.1)
    assert index.overlap(" ".join(words(7, 1000)[:300])) == (1.0, "7")
    assert index.overlap(text(101, 1000)) == (0.0, "")
    again = HeldOut(tmp_path)
    assert again.overlap(half) == (share, closest) and isinstance(again.hashes, np.memmap)


def test_no_held_out_text(tmp_path):
    assert HeldOut.build([], tmp_path).overlap(text(1)) == (0.0, "")
