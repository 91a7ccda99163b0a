"""Tux Paint's spoken captions, in a package made here in exactly the form of Debian's."""

import dataclasses
import hashlib
import io
import itertools
import tarfile

import pytest

from data import load_speech
from data.speech import SPLITS
from data.tuxpaint import FOLDER, TuxPaint
from data.tuxpaint_speech import TuxPaintSpeech, picture_of
from shared.errors import VermeilError


def deb(files: dict[str, bytes]) -> bytes:
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w:xz") as archive:
        for name, part in files.items():
            member = tarfile.TarInfo(f"./{name}")
            member.size = len(part)
            archive.addfile(member, io.BytesIO(part))
    content = b"!<arch>\n"
    for name, part in (("debian-binary", b"2.0\n"), ("data.tar.xz", data.getvalue())):
        content += f"{name:<16}{0:<12}{0:<6}{0:<6}{100644:<8}{len(part):<10}`\n".encode() + part
        content += b"\n" * (len(part) % 2)
    return content


@pytest.fixture
def stamps(tmp_path, monkeypatch) -> dict[str, bytes]:
    """Forty stamps, spoken in English and French, and things that are no captions."""
    files = {}
    for n in range(40):
        path = f"{FOLDER}animals/{n:02}"
        files |= {f"{path}.png": b"PNG", f"{path}.ogg": b"moo",
                  f"{path}.txt": f"Cow {n}.\nfr.utf8=Vache {n}.\n".encode(),
                  f"{path}_desc.ogg": b"OggS en", f"{path}_desc_fr.ogg": b"OggS fr"}  # fmt: skip
    files[f"{FOLDER}animals/00_desc_de.ogg"] = b"OggS de"
    files[f"{FOLDER}animals/01_desc.ogg"] = b""
    files[f"{FOLDER}animals/gone_desc.ogg"] = b"OggS"
    files[f"{FOLDER}animals/mute.svg"] = b"SVG"
    files[f"{FOLDER}animals/mute_desc.ogg"] = b"OggS"
    blob = deb(files)
    (tmp_path / "p").mkdir()
    (tmp_path / "p" / TuxPaint.package.file).write_bytes(blob)
    package = dataclasses.replace(TuxPaint.package, sha256=hashlib.sha256(blob).hexdigest())
    monkeypatch.setattr(TuxPaintSpeech, "package", package)
    TuxPaintSpeech(tmp_path / "p").prepare()
    return files


def test_captions_pictures_and_languages(stamps):
    data = load_speech("tuxpaint_speech")
    assert isinstance(data, TuxPaintSpeech) and data.ready() and data.languages() == ["fr", "en"]
    found = {split: list(data.clips(split)) for split in SPLITS}
    assert [len(found[split]) for split in SPLITS] in ([35, 2, 2], [36, 1, 2], [36, 2, 1])
    clip = {c.id: c for c in itertools.chain(*found.values())}["en/animals/07.png"]
    assert (clip.text, clip.source, clip.language) == ("Cow 7.", b"OggS en", "en")
    assert picture_of(clip) == "animals/07.png" and clip.label_method == "human"
    french = load_speech("tuxpaint_speech@fr")
    for split in SPLITS:
        pictures = {picture_of(c) for c in french.clips(split)}
        assert {picture_of(c) for c in found[split]} <= pictures, "the same split in any language"
    said = next(french.clips("test"))
    assert said.text.startswith("Vache") and said.source == b"OggS fr" and said.language == "fr"
    everything = load_speech("tuxpaint_speech@all")
    assert sum(1 for split in SPLITS for _ in everything.clips(split)) == 79
    assert len({load_speech(f"tuxpaint_speech@{x}").sha256() for x in ("en", "fr", "all")}) == 3
    with pytest.raises(VermeilError, match="has nothing in 'xx': "):
        load_speech("tuxpaint_speech@xx").clips("train")


def test_what_is_no_use_is_counted(stamps):
    assert load_speech("tuxpaint_speech").dropped.names == {
        "no transcript in its language": ["animals/00_desc_de.ogg"],
        "empty file": ["animals/01_desc.ogg"],
        "no picture": ["animals/gone_desc.ogg"],
        "no transcript": ["animals/mute_desc.ogg"],
    }


def test_what_was_not_fetched_names_the_command():
    with pytest.raises(VermeilError, match="not on this machine: vermeil data prepare tuxpaint_sp"):
        load_speech("tuxpaint_speech").clips("test")
