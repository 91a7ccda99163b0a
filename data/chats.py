"""Chats of two strangers with each other: the Chit-Chat Challenge of Brigham Young University."""

import json
import zipfile
from collections.abc import Iterator
from typing import Any

from data.embedded.packages import Package
from data.fetched_text import FetchedText
from data.text import Document


class Chats(FetchedText):
    """A document per chat, a line per turn: "A: " is who began, "B: " the other.

    Messages that one person sent in a row are one turn, as in the data set's own reader. Who they
    were is left out, even as a number.
    """

    name = "chats"
    licence = "MIT"
    description = "chats between students, English"
    size = "13.1 MB"
    splits = "6,452 / 358 / 358"
    package = Package(
        "pip",
        "chitchat-dataset",
        "0.9.0",
        "chitchat_dataset-0.9.0-py3-none-any.whl",
        "7bf89f36645e2d5ec87d53370c8e851b5a688479c7beb7079cb4c87fc5acea3e",
    )

    def parse(self, archive: zipfile.ZipFile) -> Iterator[Document]:
        """The conversations of dataset.json, by their UUID."""
        chats = json.loads(archive.read("chitchat_dataset/dataset.json"))
        for identifier, chat in chats.items():
            title = chat.get("prompt") or "A chat"
            yield Document(f"chats/{identifier}", "chitchat", title, "\n".join(_turns(chat)))


def _turns(chat: dict[str, Any]) -> Iterator[str]:
    letters: dict[str, str] = {}
    for messages in chat["messages"]:
        said = " ".join(" ".join(message["text"].split()) for message in messages).strip()
        if said:
            letter = letters.setdefault(messages[0]["sender"], chr(ord("A") + len(letters)))
            yield f"{letter}: {said}"
