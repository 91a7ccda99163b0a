"""Pictures in WebDataset's tar shards: written, and read as a stream that damage does not end."""

import io
import json
import re
import tarfile
from collections.abc import Iterator
from functools import cached_property
from itertools import chain, islice
from pathlib import Path

from PIL import Image

from data.decoding import SUFFIXES
from data.files import Named, find, reading, sha256_of
from data.files import decode as decode_text
from data.folder_pictures import SPLIT_FOLDERS
from data.pictures import SPLITS, BadPicture, Picture, PictureData, Skipped, check_split, decode
from data.splits import BY_SHARE, SHARE
from data.tar_samples import Sample, samples_of
from shared.errors import VermeilError
from shared.home import replacing, write_atomically

CLASSES = "classes.txt"  # beside the shards: a name a line
UNLABELLED = "unlabelled"
KINDS = tuple(suffix[1:] for suffix in SUFFIXES)
TRIED = 100  # samples in which a .cls is looked for


class WebDataset(PictureData):
    """The .tar shards below `root`: members KEY.jpg (png, webp, ...), KEY.cls, KEY.txt, KEY.json.

    Members of one sample stand in a row. The label is the number in .cls, named by classes.txt
    beside the shards; texts are the lines of .txt, else "caption" of .json, else the class's name;
    .json may also have "tags" and "style". Ids are SHARD/KEY. A shard with train, val, test or the
    like in its name is of that split, others are for training, and a split without shards takes
    1 % of the training pictures by the hash of their ids. A damaged member costs its sample, a
    shard that is cut short what comes after the cut; both are counted.
    """

    name = "webdataset"
    version = "1"
    licence = "as its makers state"

    def __init__(self, root: Path):
        super().__init__()
        self.root = root
        self.name = f"webdataset@{root.resolve().name}"
        self.description = f"tar shards in {root}"

    @cached_property
    def classes(self) -> tuple[str, ...]:  # type: ignore[override]
        """Of classes.txt; without it the numbers in all .cls, found by going through the shards."""
        path = self._folder / CLASSES
        if path.is_file():
            with reading(path):
                return tuple(decode_text(path.read_bytes(), path).splitlines())
        shards = chain.from_iterable(self._shards.values())
        samples = (
            sample for shard in shards for sample in samples_of(shard, Skipped(), kinds={"cls"})
        )
        beginning = list(islice(samples, TRIED))
        if not any("cls" in sample.files for sample in beginning):
            return (UNLABELLED,)
        labels = (_number(sample.files.get("cls", b"")) for sample in chain(beginning, samples))
        return tuple(
            str(n) for n in range(1 + max((n for n in labels if n is not None), default=0))
        )

    @property
    def size(self) -> str:
        """Megabytes of shards."""
        files = chain.from_iterable(self._shards.values())
        return f"{sum(path.stat().st_size for path, _ in files) / 1e6:.1f} MB"

    @property
    def splits(self) -> str:
        """Shards in train, validation and test, or the share of the training pictures."""
        numbers = {split: len(self._shards[split]) for split in SPLITS}
        return " / ".join(f"{n:,} shards" if n else f"{SHARE:.0%}" for n in numbers.values())

    def ready(self) -> bool:
        """Whether the folder is there."""
        return self.root.exists()

    def prepare(self) -> None:
        """Find the shards; reading them comes later."""
        self._shards  # noqa: B018 (computed on first use)

    def sha256(self) -> str:
        """Over names and contents of shards and classes.txt; reads them all."""
        return self._sha256

    def pictures(self, split: str) -> Iterator[Picture]:
        """The split's pictures in the order of shards and members; bad ones are counted."""
        return self.share(split, 0, 1)

    def share(self, split: str, part: int, parts: int) -> Iterator[Picture]:
        """Those in every `parts`-th shard from number `part` on: together all, none of them twice.

        Where `skipped` stands afterwards is in the process that reads.
        """
        return self._pictures(split, self.shards_of(split)[part::parts], self.classes)

    def shards_of(self, split: str) -> list[Named]:
        """The shards in which the split's pictures are."""
        check_split(split)
        return self._shards[split] or self._shards["train"]

    def excerpts(self, split: str, number: int, width: int) -> Iterator[str]:
        """The first pictures; counting all can take hours."""
        from data.picture_tables import described

        first = islice(self.pictures(split), number)
        return chain([f"{self.size}; {self.splits}"], described(self, first, width))

    def _pictures(
        self, split: str, shards: list[Named], classes: tuple[str, ...]
    ) -> Iterator[Picture]:
        skipped = self.skipped[split] = Skipped()
        without = [name for name in SPLITS if not self._shards[name]]

        def wanted(identifier: str) -> bool:
            if split in SPLITS[1:] and split not in without:
                return True
            own = BY_SHARE.of(identifier)
            return split == (own if own in without else "train")

        for shard in shards:
            for sample in samples_of(shard, skipped, wanted):
                try:
                    yield picture_of(sample, classes)
                except BadPicture as bad:
                    skipped.add(bad)

    @property
    def _folder(self) -> Path:
        return self.root if self.root.is_dir() else self.root.parent

    @cached_property
    def _shards(self) -> dict[str, list[Named]]:
        found: dict[str, list[Named]] = {split: [] for split in SPLITS}
        for path, name in find(self.root, (".tar",)):
            words = (SPLIT_FOLDERS.get(word) for word in re.split(r"[^a-z]+", name.lower()))
            found[next(filter(None, words), "train")].append((path, name))
        if not found["train"]:
            raise VermeilError(
                f"{self.root} holds no .tar shard to learn from", "name them train-000000.tar, ..."
            )
        return found

    @cached_property
    def _sha256(self) -> str:
        files = [file for split in SPLITS for file in self._shards[split]]
        classes = self._folder / CLASSES
        return sha256_of(files + [(classes, CLASSES)] * classes.is_file())


