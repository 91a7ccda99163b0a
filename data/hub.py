"""A data set's place on the Hugging Face Hub, or a folder in its layout: asked, opened, refused."""

import hashlib
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from data.files import find, sha256_of
from shared.errors import VermeilError
from shared.home import home

UNREACHABLE = ("Connect", "Timeout", "Offline", "LocalEntry")  # in names of exceptions


class HubPlace:
    """OWNER/NAME[/CONFIGURATION][@REVISION] of the Hub, or a folder that is read without a network.

    `reader` is what stands before the @ of the data set's name. The first answer of the Hub fixes
    the revision: a branch, a tag or a commit's hash that was asked for, or the newest.
    """

    def __init__(self, place: str, reader: str):
        self.folder = Path(place)
        self.reader = reader
        self.name = f"{reader}@{self.folder.name if self.local else place}"
        place, _, self.asked_revision = place.partition("@")
        parts = place.split("/")
        self.repository = "/".join(parts[:2])
        self.configuration = "/".join(parts[2:]) or None

    @property
    def local(self) -> bool:
        """Whether it is a folder on this machine."""
        return self.folder.is_dir()

    @property
    def revision(self) -> str | None:
        """What the Hub answered with; None for a folder."""
        return None if self.local else self._info.sha

    @property
    def licence(self) -> str:
        """As the data set's card states it."""
        card = None if self.local else self._info.card_data
        return str((card and card.get("license")) or "not stated; see the data set's card")

    def sha256(self) -> str:
        """Of the name and the revision; of a folder's files."""
        if self.local:
            return sha256_of(find(self.folder, ("",)))
        identity = f"{self.repository} {self.configuration} {self.revision}"
        return hashlib.sha256(identity.encode()).hexdigest()

    def splits(self) -> Mapping[Any, Any]:
        """Its splits by their own names, as streams of `datasets`."""
        revision = self.revision  # asked for first: it fails at once where `datasets` waits 20 s
        try:
            from datasets import load_dataset
        except ImportError as error:
            raise VermeilError(
                f"the Hub's data sets take the package {error.name}, which is not installed",
                'pip install -c constraints.txt -e ".[text]"',
            ) from None
        try:
            return load_dataset(
                str(self.folder) if self.local else self.repository,
                None if self.local else self.configuration,
                streaming=True,
                revision=revision,
                cache_dir=str(home() / "data" / "hub"),
            )
        except Exception as error:
            raise self.refusal(error, "cannot be read") from None

    def refusal(self, error: Exception, what: str) -> VermeilError:
        """The many exceptions of `datasets` and its HTTP client as one sentence."""
        if isinstance(error, VermeilError):
            return error
        reason = " ".join(str(error).split())[:300] or type(error).__name__
        name = type(error).__name__
        if any(word in name for word in UNREACHABLE):
            return VermeilError(
                f"{self.name} {what}: the Hub cannot be reached ({reason})",
                hint="check the network (and HF_ENDPOINT, HF_HUB_OFFLINE), or give the folder of a "
                f"copy: {self.reader}@./FOLDER",
            )
        if "NotFound" in name or "Gated" in name:
            return VermeilError(
                f"{self.name} {what}: the Hub has no such data set, or you may not read it",
                hint=f"spell it {self.reader}@OWNER/NAME; a gated one: accept its terms, then "
                "hf auth login",
            )
        return VermeilError(f"{self.name} {what} ({reason})", "see its page on the Hub")

    @cached_property
    def _info(self) -> Any:
        from huggingface_hub import HfApi

        try:
            return HfApi().dataset_info(self.repository, revision=self.asked_revision or None)
        except Exception as error:
            raise self.refusal(error, "cannot be had") from None
