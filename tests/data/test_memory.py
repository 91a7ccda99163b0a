"""Reading a file that is three times as large takes no more memory."""

import bz2
import gzip
import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SENTENCE = "It was a dark and stormy night, and the rain fell in torrents, except at intervals. "

READ = """
    import sys
    from collections import Counter
    from data import load

    def read(name):
        data = load(name)
        stream = data._read(lambda identifier: True, Counter()) if "@" in name else data._read()
        size = sum(len(document.text) for document in stream)
        # Not ru_maxrss: a process inherits that from the one that started it.
        (peak,) = (line for line in open("/proc/self/status") if line.startswith("VmHWM"))
        return size, int(peak.split()[1]) / 2**10

    _, before = read(sys.argv[1])
    size, after = read(sys.argv[2])
    print(size, after - before)
    """


def texts(megabytes):
    """A thousand different documents a megabyte."""
    return (f"{n} " + SENTENCE * 12 for n in range(megabytes * 1000))


def write_jsonl(path, megabytes):
    with path.open("w") as file:
        file.writelines(json.dumps({"text": text}) + "\n" for text in texts(megabytes))


def write_parquet(path, megabytes):
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.table({"text": list(texts(megabytes))}), path)  # in a single row group


def write_wet(path, megabytes):
    head = "WARC/1.0\r\nWARC-Type: conversion\r\nWARC-Target-URI: http://a.org/\r\n"
    with gzip.open(path, "wb", compresslevel=1) as file:
        for n, text in enumerate(texts(megabytes)):
            length = len(text)
            record = f"{head}WARC-Record-ID: <urn:{n}>\r\nContent-Length: {length}\r\n\r\n{text}"
            file.write(record.encode() + b"\r\n\r\n")


def write_dump(path, megabytes):
    with bz2.open(path, "wb", compresslevel=1) as file:
        file.write(b"<mediawiki><siteinfo><dbname>enwiki</dbname></siteinfo>")
        for n, text in enumerate(texts(megabytes)):
            page = f"<page><title>{n}</title><ns>0</ns><id>{n}</id><revision><text>{text}</text>"
            file.write(page.encode() + b"</revision></page>\n")
        file.write(b"</mediawiki>")


@pytest.mark.parametrize(
    ("name", "write", "megabytes"),
    [
        ("{}.jsonl", write_jsonl, 60),
        ("{}.parquet", write_parquet, 90),
        ("common_crawl@{}.wet.gz", write_wet, 60),
        ("wikipedia@{}.xml.bz2", write_dump, 18),
    ],
)
def test_memory_is_flat(tmp_path, name, write, megabytes):
    names = []
    for size in (megabytes // 3, megabytes):
        names.append(name.format(tmp_path / str(size)))
        write(Path(names[-1].rpartition("@")[2]), size)
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(READ), *names],
        cwd=ROOT, env=os.environ, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    size, growth = map(float, done.stdout.split())
    assert size > 0.95e6 * megabytes
    assert growth < megabytes / 3, "half of what holding the larger file's text would add"


@pytest.mark.parametrize("name", ["{}.jsonl", "books@{}.txt"])
def test_a_line_without_end_is_not_taken_in(tmp_path, name):
    name = name.format(tmp_path / "endless")
    with open(name.rpartition("@")[2], "wb") as file:
        file.truncate(400 * 2**20)  # zeros that take no place on the disk
    code = """
        import sys
        from data import load
        from shared.errors import VermeilError
        try:
            load(sys.argv[1]).prepare()
        except VermeilError as error:
            (peak,) = (line for line in open("/proc/self/status") if line.startswith("VmHWM"))
            print(int(peak.split()[1]) / 2**10, error)
        """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), name],
        cwd=ROOT, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    peak, _, said = done.stdout.partition(" ")
    assert "at offset 0 has more than 64 MB" in said and float(peak) < 200
