"""The tokenizer: SentencePiece with byte fallback, lossless on any Unicode text.

Two things make it lossless. Normalisation is the identity, and bytes stand in for characters that
the vocabulary lacks. And SentencePiece's own space mark (U+2581), which would come back as a space,
is escaped before encoding and restored after decoding.
"""

import io
import re
from collections.abc import Iterable, Sequence
from functools import cached_property, lru_cache
from itertools import groupby
from pathlib import Path
from typing import Any, Literal

import sentencepiece

from phase1_foundation.language import chat
from shared.artifact import Artifact, locate
from shared.errors import VermeilError

# Escaped in this order and restored in reverse; U+E000 is a private-use character.
ESCAPES = (("\ue000", "\ue000b"), ("\u2581", "\ue000a"))
# No piece reaches over a space or newline, so a text is encoded word by word: words repeat, and
# SentencePiece adds up a unigram model's scores in float32, which over a whole book would round off
# what tells two splits of a word apart.
WORD = re.compile("[ \n]?[^ \n]*")
# What reserved symbols and bytes are spelled with: a unigram vocabulary holds these characters, so
# that `transformers` too can spell them where a text says them literally.
SPELLING = "".join(sorted(set("<0x123456789ABCDEF>" + "".join(chat.SYMBOLS))))


