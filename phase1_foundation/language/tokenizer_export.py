"""The same tokenizer for `transformers`: tokenizer.json with equal ids, and the chat template."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

from phase1_foundation.language import chat

if TYPE_CHECKING:
    from phase1_foundation.language.tokenizer import Tokenizer

# The score of bytes and reserved symbols, which `tokenizers` would otherwise match where a text
# spells them ("<0x41>"); no spelling in pieces costs as much.
NEVER = -1e6


def write_transformers_files(tokenizer: "Tokenizer", folder: Path) -> None:
    """Write tokenizer.json, tokenizer_config.json and chat_template.jinja."""
    fast_tokenizer(tokenizer).save(str(folder / "tokenizer.json"))
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": chat.BOS,
        "eos_token": chat.EOS,
        "pad_token": chat.PAD,
        "unk_token": chat.UNKNOWN,
        "additional_special_tokens": list(chat.SYMBOLS[4:]),
        "clean_up_tokenization_spaces": False,
        "chat_template": chat.JINJA,
    }
    text = json.dumps(config, indent=2)
    (folder / "tokenizer_config.json").write_text(text, encoding="utf-8")


def fast_tokenizer(tokenizer: "Tokenizer"):
    """A `tokenizers.Tokenizer` that splits as SentencePiece does, escapes included."""
    from tokenizers import AddedToken, Tokenizer, decoders, normalizers

    from phase1_foundation.language.tokenizer import ESCAPES

    fast = Tokenizer(_model(tokenizer))
    fast.add_special_tokens([AddedToken(symbol, special=True) for symbol in chat.SYMBOLS])
    fast.normalizer = normalizers.Sequence(
        [normalizers.Replace(plain, escaped) for plain, escaped in (*ESCAPES, (" ", "\u2581"))]
    )
    fast.decoder = decoders.Sequence(
        [decoders.Replace("\u2581", " "), decoders.ByteFallback(), decoders.Fuse()]
        + [decoders.Replace(escaped, plain) for plain, escaped in reversed(ESCAPES)]
    )
    return fast


def _model(tokenizer: "Tokenizer"):
    """SentencePiece's pieces as a Unigram or BPE model of the `tokenizers` library."""
    from tokenizers import models

    vocabulary = {tokenizer.piece(id): id for id in range(tokenizer.vocab_size)}
    if tokenizer.kind == "unigram":
        scores = [
            tokenizer.score(id) if tokenizer.is_normal(id) else NEVER for id in vocabulary.values()
        ]
        pieces = list(zip(vocabulary, scores, strict=True))
        return models.Unigram(pieces, unk_id=tokenizer.special[chat.UNKNOWN], byte_fallback=True)
    merges = _merges(vocabulary, tokenizer)
    return models.BPE(
        vocabulary, merges, unk_token=chat.UNKNOWN, fuse_unk=False, byte_fallback=True
    )


def _merges(vocabulary: dict[str, int], tokenizer: "Tokenizer") -> list[tuple[str, str]]:
    """Every pair of pieces that joins to a piece, in the order in which BPE learned the joins.

    SentencePiece keeps pieces and not pairs: it joins whichever neighbours form the piece of the
    highest score, and scores fall with the id.
    """
    merges = []
    for piece, id in vocabulary.items():
        if not tokenizer.is_normal(id):
            continue
        for cut in range(1, len(piece)):
            left, right = piece[:cut], piece[cut:]
            if left in vocabulary and right in vocabulary:
                merges.append((id, vocabulary[left], vocabulary[right], left, right))
    return [(left, right) for *_, left, right in sorted(merges)]
