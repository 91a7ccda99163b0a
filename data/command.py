"""`vermeil data`: what there is to learn from, whether it is sound, and how it reads."""

import argparse
import shutil
import textwrap
from collections import Counter
from itertools import islice, zip_longest
from pathlib import Path

from data import DATASETS, Document, TextData, load
from data.hub_text import HubText
from data.streamed_text import StreamedText
from data.text import SPLITS
from shared.errors import VermeilError

MAX_WIDTH = 100
EXCERPT_LINES = 3
NAMES = """\
NAME is one of
  a data set of `vermeil data list`
  wikipedia@FILE        a dump, e.g. enwiki-20260901-pages-articles.xml.bz2
  common_crawl@FOLDER   its .warc.gz (HTML) and .wet.gz (text) files, or one of them
  books@FOLDER          one sentence a line: a file per book, or one file with blank lines between
  hub@OWNER/NAME        a data set of the Hugging Face Hub, streamed; /CONFIGURATION and @REVISION
                        may follow
  FOLDER or FILE        your own .txt, .jsonl and .parquet, with a "/" or a suffix in its name
The same word goes behind --data of the training commands. Documents are divided into training,
validation and test by the hash of their ids: 90 / 5 / 5 % with at most 5,000 held out for each,
98 / 1 / 1 % where they are too many to be counted first (wikipedia, common_crawl, hub)."""


def main(argv: list[str]) -> None:
    """Run `vermeil data list`, `prepare NAME` or `show NAME`."""
    arguments, settings = _parser().parse_known_args(argv)
    clean = arguments.action == "prepare" and arguments.clean
    if settings and not clean:
        raise VermeilError(f"unexpected '{settings[0]}'", "see vermeil data --help")
    if clean:
        from data.prepare import command

        command(load(arguments.name, arguments.root), settings)
    elif arguments.action == "list":
        list_datasets()
    elif arguments.action == "prepare":
        prepare(load(arguments.name, arguments.root))
    else:
        show(load(arguments.name, arguments.root), arguments.split, arguments.number)


class _Parser(argparse.ArgumentParser):
    """An argument parser whose complaints are ours."""

    def error(self, message: str):
        raise VermeilError(message, hint=f"see {self.prog} --help")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="vermeil data", description="The data sets, and your own text files.")
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    actions.add_parser("list", help="the data sets and whether they are ready")
    prepare_parser = actions.add_parser("prepare", help="make a data set ready and verify it")
    show_parser = actions.add_parser("show", help="count its documents and read into a few")
    prepare_parser.add_argument(
        "--clean",
        action="store_true",
        help="write a clean copy; takes --language, --rules, --processes, --share",
    )
    for action in (prepare_parser, show_parser):
        action.formatter_class, action.epilog = argparse.RawDescriptionHelpFormatter, NAMES
        action.add_argument("name", metavar="NAME", help="a data set, or what to read: see below")
        action.add_argument("--root", type=Path, metavar="PLACE", help="where its files lie")
    show_parser.add_argument("--split", default="train", help=", ".join(SPLITS) + " (%(default)s)")
    show_parser.add_argument(
        "--number", type=_count, default=3, metavar="N", help="documents to read into (%(default)s)"
    )
    return parser


def _count(word: str) -> int:
    if not word.isdecimal():
        raise argparse.ArgumentTypeError(f"'{word}' is not a number of documents")
    return int(word)


