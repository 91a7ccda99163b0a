"""What simple samplers draw: a diffusion model has to be better than each of them."""

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import UInt8

from data.picture_batches import to_pixels, to_tensor
from phase1_foundation.diffusion.model import DiffusionModel

Pixels = UInt8[np.ndarray, "_n _h _w 3"]


def pca_gaussian(pixels: Pixels, n: int, seed: int = 0, components: int = 256) -> Pixels:
    """Pictures from the Gaussian with the mean and the largest principal components of others."""
    x = torch.from_numpy(np.array(pixels)).flatten(1).float()  # (N, H W 3)
    mean = x.mean(dim=0)
    torch.manual_seed(seed)  # the decomposition is a randomised one
    _, spread, directions = torch.pca_lowrank(x, q=min(components, *x.shape), center=True)
    drawn = torch.randn(n, len(spread)) * spread / (len(x) - 1) ** 0.5  # (n, Q)
    made = mean + drawn @ directions.T
    return made.round().clamp(0, 255).byte().view(n, *pixels.shape[1:]).numpy()


def blurred(pixels: Pixels, n: int, seed: int = 0, factor: int = 4) -> Pixels:
    """Real pictures at a quarter of their resolution: their layout and colours without detail."""
    chosen = np.random.default_rng(seed).choice(len(pixels), n, replace=n > len(pixels))
    x = to_tensor(pixels[np.sort(chosen)])  # (n, 3, H, W)
    small = F.avg_pool2d(x, factor)
    return to_pixels(F.interpolate(small, x.shape[-2:], mode="bilinear", align_corners=False))


def untrained(model: DiffusionModel, n: int) -> Pixels:
    """What the model draws before its first step: noise."""
    torch.manual_seed(0)
    fresh = DiffusionModel(model.config).eval()
    condition = fresh.condition(torch.zeros(n, dtype=torch.long))
    return to_pixels(fresh.draw(condition, seeds=range(n), steps=1, guidance_scale=1.0))
