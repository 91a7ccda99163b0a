"""Pages of a web crawl in the files that Common Crawl publishes: WARC (HTML) and WET (text)."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from data.files import Progress, open_packed
from data.streamed_text import DownloadedText, Wanted
from data.text import Document
from shared.errors import VermeilError

PAGE_BYTES = 8 * 2**20  # Common Crawl itself cuts pages off at 1 MB, since 2024 at 5
LINE_BYTES = 2**16
CHUNK = 2**16


class CommonCrawl(DownloadedText):
    """One document per page: the main text of HTML in WARC files, the text of WET files as it is.

    Ids are the records' own, titles the addresses. Requests, metadata and DNS answers are no pages;
    pages that give no text are passed over and counted in `skipped` by reason. A file whose records
    are not as long as they say is refused: nothing after the fault can be trusted.
    Format: WARC 1.0 and 1.1 (ISO 28500), packed or not.
    """

    name = "common_crawl"
    title = "a web crawl"
    licence = "each page's own, under Common Crawl's terms of use"
    suffixes = (".warc.gz", ".wet.gz", ".warc", ".wet")

    def _read_file(
        self, path: Path, wanted: Wanted, skipped: Counter[str], progress: Progress
    ) -> Iterator[Document]:
        for record in _records(path, progress):
            extract = {"response": _html_text, "conversion": _plain_text}.get(record.rec_type)
            address = record.rec_headers.get_header("WARC-Target-URI", "").strip("<>")
            identifier = record.rec_headers.get_header("WARC-Record-ID", address).strip("<>")
            if extract is None or not address.startswith("http") or not wanted(identifier):
                continue
            text, reason = extract(record)
            if reason:
                skipped[reason] += 1
            else:
                yield Document(identifier, "common_crawl", address, text)


def _records(path: Path, progress: Progress) -> Iterator[Any]:
    """The file's records (warcio's), each checked against the length that it gives for itself."""
    from warcio.recordloader import ArcWarcRecordLoader

    # warcio reads the headers. Its own loop over a file prints faults and goes on.
    loader = ArcWarcRecordLoader(verify_http=False, arc2warc=False)
    with open_packed(path) as file:
        while line := _first_written_line(file):
            if not line.startswith(b"WARC/"):
                raise VermeilError(
                    f"{path} is damaged {progress.at}: where a record should begin stands "
                    f"{line[:40]!r}",
                    hint="download it again, or take it out",
                )
            record = loader.parse_record_stream(file, line, "warc", no_record_parse=True)
            progress.at = f"at record {record.rec_headers.get_header('WARC-Record-ID')}"
            if record.length is None:
                raise VermeilError(f"{path} is damaged {progress.at}: it gives no length")
            yield record
            while record.raw_stream.read(CHUNK):
                pass  # what nobody wanted
            if missing := record.raw_stream.limit:
                raise VermeilError(
                    f"{path} is damaged {progress.at}: the file ends {missing:,} bytes before the "
                    "record does",
                    hint="download it again, or take it out",
                )


def _first_written_line(file: Any) -> bytes:
    """The next line that is not blank (two blank ones stand between records); b"" at the end."""
    while line := file.readline(LINE_BYTES):
        if line.strip():
            break
    return line


def _html_text(record: Any) -> tuple[str, str]:
    """A response's main text, and the reason if it has none."""
    import trafilatura
    from warcio.statusandheaders import StatusAndHeadersParser

    try:
        record.http_headers = StatusAndHeadersParser([], verify=False).parse(record.raw_stream)
    except EOFError:
        return "", "an empty answer"
    if record.http_headers.get_statuscode() != "200":
        return "", "no answer with status 200"
    if "html" not in (record.http_headers.get_header("Content-Type") or "").lower():
        return "", "no HTML"
    page = _payload(record)
    if page is None:
        return "", f"a page of more than {PAGE_BYTES // 2**20} MB"
    text = trafilatura.extract(page, include_comments=False)
    return text or "", "" if text else "HTML without main text"


def _plain_text(record: Any) -> tuple[str, str]:
    """A conversion's text, and the reason if it has none."""
    page = _payload(record)
    if page is None:
        return "", f"a page of more than {PAGE_BYTES // 2**20} MB"
    try:
        return page.decode().replace("\r\n", "\n"), ""
    except UnicodeDecodeError:
        return "", "text that is not UTF-8"


def _payload(record: Any) -> bytes | None:
    """The page, unpacked as its HTTP headers say; None if it is too long."""
    stream, page = record.content_stream(), b""
    while len(page) <= PAGE_BYTES and (part := stream.read(CHUNK)):
        page += part
    return page if len(page) <= PAGE_BYTES else None
