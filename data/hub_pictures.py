"""Any picture data set of the Hugging Face Hub, streamed: nothing is kept on the disk."""

import hashlib
from collections.abc import Iterator
from functools import cached_property
from itertools import chain, islice
from pathlib import Path
from typing import Any, NamedTuple

from data.decoding import MAX_BYTES
from data.folder_pictures import SPLIT_FOLDERS
from data.hub import HubPlace
from data.image_shards import UNLABELLED
from data.pictures import SPLITS, BadPicture, Picture, PictureData, Skipped, check_split, decode
from data.splits import BY_SHARE, SHARE
from shared.errors import VermeilError, nearest

OPTIONS = ("image", "label", "text", "split")
# What people call the column of words, the best first; a string or a list of strings.
TEXTS = ("caption", "captions", "text", "texts", "sentence", "sentences", "sentences_raw",
         "description", "prompt", "alt_text")  # fmt: skip


class Columns(NamedTuple):
    """Where a row has its parts."""

    image: str
    label: str | None
    text: str | None


class HubPictures(PictureData):
    """The rows of the Hub's OWNER/NAME[/CONFIGURATION][@REVISION][#COLUMNS], or of a local folder.

    The picture is the first column of the type Image, the label the column "label" or the first of
    the type ClassLabel, and texts stand in a column with one of the names in `TEXTS`, else they are
    the class's name. Others are asked for with #image=A,label=B,text=C. The Hub's splits are ours;
    where validation or test are missing, 1 % of the training rows each is it, by the hash of the
    ids, which are SPLIT/ROW. #split=NAME takes that one split alone and divides it.
    """

    version = "1"
    size = "streamed"

    def __init__(self, root: Path):
        super().__init__()
        place, _, options = str(root).partition("#")
        self.hub = HubPlace(place, "hub_pictures")
        self.name = self.hub.name + f"#{options}" * bool(options)
        self.description = f"pictures of {place} of the Hugging Face Hub"
        self.options = _options(options)

    @property
    def licence(self) -> str:
        """As the data set's card states it."""
        return self.hub.licence

    @property
    def classes(self) -> tuple[str, ...]:  # type: ignore[override]
        """Of the label column's type."""
        label = self._columns.label
        return tuple(self._features[label].names) if label else (UNLABELLED,)

    @property
    def splits(self) -> str:
        """The Hub's own names, or the share of the training rows."""
        streams = self._streams
        return " / ".join(streams[s][0] if s in streams else f"{SHARE:.0%}" for s in SPLITS)

    def ready(self) -> bool:
        """Whether it is a folder on this machine; the Hub is not asked."""
        return self.hub.local

    def prepare(self) -> None:
        """Ask the Hub for the data set, and look at its columns."""
        self._columns  # noqa: B018 (found on first use)

    def sha256(self) -> str:
        """Of the name, the revision and the columns; of a local folder's files."""
        identity = f"{self.version} {self.hub.sha256()} {sorted(self.options.items())}"
        return hashlib.sha256(identity.encode()).hexdigest()

    def inventory(self) -> Iterator[str]:
        """Nothing: going through it would download it thrice."""
        return iter(())

    def excerpts(self, split: str, number: int, width: int) -> Iterator[str]:
        """The first pictures."""
        from data.picture_tables import described

        first = islice(self.pictures(split), number)
        return chain([f"{self.size}; {self.splits}"], described(self, first, width))

    def pictures(self, split: str) -> Iterator[Picture]:
        """The split's pictures in the order of the rows; bad ones are counted."""
        check_split(split)
        return self._pictures(split, self._columns, self.classes)

    def _pictures(
        self, split: str, columns: Columns, classes: tuple[str, ...]
    ) -> Iterator[Picture]:
        skipped = self.skipped[split] = Skipped()
        name, stream = self._streams.get(split) or self._streams["train"]
        without = [name for name in SPLITS if name not in self._streams]
        number = 0
        try:
            for number, row in enumerate(_undecoded(stream, columns), start=1):
                identifier = f"{name}/{number - 1}"
                own = BY_SHARE.of(identifier)
                divided = split == "train" or split in without
                if divided and split != (own if own in without else "train"):
                    continue
                try:
                    yield picture_of(row, identifier, columns, classes)
                except BadPicture as bad:
                    skipped.add(bad)
        except Exception as error:
            raise self.hub.refusal(error, f"stopped after row {number:,}") from None

    @cached_property
    def _streams(self) -> dict[str, tuple[str, Any]]:
        """By our name of a split, the Hub's name and its rows."""
        found = self.hub.splits()
        chosen = self.options.get("split")
        if chosen:
            if chosen not in found:
                raise VermeilError(
                    f"{self.name} has no split '{chosen}' (it has: {', '.join(found)})",
                    nearest(chosen, list(found)),
                )
            return {"train": (chosen, found[chosen])}
        streams = {
            ours: (name, stream)
            for name, stream in found.items()
            if (ours := SPLIT_FOLDERS.get(str(name).lower()))
        }
        if "train" not in streams:
            first = next(iter(found), "NAME")
            raise VermeilError(
                f"{self.name} has no split to learn from (it has: {', '.join(found)})",
                f"choose one to be divided: {self.name}#split={first}",
            )
        return streams

    @cached_property
    def _features(self) -> dict[str, Any]:
        stream = self._streams["train"][1]
        try:  # a type that nothing states is that of the first row
            return dict(stream.features or dict.fromkeys(next(iter(stream), {}), "no picture"))
        except Exception as error:
            raise self.hub.refusal(error, "cannot be read") from None

    @cached_property
    def _columns(self) -> Columns:
        from datasets import ClassLabel, Image

        known = self._features
        for option, name in self.options.items():
            if option != "split" and name not in known:
                raise VermeilError(f'{self.name} has no column "{name}"', nearest(name, [*known]))
        pictures = [name for name, kind in known.items() if isinstance(kind, Image)]
        image = self.options.get("image", pictures[0] if pictures else None)
        if image not in pictures:
            has = ", ".join(f"{name} ({_kind(kind)})" for name, kind in known.items())
            what = f'"{image}" is none' if image else "there is none"
            raise VermeilError(
                f"{self.name} needs a column of the type Image, and {what} (it has: {has})",
                "choose another data set or column; a list of links: laion@FILE",
            )
        labels = [name for name, kind in known.items() if isinstance(kind, ClassLabel)]
        usual = "label" if "label" in labels else labels[0] if labels else None
        label = self.options.get("label", usual)
        if label and label not in labels:
            raise VermeilError(
                f'the column "{label}" of {self.name} is {_kind(known[label])}, not ClassLabel, '
                "so that its classes are unknown",
                f"choose of: {', '.join(labels)}" if labels else "leave label= out",
            )
        usual = next((name for name in TEXTS if name in known), None)
        return Columns(image, label, self.options.get("text", usual))


