"""Web crawls: the pages of WARC and WET files as Common Crawl writes them, and broken files."""

import gzip
from collections import Counter

import pytest

from data import common_crawl, load
from data.common_crawl import CommonCrawl
from data.splits import BY_SHARE
from data.text import SPLITS
from shared.errors import VermeilError

PROSE = (
    "The lighthouse at the end of the pier was built in 1871 and has been lit every night since. "
    "Its keeper climbs one hundred and twelve steps, trims the lamp, and writes down the weather."
)
HTML = f"<html><head><title>T</title></head><body><nav><a href=/>Home</a></nav><p>{PROSE}</p>"
OK = b"HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=UTF-8\r\n\r\n"


def record(kind, content, address="https://example.org/", number=1, length=None, more=""):
    """One record, byte for byte as Common Crawl writes it; `length` lies about its length."""
    head = (
        f"WARC/1.0\r\nWARC-Type: {kind}\r\nWARC-Date: 2026-09-01T10:00:00Z\r\n"
        f"WARC-Record-ID: <urn:uuid:{number:08}-0000-4000-8000-000000000000>\r\n{more}"
        f"WARC-Target-URI: {address}\r\n"
        f"Content-Length: {len(content) if length is None else length}\r\n\r\n"
    )
    return head.encode() + content + b"\r\n\r\n"


def identifier(number):
    return f"urn:uuid:{number:08}-0000-4000-8000-000000000000"


def write(path, *records, packed=True):
    """A gzip member per record, as the standard recommends, or nothing packed."""
    path.write_bytes(b"".join(map(gzip.compress, records) if packed else records))
    return CommonCrawl(path)


def everything(data):
    skipped = Counter()
    return list(data._read(lambda identifier: True, skipped)), skipped


@pytest.mark.parametrize("packed", [True, False])
def test_a_warc_file_gives_the_main_text_of_its_pages(tmp_path, packed):
    info = record("warcinfo", b"isPartOf: CC-MAIN-2026-38\r\npublisher: Common Crawl\r\n")
    request = record("request", b"GET / HTTP/1.1\r\nHost: example.org\r\n\r\n", number=2)
    page = record("response", OK + HTML.encode(), "https://example.org/pier", 3)
    metadata = record("metadata", b"fetchTimeMs: 120\r\n", number=4)
    dns = record("response", b"20260901\r\nexample.org. 300 IN A 1.2.3.4\r\n", "dns:example.org", 5)
    data = write(tmp_path / "CC-MAIN-0.warc.gz", info, request, page, metadata, dns, packed=packed)
    documents, skipped = everything(data)
    (document,) = documents
    assert (document.id, document.title) == (identifier(3), "https://example.org/pier")
    assert document.text == PROSE and not skipped


@pytest.mark.parametrize("chunked", [True, False])
def test_pages_are_unpacked_as_their_headers_say(tmp_path, chunked):
    page = gzip.compress(HTML.encode())
    headers = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Encoding: gzip\r\n"
    if chunked:
        headers += b"Transfer-Encoding: chunked\r\n"
        page = f"{len(page):x}\r\n".encode() + page + b"\r\n0\r\n\r\n"
    data = write(tmp_path / "a.warc", record("response", headers + b"\r\n" + page), packed=False)
    assert [document.text for document in everything(data)[0]] == [PROSE]


def test_a_wet_file_gives_its_text(tmp_path):
    text = "Überschrift\r\nErste Zeile.\n"
    page = record("conversion", text.encode(), "https://example.org/", 7)
    data = write(tmp_path / "CC-MAIN-0.warc.wet.gz", record("warcinfo", b"x: y\r\n"), page)
    ((document,), skipped) = everything(data)
    assert (document.id, document.text) == (identifier(7), "Überschrift\nErste Zeile.\n")
    assert not skipped


def test_what_gives_no_text_is_counted_by_reason(tmp_path, monkeypatch):
    monkeypatch.setattr(common_crawl, "PAGE_BYTES", 100_000)
    records = [
        record("response", b"HTTP/1.1 404 Not Found\r\nContent-Type: text/html\r\n\r\n" + b"x"),
        record("response", b"HTTP/1.1 200 OK\r\nContent-Type: image/png\r\n\r\n\x89PNG"),
        record("response", b"HTTP/1.1 200 OK\r\n\r\n{}"),
        record("response", OK + b"<html></html>"),
        record("response", OK),
        record("response", b""),
        record("response", OK + b"<p>" + b"x" * 200_000),
        record("conversion", "Grüße".encode("latin-1")),
        record("conversion", b"x" * 200_000),
        record("response", OK + HTML.encode()),
    ]
    documents, skipped = everything(write(tmp_path / "a.warc.gz", *records))
    assert [document.text for document in documents] == [PROSE]
    assert skipped == {
        "no answer with status 200": 1,
        "no HTML": 2,
        "HTML without main text": 2,
        "an empty answer": 1,
        "a page of more than 0 MB": 2,
        "text that is not UTF-8": 1,
    }


