"""Batches by step: of scenes, of any pictures with words, and of files that DALI reads."""

import dataclasses
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from data.folder_pictures import FolderPictures
from data.picture_batches import to_pixels
from data.pictures import decode, resized
from data.scene_words import captions
from phase1_foundation.language.tokenizer import Tokenizer
from phase2_multimodal.talks import PictureTalk
from phase2_multimodal.text_to_image.batches import (
    Batch,
    CaptionedBatches,
    SceneBatches,
    held_out_prompts,
    training_batches,
    validation_batches,
)
from phase2_multimodal.train_text_to_image import TextToImageTrainConfig
from shared.config import override
from shared.errors import VermeilError
from shared.train_config import rows_of


@pytest.fixture
def batches(scenes, read) -> SceneBatches:
    return SceneBatches(scenes, read, batch_size=4, seed=3)


def test_a_batch_depends_on_seed_and_step_alone(batches, scenes, read):
    pixels, tokens = batches.rows(5, slice(0, 4))
    assert pixels.shape == (4, 3, 16, 16) and pixels.abs().max() <= 1
    again = SceneBatches(scenes, read, batch_size=4, seed=3)
    half, words = again.rows(5, slice(2, 4))
    assert torch.equal(half, pixels[2:])
    assert (
        torch.equal(words, tokens[2:, : words.shape[1]]) and not tokens[2:, words.shape[1] :].any()
    )
    for other in (
        batches.rows(6, slice(0, 4)),
        SceneBatches(scenes, read, 4, 4).rows(5, slice(0, 4)),
    ):
        assert not torch.equal(other[0], pixels)


def test_words_are_the_picture_s_own(batches, scenes, words):
    which = []
    for step in range(4):
        _, tokens = batches.rows(step, slice(0, 4))
        for row, number in zip(tokens.tolist(), range(4 * step, 4 * step + 4), strict=True):
            scene = scenes.scene("train", (batches.first + number) % scenes.length("train"))
            which.append(captions(scene).index(words.decode(row)))
    assert len(set(which)) > 2  # and not always the same one


def test_all_scenes_come_once_before_any_comes_again(scenes, read):
    few = type(scenes)(config=type(scenes.config)(size=16, concepts=2, most=1, train=8))
    batches = SceneBatches(few, read, 4, 0)
    pictures = torch.cat([batches.rows(step, slice(0, 4))[0] for step in (0, 1)])
    assert len(torch.unique(pictures.flatten(1), dim=0)) == 8
    assert torch.equal(batches.rows(2, slice(0, 4))[0], pictures[:4])


class Numbered:
    """Talks of one shade each: the picture of that number has the captions "picture 7" and "7"."""

    def __init__(self, length: int):
        self.length = length

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, number: int) -> PictureTalk:
        assert 0 <= number < self.length
        said = (f"picture {number}", str(number))
        return PictureTalk(np.full((8, 8, 3), number, np.uint8), said, ())


def told(batch: Batch, words: Tokenizer) -> list[tuple[int, str]]:
    """Of each row the shade, and what is said of it."""
    pixels, tokens = batch
    shades = to_pixels(pixels)[:, 0, 0, 0].tolist()
    return [*zip(shades, map(words.decode, tokens.tolist()), strict=True)]


def test_any_pictures_come_with_words_of_their_own(read, words):
    batches = CaptionedBatches(Numbered(12), read, 4, 3)
    rows = [row for step in range(9) for row in told(batches.rows(step, slice(0, 4)), words)]
    assert all(said in (f"picture {shade}", str(shade)) for shade, said in rows)
    assert len({said.startswith("p") for _, said in rows}) == 2
    for epoch in range(3):
        assert sorted(shade for shade, _ in rows[12 * epoch : 12 * epoch + 12]) == [*range(12)]
    again = CaptionedBatches(Numbered(12), read, 4, 3)
    assert told(again.rows(5, slice(2, 4)), words) == rows[22:24]
    other = CaptionedBatches(Numbered(12), read, 4, 4)
    assert told(other.rows(0, slice(0, 4)), words) != rows[:4]


