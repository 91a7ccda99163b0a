"""What simpler predictors pay for the same held-out text: the floors of bits per byte.

They depend on data and tokenizer alone and take longer than the tiny model's evaluation, so they
are computed once and kept under `$VERMEIL_HOME/floors`.
"""

import json
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from data.text import Document
from phase1_foundation.language.tokenizer import Tokenizer
from shared.home import home, write_atomically
from shared.metrics.compressors import ppm_bits_per_byte, xz_bits_per_byte
from shared.metrics.ngram import KneserNey, Unigram
from shared.metrics.text import TextScore

Splits = Mapping[str, Sequence[Document]]  # "test", "test/austen", ... -> documents


def bits_per_byte_floors(
    train: Callable[[], Sequence[Document]], splits: Splits, tokenizer: Tokenizer, key: str
) -> dict[str, dict[str, float | None]]:
    """Bits per byte by split and floor: unigram, 5-grams of bytes and tokens, xz, PPM.

    The n-gram models and the primed compressors learned from all of the training text; `key` names
    data and tokenizer.
    """
    path = home() / "floors" / f"{key}.json"
    if not path.exists():
        floors = _measure(train(), splits, tokenizer)
        write_atomically(path, json.dumps(floors, indent=1))
    return json.loads(path.read_text())


def _measure(
    train: Sequence[Document], splits: Splits, tokenizer: Tokenizer
) -> dict[str, dict[str, float | None]]:
    documents = {document.id: document for split in splits.values() for document in split}
    test = list(documents.values())

    def as_bytes(these: Sequence[Document]) -> list[np.ndarray]:
        return [np.frombuffer(document.text.encode(), np.uint8) for document in these]

    def as_tokens(these: Sequence[Document]) -> list[np.ndarray]:
        return [np.array(tokenizer.encode(document.text)) for document in these]

    tokens = as_tokens(train)
    token_vocab = tokenizer.vocab_size
    losses = {
        "unigram": _losses(Unigram.fit(tokens, token_vocab), as_tokens(test)),
        "byte_5gram": _losses(KneserNey.fit(as_bytes(train), 5, 256), as_bytes(test)),
        "token_5gram": _losses(KneserNey.fit(tokens, 5, token_vocab), as_tokens(test)),
    }
    row = {id: number for number, id in enumerate(documents)}
    training_text = b"\n".join(document.text.encode() for document in train)
    floors: dict[str, dict[str, float | None]] = {}
    for name, split in splits.items():
        text = b"\n".join(document.text.encode() for document in split)
        sizes = [len(document.text.encode()) for document in split]
        floors[name] = {
            floor: TextScore.from_documents([nll[row[d.id]] for d in split], sizes).bits_per_byte
            for floor, nll in losses.items()
        }
        floors[name] |= {
            "xz": xz_bits_per_byte(text),
            "xz_primed": xz_bits_per_byte(text, training_text),
            "ppm_primed": ppm_bits_per_byte(text, training_text),
        }
    return floors


def _losses(model: Unigram | KneserNey, sequences: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Negative log-likelihoods in nats, a row a document."""
    return [-model.log_prob(sequence) for sequence in sequences]
