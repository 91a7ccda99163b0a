"""The stamps of Tux Paint: drawings and cut-out photographs with captions in 77 languages."""

import json
from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath

from data.drawings import Drawing, FetchedDrawings
from data.embedded.packages import Package
from data.pictures import BadPicture
from shared.errors import VermeilError, nearest
from shared.home import write_atomically

FOLDER = "usr/share/tuxpaint/stamps/"
KINDS = (".png", ".svg")  # of a stamp that has both, the first: it needs no fonts
MIRRORED = "_mirror"  # a stamp's other side, without words of its own
TRANSLATIONS = "translations.json"
ENGLISH = ("en_GB", "en_AU", "en_CA", "en_ZA")  # they say some things otherwise
ENCODING = ".utf8"


class TuxPaint(FetchedDrawings):
    """949 stamps of children's paint program, 256 pixels; ids are paths such as food/egg.png.

    The first text is the English caption, others those of other Englishes. Classes are the
    outermost folders, tags the folders below; what lies in a folder "cartoon" has that style.
    """

    name = "tuxpaint"
    licence = "GPL-2"
    description = "stamps for children with human captions (Tux Paint)"
    size = "191 MB"
    splits = "854 / 42 / 53"
    side = 256
    classes = ("animals", "clothes", "food", "hobbies", "household", "medical", "military",
               "naturalforces", "people", "plants", "seasonal", "space", "sports", "symbols",
               "town", "vehicles")  # fmt: skip
    package = Package(
        "apt",
        "tuxpaint-stamps-default",
        "2022.06.04-1",
        "tuxpaint-stamps-default_2022.06.04-1_all.deb",
        "6db6c1bfc870a47f1499d6203b083522eacb57c5f9c87d468f2e92eb6d9d5f34",
    )

    @property
    def files(self) -> tuple[str, ...]:
        """The splits' files, what was left out, and the translations."""
        return (*super().files, TRANSLATIONS)

    def translations(self, language: str) -> dict[str, str]:
        """The captions in a language ("de", "pt_BR"), by the pictures' ids."""
        self._verified  # noqa: B018 (complains where nothing was unpacked)
        found = json.loads((self.folder / TRANSLATIONS).read_text())
        if language not in found:
            raise VermeilError(
                f"{self.name} has no captions in '{language}'", nearest(language, sorted(found))
            )
        return found[language]

    def drawings(self, files: Mapping[str, bytes]) -> Iterator[Drawing | BadPicture]:
        """The stamps in the order of their names; writes down the translations."""
        translations: dict[str, dict[str, str]] = {}
        for path in _stamps(files):
            name = path.removeprefix(FOLDER)
            try:
                usual, others = captions(files[str(PurePosixPath(path).with_suffix(".txt"))])
            except (KeyError, ValueError):
                yield BadPicture(name, "no caption")
                continue
            category, *folders = PurePosixPath(name).parts[:-1] or ("",)
            if category not in self.classes:
                yield BadPicture(name, "no class's folder")
                continue
            for language, text in others.items():
                translations.setdefault(language, {})[name] = text
            texts = dict.fromkeys([usual, *(others[key] for key in ENGLISH if key in others)])
            style = "cartoon" if "cartoon" in folders else ""
            tags = tuple(folder for folder in folders if folder != style)
            yield Drawing(name, files[path], category, tuple(texts), tags, style)
        write_atomically(
            self.folder / TRANSLATIONS, json.dumps(translations, ensure_ascii=False) + "\n"
        )


def captions(content: bytes) -> tuple[str, dict[str, str]]:
    """The English caption in a stamp's .txt, and by language the others.

    The first line is English, others are LANGUAGE.utf8=TEXT. Raises ValueError without a caption.
    """
    usual, *others = [line.strip() for line in content.decode("utf-8-sig").splitlines()]
    if not usual:
        raise ValueError("the first line is empty")
    pairs = (line.partition(f"{ENCODING}=") for line in others)
    return usual, {key: text.strip() for key, equals, text in pairs if equals and text.strip()}


def _stamps(files: Mapping[str, bytes]) -> list[str]:
    """One file of each stamp."""
    chosen: dict[str, str] = {}
    for kind in reversed(KINDS):
        for path in files:
            place = PurePosixPath(path)
            if path.startswith(FOLDER) and place.suffix == kind:
                chosen[str(place.with_suffix(""))] = path
    return [path for stem, path in sorted(chosen.items()) if not stem.endswith(MIRRORED)]
