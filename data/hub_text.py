"""Any text data set of the Hugging Face Hub, streamed: nothing is kept on the disk."""

import hashlib
from collections import Counter
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

from data.files import find, sha256_of
from data.streamed_text import StreamedText, Wanted
from data.text import Document
from shared.errors import VermeilError
from shared.home import home

SPLIT = "train"  # the data set's own validation and test stay untouched
UNREACHABLE = ("Connect", "Timeout", "Offline", "LocalEntry")  # in names of exceptions
FORMATS = (".parquet", ".jsonl", ".json", ".jsonl.gz", ".json.gz", ".txt", ".csv")


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
        self.name = f"hub@{root.name if self._local else root}"
        self.description = f"{root} of the Hugging Face Hub"
        place, _, self.asked_revision = str(root).partition("@")
        parts = place.split("/")
        self.repository = "/".join(parts[:2])
        self.configuration = "/".join(parts[2:]) or None

    @property
    def version(self) -> str:
        """The revision that the Hub answered with."""
        return self._revision or "local"

    @property
    def licence(self) -> str:
        """As the data set's card states it."""
        card = None if self._local else self._info.card_data
        return str((card and card.get("license")) or "not stated; see the data set's card")

    def ready(self) -> bool:
        """Whether it is a folder on this machine; the Hub is not asked."""
        return self._local

    def prepare(self) -> None:
        """Ask the Hub for the data set, and look at its columns."""
        self._stream  # noqa: B018 (opened on first use)

    def sha256(self) -> str:
        """Of the name and the revision; of a local folder's files."""
        if self._local:
            return sha256_of(find(self.root, FORMATS))
        identity = f"{self.repository} {self.configuration} {self._revision}"
        return hashlib.sha256(identity.encode()).hexdigest()

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
            raise self._refusal(error, f"stopped after row {number:,}") from None

    @property
    def _local(self) -> bool:
        return self.root.is_dir()

    @cached_property
    def _info(self) -> Any:
        from huggingface_hub import HfApi

        try:
            return HfApi().dataset_info(self.repository, revision=self.asked_revision or None)
        except Exception as error:
            raise self._refusal(error, "cannot be had") from None

    @property
    def _revision(self) -> str | None:
        return None if self._local else self._info.sha

    @cached_property
    def _stream(self) -> Any:
        revision = self._revision  # asked for first: it fails at once where `datasets` waits 20 s
        from datasets import load_dataset

        try:
            stream = load_dataset(
                str(self.root) if self._local else self.repository,
                None if self._local else self.configuration,
                split=SPLIT,
                streaming=True,
                revision=revision,
                cache_dir=str(home() / "data" / "hub"),
            )
            columns = stream.features or next(iter(stream), {})
        except Exception as error:
            raise self._refusal(error, "cannot be read") from None
        if "text" not in columns:
            raise VermeilError(
                f'{self.name} has no column "text" (it has: {", ".join(columns)})',
                hint="choose another data set, or save the column as .jsonl and read that folder",
            )
        return stream

    def _refusal(self, error: Exception, what: str) -> VermeilError:
        """The many exceptions of `datasets` and its HTTP client as one sentence."""
        if isinstance(error, VermeilError):
            return error
        reason = " ".join(str(error).split())[:300] or type(error).__name__
        name = type(error).__name__
        if any(word in name for word in UNREACHABLE):
            return VermeilError(
                f"{self.name} {what}: the Hub cannot be reached ({reason})",
                hint="check the network (and HF_ENDPOINT, HF_HUB_OFFLINE), or give the folder of a "
                "copy: hub@./FOLDER",
            )
        if "NotFound" in name or "Gated" in name:
            return VermeilError(
                f"{self.name} {what}: the Hub has no such data set, or you may not read it",
                hint="spell it hub@OWNER/NAME; a gated one: accept its terms, then hf auth login",
            )
        return VermeilError(f"{self.name} {what} ({reason})", "see its page on the Hub")
