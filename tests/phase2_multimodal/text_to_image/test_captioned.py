"""Which pictures have words, and which of them are drawn again."""

import io
import tarfile

import numpy as np
import pytest
from PIL import Image

from data import load_pictures
from data.pictures import Picture, PictureData
from phase2_multimodal.text_to_image.captioned import Captioned, held_out, with_words, words_of
from shared.errors import VermeilError


class Shades(PictureData):
    """Pictures of one shade each, with these words."""

    name, version, licence = "shades", "1", "none"
    description = size = splits = ""
    classes = ("thing",)
    ready = prepare = None  # nobody asks

    def __init__(self, *texts: tuple[str, ...]):
        super().__init__()
        self.texts = texts

    def pictures(self, split: str):
        for number, texts in enumerate(self.texts):
            yield Picture(f"{number}", np.full((8, 12, 3), number, np.uint8), 0, texts)

    def sha256(self) -> str:
        return repr(self.texts)


def test_words_are_what_is_not_empty():
    assert words_of(("a  dog\n", " ", "", "unlabelled", "unlabelled dogs")) == (
        "a dog",
        "unlabelled dogs",
    )


def test_pictures_without_words_are_left_out():
    talks = Captioned(Shades(("a",), (" ",), ("", "b", "c"), (), ("unlabelled",)), "test", 8)
    assert len(talks) == 2
    assert talks[1].captions == ("b", "c") and (talks[1].pixels == 2).all()
    assert talks[0].pixels.shape == (8, 8, 3)


def test_no_words_at_all_is_one_sentence():
    silent = Shades(("",), ("  ", "unlabelled"))
    message = r"none of the 2 pictures of shades \(train\) has words .*: put captions into a NAME"
    with pytest.raises(VermeilError, match=message):
        Captioned(silent, "train", 8)
    with pytest.raises(VermeilError, match="none of the 0 pictures"):
        with_words([], silent, "train")


def test_shards_without_a_txt_have_no_words(tmp_path):
    png = io.BytesIO()
    Image.new("RGB", (8, 8)).save(png, "PNG")
    for split in ("train", "val", "test"):
        with tarfile.open(tmp_path / f"{split}-000000.tar", "w") as archive:
            member = tarfile.TarInfo("0.png")
            member.size = len(png.getvalue())
            archive.addfile(member, io.BytesIO(png.getvalue()))
    with pytest.raises(VermeilError, match="has words to draw them by"):
        Captioned(load_pictures(f"webdataset@{tmp_path}"), "train", 8)


def test_held_out_pictures_are_any_and_always_the_same():
    data = Shades(*((f"number {number}",) for number in range(40)))
    shown = held_out(data, 8, 10)
    numbers = [int(talk.captions[0].split()[1]) for talk in shown]
    assert numbers == [talk.pixels[0, 0, 0] for talk in shown]
    assert len({*numbers}) == 10 and max(numbers) > 20 and numbers != sorted(numbers)
    assert [talk.captions for talk in held_out(data, 8, 20)[:10]] == [t.captions for t in shown]
    assert len(held_out(data, 8, 99)) == 40
