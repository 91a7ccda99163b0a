"""How well pictures find their words and words their pictures."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from data.picture_batches import to_tensor
from data.pictures import PictureData
from data.scene_concepts import with_article
from data.scenes import GROUNDS, Scenes
from phase1_foundation.language.tokenizer import Tokenizer
from phase2_multimodal.alignment.model import AlignmentModel
from phase2_multimodal.alignment.objective import encode
from phase2_multimodal.talks import Talk, measured_splits, talks_of
from shared import hardware
from shared.artifact import Artifact
from shared.config import override
from shared.grids import enlarged, png
from shared.metrics.intervals import wilson
from shared.metrics.retrieval import Retrieval, random_recall_at, recall_at, zero_shot
from shared.results import Row, images

if TYPE_CHECKING:
    from phase2_multimodal.train_alignment import AlignmentTrainConfig

BATCH_SIZE = 64
KS = (1, 5, 10)
SHOWN = 6


@dataclass(frozen=True)
class Measured:
    """What goes into the report."""

    rows: list[Row]
    exhibits: list[dict[str, Any]]


class Towers:
    """A model and its tokenizer, for whole lists of pictures and texts."""

    def __init__(self, model: AlignmentModel, tokenizer: Tokenizer):
        self.model, self.tokenizer = model.eval(), tokenizer
        self.device = model.log_scale.device

    @torch.inference_mode()
    def pictures(self, pixels: Sequence[np.ndarray]) -> Float[Tensor, "n d"]:
        """Embeddings of pictures (H, W, 3) uint8."""
        parts = (pixels[i : i + BATCH_SIZE] for i in range(0, len(pixels), BATCH_SIZE))
        batches = (to_tensor(np.stack(part)).to(self.device) for part in parts)
        return torch.cat([self.model.embed_pictures(batch) for batch in batches])

    @torch.inference_mode()
    def texts(self, texts: Sequence[str]) -> Float[Tensor, "n d"]:
        """Embeddings of texts."""
        parts = (texts[i : i + BATCH_SIZE] for i in range(0, len(texts), BATCH_SIZE))
        encoded = (encode(self.tokenizer, part) for part in parts)
        return torch.cat(
            [self.model.embed_texts(ids.to(self.device), n.to(self.device)) for ids, n in encoded]
        )


def measure(
    model: AlignmentModel, tokenizer: Tokenizer, pictures: PictureData,
    config: "AlignmentTrainConfig", *, artifact: str, preset: str,
) -> Measured:  # fmt: skip
    """Retrieval both ways on every split, and naming things without having been taught classes."""
    towers = Towers(model.to(hardware.device_name()), tokenizer)
    common = {"step": "alignment", "artifact": artifact, "preset": preset}
    rows: list[Row] = []
    exhibits: list[dict[str, Any]] = []
    for split in measured_splits(pictures):
        talks = talks_of(pictures, split, config.size)
        some = distinct(talks, config.pictures)
        rows += retrieval(towers, some, config.size, split, common)
        if split == "test":
            exhibits.append(found_texts(towers, some))
    if isinstance(pictures, Scenes):
        rows.append(naming(towers, pictures.at_size(config.size), config.pictures, common))
    return Measured(rows, exhibits)


def distinct(talks: Any, most: int) -> list[Talk]:
    """The first talks whose captions are not another's: what is right is then one alone."""
    found: list[Talk] = []
    seen: set[str] = set()
    for number in range(len(talks)):
        if len(found) == most:
            break
        talk = talks[number]
        if not seen & {*talk.captions}:
            found.append(talk)
            seen |= {*talk.captions}
    return found


def retrieval(
    towers: Towers, talks: list[Talk], size: int, split: str, common: dict[str, Any]
) -> list[Row]:
    """Recall at 1, 5 and 10, each picture against the first caption of each."""
    start = time.perf_counter()
    similarity = (
        towers.pictures([t.pixels for t in talks]) @ towers.texts([t.captions[0] for t in talks]).T
    )
    right = torch.eye(len(talks), dtype=torch.bool, device=similarity.device)
    chance = random_recall_at(right, KS)
    seconds = round(time.perf_counter() - start, 1)
    ways = {"image_to_text": similarity, "text_to_image": similarity.T}
    protocol = f"{size} px, {len(talks)} pictures with one caption each"
    return [
        Row(
            metric=f"{way}_recall_at_{k}", value=found.recall[k], unit="", better="higher",
            n=len(talks), **_interval(found, k), protocol=protocol, split=split,
            baselines={"random": chance[k]}, seconds=seconds, **common,
        )
        for way, scores in ways.items()
        for found in [recall_at(scores, right, KS)]
        for k in KS
    ]  # fmt: skip


def _interval(found: Retrieval, k: int) -> dict[str, float]:
    low, high = wilson(found.ranks <= k)
    return {"low": low, "high": high}


def naming(towers: Towers, scenes: Scenes, most: int, common: dict[str, Any]) -> Row:
    """Which of 64 things is in a scene of one? Classes are prompts, one for each ground."""
    single = [scene for scene in scenes.scenes("test") if len(scene.sprites) == 1][:most]
    names = scenes.names
    prompts = [f"{with_article(n)} on {with_article(g)} background" for n in names for g in GROUNDS]
    of_classes = towers.texts(prompts).unflatten(0, (len(names), len(GROUNDS)))
    labels = torch.tensor([names.index(scene.sprites[0].concept) for scene in single])
    found = zero_shot(
        towers.pictures([scenes.render(scene) for scene in single]), of_classes,
        labels.to(towers.device),
    )  # fmt: skip
    return Row(
        metric="zero_shot_accuracy", value=found.recall[1], unit="", better="higher",
        n=len(single), **_interval(found, 1),
        protocol=f'{len(names)} classes, mean of {len(GROUNDS)} prompts: "a dog on a red '
        'background"', split="test", baselines={"random": 1 / len(names)}, **common,
    )  # fmt: skip


def found_texts(towers: Towers, talks: list[Talk]) -> dict[str, Any]:
    """Pictures by fixed index, each with the caption that the model finds nearest."""
    texts = [talk.captions[0] for talk in talks]
    shown = np.linspace(0, len(talks) - 1, SHOWN).astype(int)
    similarity = towers.pictures([talks[i].pixels for i in shown]) @ towers.texts(texts).T
    items = []
    for place, best in zip(shown, similarity.argmax(dim=1).tolist(), strict=True):
        mark = "right" if best == place else f"wrong, true: {texts[place]}"
        pixels = talks[place].pixels
        items.append((f"{texts[best]} ({mark})", png(enlarged(pixels, max(1, 192 // len(pixels))))))
    return images("Test pictures, and the caption found for each", items, columns=3)


def evaluate(artifact: Artifact) -> list[Row]:
    """Measure a published pair of towers again."""
    import data
    from phase2_multimodal.train_alignment import AlignmentTrainConfig

    hardware.set_threads(0)
    config = override(AlignmentTrainConfig(), artifact.manifest["config"])
    return measure(
        AlignmentModel.from_pretrained(artifact),
        Tokenizer.from_pretrained(artifact),
        data.load_pictures(config.data),
        config,
        artifact=artifact.id,
        preset=artifact.manifest["preset"],
    ).rows
