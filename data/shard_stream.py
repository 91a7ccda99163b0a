"""Training on shards: every process and every worker of its loader reads shards of its own."""

from collections.abc import Iterator

import numpy as np
from torch.utils.data import IterableDataset, get_worker_info

from data.image_shards import WebDataset
from data.pictures import resized
from shared.errors import VermeilError


class ShardStream(IterableDataset):
    """Pixels (size, size, 3) uint8, label and the usual text of a split's pictures, for DataLoader.

    Of all shards, worker w of W in process `rank` of `world` reads every (W * world)-th from
    rank + world * w on: together each picture once. The order is that of the shards. Where there
    are fewer shards than processes, it refuses; where fewer than workers, some have nothing to do.
    """

    def __init__(self, data: WebDataset, split: str, size: int, rank: int = 0, world: int = 1):
        if not 0 <= rank < world:
            raise VermeilError(f"process {rank} of {world} does not exist", "they count from 0")
        shards = data.shards_of(split)
        if len(shards) < world:
            raise VermeilError(
                f"{len(shards)} shard(s) of {data.name} cannot be divided among {world} processes",
                "write more, smaller shards",
            )
        self.data, self.split, self.size, self.rank, self.world = data, split, size, rank, world
        data.classes  # noqa: B018 (found once, before the workers start)

    def __iter__(self) -> Iterator[tuple[np.ndarray, int, str]]:
        info = get_worker_info()
        worker, workers = (info.id, info.num_workers) if info else (0, 1)
        part = self.rank + self.world * worker
        for picture in self.data.share(self.split, part, self.world * workers):
            yield resized(picture.pixels, self.size), picture.label, picture.texts[0]
