"""`vermeil bench pictures`: how fast picture files become training batches, beside the usual ways.

The same files become batches of float pixels in [-1, 1], in turns. Ours in three ways: each file
decoded and cut anew (`decode`, `Augmentation`), the arrays that training reads (`arrays`, resized
once, then `PictureBatches`), and tar shards (`ShardStream`, the middle square, nothing random). The
peers are torchvision's ImageFolder and the imagefolder of `datasets` with torchvision's transforms,
as their examples write them. All go through torch's DataLoader, which keeps its workers from turn
to turn.
"""

import shutil
import tempfile
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from shared.config import option, parse

if TYPE_CHECKING:  # --help has no need of torch
    import numpy as np
    from torch import Tensor
    from torch.utils.data import DataLoader

    from data.augment import Augmentation
    from data.picture_batches import PictureBatches

Settings = dict[str, Any]  # what a DataLoader is made with


@dataclass(frozen=True)
class LoadingConfig:
    """Which pictures to write, and how they are read."""

    POSITIONAL: ClassVar = ("name",)

    name: str = option("pictures", "this comparison")
    number: int = option(400, "embedded pictures to write as files", low=16, high=2996)
    side: int = option(0, "pixels a side that they are written with; 0: their own", low=0)
    form: Literal["png", "jpeg"] = option("jpeg", "how they are written")
    size: int = option(64, "pixels a side of what a network gets", low=8)
    batch_size: int = option(32, "pictures in a batch", low=1)
    workers: tuple[int, ...] = option((0, 2), "processes that make batches, each number in turn")
    rounds: int = option(3, "turns of every candidate", low=1)


def bench(arguments: list[str]) -> None:
    """Time how picture files become batches: ours, torchvision's and those of `datasets`."""
    config = parse(
        LoadingConfig, arguments, command="vermeil bench", about=str(bench.__doc__)
    ).config
    import torch

    from shared.benchmark import peer_package

    for package in ("torchvision", "datasets"):
        peer_package(package)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # as a worker has, so that their numbers compare
    try:
        with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
            # More workers than cores are what is compared, not a mistake.
            warnings.filterwarnings("ignore", "This DataLoader will create")
            table(config, Path(folder))
    finally:
        torch.set_num_threads(threads)


def table(config: LoadingConfig, folder: Path) -> None:
    """Write the files below `folder`, time the candidates and print a table."""
    from data.folder_pictures import FolderPictures
    from data.pictures import arrays
    from shared import hardware
    from shared.benchmark import conditions, interleaved

    files = folder / "files" / "train"
    number = write(config, files)
    megabytes = sum(path.stat().st_size for path in files.rglob("*.*")) / 1e6
    start = time.perf_counter()
    pixels, labels, *_ = arrays(FolderPictures(files.parent), "train", config.size)
    made = len(pixels) / (time.perf_counter() - start)
    try:
        ways = ours(config, folder, pixels, labels) | peers(config, folder)
        print(f"{hardware.cpu_name()}, {conditions()}")
        print(
            f"pictures/s of {number} {config.form} files ({megabytes:.1f} MB) as batches of "
            f"{config.batch_size} with {config.size} pixels a side, by workers\n"
        )
        print(f"{'':<46}" + "".join(f"{workers:>12}" for workers in config.workers))
        turns = {
            f"{name}|{workers}": turn(loader(settings, workers))
            for name, settings in ways.items()
            for workers in config.workers
        }
        seconds = interleaved(turns, config.rounds)
    finally:
        shutil.rmtree(Path(pixels.filename).parent)  # type: ignore[attr-defined]  (a memory map)
    for name in ways:
        rates = (1 / seconds[f"{name}|{workers}"] for workers in config.workers)
        print(f"{name:<46}" + "".join(f"{rate:>12,.0f}" for rate in rates))
    print(f"\narrays are made once, at {made:,.0f} pictures/s")
    print(f"medians of {config.rounds} turns; at the end: {conditions()}")


