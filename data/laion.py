"""Pictures of the web with captions: LAION, Conceptual Captions and SBU by img2dataset."""

import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from itertools import chain, islice
from pathlib import Path

from data.files import Named, find
from data.image_shards import UNLABELLED, WebDataset
from data.link_lists import SUFFIXES, arrow, download, write_list
from data.pictures import BadPicture, Picture
from shared.errors import VermeilError
from shared.home import home, write_atomically

STATISTICS = "_stats.json"  # behind a shard's name, beside it
DONE = "done.json"  # written last: where it stands, all links were tried
ALIVE = "success"
SHOWN = 5  # reasons


@dataclass
class Links:
    """What became of a list of links."""

    status: Counter[str] = field(default_factory=Counter)  # as img2dataset calls it
    reasons: Counter[str] = field(default_factory=Counter)  # of those that failed
    unknown: list[str] = field(default_factory=list)  # shards without statistics

    @property
    def alive(self) -> int:
        """Pictures that were downloaded."""
        return self.status[ALIVE]

    @property
    def dead(self) -> bool:
        """Whether there were links, and none of them gave a picture."""
        return not self.unknown and bool(self.status.total()) and not self.alive

    def __str__(self) -> str:
        """E.g. "3 of 5 links alive; 1 failed_to_download, 1 failed_to_resize (1 HTTP 404, ...)"."""
        said = f"{self.alive:,} of {self.status.total():,} links alive"
        failed = [f"{n:,} {what}" for what, n in self.status.most_common() if what != ALIVE]
        reasons = [f"{n:,} {why}" for why, n in self.reasons.most_common(SHOWN)]
        reasons += ["..."] * (len(self.reasons) > SHOWN)
        if failed:
            said += f"; {', '.join(failed)}" + f" ({', '.join(reasons)})" * bool(reasons)
        if self.unknown:
            said += f"; no statistics of {len(self.unknown):,} shard(s) ({self.unknown[0]}, ...)"
        return said


class Laion(WebDataset):
    """A folder that img2dataset wrote with --output_format webdataset, or a list of links.

    Beside NNNNN.tar lie NNNNN.parquet, a row for each link, and NNNNN_stats.json. A sample without
    caption is left out, there is one class, and shards are of splits as `WebDataset` has it. A
    list (see data/link_lists.py) or a folder of such is downloaded by `prepare` into
    $VERMEIL_HOME/data/laion; what that finds depends on the day.
    """

    classes = (UNLABELLED,)  # type: ignore[assignment]
    licence = "as the owner of each picture states; the lists themselves CC-BY-4.0 or free"

    def __init__(self, root: Path):
        self.place, self.lists = root, _lists(root)
        super().__init__(place_of(root, self.lists) / "shards" if self.lists else root)
        self.name = f"laion@{root.resolve().name}"
        self.description = f"pictures of the web with captions, {root}"

    @property
    def size(self) -> str:
        """Megabytes of shards, or that nothing was downloaded yet."""
        return super().size if self.ready() else "not downloaded"

    @property
    def splits(self) -> str:
        """Shards in train, validation and test, or the share of the training pictures."""
        return super().splits if self.ready() else "not downloaded"

    def ready(self) -> bool:
        """Whether the shards are there."""
        return (self.root.parent / DONE).is_file() if self.lists else self.root.exists()

    def prepare(self) -> None:
        """Download a list, unless that was done; complains where all links are dead."""
        if self.lists and not self.ready():
            self._download()
        self._shards  # noqa: B018 (computed on first use)

    @cached_property
    def links(self) -> Links:
        """What became of the links, by the statistics beside the shards."""
        found = Links()
        for path, name in find(self.root, (".tar",)):
            try:
                _count(path, found)
            except (OSError, ValueError, TypeError, KeyError, AttributeError):
                found.unknown.append(name)
        return found

    def inventory(self) -> Iterator[str]:
        """What became of the links; counting the pictures can take hours."""
        self._shards  # noqa: B018 (complains first)
        yield str(self.links)
        if self.lists:
            counts = json.loads((self.root.parent / DONE).read_text())
            rows = [f"{n:,} {what}" for what, n in counts.items() if what != "links"]
            yield f"rows of the list without a link or caption: {', '.join(rows) or 'none'}"

    def excerpts(self, split: str, number: int, width: int) -> Iterator[str]:
        """What became of the links, and the first pictures."""
        from data.picture_tables import described

        first = islice(self.pictures(split), number)
        head = [f"{self.size}; {self.splits}", str(self.links)]
        return chain(head, described(self, first, width))

    def _pictures(
        self, split: str, shards: list[Named], classes: tuple[str, ...]
    ) -> Iterator[Picture]:
        for picture in super()._pictures(split, shards, classes):
            if picture.texts == classes:  # what a sample without words is given
                self.skipped[split].add(BadPicture(picture.id, "no caption"))
            else:
                yield picture

    @cached_property
    def _shards(self) -> dict[str, list[Named]]:  # type: ignore[override]
        if not self.ready() and self.lists:
            raise VermeilError(
                f"{self.name} is a list of links, its pictures are not on this machine",
                f"vermeil data prepare laion@{self.place}",
            )
        if self.links.dead:
            raise VermeilError(
                f"all links of {self.name} are dead: {self.links}",
                "check the network, or take a newer list",
            )
        return super()._shards

    def _download(self) -> None:
        from filelock import FileLock

        place = self.root.parent
        place.mkdir(parents=True, exist_ok=True)
        listing, counted = place / "list.parquet", place / "list.json"
        with FileLock(place / "lock"):
            if self.ready():
                return
            if not counted.is_file():
                write_atomically(counted, json.dumps(write_list(self.lists, listing)) + "\n")
            download(listing, self.root, place / "log.txt")
            write_atomically(place / DONE, counted.read_text())


