"""Text that lies in an ordinary package, kept as JSON lines."""

import io
import json
import zipfile
from abc import abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path

from data.fetched import Fetched
from data.files import lines
from data.splits import Census
from data.text import SPLITS, Document, TextData, check_split
from shared.home import replacing


class FetchedText(Fetched, TextData):
    """Whole documents in train.jsonl, validation.jsonl and test.jsonl."""

    files = tuple(f"{split}.jsonl" for split in SPLITS)

    def __init__(self, root: Path | None = None):
        self.root = root

    @abstractmethod
    def parse(self, archive: zipfile.ZipFile) -> Iterator[Document]:
        """The documents in the package; their order does not matter."""

    def documents(self, split: str) -> Iterator[Document]:
        """The split's documents in the order of the package."""
        check_split(split)
        self._verified  # noqa: B018 (complains now, not at the first document)
        return (Document(**json.loads(line)) for _, line in lines(self._file(split)))

    def unpack(self, blob: bytes) -> Mapping[str, int]:
        """Divide the documents by the hash of their ids."""
        with zipfile.ZipFile(io.BytesIO(blob)) as archive:
            documents = list(self.parse(archive))
        census = Census()
        for document in documents:
            census.add(document.id)
        splits = census.splits()
        for split in SPLITS:
            self._write(split, (d for d in documents if splits.of(d.id) == split))
        return {"documents": len(documents)}

    def _write(self, split: str, documents: Iterable[Document]) -> None:
        path = self._file(split)
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as temporary, temporary.open("w", encoding="utf-8") as file:
            for document in documents:
                file.write(json.dumps(asdict(document), ensure_ascii=False) + "\n")

    def _file(self, split: str) -> Path:
        return self.folder / f"{split}.jsonl"
