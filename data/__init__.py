"""One module per data set: get, verify, read; the small real packs lie in data/embedded.

A data set is named by one word: a known name (`embedded_text`), a reader and what it shall read
(`wikipedia@enwiki-20260901-pages-articles.xml.bz2`, `hub@roneneldan/TinyStories`), or a path of
your own files (`./texts`). One word, so that a configuration, a manifest and the command line
spell it alike; @ because an artifact is named that way too, and : already stands in documents' ids.
"""

from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from data.dataset import DataSet
from data.text import Document, TextData
from shared.errors import VermeilError, nearest

if TYPE_CHECKING:  # pictures need numpy, and the front door is to open at once
    from data.pictures import PictureData
    from data.speech import SpeechData

__all__ = ["DATASETS", "READERS", "DataSet", "Document", "TextData", "load", "load_any",
           "load_pictures", "load_speech"]  # fmt: skip

# Name -> "module:class"; the class is called with the folder of an official download, or None.
TEXTS = {
    "embedded_text": "data.embedded_text:EmbeddedText",
    "embedded_sample": "data.embedded_text:EmbeddedSample",
    "curriculum_text": "data.curriculum_text:CurriculumText",
    "wiki_articles": "data.wiki_articles:WikiArticles",
    "chats": "data.chats:Chats",
    "poetry": "data.poetry:Poetry",
}
PICTURES = {
    "embedded_pictures": "data.embedded_pictures:EmbeddedPictures",
    "embedded_pictures_sample": "data.embedded_pictures:EmbeddedPicturesSample",
    "scenes": "data.scenes:Scenes",
    "noto_pictures": "data.noto_pictures:NotoPictures",
    "cifar_10": "data.cifar_10:Cifar10",
    "fashion_mnist": "data.fashion_mnist:FashionMnist",
    "easy_vqa": "data.easy_vqa:EasyVqa",
    "tuxpaint": "data.tuxpaint:TuxPaint",
    "openclipart": "data.openclipart:OpenClipart",
}
SPEECH = {
    "curriculum_speech": "data.curriculum_speech:CurriculumSpeech",
    "embedded_speech": "data.embedded_speech:EmbeddedSpeech",
    "spoken_words": "data.spoken:SpokenWords",
    "spoken_questions": "data.spoken:SpokenQuestions",
    "spoken_prose": "data.spoken:SpokenProse",
    "tuxpaint_speech": "data.tuxpaint_speech:TuxPaintSpeech",
}
# Name -> "module:class"; the class is called with the place of what it reads.
TEXT_READERS = {
    "wikipedia": "data.wikipedia:Wikipedia",
    "common_crawl": "data.common_crawl:CommonCrawl",
    "books": "data.books:Books",
    "hub": "data.hub_text:HubText",
}
PICTURE_READERS = {
    "coco": "data.coco:Coco",
    "flickr": "data.flickr:Flickr",
    "vqa_v2": "data.vqa_v2:VqaV2",
    "gqa": "data.gqa:Gqa",
    "daquar": "data.daquar:Daquar",
    "imagenet": "data.imagenet:ImageNet",
    "webdataset": "data.image_shards:WebDataset",
    "laion": "data.laion:Laion",
    "conceptual_captions": "data.official_links:ConceptualCaptions",
    "sbu": "data.official_links:Sbu",
    "hub_pictures": "data.hub_pictures:HubPictures",
}
SPEECH_READERS = {
    "librispeech": "data.librispeech:LibriSpeech",
    "common_voice": "data.common_voice:CommonVoice",
    "sentences": "data.sentences:Sentences",
    "manifest": "data.speech_manifest:Manifest",
    "fsdd": "data.fsdd:SpokenDigits",
    "hub_speech": "data.hub_speech:HubSpeech",
}

DATASETS = TEXTS | PICTURES | SPEECH
READERS = TEXT_READERS | PICTURE_READERS | SPEECH_READERS


def load(name_or_path: str | Path, root: Path | None = None) -> TextData:
    """The text of that name, what READER@PLACE says, or the user's own text files at a path.

    A known name wins over a folder of the same name (write ./NAME for the folder). `root` is the
    folder that holds a named data set's official files, where it is not the default one, or the
    PLACE of a reader.
    """
    _refuse(name_or_path, "text", [*TEXTS, *TEXT_READERS])
    return _load(name_or_path, root, TEXTS, TEXT_READERS, _text_folder)