class Tokenizer:
    """Text to token ids and back; reserved symbols are never made from text, only by name."""

    def __init__(self, model: bytes):
        self.model = model
        hint = "train one with: vermeil train tokenizer"
        try:
            self._pieces = sentencepiece.SentencePieceProcessor()
            self._pieces.load_from_serialized_proto(model)
        except RuntimeError:
            raise VermeilError("this file is no SentencePiece model", hint) from None
        self.vocab_size: int = self._pieces.vocab_size()
        self.special = {symbol: id for id, symbol in enumerate(chat.SYMBOLS)}
        known = range(min(self.vocab_size, len(chat.SYMBOLS)))
        first = tuple(self._pieces.id_to_piece(id) for id in known)
        if first != chat.SYMBOLS:
            raise VermeilError(
                f"this SentencePiece model begins with {first}, not with {chat.SYMBOLS}", hint
            )
        self._encode_word = lru_cache(2**16)(self._pieces.encode)
        self.bos, self.eos, self.pad = (self.special[s] for s in (chat.BOS, chat.EOS, chat.PAD))

    def __reduce__(self):
        """Travels to other processes as its model."""
        return type(self), (self.model,)

    def encode(self, text: str) -> list[int]:
        """Token ids of a text, taken literally: "<|user|>" in it is eight characters, no symbol."""
        try:
            return [id for word in WORD.findall(escape(text)) for id in self._encode_word(word)]
        except RuntimeError:  # what SentencePiece's binding says of it would help nobody
            raise VermeilError(
                "the text is no Unicode, it holds half of a surrogate pair", "read it as UTF-8"
            ) from None

    def encode_documents(self, texts: Sequence[str]) -> list[list[int]]:
        """Ids of many texts, each after the symbol that begins a document."""
        return [[self.bos, *self.encode(text)] for text in texts]

    def encode_chat(self, messages: Sequence[chat.Message], *, reply: bool = True) -> list[int]:
        """Ids of a conversation by the one template; `reply` opens the assistant's turn."""
        rendered = chat.render(messages, reply=reply)
        ids: list[int] = []
        for kind, run in groupby(rendered, type):
            parts = list(run)  # neighbouring texts are one text
            literal = kind is chat.Literally
            ids += self.encode("".join(parts)) if literal else [self.special[p] for p in parts]
        return ids

    def decode(self, ids: Sequence[int]) -> str:
        """The text of token ids; reserved symbols leave nothing behind."""
        plain = [int(id) for id in ids if id >= len(self.special)]
        return unescape(self._pieces.decode(plain))

    def piece(self, id: int) -> str:
        """A token as the vocabulary spells it."""
        return self._pieces.id_to_piece(id)

    def score(self, id: int) -> float:
        """SentencePiece's score: a log probability (unigram) or the order of learning (bpe)."""
        return self._pieces.get_score(id)

    def is_normal(self, id: int) -> bool:
        """Whether a token is a learned piece, neither a reserved symbol nor a byte."""
        return id >= len(self.special) and not self._pieces.is_byte(id)

    @cached_property
    def kind(self) -> str:
        """How the vocabulary was learned, "bpe" or "unigram", as the model file says."""
        spec = _parsed(self.model).trainer_spec
        return "unigram" if spec.model_type == spec.UNIGRAM else "bpe"

    def save_pretrained(self, folder: Path) -> None:
        """Write tokenizer.model, and the files that `transformers.AutoTokenizer` reads."""
        from phase1_foundation.language.tokenizer_export import write_transformers_files

        folder.mkdir(parents=True, exist_ok=True)
        (folder / "tokenizer.model").write_bytes(self.model)
        write_transformers_files(self, folder)

    @classmethod
    def from_pretrained(cls, name: str | Path | Artifact) -> "Tokenizer":
        """Load from an artifact ("tokenizer@tiny"), a folder or a Hub repository."""
        folder = name.folder if isinstance(name, Artifact) else locate(str(name))
        try:
            return cls((folder / "tokenizer.model").read_bytes())
        except OSError:
            raise VermeilError(f"{folder} has no tokenizer.model", "name a tokenizer") from None

    @classmethod
    def train(
        cls,
        texts: Iterable[str],
        vocab_size: int,
        kind: Literal["bpe", "unigram"],
        *,
        character_coverage: float = 0.9999,
        threads: int = 2,
    ) -> "Tokenizer":
        """Learn a vocabulary; raises when the text is empty or too small for its size."""
        lines = [line for text in texts for line in escape(text).split("\n") if line.strip()]
        if not lines:
            raise VermeilError("the corpus holds no text", "check the data: vermeil data show NAME")
        model = io.BytesIO()
        try:
            sentencepiece.SentencePieceTrainer.train(
                sentence_iterator=iter(lines),
                model_writer=model,
                vocab_size=vocab_size,
                model_type=kind,
                byte_fallback=True,
                normalization_rule_name="identity",
                add_dummy_prefix=False,
                remove_extra_whitespaces=False,
                split_digits=True,
                character_coverage=character_coverage,
                required_chars=SPELLING if kind == "unigram" else "",
                max_sentence_length=2**30,  # a paragraph is never dropped for its length
                num_threads=threads,
                pad_id=0,
                bos_id=1,
                eos_id=2,
                unk_id=3,
                pad_piece=chat.PAD,
                bos_piece=chat.BOS,
                eos_piece=chat.EOS,
                unk_piece=chat.UNKNOWN,
                control_symbols=list(chat.SYMBOLS[4:]),
                minloglevel=2,
            )
        except RuntimeError as error:
            reason = str(error).splitlines()[0].rpartition("] ")[2] or "the text is too small"
            raise VermeilError(
                f"no vocabulary of {vocab_size} pieces can be learned from this text "
                f"({reason.rstrip('.')})",
                "choose another --vocab_size or bring more text",
            ) from None
        return cls(_exact_scores(model.getvalue()) if kind == "unigram" else model.getvalue())


def _exact_scores(model: bytes) -> bytes:
    """Round a unigram model's scores to 1/256 nat, so that their sums are exact.

    Equally good splits ("a" + "aaa" and "aaa" + "a") are then decided by rule and not by rounding,
    which differs between SentencePiece's float32 and the float64 of `tokenizers`.
    """
    parsed = _parsed(model)
    for piece in parsed.pieces:
        piece.score = round(piece.score * 256) / 256
    return parsed.SerializeToString(deterministic=True)


def _parsed(model: bytes) -> Any:
    """A model file's parts: its pieces, and how it was trained."""
    from sentencepiece import sentencepiece_model_pb2 as schema

    return schema.ModelProto.FromString(model)  # type: ignore[attr-defined]


def escape(text: str) -> str:
    """Free a text of SentencePiece's space mark."""
    for plain, escaped in ESCAPES:
        text = text.replace(plain, escaped)
    return text


def unescape(text: str) -> str:
    """Undo `escape`."""
    for plain, escaped in reversed(ESCAPES):
        text = text.replace(escaped, plain)
    return text
