"""What the language model paid for looking: phase 1's own measure, taken again."""

from itertools import islice
from typing import Any

from data.text import TextData
from phase1_foundation.language.model import LanguageModel
from phase1_foundation.language.tokenizer import Tokenizer
from shared.artifact import Artifact, find
from shared.errors import VermeilError
from shared.metrics.text import TextScore, score_tokens
from shared.results import Row

DOCUMENTS, TOKENS = 6, 4096  # of the test split, and of each that are read
BATCH_SIZE = 16


def row(
    model: LanguageModel, tokenizer: Tokenizer, captioner: Artifact, common: dict[str, Any]
) -> Row:
    """Bits per byte on held-out prose, with those of the phase-1 model on the same as reference."""
    import data

    common = common | {"metric": "bits_per_byte", "unit": "bit/byte", "better": "lower",
                       "split": "test"}  # fmt: skip
    try:
        parent = find(captioner.manifest["parents"][0]["id"])
    except VermeilError as error:
        return Row(value=None, n=0, protocol="", note=error.message, **common)
    text = data.load(parent.manifest["config"]["data"])
    before = score(LanguageModel.from_pretrained(parent), tokenizer, text)
    after = score(model, tokenizer, text)
    return Row(
        value=after.bits_per_byte, n=after.bytes, reference={parent.id: before.bits_per_byte},
        protocol=f"phase 1's language model after phase 2, on {DOCUMENTS} held-out documents, the "
        f"first {TOKENS:,} tokens of each", **common,
    )  # fmt: skip


def score(model: LanguageModel, tokenizer: Tokenizer, text: TextData) -> TextScore:
    """Of the beginnings of a few test documents."""
    context = model.config.context
    parts = [
        tokenizer.encode_documents([document.text])[0][:TOKENS]
        for document in islice(text.documents("test"), DOCUMENTS)
    ]
    losses = [
        score_tokens(model.eval(), ids, context=context, stride=context // 2, batch_size=BATCH_SIZE)
        for ids in parts
    ]
    return TextScore.from_documents(losses, [len(tokenizer.decode(ids).encode()) for ids in parts])
