"""Read the data of an R package: a lazy-load database (.rdx and .rdb) in R's serialisation.

Source: R Internals, section 1.8 "Serialization Formats". Only the types that occur in packages
of plain text are known; any other is an error that names it.
"""

import struct
import zlib
from typing import Any

from shared.errors import VermeilError

SYMBOL, PAIRLIST, CHARACTERS, LOGICALS, INTEGERS, STRINGS, LIST = 1, 2, 9, 10, 13, 16, 19
NIL, REFERENCE = 254, 255
HAS_ATTRIBUTES, HAS_TAG = 1 << 9, 1 << 10
LATIN1 = 1 << 14  # the flag of a string that is neither ASCII nor UTF-8
ZLIB = 1  # what R calls TRUE in the `compressed` field of an index


def read_database(index: bytes, records: bytes) -> dict[str, Any]:
    """Every object of a lazy-load database, by name; `index` is the .rdx file, `records` the .rdb.

    A record is its unpacked length (4 bytes, big-endian) and a zlib stream.
    """
    contents = unserialize(_inflate(index, "the index"))
    if contents["compressed"] != [ZLIB]:
        raise VermeilError(f"R database compressed by method {contents['compressed']}, not by zlib")
    objects = {}
    for name, (offset, length) in contents["variables"].items():
        if offset + length > len(records):
            raise VermeilError(f"the R database ends before its record '{name}'")
        objects[name] = unserialize(_inflate(records[offset + 4 : offset + length], name))
    return objects


def unserialize(stream: bytes) -> Any:
    """One R object: strings and numbers as lists, a list with names as a dict, NULL as None."""
    return _Stream(stream).read_object()


def _inflate(packed: bytes, what: str) -> bytes:
    try:
        return zlib.decompress(packed, wbits=zlib.MAX_WBITS | 32)  # 32: zlib or gzip header
    except zlib.error as error:
        raise VermeilError(f"the R record '{what}' is damaged ({error})") from None


class _Stream:
    """A cursor over one serialised object in XDR form (big-endian, the form packages use)."""

    def __init__(self, stream: bytes):
        self.stream, self.position = stream, 0
        self.symbols: list[str] = []  # later mentions of a symbol are references into this table
        if self._take(2) != b"X\n":
            raise VermeilError(f"not R serialisation in XDR form (it begins {stream[:2]!r})")
        version, _writer, _oldest_reader = (self._integer() for _ in range(3))
        if version not in (2, 3):
            raise VermeilError(f"R serialisation version {version}, only 2 and 3 are known")
        if version == 3:
            self._take(self._integer())  # the writer's native encoding; strings carry their own

    def read_object(self) -> Any:
        flags = self._integer()
        kind = flags & 0xFF
        if kind == NIL:
            return None
        if kind == SYMBOL:
            self.symbols.append(self.read_object())
            return self.symbols[-1]
        if kind == REFERENCE:
            return self.symbols[(flags >> 8 or self._integer()) - 1]
        if kind == CHARACTERS:
            return self._characters(flags)
        if kind == PAIRLIST:
            return self._pairlist(flags)
        if kind in (LOGICALS, INTEGERS, STRINGS, LIST):
            return self._vector(kind, flags)
        raise VermeilError(
            f"R type {kind} at byte {self.position - 4} is not known",
            hint="only text, integers, lists and names are read",
        )

    def _vector(self, kind: int, flags: int) -> list | dict:
        count = self._integer()
        if kind in (LOGICALS, INTEGERS):
            values = list(struct.unpack(f">{count}i", self._take(4 * count)))
        else:
            values = [self.read_object() for _ in range(count)]
        attributes = self.read_object() if flags & HAS_ATTRIBUTES else {}
        if kind == LIST and "names" in attributes:
            return dict(zip(attributes["names"], values, strict=True))
        return values

    def _pairlist(self, flags: int) -> dict[str, Any]:
        """A chain of (attributes, tag, value, rest), as a dict by tag."""
        if flags & HAS_ATTRIBUTES:
            self.read_object()
        tag = self.read_object() if flags & HAS_TAG else ""
        value = self.read_object()
        return {tag: value} | (self.read_object() or {})

    def _characters(self, flags: int) -> str | None:
        length = self._integer()
        if length == -1:
            return None  # NA
        return self._take(length).decode("latin-1" if flags & LATIN1 else "utf-8")

    def _integer(self) -> int:
        return struct.unpack(">i", self._take(4))[0]

    def _take(self, count: int) -> bytes:
        taken = self.stream[self.position : self.position + count]
        if len(taken) != count:
            raise VermeilError(
                f"the R data ends at byte {len(self.stream)}, "
                f"{count} bytes were expected from byte {self.position} on"
            )
        self.position += count
        return taken