def picture_of(sample: Sample, classes: tuple[str, ...]) -> Picture:
    """Decode a sample; raises BadPicture for what has no picture or no label of these classes."""
    files = sample.files
    kind = next((kind for kind in KINDS if kind in files), None)
    if kind is None:
        raise BadPicture(sample.id, "no picture")
    label = 0 if classes == (UNLABELLED,) else _number(files.get("cls", b""))
    if label is None or label >= len(classes):
        raise BadPicture(sample.id, "no label of a class")
    try:
        facts = json.loads(files.get("json") or b"{}")
        said = files["txt"].decode().splitlines() if "txt" in files else [facts.get("caption")]
        texts = tuple(" ".join(line.split()) for line in said if line and line.strip())
        tags = tuple(str(tag) for tag in facts.get("tags") or ())
        style = str(facts.get("style") or "")
    except (AttributeError, TypeError, ValueError, RecursionError):
        raise BadPicture(sample.id, "damaged .txt or .json") from None
    pixels = decode(files[kind], sample.id)
    return Picture(sample.id, pixels, label, texts or (classes[label],), style, tags)


def write_shards(
    data: PictureData, split: str, folder: Path, per_shard: int = 10_000
) -> list[Path]:
    """Write a split as SPLIT-000000.tar, ..., each with `per_shard` pictures, the last with fewer.

    Pictures are PNG files, without loss; the same data give the same bytes. Every shard is whole
    or absent. A reader on many machines needs at least as many shards as it has processes.
    """
    if per_shard < 1:
        raise VermeilError(f"{per_shard} pictures make no shard", "take 1 or more")
    if any(folder.glob(f"{split}-*.tar")):
        raise VermeilError(f"{folder} holds shards of {split} already", "remove them first")
    pictures = data.pictures(split)
    names = "".join(f"{name}\n" for name in data.classes)
    classes = folder / CLASSES
    if classes.is_file() and classes.read_text(encoding="utf-8") != names:
        raise VermeilError(f"{classes} names other classes than {data.name}", "use another folder")
    write_atomically(classes, names)
    shards = []
    first = 0
    while some := list(islice(pictures, 1)):
        path = folder / f"{split}-{len(shards):06}.tar"
        with replacing(path) as temporary, tarfile.open(temporary, "w") as archive:
            chosen = enumerate(chain(some, islice(pictures, per_shard - 1)), first)
            for number, picture in chosen:
                _add(archive, f"{number:09}", picture)
        first += per_shard
        shards.append(path)
    return shards


def _add(archive: tarfile.TarFile, key: str, picture: Picture) -> None:
    png = io.BytesIO()
    Image.fromarray(picture.pixels).save(png, "PNG")
    facts = {"id": picture.id, "style": picture.style, "tags": picture.tags}
    texts = "\n".join(" ".join(text.split()) for text in picture.texts)
    members = (("png", png.getvalue()), ("cls", f"{picture.label}".encode()),
               ("txt", texts.encode()), ("json", json.dumps(facts).encode()))  # fmt: skip
    for kind, content in members:
        member = tarfile.TarInfo(f"{key}.{kind}")
        member.size = len(content)
        archive.addfile(member, io.BytesIO(content))


def _number(content: bytes) -> int | None:
    text = content.strip()
    return int(text) if text.isdigit() and len(text) < 8 else None
