"""How much speech a data set has, who speaks and what is said, as lines for people."""

import io
import textwrap
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from itertools import zip_longest
from pathlib import Path

from data.speech import LABEL_METHODS, Clip, Dropped, SpeechData
from shared.errors import VermeilError


def seconds(clip: Clip) -> float | None:
    """How long a clip lasts, by the head of its file; None where that cannot be read."""
    try:
        import soundfile
    except ImportError:
        raise VermeilError(
            "audio files take the package soundfile, which is not installed",
            "pip install -c constraints.txt -e .",
        ) from None
    source = clip.source
    try:
        info = soundfile.info(str(source) if isinstance(source, Path) else io.BytesIO(source))
    except (soundfile.SoundFileError, OSError):
        return None
    return info.duration


def script(text: str) -> str:
    """The writing that most letters of a text are of, e.g. "LATIN"; "" without letters."""
    letters = Counter(unicodedata.name(c, "").split(" ")[0] for c in text if c.isalpha())
    return letters.most_common(1)[0][0] if letters else ""


def inventory(data: SpeechData) -> Iterator[str]:
    """A table of clips, minutes, words and speakers by label method and split, and the rest.

    Named below it are lengths that cannot be read, texts in another script than most, and what was
    passed over in the lists.
    """
    counts, words = Counter(), Counter()
    lengths: defaultdict[tuple[str, str], float] = defaultdict(float)
    speakers, scripts, strange = defaultdict(set), defaultdict(Dropped), Dropped()
    for split in data.parts:
        for clip in data.clips(split):
            length = seconds(clip)
            if length is None:
                strange.drop(clip.id, "with audio that cannot be read")
            for key in ((clip.label_method, split), ("all", split)):
                counts[key] += 1
                lengths[key] += length or 0
                words[key] += len(clip.text.split())
                speakers[key].add(clip.speaker)
            scripts[script(clip.text)].drop(clip.id, "")
    yield f"{'labels':<12} {'split':<10} {'clips':>9} {'minutes':>9} {'words':>10} {'speakers':>9}"
    for method in (*LABEL_METHODS, "all"):
        for split in data.parts:
            if number := counts[key := (method, split)]:
                row = f"{number:>9,} {lengths[key] / 60:>9,.1f} {words[key]:>10,}"
                yield f"{method:<12} {split:<10} {row} {len(speakers[key]):>9,}"
    usual = max(scripts, key=lambda name: scripts[name].counts[""], default="")
    for name, found in scripts.items():
        if name != usual:
            what = f"without a letter of the {usual} script" if name else "without a letter"
            for identifier in found.names[""]:
                strange.drop(identifier, what)
            strange.counts[what] += found.counts[""] - len(found.names[""])
    if strange.counts:
        yield f"\nto look at: {strange}"
    if data.dropped.counts:
        yield f"\npassed over in the lists: {data.dropped}"


def excerpts(data: SpeechData, clips: Iterable[Clip], number: int, width: int) -> Iterator[str]:
    """The table, then a few clips of each speaker in turn."""
    by_speaker: dict[str, list[Clip]] = {}
    for clip in clips:
        first = by_speaker.setdefault(clip.speaker, [])
        if len(first) < number:
            first.append(clip)
    rounds = zip_longest(*by_speaker.values())
    yield from data.inventory()
    for clip in [clip for turn in rounds for clip in turn if clip][:number]:
        yield from described(clip, width)


def described(clip: Clip, width: int) -> Iterator[str]:
    """Words of a clip, then where they are, how long, and who says them."""
    length = seconds(clip)
    facts = [clip.id, f"{length:.1f} s" if length is not None else "no audio that can be read",
             clip.speaker, clip.language, clip.label_method]  # fmt: skip
    yield ""
    yield from textwrap.wrap(f"{clip.text}  [{', '.join(filter(None, facts))}]", width)
