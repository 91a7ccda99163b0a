"""The same text twice: exact copies, near-duplicates, and training text that holds test text.

Copies are found by hash. Near-duplicates by MinHash (Broder 1997) in datatrove's three stages: its
signatures lie sorted on the disk, so that memory does not grow with the text. Held-out text in
training documents by n-grams of words that both contain.
"""

import contextlib
import hashlib
import io
import json
import re
import resource
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
from datatrove.data import Document as Page
from datatrove.pipeline.dedup.minhash import (
    MinhashConfig,
    MinhashDedupBuckets,
    MinhashDedupCluster,
    MinhashDedupSignature,
)
from datatrove.utils.text import simplify_text
from loguru import logger
from xxhash import xxh64_intdigest

from data.parts import Workers
from data.shards import save
from shared.errors import VermeilError
from shared.home import write_atomically

# 14 bands of 8 hashes over 5-grams, as in FineWeb: pairs that share 75 % of their 5-grams are found
# in 77 of 100 cases, 85 % in 99, 50 % in 5.
MINHASH = MinhashConfig()
SHINGLES_AT_ONCE = 4096
DIGEST = np.dtype([("high", "<u8"), ("low", "<u8")])

NGRAM = 13  # words, as in GPT-3 (Brown et al. 2020, appendix C)
OVERLAP = 0.2  # of the n-grams of either document, as in Llama 2 (Touvron et al. 2023, A.6)
CAPACITY = 2**21  # held-out n-grams that are remembered: 25 MB, 75 while they are sorted
MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)  # odd, 2^64 / golden ratio

# Up to a million characters, to the end of a word where there is one.
PIECE = re.compile(r"(?s).{1,1000000}(?=\s|\Z)|.{1,1000000}")


def digest(text: str) -> bytes:
    """16 bytes that only copies share."""
    return hashlib.sha256(text.strip().encode()).digest()[: DIGEST.itemsize]


def copies(digests: np.ndarray) -> np.ndarray:
    """Which documents an earlier one equals, (N,) bool, from their digests, (N,) `DIGEST`."""
    _, first = np.unique(digests, return_index=True)
    found = np.ones(len(digests), bool)
    found[first] = False
    return found


def ngrams(text: str, n: int) -> np.ndarray:
    """64-bit hashes of a text's n-grams of words, (N,); case, punctuation, numbers do not count."""
    pieces = (simplify_text(piece).encode() for piece in PIECE.findall(text))
    words = np.fromiter(
        (xxh64_intdigest(word) for piece in pieces for word in piece.split()), np.uint64
    )
    found = np.zeros(max(len(words) - n + 1, 0), np.uint64)
    for i in range(n):  # Horner's rule modulo 2^64
        found = found * MULTIPLIER + words[i : i + len(found)]
    return found


