"""Stamps and clip art in packages made here in exactly the form of Debian's, and their damage."""

import dataclasses
import hashlib
import io
import json
import shutil
import sys
import tarfile

import numpy as np
import pytest
from PIL import Image

from data import load_pictures
from data.decoding import BadPicture
from data.embedded.packages import obtain
from data.openclipart import FOLDER as CLIP_ART
from data.openclipart import OpenClipart
from data.pictures import SPLITS, arrays
from data.svg import rasterised, squared
from data.tuxpaint import FOLDER as STAMPS
from data.tuxpaint import TuxPaint, captions
from shared.errors import VermeilError


def png(width=8, height=8, colour=(255, 0, 0, 255)) -> bytes:
    content = io.BytesIO()
    Image.new("RGBA", (width, height), colour).save(content, "PNG")
    return content.getvalue()


def svg(inside: str = '<rect width="100" height="100" fill="red"/>', size='"210mm"') -> bytes:
    name = "http://www.w3.org/2000/svg"
    return f'<svg xmlns="{name}" width={size} height={size}>{inside}</svg>'.encode()


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


def packaged(folder, data, files):
    """The set, with its package in a folder and the hash of that."""
    folder.mkdir(exist_ok=True)
    blob = deb(files)
    (folder / data.package.file).write_bytes(blob)
    data.package = dataclasses.replace(data.package, sha256=hashlib.sha256(blob).hexdigest())
    data.root = folder
    return data


def found_in(data) -> dict:
    return {picture.id: picture for split in SPLITS for picture in data.pictures(split)}


def test_a_drawing_is_as_large_as_asked_on_white():
    pixels = rasterised(svg(), "a", 210)
    assert pixels.shape == (210, 210, 3)
    assert pixels[0, 0].tolist() == [255, 0, 0] and pixels[-1, -1].tolist() == [255] * 3
    side = 100 / (210 / 25.4 * 96) * 210  # 100 CSS pixels of 210 mm, at 96 an inch
    assert abs((pixels[0, :, 1] < 128).sum() - side) < 1
    tall = b'<svg xmlns="http://www.w3.org/2000/svg" width="1" height="90000"><path/></svg>'
    assert max(rasterised(tall, "a", 64).shape) == 64, "no bomb"


def test_drawings_do_not_depend_on_the_machine(tmp_path):
    (tmp_path / "a.png").write_bytes(png())
    xlink = 'xmlns:xlink="http://www.w3.org/1999/xlink" width="9" height="9" xlink:href='
    elsewhere = rasterised(svg(f'<image {xlink}"{tmp_path}/a.png"/>', '"9"'), "a", 9)
    assert (elsewhere == 255).all()
    import base64

    inside = f'<image {xlink}"data:image/png;base64,{base64.b64encode(png()).decode()}"/>'
    assert (rasterised(svg(inside, '"9"'), "a", 9) == (255, 0, 0)).all()
    assert (rasterised(svg('<text y="9">Word</text>', '"9"'), "a", 9) == 255).all(), "no fonts"


BOMB = b'<!DOCTYPE svg [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;"><!ENTITY c "&b;&b;">]>'


@pytest.mark.parametrize(
    ("content", "reason"),
    [(b"", "empty file"), (b"Dear diary", "damaged"), (svg()[:-9], "damaged"),
     (svg(size='"0"'), "damaged"), (b"\xff\xfe<svg/>", "damaged"), (png(), "damaged")],
)  # fmt: skip
def test_what_is_no_drawing(content, reason):
    with pytest.raises(BadPicture) as caught:
        rasterised(content, "a/b.svg", 32)
    assert (caught.value.reason, caught.value.name) == (reason, "a/b.svg")


def test_without_the_package(monkeypatch):
    monkeypatch.setitem(sys.modules, "resvg_py", None)
    with pytest.raises(VermeilError, match=r"takes the package resvg_py, which is not installed"):
        rasterised(svg(), "a", 32)


