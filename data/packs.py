"""The packs in data/embedded: files that travel with the code, verified when they are read."""

import hashlib
from pathlib import Path

from shared.errors import VermeilError

RESTORE = "restore it with: git checkout -- data/embedded"


def verified(pack: Path, sha256: str, what: str) -> bytes:
    """The bytes of a pack, read once, so that what is unpacked is what was verified.

    `what` it holds is for the VermeilError where it cannot be read or has another hash.
    """
    try:
        content = pack.read_bytes()
    except OSError as error:
        raise VermeilError(
            f"the pack of {what} {pack} cannot be read ({error.strerror})", RESTORE
        ) from None
    found = hashlib.sha256(content).hexdigest()
    if found != sha256:
        raise VermeilError(
            f"the pack of {what} {pack} is damaged ({len(content):,} bytes, sha256 {found[:12]}…, "
            f"expected {sha256[:12]}…)",
            RESTORE,
        )
    return content
