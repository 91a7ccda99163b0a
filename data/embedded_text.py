"""The text that travels with the code: six novels by Jane Austen, Moby Dick, 233 addresses."""

import hashlib
import io
import json
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from data.packs import verified
from data.text import Document, TextData, check_split

# Of text.jsonl.xz, as data/embedded/build_text.py makes it.
PACK_SHA256 = "9ca652f21a2fc6f4a95960dfc9e2ea74104050ae996f03acadae3fdf7b6d429c"


# Held out are whole documents: one novel each, and 24 addresses evenly spaced in time, in turn
# for validation and for test.
VALIDATION = frozenset(
    {
        "austen/northanger_abbey",
        "sotu/1794_george_washington",
        "sotu/1814_james_madison",
        "sotu/1833_andrew_jackson",
        "sotu/1853_franklin_pierce",
        "sotu/1872_ulysses_s_grant",
        "sotu/1891_benjamin_harrison",
        "sotu/1911_william_h_taft",
        "sotu/1930_herbert_hoover",
        "sotu/1951_harry_s_truman",
        "sotu/1968_lyndon_b_johnson",
        "sotu/1988_ronald_reagan",
        "sotu/2007_george_w_bush",
    }
)
TEST = frozenset(
    {
        "austen/persuasion",
        "sotu/1804_thomas_jefferson",
        "sotu/1823_james_monroe",
        "sotu/1843_john_tyler",
        "sotu/1862_abraham_lincoln",
        "sotu/1882_chester_a_arthur",
        "sotu/1901_theodore_roosevelt",
        "sotu/1921_warren_g_harding",
        "sotu/1941_franklin_d_roosevelt",
        "sotu/1959_dwight_d_eisenhower",
        "sotu/1978_jimmy_carter",
        "sotu/1997_william_j_clinton",
        "sotu/2017_donald_j_trump",
    }
)


class EmbeddedText(TextData):
    """The pack in data/embedded; `root` is another folder that holds the same file."""

    name = "embedded_text"
    version = "1"
    licence = "public domain (packaged under MIT, PDDL-1.0, CC0-1.0)"
    description = "English prose and speeches: Jane Austen, Moby Dick, State of the Union"
    size = "16.0 MB"
    splits = "214 / 13 / 13"

    def __init__(self, root: Path | None = None):
        self.pack = (root or Path(__file__).parent / "embedded") / "text.jsonl.xz"

    def ready(self) -> bool:
        """Whether the pack is there."""
        return self.pack.is_file()

    def prepare(self) -> None:
        """Verify the pack; there is nothing to fetch."""
        self._verified_bytes()

    def sha256(self) -> str:
        """The pack's own hash, verified."""
        self._verified_bytes()
        return PACK_SHA256

    def documents(self, split: str) -> Iterator[Document]:
        """The split's documents in the pack's order: the novels, then the addresses by year."""
        check_split(split)
        documents = _unpack(self._verified_bytes())
        return (document for document in documents if _split_of(document.id) == split)

    def _verified_bytes(self) -> bytes:
        return verified(self.pack, PACK_SHA256, "text")


class EmbeddedSample(EmbeddedText):
    """A few of the addresses, for runs of seconds that test the way and not the result."""

    name = "embedded_sample"
    description = "fourteen addresses of the embedded text, for tests and `vermeil run smoke`"
    size = "0.5 MB"
    splits = "11 / 1 / 2"

    every = 19  # of the training documents
    held_out = ("sotu/1794_george_washington", "sotu/1804_thomas_jefferson",
                "sotu/1941_franklin_d_roosevelt")  # fmt: skip

    def sha256(self) -> str:
        """The hash of the pack's own and of what is taken from it."""
        taken = f"{super().sha256()} {self.every} {self.held_out}"
        return hashlib.sha256(taken.encode()).hexdigest()

    def documents(self, split: str) -> Iterator[Document]:
        """A part of the split's documents."""
        documents = super().documents(split)
        if split == "train":
            return islice((d for d in documents if d.source == "sotu"), 0, None, self.every)
        return (d for d in documents if d.id in self.held_out)


def _unpack(pack: bytes) -> Iterator[Document]:
    import lzma

    with lzma.open(io.BytesIO(pack)) as lines:
        for line in lines:
            yield Document(**json.loads(line))


def _split_of(identifier: str) -> str:
    if identifier in VALIDATION:
        return "validation"
    return "test" if identifier in TEST else "train"