@pytest.mark.parametrize(
    "html",
    [
        f"<html><body><article><h1>Pier<p>{PROSE}",
        f"<body><p>{PROSE}<!-- and then " + "never closed " * 1000,
        f"<p>{PROSE}<script>var a = '" + "x" * 100_000,
        f"<p>{PROSE}" + "<div>" * 50_000,
        f"<p>{PROSE}<a href='" + "x" * 100_000,
    ],
)
def test_html_that_never_closes_gives_its_text_or_is_counted(tmp_path, html):
    pages = [record("response", OK + html.encode()), record("response", OK + HTML.encode())]
    documents, skipped = everything(write(tmp_path / "a.warc.gz", *pages))
    assert PROSE in documents[-1].text, "the page after it is read"
    assert len(documents) == 2 or skipped == {"HTML without main text": 1}


def test_splits_follow_the_record_and_skips_are_counted_once(tmp_path):
    pages = [
        record("conversion", f"Page {number}".encode() if number % 2 else b"\xff", number=number)
        for number in range(800)
    ]
    data = write(tmp_path / "a.wet.gz", *pages)
    found = {split: [d.id for d in data.documents(split)] for split in SPLITS}
    assert sum(map(len, found.values())) == 400
    for split, ids in found.items():
        assert {BY_SHARE.of(one) for one in ids} == {split}
    assert sum(data.skipped.values(), Counter()) == {"text that is not UTF-8": 400}
    list(data.documents("train"))
    assert sum(data.skipped.values(), Counter()) == {"text that is not UTF-8": 400}


def test_a_crawl_is_a_folder(tmp_path):
    (tmp_path / "segment").mkdir()
    write(tmp_path / "segment" / "b.wet.gz", record("conversion", b"b", number=2))
    write(tmp_path / "a.warc.gz", record("conversion", b"a", number=1))
    (tmp_path / "wet.paths.gz").write_bytes(gzip.compress(b"crawl-data/..."))
    data = load(f"common_crawl@{tmp_path}")
    assert [document.text for document in everything(data)[0]] == ["a", "b"]


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("length", [3, 5000])
def test_a_record_with_a_wrong_length_is_refused(tmp_path, packed, length):
    good = record("conversion", b"good", number=1)
    wrong = record("conversion", b"this is longer than three bytes", number=2, length=length)
    after = [record("conversion", b"after " * 400, number=number) for number in (3, 4, 5)]
    data = write(tmp_path / "a.wet.gz", good, wrong, *after, packed=packed)
    with pytest.raises(
        VermeilError, match=r"wet\.gz is damaged at record <urn:uuid:00000002-"
    ) as e:
        everything(data)
    assert "where a record should begin stands" in str(e.value)


def test_a_length_that_counts_its_blank_lines_is_harmless(tmp_path):
    """Real archives hold such records."""
    counted = record("conversion", b"text", number=1, length=len(b"text\r\n\r\n"))
    data = write(tmp_path / "a.wet", counted, record("conversion", b"more"), packed=False)
    assert [document.text.strip() for document in everything(data)[0]] == ["text", "more"]


@pytest.mark.parametrize(
    "head", [b"", b"Content-Length: many\r\n"], ids=["no length", "a word for a length"]
)
def test_a_record_without_a_length_is_refused(tmp_path, head):
    content = b"WARC/1.0\r\nWARC-Type: conversion\r\nWARC-Record-ID: <urn:x>\r\n" + head
    data = write(tmp_path / "a.wet.gz", content + b"\r\ntext\r\n\r\n")
    with pytest.raises(VermeilError, match="is damaged at record <urn:x>"):
        everything(data)


@pytest.mark.parametrize("cut", [0.3, 0.7, 0.95])
def test_a_packed_file_that_is_cut_short(tmp_path, cut):
    path = tmp_path / "a.wet.gz"
    write(path, *(record("conversion", bytes(range(65, 90)) * 40, number=n) for n in range(9)))
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * cut)])
    with pytest.raises(VermeilError, match=r"a\.wet\.gz is cut short at record <urn:uuid:0000000"):
        everything(CommonCrawl(path))


def test_a_plain_file_that_is_cut_short(tmp_path):
    path = tmp_path / "a.wet"
    write(path, record("conversion", b"x" * 1000), packed=False)
    path.write_bytes(path.read_bytes()[:-500])
    with pytest.raises(VermeilError, match="the file ends 496 bytes before the record does"):
        everything(CommonCrawl(path))


def test_a_changed_byte_is_found(tmp_path):
    path = tmp_path / "a.wet.gz"
    good = gzip.compress(record("conversion", b"one"))
    wrong = bytearray(gzip.compress(record("conversion", b"two", number=2)))
    wrong[-5] ^= 1  # of the checksum and the length, the last eight bytes
    unknown = wrong[:10] + b"\xff" * 20  # a gzip header, then a block of a type there is none of
    for bad in (wrong, unknown):
        path.write_bytes(good + bad)
        with pytest.raises(VermeilError, match=r"a\.wet\.gz is damaged at record"):
            everything(CommonCrawl(path))


@pytest.mark.parametrize("content", [b"<html>404", gzip.compress(b"crawl-data/CC"), b"\x89PNG\r\n"])
def test_other_files(tmp_path, content):
    (tmp_path / "a.warc.gz").write_bytes(content)
    with pytest.raises(VermeilError, match="is damaged at its beginning: where a record should"):
        everything(CommonCrawl(tmp_path / "a.warc.gz"))
