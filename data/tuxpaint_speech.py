"""What children's paint program says of its stamps: people's voices in twelve languages."""

import hashlib
import io
import json
import re
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import suppress
from functools import cached_property
from pathlib import Path, PurePosixPath

from data.embedded.packages import unpack
from data.fetched import Fetched
from data.speech import SPLITS, Clip, Dropped, SpeechData, check_split
from data.splits import Census
from data.tuxpaint import FOLDER, KINDS, TuxPaint, captions
from shared.errors import VermeilError, nearest
from shared.home import replacing

PACK, TABLE = "spoken.zip", "clips.jsonl"
SPOKEN = re.compile(r"(.+)_desc(?:_([a-z]{2}(?:_[A-Za-z]{2})?))?\.ogg")


class TuxPaintSpeech(Fetched, SpeechData):
    """The spoken descriptions of Tux Paint's stamps, with the captions that they read out.

    `tuxpaint_speech` is English, `tuxpaint_speech@LANGUAGE` another of its languages (fr, ru, ca,
    ro, bg, es, be, el, da, nl, ml), `@all` all of them. A clip's id is LANGUAGE/PICTURE, where
    PICTURE is the id in `tuxpaint` (`picture_of` takes it off), its text the caption as written.
    Splits are those of the English captions, 90 / 5 / 5 by their hash as in `tuxpaint`, so that a
    stamp is of the same split in every language, and there. Sounds that are no descriptions
    (what the animal says) are left aside; a description without a caption in its language is
    counted.
    """

    name = "tuxpaint_speech"
    licence = TuxPaint.licence
    description = "spoken captions of Tux Paint's stamps, by people, in English or @LANGUAGE"
    size = "178 MB"
    splits = "57 / 2 / 6"
    package = TuxPaint.package
    files = (PACK,)

    def __init__(self, root: Path | None = None):
        named = root is not None and not root.is_dir()  # a language, not a folder of packages
        self.root = None if named else root
        self.language = str(root) if named else "en"

    def unpack(self, blob: bytes) -> Mapping[str, int]:
        """Write the descriptions of all languages, with a table of their words."""
        files = unpack(self.package, blob)
        rows, dropped = [], Dropped()
        self.folder.mkdir(parents=True, exist_ok=True)
        stamps = {name for name in files if PurePosixPath(name).suffix in KINDS}
        with replacing(self.folder / PACK) as temporary, zipfile.ZipFile(temporary, "w") as archive:
            for path in sorted(files):
                match = SPOKEN.fullmatch(path.removeprefix(FOLDER))
                if not path.startswith(FOLDER) or match is None:
                    continue
                row = _row(match, files, stamps)
                if isinstance(row, str):
                    dropped.drop(path.removeprefix(FOLDER), row)
                elif not files[path]:
                    dropped.drop(path.removeprefix(FOLDER), "empty file")
                else:
                    rows.append(row)
                    archive.writestr(_member(f"{row['id']}.ogg"), files[path])
            _divide(rows, files)
            table = {"dropped": [dropped.counts, dropped.names], "clips": rows}
            archive.writestr(_member(TABLE), json.dumps(table, ensure_ascii=False))
        return {"clips": len(rows)}

    @property
    def dropped(self) -> Dropped:
        """What was left out when the package was unpacked."""
        counts, names = self._table["dropped"]
        found = Dropped()
        found.counts.update(counts)
        found.names.update(names)
        return found

    def languages(self) -> list[str]:
        """The languages with descriptions, the most spoken first."""
        rows = self._table["clips"]
        numbers: dict[str, int] = {}
        for row in rows:
            numbers[row["language"]] = numbers.get(row["language"], 0) + 1
        return sorted(numbers, key=lambda name: (-numbers[name], name))

    def sha256(self) -> str:
        """Over what was unpacked, verified, and the language."""
        return hashlib.sha256(f"{super().sha256()} {self.language}".encode()).hexdigest()

    def clips(self, split: str) -> Iterator[Clip]:
        """The split's clips, by language and then by the pictures' ids."""
        check_split(split)
        known = [*self.languages(), "all"]
        if self.language not in known:
            raise VermeilError(
                f"{self.name} has nothing in '{self.language}'", nearest(self.language, known)
            )
        return self._clips(split)

    def _clips(self, split: str) -> Iterator[Clip]:
        with zipfile.ZipFile(self.folder / PACK) as archive:
            for row in self._table["clips"]:
                if row["split"] == split and self.language in (row["language"], "all"):
                    content = archive.read(f"{row['id']}.ogg")
                    yield Clip(row["id"], row["text"], content, language=row["language"])

    @cached_property
    def _table(self) -> dict:
        self._verified  # noqa: B018 (complains where nothing was unpacked)
        with zipfile.ZipFile(io.BytesIO((self.folder / PACK).read_bytes())) as archive:
            return json.loads(archive.read(TABLE))


def picture_of(clip: Clip) -> str:
    """The id of the picture that a clip describes, in the data set `tuxpaint`."""
    return clip.id.partition("/")[2]


def _row(match: re.Match, files: Mapping[str, bytes], stamps: set[str]) -> dict | str:
    """What a description says and of what, or why it is of no use."""
    stem, language = f"{FOLDER}{match[1]}", match[2] or "en"
    picture = next((stem + kind for kind in KINDS if stem + kind in stamps), None)
    if picture is None:
        return "no picture"
    try:
        usual, others = captions(files[f"{stem}.txt"])
    except (KeyError, ValueError):
        return "no transcript"
    text = others.get(language, usual if language == "en" else "")
    if not text:
        return "no transcript in its language"
    name = picture.removeprefix(FOLDER)
    return {"id": f"{language}/{name}", "text": " ".join(text.split()), "language": language,
            "family": usual.casefold()}  # fmt: skip


def _divide(rows: list[dict], files: Mapping[str, bytes]) -> None:
    """Give each row the split of its English caption among those of all stamps with a class."""
    captioned = set()
    for path in files:
        name = PurePosixPath(path.removeprefix(FOLDER))
        if path.startswith(FOLDER) and name.suffix == ".txt" and name.parts[0] in TuxPaint.classes:
            with suppress(ValueError):
                captioned.add(captions(files[path])[0].casefold())
    if len(captioned) < len(SPLITS):
        raise VermeilError(f"{len(captioned)} different caption(s) make no three splits")
    census = Census()
    for family in sorted(captioned):
        census.add(family)
    cuts = census.splits()
    for row in rows:
        row["split"] = cuts.of(row.pop("family"))


def _member(name: str) -> zipfile.ZipInfo:
    return zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))  # the same bytes every time
