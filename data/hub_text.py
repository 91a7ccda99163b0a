"""Any text data set of the Hugging Face Hub, streamed: nothing is kept on the disk."""

from collections import Counter
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

from data.hub import HubPlace
from data.streamed_text import StreamedText, Wanted
from data.text import Document
from shared.errors import VermeilError

SPLIT = "train"  # the data set's own validation and test stay untouched


class HubText(StreamedText):
    """One document per row of the Hub's OWNER/NAME[/CONFIGURATION][@REVISION], by its "text".

    `root` may also be a folder in the Hub's layout, which is read without a network. Ids are row
    numbers; the first answer of the Hub fixes the revision (a branch, a tag or a commit's hash was
    asked for, or the newest), and with it what they mean. Read is the training split, which is then
    divided by share.
    """

    name = "hub"
    size = "streamed"

    def __init__(self, root: Path):
        super().__init__()
        self.root = root
        self.hub = HubPlace(str(root), "hub")
        self.name = self.hub.name
        self.description = f"{root} of the Hugging Face Hub"

    @property
    def version(self) -> str:
        """The revision that the Hub answered with."""
        return self.hub.revision or "local"

    @property
    def licence(self) -> str:
        """As the data set's card states it."""
        return self.hub.licence

    def ready(self) -> bool:
        """Whether it is a folder on this machine; the Hub is not asked."""
        return self.hub.local

    def prepare(self) -> None:
        """Ask the Hub for the data set, and look at its columns."""
        self._stream  # noqa: B018 (opened on first use)

    def sha256(self) -> str:
        """Of the name and the revision; of a local folder's files."""
        return self.hub.sha256()

    def inventory(self) -> Iterator[str]:
        """Nothing: going through it would download it thrice."""
        return iter(())

    def _read(self, wanted: Wanted, skipped: Counter[str]) -> Iterator[Document]:
        number = 0
        try:
            for row in self._stream:
                number += 1
                identifier = f"{self.root.name}:{number}"
                if not wanted(identifier):
                    continue
                text = row["text"]
                if isinstance(text, str):
                    title = str(row.get("title") or f"{self.root.name} {number}")
                    yield Document(identifier, "hub", title, text)
                else:
                    skipped["no text"] += 1
        except Exception as error:
            raise self.hub.refusal(error, f"stopped after row {number:,}") from None

    @cached_property
    def _stream(self) -> Any:
        splits = self.hub.splits()
        if SPLIT not in splits:
            raise VermeilError(
                f"{self.name} has no split '{SPLIT}' (it has: {', '.join(splits)})",
                hint="choose another data set, or save the split as .jsonl and read that folder",
            )
        stream = splits[SPLIT]
        try:
            columns = stream.features or next(iter(stream), {})
        except Exception as error:
            raise self.hub.refusal(error, "cannot be read") from None
        if "text" not in columns:
            raise VermeilError(
                f'{self.name} has no column "text" (it has: {", ".join(columns)})',
                hint="choose another data set, or save the column as .jsonl and read that folder",
            )
        return stream