class Signatures(MinhashDedupSignature):
    """datatrove's first stage, with memory that a long document does not multiply by 112."""

    def get_shingles(self, text: str) -> np.ndarray:
        """Hashes of the text's 5-grams, (N, 1); datatrove's own call fails on xxhash 4."""
        return ngrams(text, self.config.n_grams)[:, None]

    def get_signature(self, shingles: np.ndarray) -> list[list[int]]:
        """The least hash under each permutation, in bands; minima of some give that of all."""
        some = np.array_split(shingles, len(shingles) // SHINGLES_AT_ONCE + 1)
        lowest = np.min([super(Signatures, self).get_signature(s) for s in some], axis=0)
        return lowest.tolist()


def sign(texts: Iterable[str], folder: Path, part: int) -> None:
    """Write the MinHash signatures of a part's documents."""
    with _datatrove(folder):
        Signatures(str(folder), MINHASH).run((Page(text, "") for text in texts), rank=part)


def near_duplicates(signatures: Path, work: Path, workers: Workers) -> dict[int, set[int]]:
    """Documents that resemble an earlier one: part -> their places in it.

    Resemblance joins chains: of A ~ B ~ C only A is kept, however far C is from A.
    """
    pairs, clusters = work / "pairs", work / "clusters"
    match = partial(_match, signatures, pairs)
    for _ in workers.each(match, range(MINHASH.num_buckets)):
        pass
    _allow_open_files(2 * len(list((signatures / "bucket_000").iterdir())))
    with _datatrove(clusters):
        MinhashDedupCluster(str(pairs), str(clusters), MINHASH, save_cluster_id=True).run()
    found: dict[int, set[int]] = {}
    met: set[int] = set()
    for path in sorted(clusters.glob("*.clusters")):
        # datatrove keeps any one of a cluster; the first is kept here, held-out ones come first.
        for place, cluster in np.fromfile(path, "<u4").reshape(-1, 2).tolist():
            if cluster in met:
                found.setdefault(int(path.stem), set()).add(place)
            met.add(cluster)
    return found


def _match(signatures: Path, pairs: Path, band: int) -> None:
    """datatrove's second stage for one band: merge the sorted files of all parts, keep pairs."""
    _allow_open_files(len(list((signatures / f"bucket_{band:03}").iterdir())))
    with _datatrove(pairs):
        matching = MinhashDedupBuckets(str(signatures), str(pairs), config=MINHASH)
        matching.run(rank=band, world_size=MINHASH.num_buckets)


def _allow_open_files(number: int) -> None:
    """Lift the soft limit: datatrove opens a file of every part at once."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = number + 64
    if soft < wanted:
        most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


@contextlib.contextmanager
def _datatrove(folder: Path) -> Iterator[None]:
    """datatrove without its log and its progress bars; a full disk is a sentence."""
    logger.disable("datatrove")
    try:
        with contextlib.redirect_stderr(io.StringIO()):
            yield
    except OSError as error:
        raise VermeilError(
            f"could not write to {folder} ({error.strerror})",
            "mend that and run the same command; what was finished stays",
        ) from None


class HeldOut:
    """Which n-grams the validation and test documents hold, in memory-mapped arrays.

    No more than `CAPACITY` are kept, those of lowest hash: an even sample, so that shares stay what
    they are.
    """

    def __init__(self, folder: Path):
        self.hashes = np.load(folder / "hashes.npy", mmap_mode="r")
        self.owners = np.load(folder / "owners.npy", mmap_mode="r")
        about = json.loads((folder / "held_out.json").read_text())
        self.ids: list[str] = about["ids"]
        self.limit = np.uint64(about["limit"])
        self.sizes = np.bincount(self.owners, minlength=len(self.ids))

    @classmethod
    def build(cls, documents: Iterable[tuple[str, str]], folder: Path) -> "HeldOut":
        """Index pairs of id and text, and keep the index in `folder`."""
        ids: list[str] = []
        hashes, owners = [np.empty(0, np.uint64)], [np.empty(0, np.uint32)]
        gathered, limit = 0, np.uint64(2**64 - 1)
        for id, text in documents:
            found = np.unique(ngrams(text, NGRAM))
            hashes.append(found[found <= limit])
            owners.append(np.full(len(hashes[-1]), len(ids), np.uint32))
            ids.append(id)
            gathered += len(hashes[-1])
            while gathered > CAPACITY:
                limit //= np.uint64(2)
                few = [some <= limit for some in hashes]
                hashes = [some[kept] for some, kept in zip(hashes, few, strict=True)]
                owners = [some[kept] for some, kept in zip(owners, few, strict=True)]
                gathered = sum(map(len, hashes))
        order = np.argsort(np.concatenate(hashes), kind="stable")
        for name, arrays in (("hashes", hashes), ("owners", owners)):
            save(folder / f"{name}.npy", np.concatenate(arrays)[order])
        about = {"ids": ids, "limit": int(limit)}
        write_atomically(folder / "held_out.json", json.dumps(about))
        return cls(folder)

    def overlap(self, text: str) -> tuple[float, str]:
        """The share of n-grams in common with held-out documents, and the id of the closest.

        The share of the text's own n-grams, or that of one held-out document's if it is larger: an
        excerpt of a test novel is held by it, and an anthology holds a test poem.
        """
        own = np.unique(ngrams(text, NGRAM))
        own = own[own <= self.limit]
        low = np.searchsorted(self.hashes, own, "left")
        high = np.searchsorted(self.hashes, own, "right")
        owners = [self.owners[a:b] for a, b in zip(low, high, strict=True) if b > a]
        if not owners:
            return 0.0, ""
        common = np.bincount(np.concatenate(owners), minlength=len(self.ids))
        shares = common / np.maximum(self.sizes, 1)
        return max(len(owners) / len(own), float(shares.max())), self.ids[int(shares.argmax())]
