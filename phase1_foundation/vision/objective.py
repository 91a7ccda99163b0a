"""What the vision encoder is trained for: naming classes, or drawing what is hidden."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from data.picture_batches import to_pixels, to_tensor
from data.pictures import PictureArrays
from phase1_foundation.vision.encoders import Encoder, take_over
from phase1_foundation.vision.mae import MaskedAutoencoder
from phase1_foundation.vision.vit import VisionTransformer
from shared import results
from shared.artifact import Artifact
from shared.grids import enlarged, grid, png
from shared.objective import Objective, mean_loss
from shared.train_config import TrainConfig

if TYPE_CHECKING:
    from phase1_foundation.train_vision import VisionConfig

Batch = tuple[Float[Tensor, "b 3 h w"], Int[Tensor, " b"]]


class Classify(Objective):
    """Name a picture's class; smoothing gives that share of the target to all classes alike."""

    def __init__(self, model: torch.nn.Module, config: TrainConfig, smoothing: float = 0.0):
        super().__init__(model, config)
        self.smoothing = smoothing

    def loss(self, batch: Batch) -> Float[Tensor, ""]:
        pictures, labels = batch
        smoothing = self.smoothing if self.training else 0.0
        return F.cross_entropy(self.model(pictures), labels, label_smoothing=smoothing)


class Masked(Objective):
    """Draw the hidden patches of a picture; its label is not looked at."""

    model: MaskedAutoencoder

    def loss(self, batch: Batch) -> Float[Tensor, ""]:
        pictures, _ = batch
        patches = self.model.encoder.config.patches
        noise = self.draws.uniform(torch.empty(len(pictures), patches, device=pictures.device))
        return self.model.loss(pictures, noise)


def make_objective(model: Encoder, config: "VisionConfig") -> Classify | Masked:
    """What the configuration asks for; its check keeps resnet18 from the masked one."""
    if config.objective == "supervised" or not isinstance(model, VisionTransformer):
        return Classify(model, config, config.label_smoothing)
    decoder = {"dim": config.decoder_dim, "layers": config.decoder_layers,
               "heads": config.decoder_heads}  # fmt: skip
    return Masked(MaskedAutoencoder(model, mask_ratio=config.mask_ratio, **decoder), config)


def evenly(pictures: PictureArrays, most: int) -> PictureArrays:
    """At most that many pictures, from the whole of a split: some are in the order of classes."""
    if len(pictures.labels) <= most:
        return pictures
    places = np.linspace(0, len(pictures.labels) - 1, most).astype(int)
    texts = [pictures.texts[place] for place in places]
    return PictureArrays(pictures.pixels[places], pictures.labels[places], texts)


def validation_batches(pictures: PictureArrays, batch_size: int) -> list[Batch]:
    """Batches of one size, so that their mean is that of the pictures; the rest is left out."""
    n = len(pictures.labels)
    size = min(batch_size, n)
    return [
        (
            to_tensor(pictures.pixels[i : i + size].copy()),
            torch.from_numpy(pictures.labels[i : i + size]),
        )
        for i in range(0, n - size + 1, size)
    ]


def start_from(
    parent: Artifact, model: Encoder, objective: Objective, batches: Sequence[Batch]
) -> dict[str, Any]:
    """Take a parent's weights over, and prove it: tensors, and the loss with them and without."""
    random = mean_loss(objective, batches)
    counts = take_over(model, parent)
    losses = {"loss_with_parent": mean_loss(objective, batches), "loss_with_random": random}
    return counts | losses


class Drawings:
    """What a masked autoencoder draws for the same hidden patches, as it learns."""

    PICTURES = 8

    def __init__(self, model: MaskedAutoencoder, pictures: PictureArrays):
        self.model = model
        self.pictures = to_tensor(evenly(pictures, self.PICTURES).pixels.copy())

    @torch.no_grad()
    def __call__(self, step: int) -> dict[str, np.ndarray]:
        """Pictures, what the encoder sees of them, and what is drawn; label -> sheet."""
        device = next(self.model.parameters()).device
        shown = self.model.reconstruct(self.pictures.to(device), seed=1)
        sheet = grid([picture for row in shown for picture in to_pixels(row)], len(self.pictures))
        return {"drawings": enlarged(sheet, 2)}

    def exhibit(self) -> dict[str, Any]:
        """The last sheet."""
        title = "Pictures, the patches it sees, and what it draws for the others"
        return results.images(title, [("", png(self(0)["drawings"]))], columns=1)
