"""Samples in a WebDataset tar shard: members of one key in a row, also from a damaged shard."""

import tarfile
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from data.decoding import MAX_BYTES
from data.files import Named
from data.pictures import BadPicture, Skipped

BLOCK = tarfile.BLOCKSIZE
CHUNK = 2**20

Wanted = Callable[[str], bool]  # whether the sample of that id is to be read


@dataclass
class Sample:
    """The members of one key."""

    id: str  # SHARD/KEY
    files: dict[str, bytes] = field(default_factory=dict)  # by what stands behind the first dot
    torn: bool = False  # whether beside it something is damaged, so that a member may be lost


def samples_of(
    shard: Named,
    skipped: Skipped,
    wanted: Wanted = lambda _: True,
    kinds: Collection[str] | None = None,
) -> Iterator[Sample]:
    """The wanted samples of a shard in order, with members of these kinds (all) in memory.

    Damaged headers are counted and passed over to the next sound one; where the shard is cut short
    it ends. A sample that lost a member that way is left out: it has fewer than the others.
    """
    usual: set[str] = set()
    for sample in _grouped(shard, skipped, wanted, kinds):
        if sample.torn and usual - set(sample.files):
            continue
        usual = set(sample.files)
        if wanted(sample.id):
            yield sample


def _grouped(
    shard: Named, skipped: Skipped, wanted: Wanted, kinds: Collection[str] | None
) -> Iterator[Sample]:
    sample: Sample | None = None
    torn = False
    for member in _members(shard, skipped, wanted, kinds):
        if member is None:
            torn = True
            if sample is not None:
                sample.torn = True
            continue
        name, kind, content = member
        if sample is None or sample.id != name:
            if sample is not None:
                yield sample
            sample, torn = Sample(name, torn=torn), False
        sample.files[kind] = content
    if sample is not None:
        yield sample


def _members(
    shard: Named, skipped: Skipped, wanted: Wanted, kinds: Collection[str] | None
) -> Iterator[tuple[str, str, bytes] | None]:
    """Sample, kind and content of each file; None where something was lost."""
    path, name = shard
    base = name.removesuffix(".tar")
    expected = 0  # where the next header should stand
    try:
        # Zeros are what tarfile calls every block that is no header; it looks for the next one.
        with tarfile.open(path, "r:", ignore_zeros=True) as archive:
            while (member := archive.next()) is not None:
                archive.members.clear()  # type: ignore  # tarfile remembers all it has seen
                if _lost(path, expected, member.offset):
                    skipped.add(BadPicture(f"{name} at byte {expected:,}", "damaged shard"))
                    yield None
                expected = member.offset_data + -(-member.size // BLOCK) * BLOCK
                named = _named(member, base)
                if named is None:
                    continue
                sample, kind = named
                content = b""
                if wanted(sample) and (kinds is None or kind in kinds):
                    file = archive.extractfile(member)
                    content = file.read(MAX_BYTES + 1) if file else b""
                yield sample, kind, content
        end = path.stat().st_size
        if end < expected + BLOCK:  # no zeros close it
            raise tarfile.ReadError
        if _lost(path, expected, end):
            skipped.add(BadPicture(f"{name} at byte {expected:,}", "damaged shard"))
            yield None
    except tarfile.TarError:
        skipped.add(BadPicture(name, "shard cut short"))
        yield None
    except OSError as error:
        skipped.add(BadPicture(name, "unreadable shard", error.strerror or ""))
        yield None


def _named(member: tarfile.TarInfo, base: str) -> tuple[str, str] | None:
    """The sample's id and the kind of a member; None for folders, links and hidden files."""
    place = PurePosixPath(member.name)
    key, dot, kind = place.name.partition(".")
    if not member.isreg() or not key or not dot:
        return None
    return f"{base}/{place.with_name(key)}", kind.lower()


def _lost(path, start: int, end: int) -> bool:
    """Whether anything but zeros stands between two places."""
    if end <= start:
        return False
    with path.open("rb") as file:
        file.seek(start)
        while start < end:
            chunk = file.read(min(CHUNK, end - start))
            if not chunk:
                return False
            if chunk.strip(b"\0"):
                return True
            start += len(chunk)
    return False