def load_pictures(name_or_path: str | Path, root: Path | None = None) -> "PictureData":
    """The pictures of that name, what READER@PLACE says, or the user's own, a folder per class."""
    _refuse(name_or_path, "pictures", [*PICTURES, *PICTURE_READERS])
    return _load(name_or_path, root, PICTURES, PICTURE_READERS, _picture_folder)


def load_speech(name_or_path: str | Path, root: Path | None = None) -> "SpeechData":
    """The speech of that name, what READER@PLACE says, or your own recordings in a folder."""
    _refuse(name_or_path, "speech", [*SPEECH, *SPEECH_READERS])
    return _load(name_or_path, root, SPEECH, SPEECH_READERS, _speech_folder)


def load_any(name_or_path: str | Path, root: Path | None = None) -> DataSet:
    """The data set of that name, whatever it holds; of a path the first suffix known decides."""
    name, at, _ = str(name_or_path).partition("@")
    if name in PICTURES or name in PICTURE_READERS:
        return load_pictures(name_or_path, root)
    if name in SPEECH or name in SPEECH_READERS:
        return load_speech(name_or_path, root)
    if not at and name not in DATASETS and (path := Path(name_or_path).expanduser()).is_dir():
        if _has_pictures(path):
            return load_pictures(name_or_path, root)
        if _has_speech(path):
            return load_speech(name_or_path, root)
    return load(name_or_path, root)


def _refuse(name_or_path: str | Path, wanted: str, known: list[str]):
    name = str(name_or_path).partition("@")[0]
    kinds = {"text": TEXTS | TEXT_READERS, "pictures": PICTURES | PICTURE_READERS,
             "speech": SPEECH | SPEECH_READERS}  # fmt: skip
    for kind, names in kinds.items():
        if kind != wanted and name in names:
            raise VermeilError(f"{name} holds {kind}, not {wanted}", f"known: {', '.join(known)}")


def _load(name_or_path, root, datasets: Mapping[str, str], readers: Mapping[str, str], folder):
    name, at, place = str(name_or_path).partition("@")
    if name in datasets or name in readers:
        if at and root is not None:
            raise VermeilError(f"{name_or_path} says where it is, it takes no root", "choose one")
        root = Path(place).expanduser() if place else root
        if name in readers and root is None:
            raise VermeilError(f"{name} reads what you give it", f"write {name}@PLACE")
        module, _, reader = {**datasets, **readers}[name].partition(":")
        return getattr(import_module(module), reader)(root)
    path = Path(name_or_path).expanduser()
    if at and "/" not in name and not path.exists():
        raise VermeilError(f"there is no reader '{name}'", nearest(name, [*readers]))
    if path.exists() or path.suffix or "/" in str(name_or_path):
        if root is not None:
            raise VermeilError(f"{path} is a path already, it takes no root", "leave out --root")
        return folder(path)
    raise VermeilError(
        f"data set '{name_or_path}' does not exist, nor a folder of that name",
        nearest(name, [*datasets, *readers]),
    )


def _text_folder(path: Path) -> Any:
    if (path / "data_card.json").is_file():
        from data.clean_text import CleanText

        return CleanText(path)
    from data.folder_text import FolderText

    return FolderText(path)


def _picture_folder(path: Path) -> Any:
    from data.folder_pictures import FolderPictures

    return FolderPictures(path)


def _speech_folder(path: Path) -> Any:
    from data.folder_speech import FolderSpeech

    if path.suffix.lower() in (".jsonl", ".manifest"):
        from data.speech_manifest import Manifest

        return Manifest(path)
    return FolderSpeech(path)


def _has_pictures(path: Path) -> bool:
    """Whether a folder holds pictures rather than texts."""
    from data.folder_pictures import has_pictures

    return has_pictures(path)


def _has_speech(path: Path) -> bool:
    """Whether a folder holds speech, perhaps with its words in texts beside it."""
    from data.folder_speech import has_speech

    return has_speech(path)
