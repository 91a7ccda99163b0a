"""What a recogniser got wrong: word and character error rates, hallucinations, speed.

Errors are counted by jiwer on normalised texts (the fewest substitutions, deletions and insertions
that turn what was said into what was heard) and pooled: all errors over all words, as NIST's sclite
does it, so a long clip counts more than a short one.
"""

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Literal, NamedTuple

import numpy as np
import torch

from shared.errors import VermeilError
from shared.metrics.intervals import RESAMPLES, Mean, wilson

Unit = Literal["words", "characters"]

APOSTROPHES = str.maketrans(dict.fromkeys("’‘ʼʹ´`＇", "'"))
# What may stand inside a word: an apostrophe between letters, a point or comma between digits.
INSIDE = re.compile(r"(?<=\w)'(?=\w)|(?<=\d)[.,](?=\d)")


def normalise(text: str) -> str:
    """A text as it is compared: NFKC, small letters, no punctuation, single spaces.

    Typographic apostrophes become ', which stays between letters ("don't") and goes elsewhere
    ("'tis", "the dogs'"). All other punctuation and symbols part words: "well-known" is two.
    Numbers are left alone, "3.5" and "1,000" whole: "2" and "two" differ. Letters of any script
    stay, with their accents; characters without shape (soft hyphens) go.
    """
    text = unicodedata.normalize("NFKC", text.translate(APOSTROPHES)).lower()
    text = "".join(character for character in text if unicodedata.category(character) != "Cf")
    inside = {match.start() for match in INSIDE.finditer(text)}
    parts = (
        character if place in inside or unicodedata.category(character)[0] in "LMN" else " "
        for place, character in enumerate(text)
    )
    return " ".join("".join(parts).split())


@dataclass(frozen=True)
class ErrorRate:
    """Errors per word (or character) of `n` clips, with a 95 % interval; it may exceed 1.

    A single clip has no interval. `units` counts the words or characters that were said.
    """

    value: float
    low: float | None
    high: float | None
    n: int
    units: int
    substitutions: int
    deletions: int
    insertions: int


class Mark(NamedTuple):
    """Neighbouring words of one fate: what was said, and what was heard in its place."""

    kind: Literal["equal", "substitute", "delete", "insert"]
    said: str
    heard: str


def word_error_rate(said: Sequence[str], heard: Sequence[str], seed: int = 0) -> ErrorRate:
    """WER of transcripts `heard` against what was `said`, both normalised here.

    Clips in which nothing is said have no words to get wrong and are left out, of `n` too: see
    `hallucination_rate`. The interval is a percentile bootstrap over clips (Efron, 1979; for WER:
    Bisani & Ney, 2004). VermeilError for lists of other lengths and where no clip has words.
    """
    return _pool(_counts(said, heard, "words"), seed)


def character_error_rate(said: Sequence[str], heard: Sequence[str], seed: int = 0) -> ErrorRate:
    """CER: as `word_error_rate`, but of characters; the spaces between words are counted too."""
    return _pool(_counts(said, heard, "characters"), seed)


def by_group(
    said: Sequence[str],
    heard: Sequence[str],
    groups: Sequence[str],
    unit: Unit = "words",
) -> dict[str, ErrorRate]:
    """Error rates of clips that belong together (a speaker's, a label method's), sorted by name.

    Groups in which nothing is said do not appear.
    """
    counts = _counts(said, heard, unit)
    if len(groups) != len(counts):
        raise VermeilError(f"{len(groups):,} groups for {len(counts):,} clips", "give one a clip")
    parts = {group: counts[np.array(groups) == group] for group in sorted(set(groups))}
    return {group: _pool(part, 0) for group, part in parts.items() if part[:, 0].any()}


def hallucination_rate(heard: Sequence[str]) -> Mean:
    """The share of clips without speech in which any word was heard, with Wilson's interval."""
    if not heard:
        raise VermeilError("no clips without speech to count", "give at least one transcript")
    wrong = torch.tensor([bool(normalise(text)) for text in heard])
    return Mean(wrong.float().mean().item(), *wilson(wrong), len(heard))


def real_time_factor(computing: float, sound: float) -> float:
    """Seconds of computing per second of sound: below 1 it keeps up with a speaker."""
    if sound <= 0:
        raise VermeilError(f"{sound} seconds of sound", "measure on at least one clip")
    return computing / sound


def marks(said: str, heard: str) -> list[Mark]:
    """A transcript beside the truth, aligned word by word; both normalised."""
    truth, found = normalise(said).split(), normalise(heard).split()
    aligned = _jiwer().process_words([" ".join(truth)], [" ".join(found)]).alignments[0]
    return [
        Mark(
            chunk.type,  # type: ignore[arg-type]
            " ".join(truth[chunk.ref_start_idx : chunk.ref_end_idx]),
            " ".join(found[chunk.hyp_start_idx : chunk.hyp_end_idx]),
        )
        for chunk in aligned
    ]


def _counts(said: Sequence[str], heard: Sequence[str], unit: Unit) -> np.ndarray:
    """(clips, 4): units said, substitutions, deletions, insertions."""
    if len(said) != len(heard):
        raise VermeilError(
            f"{len(heard):,} transcripts of {len(said):,} clips", "give one transcript for each"
        )
    jiwer = _jiwer()
    process = jiwer.process_words if unit == "words" else jiwer.process_characters
    rows = []
    for truth, found in zip(map(normalise, said), map(normalise, heard), strict=True):
        if not truth:
            rows.append((0, 0, 0, 0))
            continue
        out = process(truth, found)
        units = out.hits + out.substitutions + out.deletions
        rows.append((units, out.substitutions, out.deletions, out.insertions))
    return np.array(rows, np.int64).reshape(-1, 4)


def _jiwer() -> ModuleType:
    try:
        import jiwer
    except ImportError:
        raise VermeilError(
            "error rates are counted by jiwer, which is not installed",
            "pip install -c constraints.txt -e .",
        ) from None
    return jiwer


def _pool(counts: np.ndarray, seed: int) -> ErrorRate:
    counts = counts[counts[:, 0] > 0]
    if not len(counts):
        raise VermeilError(
            "no words in any reference, so there is no error rate",
            "clips without speech are for hallucination_rate",
        )
    units, substitutions, deletions, insertions = counts.sum(0).tolist()
    errors, each = counts[:, 1:].sum(1), counts[:, 0]  # (n,)
    value = errors.sum() / units
    low = high = None
    if len(counts) > 1:
        random = np.random.default_rng(seed)
        draws = (random.integers(len(each), size=len(each)) for _ in range(RESAMPLES))
        rates = [errors[draw].sum() / each[draw].sum() for draw in draws]
        low, high = np.percentile(rates, [2.5, 97.5]).tolist()
        low, high = min(low, value), max(high, value)  # rounding must not leave it outside
    return ErrorRate(
        float(value), low, high, len(counts), units, substitutions, deletions, insertions
    )