def write(config: LoadingConfig, folder: Path) -> int:
    """Write embedded pictures of all classes as `folder`/CLASS/NUMBER.SUFFIX; how many."""
    from PIL import Image

    from data import load_pictures

    data = load_pictures("embedded_pictures")
    pictures = list(data.pictures("train"))  # class by class
    chosen = [pictures[i * len(pictures) // config.number] for i in range(config.number)]
    for number, picture in enumerate(chosen):
        image = Image.fromarray(picture.pixels)
        if config.side:
            image = image.resize((config.side, config.side), Image.Resampling.BICUBIC)
        path = folder / data.classes[picture.label] / f"{number:05}.{config.form}"
        path.parent.mkdir(parents=True, exist_ok=True)
        image.save(path, quality=90)
    return len(chosen)


def ours(config: LoadingConfig, folder: Path, pixels: Any, labels: Any) -> dict[str, Settings]:
    """Our ways by name, as what DataLoader is told."""
    from data.augment import Augmentation
    from data.folder_pictures import FolderPictures
    from data.image_shards import WebDataset, write_shards
    from data.picture_batches import PictureBatches
    from data.shard_stream import ShardStream

    cut = Augmentation("resized_crop", config.size)
    per_shard = -(-config.number // 8)  # a few for every worker
    write_shards(FolderPictures(folder / "files"), "train", folder / "shards", per_shard)
    stream = ShardStream(WebDataset(folder / "shards"), "train", config.size)
    found = {
        "ours, files, resized_crop": {
            "dataset": Files(folder / "files", cut), "batch_size": config.batch_size,
            "shuffle": True, "collate_fn": collate,
        },
        "ours, tar shards, middle square": {
            "dataset": stream, "batch_size": config.batch_size, "collate_fn": collate
        },
    }  # fmt: skip
    for name, augment in {"resized_crop": cut, "crop": "crop", "as they are": None}.items():
        batches = PictureBatches(pixels, labels, config.batch_size, seed=0, augment=augment)
        found[f"ours, arrays, {name}"] = {"dataset": Steps(batches), "batch_size": None}
    return found


class Files:
    """Picture files below a folder, each decoded and changed when it is asked for."""

    def __init__(self, folder: Path, augment: "Augmentation"):
        from data.folder_pictures import walk

        self.files, self.augment = list(walk(folder)), augment

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> tuple["np.ndarray", str]:
        from data.folder_pictures import read
        from data.pictures import decode

        path = self.files[index]
        return self.augment((0, index), decode(read(path, path.name), path.name)), path.parent.name


class Steps:
    """Batches by step, for some epochs: one would be over before a clock has noticed."""

    EPOCHS = 5

    def __init__(self, batches: "PictureBatches"):
        self.batches = batches

    def __len__(self) -> int:
        return self.EPOCHS * len(self.batches.pixels) // self.batches.batch_size

    def __getitem__(self, step: int) -> tuple["Tensor", "Tensor"]:
        return self.batches.rows(step, slice(None))


def collate(examples: Sequence[Sequence[Any]]) -> tuple["Tensor", list[Any]]:
    """A batch as a network takes it, of examples that begin with pixels (H, W, 3) uint8."""
    import numpy as np

    from data.picture_batches import to_tensor

    return to_tensor(np.stack([example[0] for example in examples])), [e[1] for e in examples]


def peers(config: LoadingConfig, folder: Path) -> dict[str, Settings]:
    """torchvision's and `datasets`' ways by name, as what DataLoader is told."""
    import datasets
    from torchvision import transforms
    from torchvision.datasets import ImageFolder

    transform = transforms.Compose([
        transforms.RandomResizedCrop(config.size),
        transforms.RandomHorizontalFlip(),
        transforms.ToTensor(),
        transforms.Normalize([0.5] * 3, [0.5] * 3),
    ])  # fmt: skip

    def transformed(examples: dict[str, list]) -> dict[str, list]:
        pixels = [transform(image.convert("RGB")) for image in examples["image"]]
        return {"pixels": pixels, "label": examples["label"]}

    files = str(folder / "files" / "train")
    datasets.disable_progress_bars()
    hub = datasets.load_dataset(
        "imagefolder", data_dir=files, split="train", cache_dir=str(folder / "datasets")
    )
    hub.set_transform(transformed)
    shuffled = {"batch_size": config.batch_size, "shuffle": True}
    return {
        "torchvision, ImageFolder, RandomResizedCrop": {
            "dataset": ImageFolder(files, transform), **shuffled
        },
        "datasets, imagefolder, RandomResizedCrop": {"dataset": hub, **shuffled},
    }  # fmt: skip


def loader(settings: Settings, workers: int) -> "DataLoader":
    """A DataLoader whose workers stay."""
    from torch.utils.data import DataLoader

    return DataLoader(num_workers=workers, persistent_workers=workers > 0, **settings)


def turn(stream: "DataLoader") -> Callable[[], float]:
    """One pass over a stream: seconds a picture."""

    def run() -> float:
        start, number = time.perf_counter(), 0
        for batch in stream:
            number += len(pixels_of(batch))
        return (time.perf_counter() - start) / number

    return run


def pixels_of(batch: Any) -> "Tensor":
    """The pixels (B, 3, H, W) of any candidate's batch; `datasets` names its columns."""
    return batch["pixels"] if isinstance(batch, dict) else batch[0]
