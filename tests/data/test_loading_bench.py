"""`vermeil bench pictures`: every candidate makes the same kind of batch of the same files."""

import re
from collections import Counter

import numpy as np
import pytest
import torch
from PIL import Image

from data import load_pictures, loading_bench
from data.augment import Augmentation
from data.folder_pictures import FolderPictures
from data.loading_bench import Files, LoadingConfig, Steps, loader, pixels_of, turn, write
from data.picture_batches import PictureBatches, to_pixels
from data.pictures import arrays, decode, resized

CONFIG = LoadingConfig(number=60, form="png", size=16, batch_size=8, workers=(0,), rounds=1)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("loading")
    assert write(CONFIG, folder / "files" / "train") == 60
    return folder


@pytest.fixture(scope="module")
def ways(folder):
    pixels, labels, *_ = arrays(FolderPictures(folder / "files"), "train", CONFIG.size)
    return loading_bench.ours(CONFIG, folder, pixels, labels) | loading_bench.peers(CONFIG, folder)


def test_the_files_are_pictures_of_every_class(folder):
    data = load_pictures("embedded_pictures")
    paths = sorted((folder / "files").rglob("*.png"))
    assert {path.parent.name for path in paths} == set(data.classes)
    written = next(path for path in paths if path.stem == "00000")
    assert np.array_equal(np.array(Image.open(written)), next(data.pictures("train")).pixels)


def test_files_are_written_in_the_form_and_size_asked_for(tmp_path):
    write(LoadingConfig(number=16, side=96, form="jpeg"), tmp_path)
    paths = list(tmp_path.rglob("*.jpeg"))
    assert len(paths) == 16
    for path in paths:
        with Image.open(path) as image:
            assert (image.format, image.size) == ("JPEG", (96, 96))


@pytest.mark.parametrize("workers", [0, 1])
def test_all_ways_make_batches_for_the_same_network(ways, workers):
    assert len(ways) == 7
    for name, settings in ways.items():
        seen = [pixels_of(batch) for batch in loader(settings, workers)]
        assert seen[0].shape == (8, 3, 16, 16) and seen[0].dtype == torch.float32, name
        everything = torch.cat(seen)
        assert everything.min() >= -1 and everything.max() == 1, name
        assert everything.min() < -0.5, name  # no scale of its own: these pictures have dark lines


def test_the_peers_and_our_files_see_every_picture_once(ways, folder):
    by_class = Counter(path.parent.name for path in (folder / "files").rglob("*.png"))
    names = sorted(by_class)
    for name in ("torchvision, ImageFolder, RandomResizedCrop",
                 "datasets, imagefolder, RandomResizedCrop"):  # fmt: skip
        labels = [
            batch["label"] if isinstance(batch, dict) else batch[1]
            for batch in loader(ways[name], 0)
        ]
        assert Counter(names[label] for label in torch.cat(labels).tolist()) == by_class
    classes = [n for batch in loader(ways["ours, files, resized_crop"], 0) for n in batch[1]]
    assert Counter(classes) == by_class


def test_our_ways_are_what_their_names_say(ways, folder):
    cut = Augmentation("resized_crop", CONFIG.size)
    files = Files(folder / "files", cut)
    path = files.files[3]
    pixels, category = files[3]
    assert np.array_equal(pixels, cut((0, 3), decode(path.read_bytes(), "")))
    assert category == path.parent.name

    middles = [resized(p.pixels, 16) for p in FolderPictures(folder / "files").pictures("train")]
    first = next(iter(loader(ways["ours, tar shards, middle square"], 0)))
    assert np.array_equal(to_pixels(first[0]), np.stack(middles[:8]))
    plain = torch.cat([pixels for pixels, _ in loader(ways["ours, arrays, as they are"], 0)])
    assert {p.tobytes() for p in to_pixels(plain)} == {p.tobytes() for p in middles}
    for augment in ("crop", "resized_crop"):
        changed = torch.cat([p for p, _ in loader(ways[f"ours, arrays, {augment}"], 0)])
        assert changed.shape == plain.shape and not torch.equal(changed, plain)


def test_arrays_are_read_for_several_epochs():
    pixels, labels = np.zeros((10, 4, 4, 3), np.uint8), np.arange(10)
    steps = Steps(PictureBatches(pixels, labels, 4, seed=0))
    assert len(steps) == 12  # 50 pictures, whole batches
    seen = Counter(label for step in range(10) for label in steps[step][1].tolist())
    assert set(seen.values()) == {4}


def test_a_turn_is_timed_by_the_picture(monkeypatch):
    clock = iter([100.0, 106.0])
    monkeypatch.setattr(loading_bench.time, "perf_counter", lambda: next(clock))
    assert turn([(torch.zeros(8, 1), None), {"pixels": torch.zeros(4, 1)}])() == 0.5


def test_the_table(home, capsys):
    """The real command: a rate for every way and number of workers; nothing is left behind."""
    flags = ["--number", "30", "--size", "16", "--batch_size", "8", "--workers", "0,1"]
    loading_bench.bench(["pictures", *flags, "--rounds", "1"])
    output = capsys.readouterr().out
    assert "30 jpeg files" in output
    rows = re.findall(r"^((?:ours|torchvision|datasets), .+?) +([\d,]+) +([\d,]+)$", output, re.M)
    assert len(rows) == 7
    assert all(int(rate.replace(",", "")) > 0 for _, *rates in rows for rate in rates)
    assert not any(home.rglob("*.npy"))
