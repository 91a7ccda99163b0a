"""The documents in a .txt, a .jsonl and a .parquet file, one or a few in memory at a time."""

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path

from data.files import check_length, decode, lines
from data.text import Document
from shared.errors import VermeilError

LINE_FORMAT = 'every line is one object such as {"title": "...", "text": "..."}'
SURROGATE = re.compile("[\ud800-\udfff]")  # JSON can escape what UTF-8 cannot hold
CUT = "cut it into several .txt files, or make it .jsonl with a document per line"
ROWS = 64  # of a .parquet file in memory at a time

Reader = Callable[[Path, str, str], Iterator[Document]]  # of a file, its name and its source


def read_whole(path: Path, name: str, source: str) -> Iterator[Document]:
    """The whole file as one document."""
    check_length(path.stat().st_size, f"{path} is one document and", CUT)
    text = decode(path.read_bytes(), path).removeprefix("\ufeff")
    yield Document(name, source, path.stem, text)


def read_lines(path: Path, name: str, source: str) -> Iterator[Document]:
    """A document per line, from a JSON object with "text" and perhaps "title"."""
    for number, (offset, line) in enumerate(lines(path), start=1):
        row = _parse(decode(line, path, offset).removeprefix("\ufeff"), path, number)
        if row:
            title = str(row.get("title", f"{path.stem} {number}"))
            yield Document(f"{name}:{number}", source, title, row["text"])


def _parse(line: str, path: Path, number: int) -> dict | None:
    """A line's JSON object with its "text"; None for a blank line."""
    if not line.strip():
        return None
    try:
        row = json.loads(line.rstrip())
    except json.JSONDecodeError as error:
        raise VermeilError(
            f"{path} line {number} is not JSON ({error.msg}, column {error.colno})", LINE_FORMAT
        ) from None
    if not isinstance(row, dict) or not isinstance(row.get("text"), str):
        raise VermeilError(f'{path} line {number} has no string "text"', LINE_FORMAT)
    if SURROGATE.search(row["text"]):
        raise VermeilError(
            f"{path} line {number} escapes half a character (\\ud800 to \\udfff)", LINE_FORMAT
        )
    return row


def read_rows(path: Path, name: str, source: str) -> Iterator[Document]:
    """A document per row with a "text" and perhaps a "title"; a row without text is blank."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    number = 0
    try:
        # Not buffered ahead: a column of one row group can be the whole file.
        table = pq.ParquetFile(path, buffer_size=2**20, pre_buffer=False)
        columns = {field.name: field.type for field in table.schema_arrow}
        if columns.get("text") not in (pa.string(), pa.large_string()):
            raise VermeilError(
                f'{path} has no column "text" of strings (it has: {", ".join(columns)})',
                hint='rename the column that holds the text to "text"',
            )
        for batch in table.iter_batches(ROWS, columns=[*({"text", "title"} & columns.keys())]):
            for row in batch.to_pylist():
                number += 1
                text, title = row["text"] or "", row.get("title") or f"{path.stem} {number}"
                check_length(len(text), f"row {number} of {path}", "cut it into several rows")
                yield Document(f"{name}:{number}", source, str(title), text)
    except (pa.ArrowException, UnicodeDecodeError, OSError) as error:
        if isinstance(error, OSError) and error.strerror:  # the disk's fault, not the content's
            raise
        raise VermeilError(
            f"{path} is damaged after row {number:,} ({' '.join(str(error).split())[:200]})",
            hint="copy or download it again, or take it out",
        ) from None