def test_captions_that_are_too_long_are_cut(read, words):
    long = " ".join(f"word{number}" for number in range(200))
    assert read.shortened("a dog") == "a dog"
    kept = read.shortened(long)
    assert long.startswith(kept + " ") and kept.rpartition(" ")[2] in long.split()
    more = long[: long.index(" ", len(kept) + 1)]
    assert len(read.encode(kept)) <= read.longest < len(read.encode(more))
    unbroken = read.shortened("一只狗" * 100)
    assert unbroken and ("一只狗" * 100).startswith(unbroken)
    assert len(read.encode(unbroken)) <= read.longest
    assert read([kept, unbroken]).shape[1] <= read.longest


class Decoding:
    """A pipeline's face that decodes as we do; `read` holds every request."""

    def __init__(self):
        self.read: list[list[str]] = []

    def feed_input(self, _, paths):
        self.read.append([path.tobytes().decode() for path in paths])

    def schedule_run(self):
        pass

    def share_outputs(self):
        pictures = [resized(decode(Path(p).read_bytes(), p), 8) for p in self.read[-1]]
        return [SimpleNamespace(as_cpu=lambda: SimpleNamespace(as_array=lambda: pictures))]

    def release_outputs(self):
        pass


@pytest.fixture
def folder(tmp_path) -> Path:
    """Ten pictures for training, two of them without words, and five to hold out."""
    for split, number in (("train", 10), ("val", 5), ("test", 5)):
        place = tmp_path / split / "unlabelled"
        place.mkdir(parents=True)
        for n in range(number):
            shade = (20 * n, 20 * n, 20 * n)
            Image.new("RGB", (8, 8), shade).save(place / f"{n}.png")
            said = "\n".join((f"picture {20 * n}", str(20 * n))) if n not in (3, 4) else " "
            (place / f"{n}.txt").write_text(said)
    return tmp_path


@pytest.mark.parametrize(("processes", "accumulate"), [(1, 1), (1, 2), (2, 1), (2, 2)])
def test_files_come_in_the_same_order_with_the_same_words(
    folder, read, monkeypatch, processes, accumulate
):
    """And the pipeline is always at work on what is asked for next."""
    config = TextToImageTrainConfig(size=8, batch_size=8, accumulate=accumulate)
    data = FolderPictures(folder)
    expected = training_batches(data, read, config)
    assert isinstance(expected, CaptionedBatches)
    squares = Decoding()
    monkeypatch.setattr("phase2_multimodal.text_to_image.batches.gpu", lambda: 0)
    monkeypatch.setattr("phase2_multimodal.text_to_image.batches.pipeline", lambda *shape: squares)
    files = training_batches(data, read, dataclasses.replace(config, loader="dali"))
    asked = [rows_of(config, index, processes - 1, processes) for index in range(6)]
    for step, rows in asked:
        for ours, theirs in zip(files.rows(step, rows), expected.rows(step, rows), strict=True):
            assert torch.equal(ours, theirs)
    assert len(squares.read) == len(asked) + 1


def test_as_many_pictures_are_validated_as_there_are(folder, read, words):
    config = TextToImageTrainConfig(size=8, batch_size=4, validation_pictures=100)
    [batch] = validation_batches(FolderPictures(folder), read, config)
    shades = {shade for shade, _ in told(batch, words)}
    assert shades == {0, 20, 40}, "those without words are not among them"
    config = dataclasses.replace(config, batch_size=1, validation_pictures=2)
    assert len(validation_batches(FolderPictures(folder), read, config)) == 2


def test_prompts_are_of_the_test_split(folder, read, scenes):
    asked = held_out_prompts(FolderPictures(folder), read, 8, 12)
    assert sorted(asked) == ["picture 0", "picture 20", "picture 40"]
    first = held_out_prompts(scenes, read, 8, 3)
    assert first == [captions(scenes.scene("test", number))[0] for number in range(3)]


def test_dali_is_for_files_and_starts_no_processes(read):
    for changes, says in (
        ({"loader": "dali"}, "there are no files for DALI to read"),
        ({"loader": "dali", "data": "tuxpaint", "workers": 4}, "DALI has threads of its own"),
        ({"networks": ["inception"]}, "there is no network 'inception'"),
    ):
        with pytest.raises(VermeilError, match=says):
            override(TextToImageTrainConfig(), changes)
