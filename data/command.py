"""`vermeil data`: what there is to learn from, whether it is sound, and how it reads."""

import argparse
import shutil
import textwrap
from pathlib import Path

from data import DATASETS, load, load_any
from data.dataset import SPLITS, DataSet
from shared.errors import VermeilError

MAX_WIDTH = 100
NAMES = """\
NAME is one of
  a data set of `vermeil data list`
  wikipedia@FILE        a dump, e.g. enwiki-20260901-pages-articles.xml.bz2
  common_crawl@FOLDER   its .warc.gz (HTML) and .wet.gz (text) files, or one of them
  books@FOLDER          one sentence a line: a file per book, or one file with blank lines between
  hub@OWNER/NAME        a data set of the Hugging Face Hub, streamed; /CONFIGURATION and @REVISION
                        may follow
  coco@FOLDER           its annotations (captions_*.json, instances_*.json) beside train2017/ and
                        val2017/; dataset_coco.json decides the splits
  flickr@FOLDER         Flickr8k.token.txt or results_20130124.token, the lists of splits or
                        dataset_flickr8k.json (30k), and the pictures in images/
  vqa_v2@FOLDER         v2_OpenEnded_mscoco_*_questions.json, v2_mscoco_*_annotations.json, and
                        train2014/ and val2014/
  gqa@FOLDER            train_, val_ and testdev_balanced_questions.json, and images/
  daquar@FOLDER         qa.894.raw.train.txt and qa.894.raw.test.txt, and images/
  imagenet@FOLDER       train/ with a folder per wnid, val/ flat, ILSVRC2012_devkit_t12/
  webdataset@FOLDER     its .tar shards with jpg (png, webp), cls, txt and json members, streamed
  laion@PLACE           a list of links with captions (LAION's .parquet, Conceptual Captions' .tsv,
                        SBU's .json), which img2dataset downloads; or the folder that it wrote
  conceptual_captions@PLACE  GCC-training.tsv and GCC-1.1.0-Validation.tsv, in the same way
  sbu@PLACE             sbu-captions-all.json, or SBU's lists of links and captions, likewise
  hub_pictures@OWNER/NAME  pictures of the Hub, streamed; /CONFIGURATION, @REVISION and
                        #image=A,label=B,text=C,split=D may follow
  librispeech@FOLDER    train-clean-100/ and others with SPEAKER/CHAPTER/*.flac and *.trans.txt;
                        #test=SUBSET may follow
  common_voice@FOLDER   one language: train.tsv, dev.tsv, test.tsv and clips/
  sentences@PLACE       CMU ARCTIC's etc/txt.done.data, LJ Speech's metadata.csv, or
                        transcripts.txt with ID|TEXT, and the audio; or the .zip or .tar of it
  manifest@FILE         .jsonl with audio_filepath and text, or a folder with train.jsonl, dev.jsonl
  fsdd@PLACE            the Free Spoken Digit Dataset, its folder or .zip; #speaker=NAME is tested
  hub_speech@OWNER/NAME  speech of the Hub, streamed; /CONFIGURATION, @REVISION and
                        #audio=A,text=B,speaker=C,split=D may follow
  FOLDER or FILE        your own .txt, .jsonl and .parquet, with a "/" or a suffix in its name;
                        or pictures in a folder per class; or audio files with NAME.txt beside
                        them, transcripts.txt, metadata.csv or manifest.jsonl
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
        prepare(load_any(arguments.name, arguments.root))
    else:
        show(load_any(arguments.name, arguments.root), arguments.split, arguments.number)


class _Parser(argparse.ArgumentParser):
    """An argument parser whose complaints are ours."""

    def error(self, message: str):
        raise VermeilError(message, hint=f"see {self.prog} --help")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="vermeil data",
        description="The data sets, and your own texts, pictures and recordings.",
    )
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    actions.add_parser("list", help="the data sets and whether they are ready")
    prepare_parser = actions.add_parser("prepare", help="make a data set ready and verify it")
    show_parser = actions.add_parser("show", help="count what is in it and look at a few")
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
        "--number", type=_count, default=3, metavar="N", help="how many to look at (%(default)s)"
    )
    return parser


def _count(word: str) -> int:
    if not word.isdecimal():
        raise argparse.ArgumentTypeError(f"'{word}' is not a number")
    return int(word)


def list_datasets() -> None:
    """Print a row per data set, and below it what it is and its licence."""
    datasets = [load_any(name) for name in DATASETS]
    rows = [("NAME", "SIZE", "SPLITS", "READY")]
    rows += [(d.name, d.size, d.splits, "yes" if d.ready() else "no") for d in datasets]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    texts = ["", *(f"{data.description}; licence: {data.licence}" for data in datasets)]
    for row, text in zip(rows, texts, strict=True):
        padded = (f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True))
        print("  ".join(padded).rstrip())
        for line in textwrap.wrap(text, _width() - 4):
            print(f"    {line}")
    print("\nSplits: documents, pictures or clips in train / validation / test.")
    print("Get one ready: vermeil data prepare NAME")
    print("Official downloads, the Hub, your own files: vermeil data show --help")


def prepare(data: DataSet) -> None:
    """Make a data set ready, then print what is in it; of a download this reads every page."""
    data.prepare()
    print(f"{data.name} {data.version} is ready: {data.size}")
    print(f"sha256 {data.sha256()}\n")
    for line in data.inventory():
        print(line)


def show(data: DataSet, split: str, number: int) -> None:
    """Print how much there is, and a few documents or pictures of one split."""
    lines = data.excerpts(split, number, _width())  # complains before anything is printed
    print(f"{data.name} {data.version}: {data.description}")
    print(f"licence: {data.licence}\n")
    for line in lines:
        print(line)


def _width() -> int:
    return min(shutil.get_terminal_size((MAX_WIDTH, 24)).columns, MAX_WIDTH)
