"""What the model learns from: pictures with one of their captions each, by step."""

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from jaxtyping import Float, Int
from torch import Tensor

from data.dali import DaliReader, PictureFile, gpu, picture_files, pipeline
from data.picture_batches import Order, to_tensor
from data.pictures import PictureData
from data.scene_words import captions
from data.scenes import Scenes
from phase2_multimodal.talks import TalkBatches, Talks
from phase2_multimodal.text_to_image.captioned import Captioned, held_out, with_words, words_of
from phase2_multimodal.text_to_image.prompts import Prompts
from shared import hardware

if TYPE_CHECKING:
    from phase2_multimodal.train_text_to_image import TextToImageTrainConfig


class Batch(NamedTuple):
    """Pictures in [-1, 1] and their prompts."""

    pixels: Float[Tensor, "b 3 h w"]
    tokens: Int[Tensor, "b s"]


class SceneBatches:
    """Scenes with one of their captions each, made as they are needed.

    A batch depends on the seed and the step alone: however it is divided among processes, it holds
    the same scenes and words.
    """

    def __init__(
        self, scenes: Scenes, prompts: Prompts, batch_size: int, seed: int, split: str = "train"
    ):
        self.scenes, self.prompts, self.split = scenes, prompts, split
        self.batch_size, self.seed = batch_size, seed
        self.first = int(np.random.default_rng(seed).integers(scenes.length(split)))

    def rows(self, step: int, rows: slice) -> Batch:
        """Rows `rows` of the batch of that step: pictures in [-1, 1] and their prompts."""
        places = step * self.batch_size + np.arange(self.batch_size)[rows]
        pixels, texts = [], []
        for place in places.tolist():
            number = (self.first + place) % self.scenes.length(self.split)
            scene = self.scenes.scene(self.split, number)
            said, random = captions(scene), np.random.default_rng((self.seed, place))
            pixels.append(self.scenes.render(scene))
            texts.append(said[random.integers(len(said))])
        return Batch(to_tensor(np.stack(pixels)), self.prompts(texts))


class CaptionedBatches:
    """Any pictures with one of their captions each, in an order in which each comes once an epoch.

    A caption that is too long is cut.
    """

    def __init__(self, talks: Talks, prompts: Prompts, batch_size: int, seed: int):
        self.batches, self.prompts = TalkBatches(talks, batch_size, seed), prompts

    def rows(self, step: int, rows: slice) -> Batch:
        """Rows `rows` of the batch of that step: pictures in [-1, 1] and their prompts."""
        picked = self.batches.pick(step, rows)
        texts = [talk.captions[random.integers(len(talk.captions))] for talk, random in picked]
        pixels = to_tensor(np.stack([talk.pixels for talk, _ in picked]))
        return Batch(pixels, self.prompts([*map(self.prompts.shortened, texts)]))


class FileBatches:
    """The same order and the same words as `CaptionedBatches`, the pixels read by DALI.

    The pixels of the step that follows are decoded meanwhile. `part` is how many rows all processes
    compute at once.
    """

    def __init__(
        self, files: list[PictureFile], read: DaliReader, prompts: Prompts, batch_size: int,
        seed: int, part: int,
    ):  # fmt: skip
        self.files, self.read, self.prompts = files, read, prompts
        self.batch_size, self.seed, self.part = batch_size, seed, part
        self.order = Order(len(files), seed)

    def rows(self, step: int, rows: slice) -> Batch:
        """Rows `rows` of the batch of that step: pictures in [-1, 1] and their prompts."""
        places, files = self._picked(step, rows)
        _, following = self._picked(*self._after(step, rows))
        pixels = self.read([file.path for file in files], [file.path for file in following])
        texts = []
        for place, file in zip(places.tolist(), files, strict=True):
            said, random = words_of(file.texts), np.random.default_rng((self.seed, place))
            texts.append(self.prompts.shortened(said[random.integers(len(said))]))
        return Batch(to_tensor(pixels), self.prompts(texts))

    def _picked(self, step: int, rows: slice) -> tuple[np.ndarray, list[PictureFile]]:
        places = step * self.batch_size + np.arange(self.batch_size)[rows]
        return places, [self.files[number] for number in self.order.pick(places).tolist()]

    def _after(self, step: int, rows: slice) -> tuple[int, slice]:
        """What this process is asked for next: see `rows_of` in shared/train_config.py."""
        first, last, _ = rows.indices(self.batch_size)
        more, start = divmod(first + self.part, self.batch_size)
        return step + more, slice(start, start + last - first)


TrainBatches = SceneBatches | CaptionedBatches | FileBatches


def training_batches(
    data: PictureData, prompts: Prompts, config: "TextToImageTrainConfig"
) -> TrainBatches:
    """Those of the training split, as the configuration says."""
    if isinstance(data, Scenes):
        return SceneBatches(data, prompts, config.batch_size, config.seed)
    if config.loader == "torch":
        talks = Captioned(data, "train", config.size)
        return CaptionedBatches(talks, prompts, config.batch_size, config.seed)
    device, part = gpu(), config.batch_size // config.accumulate
    files = picture_files(data, "train")
    places = with_words([file.texts for file in files], data, "train")
    read = DaliReader(pipeline(config.size, part, device, config.threads or hardware.cores()))
    worded = [files[place] for place in places]
    return FileBatches(worded, read, prompts, config.batch_size, config.seed, part)


def validation_batches(
    data: PictureData, prompts: Prompts, config: "TextToImageTrainConfig"
) -> list[Batch]:
    """The first pictures of the validation split."""
    size, n = config.batch_size, config.validation_pictures
    if isinstance(data, Scenes):
        batches = SceneBatches(data, prompts, size, config.seed, "validation")
        return [batches.rows(step, slice(0, size)) for step in range(-(-n // size))]
    talks = Captioned(data, "validation", config.size)
    size, n = min(size, len(talks)), min(n, len(talks))
    batches = CaptionedBatches(talks, prompts, size, config.seed)
    return [batches.rows(step, slice(0, size)) for step in range(max(1, n // size))]


def held_out_prompts(data: PictureData, prompts: Prompts, size: int, n: int) -> list[str]:
    """A caption each of so many test pictures."""
    if isinstance(data, Scenes):
        return [captions(data.scene("test", number))[0] for number in range(n)]
    return [prompts.shortened(talk.captions[0]) for talk in held_out(data, size, n)]