def test_margins_are_cut_and_the_whole_drawing_is_kept():
    page = np.full((400, 600, 3), 255, np.uint8)
    page[100:140, 50:250] = (0, 0, 255)  # 40 x 200
    square = squared(page, "a", 106)
    blue = (square == (0, 0, 255)).all(2)
    assert square.shape == (106, 106, 3)
    assert abs(blue.any(0).sum() - 100) <= 2 and abs(blue.any(1).sum() - 20) <= 2
    assert blue.any(0)[:3].sum() == blue.any(0)[-3:].sum() == 0, "in the middle, with a margin"
    assert (squared(np.zeros((9, 9, 3), np.uint8), "a", 32)[6:-6, 6:-6] == 0).all()
    for paper in (255, 252):
        with pytest.raises(BadPicture, match=r"blank"):
            squared(np.full((9, 9, 3), paper, np.uint8), "a", 32)


def stamps(number=12) -> dict[str, bytes]:
    """Stamps of two classes as the package has them, with sounds and settings beside."""
    files = {"usr/share/doc/tuxpaint-stamps-default/copyright": b"GPL-2"}
    for n in range(number):
        path = f"{STAMPS}{('animals/birds', 'food')[n % 2]}/{n:02}"
        files[f"{path}.png"] = png(8 + n, 8)
        words = f"Number {n}.\nde.utf8=Nummer {n}.\nen_GB.utf8=Number {n}.\nja.eucJP=x\n"
        files[f"{path}.txt"] = words.encode()
        files[f"{path}_desc_fr.ogg"], files[f"{path}.dat"] = b"OggS", b"noflip\n"
    return files


def test_stamps_have_captions_classes_and_translations(tmp_path, home):
    data = packaged(tmp_path / "p", load_pictures("tuxpaint"), stamps())
    assert isinstance(data, TuxPaint) and not data.ready()
    data.prepare()
    pictures = found_in(data)
    assert sorted(pictures) == sorted(
        f"{('animals/birds', 'food')[n % 2]}/{n:02}.png" for n in range(12)
    )
    bird = pictures["animals/birds/00.png"]
    assert (bird.texts, bird.tags, bird.style) == (("Number 0.",), ("birds",), "")
    assert data.classes[bird.label] == "animals" and bird.pixels.shape == (256, 256, 3)
    assert data.translations("de")["food/01.png"] == "Nummer 1."
    with pytest.raises(VermeilError, match="no captions in 'ed': "):
        data.translations("ed")
    assert not data.passed_over().counts
    assert arrays(data, "train", 16).pixels.shape[1:] == (16, 16, 3)
    source = json.loads((home / "data" / "tuxpaint" / "source.json").read_text())
    assert source["pictures"] == 12 and source["licence"] == "GPL-2"


def test_one_file_of_a_stamp_and_none_of_its_mirror(tmp_path):
    files = stamps()
    both = f"{STAMPS}food/01"
    files[f"{both}.svg"] = svg()
    files[f"{both}_mirror.png"] = png()
    files[f"{STAMPS}food/cartoon/egg.svg"] = svg()
    files[f"{STAMPS}food/cartoon/egg.txt"] = b"An egg.\nen_AU.utf8=A googy egg."
    data = packaged(tmp_path / "p", TuxPaint(), files)
    data.prepare()
    pictures = found_in(data)
    assert "food/01.png" in pictures and "food/01.svg" not in pictures and len(pictures) == 13
    assert not data.passed_over().counts, "neither is a loss"
    egg = pictures["food/cartoon/egg.svg"]
    assert (egg.texts, egg.style, egg.tags) == (("An egg.", "A googy egg."), "cartoon", ())
    assert egg.pixels[128, 128].tolist() == [255, 0, 0] and egg.pixels[0, 0].tolist() == [255] * 3


