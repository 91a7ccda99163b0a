"""Flickr8k and Flickr30k: photographs with five captions each, in the official splits."""

from collections import defaultdict
from pathlib import Path

from data.files import decode, lines, reading
from data.karpathy import karpathy
from data.official_json import inside
from data.official_pictures import (
    UNLABELLED,
    Entry,
    Found,
    OfficialPictures,
    first_folder,
    picture_files,
)  # fmt: skip
from data.pictures import BadPicture, Skipped
from shared.errors import VermeilError

TOKENS = ("Flickr8k.token.txt", "results_20130124.token")
LISTS = {"train": "Flickr_8k.trainImages.txt", "validation": "Flickr_8k.devImages.txt",
         "test": "Flickr_8k.testImages.txt"}  # fmt: skip
KARPATHY = ("dataset_flickr8k.json", "dataset_flickr30k.json")
TEXT_FOLDERS = (".", "Flickr8k_text", "flickr30k")
PICTURE_FOLDERS = ("images", "Images", "Flicker8k_Dataset", "Flickr8k_Dataset", "flickr30k-images",
                   "flickr30k_images", "Flickr30k_images")  # fmt: skip


class Flickr(OfficialPictures):
    """`root` with Flickr8k.token.txt or results_20130124.token beside the folder of pictures.

    Splits are those of Flickr_8k.trainImages.txt, .devImages.txt and .testImages.txt, else those
    of dataset_flickr8k.json or dataset_flickr30k.json, which holds the captions as well; a picture
    on no list is left out. Without either, pictures are divided as `OfficialPictures` has it. A
    caption is NAME.jpg#NUMBER, a tab, and words as the annotators' tokenizer left them.
    """

    name = "flickr"
    title = "Flickr8k or Flickr30k"
    licence = "research and education only; each photograph is its owner's"

    def _find(self) -> Found:
        tokens, karpathies = self._one_of(TOKENS), self._one_of(KARPATHY)
        lists = {split: path for split, name in LISTS.items() if (path := self._one_of((name,)))}
        folder = first_folder(*(self.root / name for name in PICTURE_FOLDERS))
        if folder is None:
            raise VermeilError(
                f"{self.root} has no folder of pictures", f"put them in {self.root / 'images'}"
            )
        dropped = Skipped()
        if karpathies and not (tokens and lists):
            found = karpathy(karpathies, dropped)
            texts = {picture.name: picture.texts for picture in found}
            splits = {picture.name: picture.split for picture in found}
            read = [karpathies]
        elif tokens:
            texts = captions(tokens, dropped)
            splits = _listed(lists, texts, dropped) if lists else dict.fromkeys(texts, "train")
            read = [tokens, *lists.values()]
        else:
            raise VermeilError(
                f"{self.root} holds none of {', '.join((*TOKENS, *KARPATHY))}",
                "unpack the captions there",
            )
        for path in picture_files(folder):
            if path.name not in texts:
                dropped.add(BadPicture(path.name, "no caption"))
        parts: dict[str, list[Entry]] = {split: [] for split in LISTS}
        for name, split in splits.items():
            identifier = f"{folder.name}/{name}"
            parts[split].append(Entry(identifier, folder / name, 0, texts[name]))
        facts = [(path, path.name) for path in read]
        return Found((UNLABELLED,), parts["train"], parts["test"], facts, parts["validation"],
                     dropped)  # fmt: skip

    def _one_of(self, names: tuple[str, ...]) -> Path | None:
        """The file of one of these names; of two it is not clear which is meant."""
        places = [self.root / folder / name for folder in TEXT_FOLDERS for name in names]
        found = [path for path in places if path.is_file()]
        if len({path.name for path in found}) > 1:
            raise VermeilError(
                f"{self.root} holds {' and '.join(path.name for path in found)}",
                "keep one data set in a folder",
            )
        return found[0] if found else None


def captions(path: Path, dropped: Skipped) -> dict[str, tuple[str, ...]]:
    """The captions of each picture, in the order of the file; empty ones are added to `dropped`."""
    found: dict[str, list[str]] = defaultdict(list)
    with reading(path):
        for number, (offset, line) in enumerate(lines(path), 1):
            if not line.strip():
                continue
            head, tab, caption = decode(line, path, offset).partition("\t")
            name, mark, _ = head.strip().rpartition("#")
            if not tab or not mark:
                raise VermeilError(
                    f"line {number:,} of {path} is not NAME.jpg#NUMBER, a tab and a caption",
                    "download it again",
                )
            if words := " ".join(caption.split()):
                found[_inside(name, path)].append(words)
            else:
                dropped.add(BadPicture(head, "empty caption"))
    return {name: tuple(said) for name, said in found.items()}


def _listed(
    lists: dict[str, Path], texts: dict[str, tuple[str, ...]], dropped: Skipped
) -> dict[str, str]:
    """The split of each picture on a list."""
    splits: dict[str, str] = {}
    for split, path in lists.items():
        with reading(path):
            names = decode(path.read_bytes(), path).split()
        for name in dict.fromkeys(names):
            if splits.setdefault(name, split) != split:
                raise VermeilError(
                    f"{name} is on {lists[splits[name]].name} and on {path.name}",
                    "download the lists again",
                )
            if name not in texts:
                dropped.add(BadPicture(name, "no caption"))
    for name in texts:
        if name not in splits:
            dropped.add(BadPicture(name, "on no list"))
    return {name: split for name, split in splits.items() if name in texts}


def _inside(name: str, path: Path) -> str:
    try:
        return inside(name)
    except ValueError as error:
        raise VermeilError(f"{path} names {error}", "download it again") from None
