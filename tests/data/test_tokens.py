"""Packed tokens and the windows drawn from them."""

import itertools
import re
from pathlib import Path

import numpy as np
import pytest
import torch

import data.shards
from data.text import Document
from data.tokens import TokenShards, TokenWindows, pack, spaced_windows
from shared.errors import VermeilError

TOKENS = np.arange(1000, dtype=np.uint16)  # each token is its own place


def documents(*texts: str) -> list[Document]:
    return [Document(str(i), "test", str(i), text) for i, text in enumerate(texts)]


def letters(texts: list[str]) -> list[list[int]]:
    return [[1, *map(ord, text)] for text in texts]


def ids(packed: TokenShards) -> list[int]:
    return [id for shard in packed.shards for id in shard.tolist()]


def files(home: Path) -> list[str]:
    """All that was packed."""
    return [path.name for path in home.rglob("*") if path.suffix in (".npy", ".json", ".partial")]


def windows(seed: int = 0, context: int = 16, batch_size: int = 8) -> TokenWindows:
    return TokenWindows(TOKENS, context, batch_size, seed)


def test_documents_in_a_row():
    packed = pack(documents("ab", "", "c"), letters, "key")
    assert ids(packed) == [1, 97, 98, 1, 1, 99] and len(packed) == 6
    [shard] = packed.shards
    assert shard.dtype == np.uint16 and isinstance(shard, np.memmap)


def test_what_was_packed_is_found_again():
    def not_again(texts):
        raise AssertionError("encoded twice")

    first = pack(documents("ab"), letters, "key")
    assert ids(pack(documents("ab"), not_again, "key")) == ids(first)
    assert ids(pack(documents("xy"), letters, "other")) == [1, 120, 121]


def test_ids_above_65535_stay_whole():
    for letter, dtype in (("\uffff", np.uint16), ("\U00010000", np.uint32), ("🐳", np.uint32)):
        packed = pack(documents(letter), letters, f"key-{ord(letter)}")
        assert ids(packed) == [1, ord(letter)] and packed.shards[0].dtype == dtype


def test_many_documents_keep_their_order_and_are_encoded_some_at_a_time(monkeypatch):
    monkeypatch.setattr(data.shards, "AT_ONCE", 20)
    sizes = []

    def encode(texts):
        sizes.append(len(texts))
        return letters(texts)

    texts = [chr(97 + i % 26) * (i % 3) for i in range(150)]
    packed = pack(iter(documents(*texts)), encode, "key")
    assert ids(packed) == [id for row in letters(texts) for id in row]
    assert len(sizes) > 1 and sum(sizes) == 150


def test_a_failure_leaves_nothing_behind(home):
    def breaks(texts):
        raise VermeilError("no")

    with pytest.raises(VermeilError):
        pack(documents("ab"), breaks, "key")
    with pytest.raises(VermeilError, match="no documents"):
        pack([], letters, "key")
    assert not files(home)
    assert ids(pack(documents("ab"), letters, "key")) == [1, 97, 98]


def test_windows_are_contiguous_text():
    rows = windows().rows(3, slice(None))
    assert rows.shape == (8, 17) and rows.dtype == torch.int64
    assert torch.equal(rows, rows[:, :1] + torch.arange(17))


@pytest.mark.parametrize("cuts", [(4,), (1, 2, 3), (3, 7)])
def test_processes_split_a_batch_without_changing_it(cuts):
    whole = windows().rows(5, slice(None))
    edges = (0, *cuts, 8)
    parts = [windows().rows(5, slice(start, end)) for start, end in itertools.pairwise(edges)]
    assert torch.equal(torch.cat(parts), whole)
    strided = [windows().rows(5, slice(rank, None, 2)) for rank in range(2)]
    assert torch.equal(torch.stack(strided, dim=1).flatten(0, 1), whole)


def test_a_batch_depends_on_seed_and_step_alone():
    stream = windows(seed=1)
    for step in (7, 0, 3):
        stream.rows(step, slice(None))
    assert torch.equal(stream.rows(7, slice(None)), windows(seed=1).rows(7, slice(None)))
    batches = [windows(seed).rows(step, slice(None)) for seed in range(3) for step in range(20)]
    starts = {tuple(batch[:, 0].tolist()) for batch in batches}
    assert len(starts) == 60, "two steps or two seeds drew the same batch"


def test_every_place_is_drawn():
    tokens = np.arange(20)
    starts = [
        start
        for step in range(60)
        for start in TokenWindows(tokens, 16, 8, 0).rows(step, slice(None))[:, 0].tolist()
    ]
    assert set(starts) == {0, 1, 2, 3}
    assert min(starts.count(place) for place in range(4)) > 80


def test_text_of_exactly_one_window():
    rows = TokenWindows(np.arange(17), 16, 2, 0).rows(0, slice(None))
    assert torch.equal(rows, torch.arange(17).expand(2, 17))
    assert spaced_windows(np.arange(17), 16, 4, 1)[0].tolist() == [list(range(17))]


def test_text_shorter_than_a_window():
    says = re.escape("text has 16 tokens, less than a window of 17")
    with pytest.raises(VermeilError, match=f"training {says}") as error:
        TokenWindows(np.arange(16), 16, 2, 0)
    assert "--context" in error.value.hint
    with pytest.raises(VermeilError, match=f"validation {says}"):
        spaced_windows(np.arange(16), 16, 2, 4)


def test_spaced_windows_cover_the_text_from_start_to_end():
    batches = spaced_windows(TOKENS, context=16, batch_size=4, count=10)
    assert [len(batch) for batch in batches] == [4, 4, 2]
    rows = torch.cat(batches)
    assert torch.equal(rows, rows[:, :1] + torch.arange(17))
    starts = rows[:, 0]
    assert starts[0] == 0 and rows[-1, -1] == 999
    gaps = starts.diff()
    assert gaps.max() - gaps.min() <= 1