def test_bad_stamps_are_counted_by_name(tmp_path, capsys):
    files = stamps()
    bad = {"empty": b"", "text": b"Dear diary", "cut": png(50, 50)[:-40], "mute": png(),
           "blank": png(colour=(255, 255, 255, 0))}  # fmt: skip
    for name, content in bad.items():
        files[f"{STAMPS}animals/{name}.png"] = content
        files[f"{STAMPS}animals/{name}.txt"] = f"A {name}.".encode()
    del files[f"{STAMPS}animals/mute.txt"]
    files |= {f"{STAMPS}food/x.png": png(), f"{STAMPS}food/x.txt": b"\n\xff"}
    files |= {f"{STAMPS}cars/y.png": png(), f"{STAMPS}cars/y.txt": b"A car."}
    files |= {f"{STAMPS}food/z.svg": svg()[:-9], f"{STAMPS}food/z.txt": b"A torn pear."}
    data = packaged(tmp_path / "p", TuxPaint(), files)
    data.prepare()
    assert len(found_in(data)) == 12
    assert data.passed_over().names == {
        "blank": ["animals/blank.png"],
        "damaged": ["animals/cut.png", "food/z.svg"],
        "empty file": ["animals/empty.png"],
        "no caption": ["animals/mute.png", "food/x.png"],
        "not a picture": ["animals/text.png"],
        "no class's folder": ["cars/y.png"],
    }
    assert "left out of the package: 2 damaged (animals/cut.png, food/z.svg)" in "\n".join(
        data.inventory()
    )


def test_equal_words_are_of_one_split(tmp_path):
    files = {}
    for n in range(120):
        path = f"{STAMPS}food/{n:03}"
        files |= {f"{path}.png": png(9 + n % 5), f"{path}.txt": f"Number {n // 4}.".encode()}
    data = packaged(tmp_path / "p", TuxPaint(), files)
    data.prepare()
    words = {split: {p.texts[0] for p in data.pictures(split)} for split in SPLITS}
    assert all(words.values()) and sum(map(len, words.values())) == 30
    assert len(set.union(*words.values())) == 30


def test_captions():
    text = "\ufeffA car.\r\nde.utf8=Ein Auto.\r\nsr@latin.utf8= \nen_GB.utf8=A=b\n"
    assert captions(text.encode()) == ("A car.", {"de": "Ein Auto.", "en_GB": "A=b"})
    for bad in (b"", b"\nde.utf8=Ein Auto."):
        with pytest.raises(ValueError):
            captions(bad)


def clip_art(title="", keywords=(), description="", creator="Jon Phillips", draw="") -> bytes:
    """A file as the library's have it, with the agents' titles after the work's."""
    items = "".join(f"<rdf:li>{word}</rdf:li>" for word in keywords)
    facts = f"""<metadata><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"
      xmlns:cc="http://web.resource.org/cc/" xmlns:dc="http://purl.org/dc/elements/1.1/">
      <cc:Work><dc:title>{title}</dc:title><dc:description>{description}</dc:description>
      <dc:subject><rdf:Bag>{items}</rdf:Bag></dc:subject>
      <dc:creator><cc:Agent><dc:title>{creator}</dc:title></cc:Agent></dc:creator>
      </cc:Work></rdf:RDF></metadata>"""
    return svg(facts + (draw or '<circle cx="50" cy="50" r="40" fill="blue"/>'), '"100"')


def drawings() -> dict[str, bytes]:
    names = [f"food/fruit/pear_{n:02}" for n in range(9)]
    return {f"{CLIP_ART}{name}.svg": clip_art(f"Pear {n}") for n, name in enumerate(names)}


