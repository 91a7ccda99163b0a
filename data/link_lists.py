"""Lists of links to pictures with captions, and img2dataset, which downloads them into tar shards.

Read are parquet (LAION: URL and TEXT), TSV and CSV with and without a line of names (Conceptual
Captions: caption, link; Conceptual 12M: link, caption) and SBU's JSON of two lists. img2dataset
(https://github.com/rom1504/img2dataset) is a program of its own beside Vermeil: it wants older
versions of what Vermeil uses.
"""

import csv
import json
import shutil
import subprocess
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import chain, islice
from pathlib import Path
from typing import Any

from data.files import reading
from shared.errors import VermeilError
from shared.home import replacing

SUFFIXES = (".parquet", ".tsv", ".csv", ".json")
LINKS = ("url", "image_url", "image_urls", "img_url", "link", "links")
CAPTIONS = ("caption", "captions", "text", "alt", "alt_text", "top_caption", "title")
WEB = ("http://", "https://")  # others, file:// among them, are not to be opened for a list
ROWS = 10_000  # written together
PROGRAM = "img2dataset"
# 256 pixels are the shorter side, which `resized` then takes a square of.
SETTINGS = ("--input_format=parquet", "--url_col=url", "--caption_col=caption",
            "--output_format=webdataset", "--image_size=256", "--resize_mode=keep_ratio",
            "--resize_only_if_bigger=True", "--number_sample_per_shard=10000", "--timeout=10",
            "--retries=1", "--processes_count=1", "--thread_count=32")  # fmt: skip

Row = tuple[Any, Any]  # link and caption


def write_list(lists: Sequence[Path], target: Path) -> Counter[str]:
    """Write the usable rows of all lists as a parquet of "url" and "caption".

    Returns how many "links" there are, and how many rows were left out as "no link" and "no
    caption". Raises VermeilError where no row is left.
    """
    pa, pq = arrow()
    counts: Counter[str] = Counter()
    kept = (row for path in lists for row in _usable(rows(path), counts))
    target.parent.mkdir(parents=True, exist_ok=True)
    schema = pa.schema([("url", pa.string()), ("caption", pa.string())])
    with replacing(target) as temporary, pq.ParquetWriter(temporary, schema) as writer:
        while some := list(islice(kept, ROWS)):
            links, captions = zip(*some, strict=True)
            writer.write_table(pa.table({"url": links, "caption": captions}, schema))
        if not counts["links"]:
            said = ", ".join(f"{n:,} {what}" for what, n in counts.items()) or "no row"
            raise VermeilError(
                f"{', '.join(map(str, lists))} has no row with a link and a caption ({said})",
                "a list has a column of http:// or https:// links and one of captions",
            )
    return counts


def rows(path: Path) -> Iterator[Row]:
    """Links and captions of one list, as they stand there."""
    with reading(path):
        if path.suffix == ".parquet":
            yield from _parquet(path)
        elif path.suffix == ".json":
            yield from _two_lists(path)
        else:
            yield from _table(path)


def download(listing: Path, folder: Path, log: Path) -> None:
    """Run img2dataset on what `write_list` wrote; whole shards of an earlier run are kept."""
    if shutil.which(PROGRAM) is None:
        raise VermeilError(
            f"{PROGRAM} is not installed, it downloads the pictures of a list of links",
            f"python -m venv ~/{PROGRAM} && ~/{PROGRAM}/bin/pip install {PROGRAM} && "
            f"export PATH=$PATH:~/{PROGRAM}/bin",
        )
    words = [PROGRAM, f"--url_list={listing}", f"--output_folder={folder}", *SETTINGS]
    with log.open("a") as file:
        code = subprocess.run(words, stdout=file, stderr=subprocess.STDOUT).returncode
    if code or not any(folder.glob("*_stats.json")):
        lines = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
        raise VermeilError(
            f"{PROGRAM} stopped with status {code} ({(lines or ['it said nothing'])[-1][:200]})",
            f"see {log}; the same command goes on where it was",
        )


def arrow() -> tuple[Any, Any]:
    """pyarrow and its parquet module; VermeilError where it is not installed."""
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise VermeilError(
            "lists of links take the package pyarrow, which is not installed",
            'pip install -c constraints.txt -e ".[text]"',
        ) from None
    return pyarrow, pyarrow.parquet


def _usable(found: Iterator[Row], counts: Counter[str]) -> Iterator[tuple[str, str]]:
    for link, caption in found:
        if not isinstance(link, str) or not link.strip().startswith(WEB):
            counts["no link"] += 1
        elif not isinstance(caption, str) or not caption.strip():
            counts["no caption"] += 1
        else:
            counts["links"] += 1
            yield link.strip(), " ".join(caption.split())


def _parquet(path: Path) -> Iterator[Row]:
    pa, pq = arrow()
    try:
        with pq.ParquetFile(path) as file:
            names = _columns(file.schema_arrow.names, path)
            for batch in file.iter_batches(ROWS, columns=list(names)):
                columns = (batch.column(name).to_pylist() for name in names)
                yield from zip(*columns, strict=True)
    except pa.ArrowException as error:
        reason = " ".join(str(error).split())[:200]
        raise VermeilError(f"{path} is no whole parquet ({reason})", "download it again") from None


def _two_lists(path: Path) -> Iterator[Row]:
    try:
        content = json.loads(path.read_bytes())
        names = _columns(list(content), path)
        links, captions = (content[name] for name in names)
        yield from zip(links, captions, strict=True)
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        raise VermeilError(
            f"{path} is not two lists of equal length ({error})",
            'SBU\'s file is {"image_urls": [...], "captions": [...]}',
        ) from None


def _table(path: Path) -> Iterator[Row]:
    tabs = path.suffix == ".tsv"
    form: Any = {"delimiter": "\t", "quoting": csv.QUOTE_NONE} if tabs else {}
    with path.open(encoding="utf-8", errors="replace", newline="") as file:
        lines = csv.reader((line.replace("\0", "") for line in file), **form)
        try:
            first = next(lines, [])
            if any(cell.strip().startswith(WEB) for cell in first):
                link = next(n for n, cell in enumerate(first) if cell.strip().startswith(WEB))
                caption, lines = 1 if link == 0 else 0, chain([first], lines)
            else:
                link, caption = (first.index(name) for name in _columns(first, path))
            for cells in lines:
                cells += [""] * (max(link, caption) + 1 - len(cells))
                yield cells[link], cells[caption]
        except csv.Error as error:
            raise VermeilError(f"{path} is no table ({error})", "download it again") from None


def _columns(names: list[str], path: Path) -> Row:
    """What the columns of links and captions are called here."""
    by_name = {name.strip().casefold(): name for name in reversed(names)}
    found = [
        next((by_name[name] for name in usual if name in by_name), None)
        for usual in (LINKS, CAPTIONS)
    ]
    if None in found:
        what = "links" if found[0] is None else "captions"
        raise VermeilError(
            f"{path} has no column of {what} (it has: {', '.join(names)[:200]})",
            f"name it {LINKS[0]} or {CAPTIONS[0]}",
        )
    return found[0], found[1]