def _lists(root: Path) -> list[Path]:
    """The lists of links at a place; none where img2dataset's output is."""
    if root.is_file() and root.suffix != ".tar":
        return [path for path, _ in find(root, SUFFIXES)]
    if not root.is_dir() or find(root, (".tar",)):
        return []
    if find(root, (STATISTICS,)):
        raise VermeilError(
            f"{root} was written by img2dataset, but has no .tar shards",
            "run it with --output_format webdataset",
        )
    return [path for path, _ in find(root, SUFFIXES)]


def place_of(root: Path, lists: list[Path]) -> Path:
    """Where the pictures of these lists belong; changed files belong elsewhere."""
    states = [(str(path.resolve()), path.stat().st_size, path.stat().st_mtime_ns) for path in lists]
    identity = hashlib.sha256(repr(states).encode()).hexdigest()
    return home() / "data" / "laion" / f"{root.resolve().stem}-{identity[:12]}"


def _count(shard: Path, found: Links) -> None:
    """Add a shard's links; of the statistics, or, where a run was cut short, of the parquet."""
    statistics = shard.with_name(shard.stem + STATISTICS)
    if statistics.is_file():
        content = json.loads(statistics.read_bytes())
        failed = {what: content[what] for what in ("failed_to_download", "failed_to_resize")}
        status = Counter({ALIVE: content["successes"], **failed})
        reasons = {why: n for why, n in content["status_dict"].items() if why != ALIVE}
    else:
        columns = ["status", "error_message"]
        table = arrow()[1].read_table(shard.with_suffix(".parquet"), columns=columns)
        status = Counter(table["status"].to_pylist())
        reasons = Counter(why for why in table["error_message"].to_pylist() if why)
    found.status.update({what: n for what, n in status.items() if n})
    for why, n in reasons.items():
        found.reasons[_short(why)] += n


def _short(reason: str) -> str:
    """A message of urllib or OpenCV as people call it, so that equal ones are counted together."""
    reason = " ".join(reason.split())
    if reason.startswith("OpenCV") or reason == "Image decoding error":
        return "no picture"
    code = re.match(r"HTTP Error (\d+)", reason)
    plain = re.sub(r"^<urlopen error (\[Errno -?\d+\] )?(.*)>$", r"\2", reason)
    return f"HTTP {code[1]}" if code else plain[:80]