def test_clip_art_has_titles_and_keywords(tmp_path):
    files = drawings()
    keywords = ("hash", "", "fruit", "signs_and_symbols", "0x930ff9c", "fruit", "unsorted")
    told = clip_art("Clipart by Jon Phillips - lime_half", keywords, "A lime cut in two")
    files[f"{CLIP_ART}food/fruit/lime_01.svg"] = told
    files[f"{CLIP_ART}food/fruit/lime_02.svg"] = told
    for n, name in enumerate(["contour_cheetah", "clouds_jon_phillips_03", "no_buses", "b_phil_"]):
        draw = f'<rect width="{n + 9}" height="9"/>'
        shared = clip_art("Various Cliparts", (), "jon@a.org", draw=draw)
        files[f"{CLIP_ART}animals/{name}.svg"] = shared
    data = packaged(tmp_path / "p", load_pictures("openclipart"), files)
    assert isinstance(data, OpenClipart)
    data.prepare()
    pictures = found_in(data)
    lime = pictures["food/fruit/lime_01.svg"]
    assert lime.texts == ("lime half", "A lime cut in two")
    assert lime.tags == ("fruit", "signs and symbols") and data.classes[lime.label] == "food"
    assert lime.pixels.shape == (128, 128, 3) and lime.pixels[64, 64].tolist() == [0, 0, 255]
    assert "food/fruit/lime_02.svg" not in pictures, "of equal files the first"
    called = {p.texts for i, p in pictures.items() if i.startswith("animals")}
    assert called == {("contour cheetah",), ("clouds",), ("no buses",)}, (
        "a set's title says nothing"
    )
    assert data.passed_over().names == {"no title": ["animals/b_phil_.svg"]}


def test_stars_icon_themes_and_damage_are_left_out(tmp_path):
    files = drawings()
    for name in ("shapes/stars/a", "computer/icons/flat-theme/b"):
        files[f"{CLIP_ART}{name}.svg"] = clip_art("A star or an icon")
    files[f"{CLIP_ART}food/blank.svg"] = clip_art("Nothing", draw="<path/>")
    files[f"{CLIP_ART}food/cut.svg"] = clip_art("Cut")[:-20]
    files[f"{CLIP_ART}food/empty.svg"] = b""
    files[f"{CLIP_ART}food/text.svg"] = b"Dear diary"
    files[f"{CLIP_ART}other/x.svg"] = clip_art("Unknown")
    data = packaged(tmp_path / "p", OpenClipart(), files)
    data.prepare()
    assert len(found_in(data)) == 9
    assert data.passed_over().names == {
        "blank": ["food/blank.svg"],
        "damaged": ["food/cut.svg", "food/text.svg"],
        "empty file": ["food/empty.svg"],
        "no class's folder": ["other/x.svg"],
    }


@pytest.mark.parametrize("name", ["tuxpaint", "openclipart"])
def test_packages_that_are_damaged_or_hold_nothing(tmp_path, name):
    data = packaged(tmp_path / "p", load_pictures(name), stamps() | drawings())
    path = tmp_path / "p" / data.package.file
    whole = path.read_bytes()
    path.write_bytes(whole[:-100])
    with pytest.raises(VermeilError, match=r"is not the file it should be .*apt-get download"):
        data.prepare()
    assert not data.ready()
    with pytest.raises(VermeilError, match=f"not on this machine: vermeil data prepare {name}"):
        data.pictures("train")
    path.write_bytes(whole)
    data.prepare()
    assert data.ready(), "what failed is done again"


def test_a_package_without_drawings(tmp_path):
    data = packaged(tmp_path / "p", TuxPaint(), {f"{STAMPS}food/a.png": png()})
    with pytest.raises(
        VermeilError, match=r"no drawing of tuxpaint.*can be used: passed over: 1 no"
    ):
        data.prepare()
    data = packaged(tmp_path / "q", TuxPaint(), stamps(2))
    with pytest.raises(VermeilError, match=r"2 different drawing\(s\) make no three splits"):
        data.prepare()


@pytest.mark.full
@pytest.mark.skipif(not shutil.which("apt-get"), reason="fetches a package of Debian")
@pytest.mark.parametrize(
    ("name", "numbers"), [("tuxpaint", (854, 42, 53)), ("openclipart", (3858, 197, 208))]
)
def test_the_real_package(name, numbers):
    data = load_pictures(name)
    try:
        obtain(data.package)
    except VermeilError as error:
        pytest.skip(str(error))
    data.prepare()
    assert tuple(sum(1 for _ in data.pictures(split)) for split in SPLITS) == numbers
    assert data.splits == " / ".join(f"{number:,}" for number in numbers)
