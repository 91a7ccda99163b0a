"""Get an ordinary package by name and version, check it to the last bit, and look inside."""

import hashlib
import io
import shutil
import subprocess
import sys
import tarfile
import tempfile
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from shared.errors import VermeilError

DOWNLOAD = {  # the ordinary client of each kind of package, run in an empty folder
    "apt": ["apt-get", "download", "{name}={version}"],
    "npm": ["npm", "pack", "--silent", "{name}@{version}"],
    "pip": [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps",
            "--only-binary", ":all:", "{name}=={version}"],
}  # fmt: skip
INSTALL = {  # what brings a client that is missing
    "apt": "apt-get comes with Debian and Ubuntu",
    "npm": "install Node.js, npm comes with it",
    "pip": f"{sys.executable} -m ensurepip",
}
AR_MAGIC, AR_HEADER = b"!<arch>\n", 60


@dataclass(frozen=True)
class Package:
    """One package of one version; `sha256` is that of the file its client downloads."""

    client: str
    name: str
    version: str
    file: str
    sha256: str

    @property
    def command(self) -> list[str]:
        """What downloads it."""
        return [part.format(name=self.name, version=self.version) for part in DOWNLOAD[self.client]]


def obtain(package: Package, folder: Path | None = None, option: str = "--packages") -> bytes:
    """The package's bytes, from `folder` where one is given, else through its client; verified.

    `option` is the flag that gives the folder, for the hints.
    """
    if folder is None:
        with tempfile.TemporaryDirectory() as temporary:
            blob = _download(package, Path(temporary), option)
    else:
        blob = _read(package, folder)
    found = hashlib.sha256(blob).hexdigest()
    if found != package.sha256:
        raise VermeilError(
            f"{package.file} is not the file it should be "
            f"(sha256 {found[:12]}…, expected {package.sha256[:12]}…)",
            hint="fetch exactly that version again: " + " ".join(package.command),
        )
    return blob


def _download(package: Package, folder: Path, option: str) -> bytes:
    command = package.command
    client = package.client if package.client == "pip" else command[0]
    if find_spec("pip") is None if client == "pip" else shutil.which(client) is None:
        raise VermeilError(
            f"{client} is not installed, it fetches {package.name} {package.version}",
            hint=f"{INSTALL[package.client]}; or run `{' '.join(command)}` where it is, and pass "
            f"the folder with {option}",
        )
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    if done.returncode:
        said = (done.stderr.strip() or done.stdout.strip() or "no message").splitlines()[-1]
        raise VermeilError(
            f"`{' '.join(command)}` failed ({said})",
            hint=f"update the client's package lists, or pass a folder of packages with {option}",
        )
    return _read(package, folder)


def _read(package: Package, folder: Path) -> bytes:
    try:
        return (folder / package.file).read_bytes()
    except FileNotFoundError:
        raise VermeilError(
            f"{folder} has no {package.file}", hint="get it with: " + " ".join(package.command)
        ) from None


def unpack(package: Package, blob: bytes) -> dict[str, bytes]:
    """Every plain file in a .deb or a .tgz, by its path inside."""
    if package.client == "apt":
        members = _ar_members(blob)
        blob = next(content for name, content in members.items() if name.startswith("data.tar"))
    with tarfile.open(fileobj=io.BytesIO(blob)) as archive:
        # Links are left out: to follow one back, all before it would be unpacked again.
        members = (member for member in archive if member.isreg())
        files = ((member.name, archive.extractfile(member)) for member in members)
        return {name.removeprefix("./"): file.read() for name, file in files if file}


def _ar_members(blob: bytes) -> dict[str, bytes]:
    """The members of an ar archive, which is what a .deb is.

    Each has a header of 60 characters (name in the first 16, size in the ten from 48 on) and is
    padded to an even length.
    """
    members, position = {}, len(AR_MAGIC)
    while position < len(blob):
        header = blob[position : position + AR_HEADER]
        name, size = header[:16].decode().rstrip(" /"), int(header[48:58])
        position += AR_HEADER
        members[name] = blob[position : position + size]
        position += size + size % 2
    return members
