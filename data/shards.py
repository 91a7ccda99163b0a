"""Documents as token ids in memory-mapped files: packed in parts, found again, never loaded.

No torch here: worker processes import this module.
"""

import json
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path

import numpy as np

from data.parts import Workers, cut
from data.text import Document
from shared.errors import VermeilError
from shared.home import home, replacing, write_atomically

EncodeDocuments = Callable[[list[str]], list[list[int]]]
SHARD = 2**24  # characters of text in a shard, about 4 million tokens or 8 MB
AT_ONCE = 2**20  # characters encoded together: lists of ids take ten times an array's memory
INDEX = "index.json"  # written last: where it stands, all shards do


class TokenShards:
    """Token ids in a row, (N,), in one or more arrays; a window never reaches over an edge."""

    def __init__(self, shards: list[np.ndarray]):
        self.shards = shards
        self._lengths = np.array([len(shard) for shard in shards])

    def __len__(self) -> int:
        """Tokens in all shards."""
        return int(self._lengths.sum())

    def places(self, context: int) -> int:
        """Where a window of `context` + 1 tokens can begin."""
        return int(self._places(context).sum())

    def windows(self, places: np.ndarray, context: int) -> np.ndarray:
        """The windows that begin there, counted over all shards, (B, context + 1) int64."""
        ends = self._places(context).cumsum()
        shards = np.searchsorted(ends, places, side="right")
        starts = places - np.concatenate([[0], ends])[shards]
        found = zip(shards, starts, strict=True)
        return np.stack([self.shards[i][s : s + context + 1].astype(np.int64) for i, s in found])

    def _places(self, context: int) -> np.ndarray:
        return np.maximum(self._lengths - context, 0)


def pack(
    documents: Iterable[Document], encode: EncodeDocuments, key: str, processes: int = 1
) -> TokenShards:
    """Token ids of all documents in a row, uint16 or uint32, memory-mapped, in shards.

    `key` names the content (data and tokenizer hash): what was packed once is found again, and a
    run that was killed goes on after its last whole shard. The shards are the same for any number
    of processes; with more than one, `encode` has to be picklable. Of several processes that pack
    the same key, one works and the others wait.
    """
    from filelock import FileLock

    folder = home() / "tokens" / key
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / "lock"):
        if not (folder / INDEX).exists():
            _pack(documents, encode, folder, processes)
    return _open(folder)


def _pack(
    documents: Iterable[Document], encode: EncodeDocuments, folder: Path, processes: int
) -> None:
    for orphan in folder.glob(".*.partial"):  # of a run that was killed
        orphan.unlink()
    texts = ([document.text for document in part] for part in cut(documents, SHARD))
    work = partial(_write, folder, encode)
    with Workers(processes) as workers:
        lengths = list(workers.each(work, enumerate(texts)))
    if not lengths:
        raise VermeilError("the corpus holds no documents", "look: vermeil data show NAME")
    write_atomically(folder / INDEX, json.dumps({"tokens": lengths}))


def _write(folder: Path, encode: EncodeDocuments, shard: tuple[int, list[str]]) -> int:
    """Write the shard of that number and these texts, unless it is there; returns its length."""
    number, texts = shard
    path = _file(folder, number)
    if not path.exists():
        documents = (Document("", "", "", text) for text in texts)
        rows = [
            _narrow(np.asarray(ids, np.uint32))
            for some in cut(documents, AT_ONCE)
            for ids in encode([document.text for document in some])
        ]
        save(path, np.concatenate(rows))
    return len(np.load(path, mmap_mode="r"))


def save(path: Path, array: np.ndarray) -> None:
    """Write a .npy file, whole or not at all.

    np.save on a file writes through C's buffer, and does not notice when the disk is full for the
    last few kilobytes.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary, temporary.open("wb") as file:
        header = np.lib.format.header_data_from_array_1_0(array)
        np.lib.format.write_array_header_1_0(file, header)
        file.write(array.data)


def _narrow(ids: np.ndarray) -> np.ndarray:
    return ids.astype(np.uint16) if ids.max(initial=0) < 2**16 else ids


def _open(folder: Path) -> TokenShards:
    lengths = json.loads((folder / INDEX).read_text())["tokens"]
    try:
        shards = [np.load(_file(folder, i), mmap_mode="r") for i in range(len(lengths))]
        sound = [len(shard) for shard in shards] == lengths
    except (OSError, ValueError):
        sound = False
    if not sound:
        raise VermeilError(
            f"the packed tokens in {folder} are damaged",
            f"rm -r {folder}; the next run packs them again",
        )
    return TokenShards(shards)


def _file(folder: Path, number: int) -> Path:
    return folder / f"{number:05}.npy"