def list_datasets() -> None:
    """Print one row per data set; the texts wrap, so that the table fits the terminal."""
    rows = [("NAME", "SIZE", "SPLITS", "READY", "WHAT", "LICENCE")]
    for name in DATASETS:
        data = load(name)
        ready = "yes" if data.ready() else "no"
        rows.append((name, data.size, data.splits, ready, data.description, data.licence))
    narrow = [max(map(len, column)) for column in list(zip(*rows, strict=True))[:-2]]
    wide = (_width() - sum(narrow) - 2 * (len(rows[0]) - 1)) // 2
    widths = [*narrow, wide, wide]
    for row in rows:
        cells = [textwrap.wrap(cell, width) for cell, width in zip(row, widths, strict=True)]
        for line in zip_longest(*cells, fillvalue=""):
            padded = (f"{part:<{width}}" for part, width in zip(line, widths, strict=True))
            print("  ".join(padded).rstrip())
    print("\nSplits: documents in train / validation / test.")
    print("Get one ready: vermeil data prepare NAME")
    print("Wikipedia, web crawls, books, the Hub, your files: vermeil data show --help")


def prepare(data: TextData) -> None:
    """Make a data set ready, then print what is in it; of a download this reads every page."""
    data.prepare()
    print(f"{data.name} {data.version} is ready: {data.size}")
    print(f"sha256 {data.sha256()}\n")
    if not isinstance(data, HubText):  # going through it would download it thrice
        _print_counts(data)


def show(data: TextData, split: str, number: int) -> None:
    """Print counts by source and split, and the beginnings of a few documents of one split."""
    stream = data.documents(split)  # complains before anything is printed
    print(f"{data.name} {data.version}: {data.description}")
    print(f"licence: {data.licence}\n")
    if isinstance(data, StreamedText):  # counting can take hours
        print(f"{data.size}; documents are divided {data.splits}")
        documents = list(islice(stream, number))
    else:
        _print_counts(data)
        documents = _varied(data, split, number)
    for document in documents:
        print(f"\n{document.title}  [{document.id}, {len(document.text):,} characters]")
        print(_beginning(document.text))


def _varied(data: TextData, split: str, number: int) -> list[Document]:
    """The first `number` documents, taken from the sources in turn."""
    by_source: dict[str, list[Document]] = {}
    for document in data.documents(split):
        first = by_source.setdefault(document.source, [])
        if len(first) < number:
            first.append(document)
    rounds = zip_longest(*by_source.values())
    return [document for turn in rounds for document in turn if document][:number]


def _beginning(text: str) -> str:
    """The first lines, wrapped; paragraphs run on, or a title page would be all one sees."""
    return textwrap.fill(
        " / ".join(
            line for line in text[: 2 * EXCERPT_LINES * MAX_WIDTH].splitlines() if line.strip()
        ),
        width=_width(),
        max_lines=EXCERPT_LINES,
        placeholder=" …",
        initial_indent="  ",
        subsequent_indent="  ",
    )


def _print_counts(data: TextData) -> None:
    """A table of documents, bytes and characters by source and split."""
    documents, size, characters = Counter(), Counter(), Counter()
    for split in SPLITS:
        for document in data.documents(split):
            bytes_ = len(document.text.encode())
            for key in ((document.source, split), ("all", split)):
                documents[key] += 1
                size[key] += bytes_
                characters[key] += len(document.text)
    _print_table(documents, size, characters)
    if isinstance(data, StreamedText) and any(data.skipped.values()):
        skipped = sum(data.skipped.values(), Counter()).most_common()
        print("\npassed over: " + ", ".join(f"{n:,} {reason}" for reason, n in skipped))


def _print_table(documents: Counter, size: Counter, characters: Counter) -> None:
    widest = max(len(source) for source, _ in documents)
    print(
        f"{'source':<{widest}}  {'split':<10}  {'documents':>9}  {'bytes':>13}  {'characters':>13}"
    )
    for source in sorted({source for source, _ in documents} - {"all"}) + ["all"]:
        for split in SPLITS:
            if key_count := documents[source, split]:
                print(
                    f"{source:<{widest}}  {split:<10}  {key_count:>9,}  "
                    f"{size[source, split]:>13,}  {characters[source, split]:>13,}"
                )


def _width() -> int:
    return min(shutil.get_terminal_size((MAX_WIDTH, 24)).columns, MAX_WIDTH)