def picture_of(
    row: dict[str, Any], identifier: str, columns: Columns, classes: tuple[str, ...]
) -> Picture:
    """Decode a row; raises BadPicture for what has no picture, label or words."""
    label = row[columns.label] if columns.label else 0
    if label is None or not 0 <= label < len(classes):
        raise BadPicture(identifier, "no label of a class")  # -1 where it is kept secret
    said = row[columns.text] if columns.text else None
    lines = [said] if isinstance(said, str) else said if isinstance(said, list) else []
    texts = tuple(" ".join(line.split()) for line in lines if isinstance(line, str))
    texts = tuple(text for text in texts if text)
    if columns.text and not columns.label and not texts:
        raise BadPicture(identifier, "no caption")
    pixels = decode(_content(row[columns.image], identifier), identifier)
    return Picture(identifier, pixels, label, texts or (classes[label],))


def _undecoded(stream: Any, columns: Columns) -> Any:
    """The rows with pictures as files; a bad one is then ours to count and not the end."""
    from datasets import Image

    wanted = [name for name in columns if name]
    return stream.select_columns(wanted).cast_column(columns.image, Image(decode=False))


def _content(image: Any, identifier: str) -> bytes:
    """A picture's file, out of the row or from where the row says."""
    if not image or (image.get("bytes") is None and not image.get("path")):
        raise BadPicture(identifier, "no picture")
    if image.get("bytes") is not None:
        return image["bytes"]
    import fsspec

    try:
        with fsspec.open(image["path"], "rb") as file:
            return file.read(MAX_BYTES + 1)  # type: ignore[union-attr]
    except FileNotFoundError:
        raise BadPicture(identifier, "missing file") from None


def _options(text: str) -> dict[str, str]:
    """The parts of "image=A,label=B"."""
    options = {}
    for part in filter(None, text.split(",")):
        key, equals, value = part.partition("=")
        if key not in OPTIONS or not equals or not value:
            raise VermeilError(
                f"'#{part}' is no column to choose", "write #image=A,label=B,text=C,split=D"
            )
        options[key] = value
    return options


def _kind(feature: Any) -> str:
    return getattr(feature, "dtype", None) or type(feature).__name__
