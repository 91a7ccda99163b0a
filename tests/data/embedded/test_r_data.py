"""The reader of R's serialisation, on byte strings written by hand after R Internals 1.8."""

import struct
import zlib

import pytest

from data.embedded.r_data import read_database, unserialize
from shared.errors import VermeilError

HEADER = b"X\n" + struct.pack(">3i", 2, 0x030602, 0x020300)
HEADER_3 = b"X\n" + struct.pack(">3ii", 3, 0x040201, 0x030500, 5) + b"UTF-8"
NULL = struct.pack(">i", 254)
ASCII, UTF8, LATIN1 = 0x40009, 0x08009, 0x04009
NAMED_LIST, TAGGED = 19 | 1 << 9, 2 | 1 << 10


def integer(*values):
    return struct.pack(f">{len(values)}i", *values)


def characters(content: bytes, flags: int = ASCII) -> bytes:
    return integer(flags, len(content)) + content


def strings(*content: bytes) -> bytes:
    return integer(16, len(content)) + b"".join(characters(part) for part in content)


def symbol(name: bytes) -> bytes:
    return integer(1) + characters(name)


def named(names: list[bytes], *values: bytes, tag: bytes) -> bytes:
    """A list with the attribute `names`; `tag` is the symbol, or a reference to it."""
    attributes = integer(TAGGED) + tag + strings(*names) + NULL
    return integer(NAMED_LIST, len(values)) + b"".join(values) + attributes


def test_strings_in_every_encoding():
    vector = integer(16, 4) + characters(b"plain") + characters("café £".encode(), UTF8)
    vector += characters("café £".encode("latin-1"), LATIN1) + integer(9, -1)
    for header in (HEADER, HEADER_3):
        assert unserialize(header + vector) == ["plain", "café £", "café £", None]


def test_list_with_names_integers_and_a_symbol_mentioned_again():
    first = named([b"a", b"b"], integer(13, 2, 7, -7), integer(10, 1, 1), tag=symbol(b"names"))
    again = integer(255 | 1 << 8)  # reference 1: the symbol `names`
    whole = named([b"inner"], first, tag=symbol(b"names"))
    assert unserialize(HEADER + whole) == {"inner": {"a": [7, -7], "b": [1]}}
    pair = named([b"x", b"y"], first, named([b"z"], NULL, tag=again), tag=again)
    assert unserialize(HEADER + pair) == {"x": {"a": [7, -7], "b": [1]}, "y": {"z": None}}


def test_list_without_names_stays_a_list():
    assert unserialize(HEADER + integer(19, 2) + strings(b"x") + NULL) == [["x"], None]


def database(method: int = 1) -> tuple[bytes, bytes]:
    packed = [zlib.compress(HEADER + strings(line)) for line in (b"first", b"second")]
    records = [struct.pack(">i", 30) + part for part in packed]
    places = [integer(13, 2, 0, len(records[0])), integer(13, 2, len(records[0]), len(records[1]))]
    again = integer(255 | 1 << 8)
    variables = named([b"one", b"two"], *places, tag=symbol(b"names"))
    index = named([b"variables", b"compressed"], variables, integer(10, 1, method), tag=again)
    return zlib.compress(HEADER + index), b"".join(records)


def test_database():
    assert read_database(*database()) == {"one": ["first"], "two": ["second"]}


@pytest.mark.parametrize(
    ("stream", "message"),
    [
        (b"A\n" + HEADER[2:], r"not R serialisation in XDR form \(it begins b'A\\n'\)"),
        (b"X\n" + integer(4, 0, 0), "version 4, only 2 and 3"),
        (HEADER + integer(14, 1) + struct.pack(">d", 1.5), "R type 14 at byte 14 is not known"),
        (HEADER + integer(13, 3, 1), "ends at byte 26, 12 bytes were expected from byte 22"),
        (HEADER + integer(13, -1), "ends at byte 22, -4 bytes"),
        (HEADER + strings(b"whole")[:-2], "ends at byte 33, 5 bytes were expected from byte 30"),
    ],
)
def test_what_is_refused(stream, message):
    with pytest.raises(VermeilError, match=message):
        unserialize(stream)


def test_damaged_database():
    index, records = database()
    with pytest.raises(VermeilError, match="ends before its record 'two'"):
        read_database(index, records[:-1])
    with pytest.raises(VermeilError, match="record 'one' is damaged"):
        read_database(index, b"\0" * len(records))
    with pytest.raises(VermeilError, match=r"compressed by method \[2\], not by zlib"):
        read_database(database(method=2)[0], records)
