"""A text as the tokens of one tokenizer."""

from data.shards import TokenShards, pack
from data.text import TextData
from phase1_foundation.language.tokenizer import Tokenizer
from shared import hardware
from shared.artifact import Artifact


def packed(text: TextData, tokenizer: Artifact, split: str = "train") -> TokenShards:
    """A split's documents in a row, packed once for each tokenizer.

    Any artifact that carries the tokenizer will do: the steps that read the same text with the
    same tokenizer share what was packed.
    """
    words = tokenizer.manifest["files"]["tokenizer.model"]
    return pack(
        text.documents(split),
        Tokenizer.from_pretrained(tokenizer).encode_documents,
        f"{text.sha256()[:16]}-{words[:16]}-{split}",
        processes=hardware.cores(),
    )
