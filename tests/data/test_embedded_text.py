"""The embedded pack: what is in it, how it is divided, and what a damaged one says."""

import hashlib
import re
import shutil
from itertools import pairwise
from pathlib import Path

import pytest

from data import load
from data.embedded_text import PACK_SHA256, TEST, VALIDATION, EmbeddedText
from data.text import SPLITS, Document
from shared.errors import VermeilError

PACK = Path(__file__).parents[2] / "data" / "embedded" / "text.jsonl.xz"


@pytest.fixture(scope="module")
def splits() -> dict[str, list[Document]]:
    data = EmbeddedText()
    return {split: list(data.documents(split)) for split in SPLITS}


@pytest.fixture(scope="module")
def texts(splits) -> dict[str, str]:
    return {document.id: document.text for part in splits.values() for document in part}


def test_every_document_is_in_exactly_one_split(splits, texts):
    assert {split: len(documents) for split, documents in splits.items()} == {
        "train": 214,
        "validation": 13,
        "test": 13,
    }
    assert len(texts) == 240, "an id occurs twice"
    assert {document.id for document in splits["validation"]} == VALIDATION
    assert {document.id for document in splits["test"]} == TEST


def test_no_text_is_in_two_documents(texts):
    fingerprints = {re.sub(r"\W+", "", text).lower() for text in texts.values()}
    assert len(fingerprints) == len(texts)


def test_held_out_addresses_alternate_and_are_evenly_spaced(texts):
    addresses = sorted(name for name in texts if name.startswith("sotu/"))
    assert len(addresses) == 233
    places = {split: [] for split in ("validation", "test")}
    for place, name in enumerate(addresses):
        if name in VALIDATION:
            places["validation"].append(place)
        elif name in TEST:
            places["test"].append(place)
    for held_out in places.values():
        gaps = {after - before for before, after in pairwise(held_out)}
        assert len(held_out) == 12 and gaps <= {19, 20}
    assert all(v < t for v, t in zip(places["validation"], places["test"], strict=True))


def test_documents_come_in_the_same_order_each_time(splits):
    again = list(EmbeddedText().documents("validation"))
    assert again == splits["validation"]
    years = [document.id for document in again if document.source == "sotu"]
    assert years == sorted(years)


@pytest.mark.parametrize(
    ("name", "passage"),
    [
        (
            "austen/persuasion",
            "\n\nSir Walter Elliot, of Kellynch Hall, in Somersetshire, was a man who, for his own "
            "amusement, never took up any book but the Baronetage; there he found occupation",
        ),
        ("austen/pride_and_prejudice", "\n\nIt is a truth universally acknowledged, that a single"),
        ("austen/mansfield_park", "£"),
        ("austen/emma", "My first doth affliction denote,\nWhich my second is destin'd to feel\n"),
        # An indented letter: wrapped prose, though it is set out like verse.
        (
            "austen/sense_and_sensibility",
            '\n\n"How surprised you will be, Willoughby, on receiving',
        ),
        ("melville/moby_dick", "\n\nCall me Ishmael. Some years ago—never mind how long precisely"),
        (
            "melville/moby_dick",
            "\n\nFarewell and adieu to you, Spanish ladies!\nFarewell and adieu",
        ),
        ("melville/moby_dick", "ϰητος, Greek.\nCETUS, Latin.\n"),
        ("sotu/1862_abraham_lincoln", "The fiery trial through which we pass will light us down"),
        ("sotu/1890_benjamin_harrison", "4 and 4 1/2 per cent bonds"),
        ("sotu/1890_benjamin_harrison", 'The act "directing the purchase of silver bullion'),
        ("sotu/2018_donald_j_trump", "plans to invest his tax-cut raise"),
    ],
)
def test_known_passages(texts, name, passage):
    assert passage in texts[name]


def test_text_is_clean(texts):
    for name, text in texts.items():
        assert text == text.strip() and text, name
        assert not re.search(r"  |\n\n\n|[^\S\n ]|[\x00-\x09\x0b-\x1f\x7f-\x9f\ufffd]", text), name
        assert not re.search(r"&(quot|mdash|amp|#\d+);|[\u2018\u2019\u201c\u201d]|Ã|â€", text), name
    whole = "\n".join(texts.values())
    for alien in (
        "Signet Classic",
        "Gutenberg",
        "T. and A. Constable",
        "Volume 1 ends",
        "CONTENTS",
    ):
        assert alien not in whole
    assert "as reported from the floor" not in whole


def test_what_it_says_of_itself_is_so(splits):
    data = load("embedded_text")
    assert data.ready() and data.sha256() == PACK_SHA256
    assert data.splits == " / ".join(str(len(splits[split])) for split in SPLITS)
    size = sum(len(document.text.encode()) for part in splits.values() for document in part)
    assert data.size == f"{size / 1e6:.1f} MB"
    sources = (PACK.parent / "SOURCES.md").read_text()
    assert PACK_SHA256 in sources and f"{size:,} bytes" in sources
    assert PACK.stat().st_size <= 8_000_000


def test_flipped_byte(tmp_path):
    pack = bytearray(PACK.read_bytes())
    pack[len(pack) // 2] ^= 1
    (tmp_path / PACK.name).write_bytes(pack)
    _refuses(EmbeddedText(tmp_path), tmp_path, "is damaged")


def test_truncated_pack(tmp_path):
    (tmp_path / PACK.name).write_bytes(PACK.read_bytes()[:-1000])
    _refuses(EmbeddedText(tmp_path), tmp_path, "is damaged (3,880,464 bytes")


def test_missing_pack(tmp_path):
    data = EmbeddedText(tmp_path)
    assert not data.ready()
    _refuses(data, tmp_path, "cannot be read (No such file")


def test_the_same_pack_in_another_folder_is_welcome(tmp_path):
    shutil.copy(PACK, tmp_path)
    assert next(load("embedded_text", tmp_path).documents("test")).id == "austen/persuasion"


def test_unknown_split():
    with pytest.raises(VermeilError, match="split 'dev' does not exist: known: train, validation"):
        EmbeddedText().documents("dev")


def _refuses(data: EmbeddedText, folder: Path, message: str) -> None:
    """Nothing of a damaged pack is handed out, whichever way one asks."""
    for ask in (data.prepare, data.sha256, lambda: data.documents("train")):
        with pytest.raises(VermeilError) as caught:
            ask()
        assert str(folder / PACK.name) in caught.value.message and message in caught.value.message
        assert "git checkout -- data/embedded" in caught.value.hint


def test_the_hash_in_the_code_is_that_of_the_file():
    assert hashlib.sha256(PACK.read_bytes()).hexdigest() == PACK_SHA256
