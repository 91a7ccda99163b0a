"""How documents are divided: by the hash of their ids, as many as promised, and for good."""

import hashlib

import pytest

from data import splits
from data.splits import BY_SHARE, Census, place

IDS = [f"enwiki/{number}" for number in range(20_000)]


def test_a_place_is_the_first_64_bits_of_the_hash():
    assert place("a") == int(hashlib.sha256(b"a").hexdigest()[:16], 16) == 0xCA978112CA1BBDCA


def test_shares_are_kept_and_a_document_never_changes_its_split():
    found = [BY_SHARE.of(identifier) for identifier in IDS]
    assert 150 < found.count("test") < 250 and 150 < found.count("validation") < 250
    # The first two held out; a changed rule would silently move test documents into training.
    assert (found.index("test"), found.index("validation")) == (5, 142)


@pytest.mark.parametrize(("number", "held_out"), [(3, 1), (60, 3), (20_000, 300)])
def test_the_held_out_are_those_that_stand_first(monkeypatch, number, held_out):
    """Whatever the order they are counted in, and though most places are forgotten."""
    monkeypatch.setattr(splits, "MOST_HELD_OUT", 300)
    census = Census()
    for identifier in reversed(IDS[:number]):
        census.add(identifier)
        assert len(census._smallest) <= 8 * 300 + 1, "memory must not grow with the documents"
    assert (census.number, census.held_out) == (number, held_out)
    first = sorted(IDS[:number], key=place)
    cuts = census.splits()
    assert {i for i in IDS[:number] if cuts.of(i) == "test"} == set(first[:held_out])
    assert {i for i in IDS[:number] if cuts.of(i) == "validation"} == set(
        first[held_out : 2 * held_out]
    )
