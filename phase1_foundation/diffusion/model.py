"""The diffusion model: a U-Net or a transformer on a path, listening to a condition.

A condition is a sequence of embeddings with a mask. Class labels make one of length 1; phase 2 puts
the states of a language model in their place.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from phase1_foundation.diffusion.dit import DiT, sincos_time
from phase1_foundation.diffusion.paths import PATHS, Path, Pictures, Time
from phase1_foundation.diffusion.samplers import SOLVERS, Denoiser, falling_times
from phase1_foundation.diffusion.unet import UNet
from shared.artifact import Pretrained
from shared.errors import VermeilError


@dataclass(frozen=True)
class DiffusionConfig:
    """The shape of a diffusion model, the path it was trained on and the classes it knows.

    Where no condition was left out in training (`condition_dropout` 0), the model cannot draw
    without one, which guidance needs.
    """

    size: int
    classes: tuple[str, ...]
    condition_dropout: float = 0.1
    network: Literal["unet", "dit"] = "unet"
    path: Literal["flow", "ddpm"] = "flow"
    prediction: str = "velocity"
    patch: int = 2
    widths: tuple[int, ...] = (64, 192)  # of the U-Net's levels; the last is the blocks'
    res_blocks: int = 1
    layers: int = 6
    heads: int = 3
    mlp_dim: int = 768

    def __post_init__(self):
        halvings = len(self.widths) - 1 if self.network == "unet" else 0
        if self.size % (self.patch * 2**halvings):
            raise VermeilError(
                f"size {self.size} is not a multiple of {self.patch * 2**halvings} "
                f"(patch {self.patch}, halved {halvings} times)",
                "choose another --size or --patch",
            )
        if self.network == "unet" and len(self.widths) < 2:
            raise VermeilError("a U-Net needs at least two widths", "--widths 64 192")
        if self.dim % (4 * self.heads):
            raise VermeilError(f"width {self.dim} is not a multiple of 4 x {self.heads} heads")

    @property
    def dim(self) -> int:
        return self.widths[-1]


@dataclass(frozen=True)
class Condition:
    """What a picture should show: (B, S, C) embeddings, and where they are real (None: all)."""

    tokens: Float[Tensor, "b s c"]
    mask: Bool[Tensor, "b s"] | None = None

    def without(self, dropped: Bool[Tensor, " b"], null: Float[Tensor, " c"]) -> "Condition":
        """The same with the rows of `dropped` emptied: one null token each."""
        dropped = dropped.to(self.tokens.device)
        tokens = torch.where(dropped[:, None, None], null, self.tokens)
        mask = self.mask
        if mask is not None:
            first = F.one_hot(torch.zeros_like(mask[:, 0], dtype=torch.long), mask.shape[1]).bool()
            mask = torch.where(dropped[:, None], first, mask)
        return Condition(tokens, mask)

    def mean(self) -> Float[Tensor, "b c"]:
        """Over what is real of it."""
        real = self.mask if self.mask is not None else torch.ones_like(self.tokens[..., 0]).bool()
        share = real / real.sum(dim=1, keepdim=True)  # (B, S)
        return torch.einsum("bs,bsc->bc", share, self.tokens)


Predict = Callable[[Pictures, Time, Condition], Pictures]


def guided(
    predict: Predict, path: Path, asked: Condition, unasked: Condition, guidance_scale: float,
    interval: tuple[float, float] = (0.0, 1.0), overshoot: float = 0.0,
) -> Denoiser:  # fmt: skip
    """(x_t, t) -> the picture believed in, with classifier-free guidance (Ho & Salimans, 2022).

    Scale 1 is the plain conditional model; more pushes away from what `unasked` would draw.
    Guidance at times inside `interval` alone keeps more variety (Kynkaanniemi et al., 2024).

    A network trained for minutes sees less noise than there is, and what it overlooks adds up
    over the steps (Ning et al., 2024). `overshoot` moves each belief further from x_t by that
    share of the way; on a straight path this lengthens the velocity.
    """
    masks = [c.mask for c in (asked, unasked) if c.mask is not None]
    tokens = torch.cat([asked.tokens, unasked.tokens])
    both = Condition(tokens, torch.cat(masks) if masks else None)

    def believed(x: Pictures, t: Time) -> Pictures:
        if guidance_scale == 1 or not interval[0] <= float(t[0]) <= interval[1]:
            return path.denoised(predict(x, t, asked).float(), x, t)
        outputs = predict(torch.cat([x, x]), torch.cat([t, t]), both).float()
        wanted, unwanted = (path.denoised(half, x, t) for half in outputs.chunk(2))
        return unwanted + guidance_scale * (wanted - unwanted)

    return lambda x, t: torch.lerp(x, believed(x, t), 1 + overshoot)


class DiffusionModel(nn.Module, Pretrained):
    """Predicts on a Gaussian path, for pictures (B, 3, size, size) in [-1, 1]."""

    config_class = DiffusionConfig

    def __init__(self, config: DiffusionConfig):
        super().__init__()
        self.config, c = config, config
        self.path: Path = PATHS[c.path](c.prediction)
        if c.network == "dit":
            self.network = DiT(c.size, c.patch, c.dim, c.layers, c.heads, c.mlp_dim)
        else:
            self.network = UNet(
                c.size, c.patch, c.widths, c.res_blocks, c.layers, c.heads, c.mlp_dim
            )
        self.time = nn.Sequential(nn.Linear(256, c.dim), nn.SiLU(), nn.Linear(c.dim, c.dim))
        self.pooled = nn.Linear(c.dim, c.dim)
        self.labels = nn.Embedding(len(c.classes), c.dim)
        self.null = nn.Parameter(torch.zeros(c.dim))  # what stands there when nothing is asked for
        nn.init.normal_(self.labels.weight, std=0.02)

    def forward(
        self, x_t: Pictures, t: Time, tokens: Float[Tensor, "b s d"],
        mask: Bool[Tensor, "b s"] | None = None,
    ) -> Pictures:  # fmt: skip
        """The path's prediction at noisy pictures x_t, given a condition."""
        vector = self.vector(t, Condition(tokens, mask))
        return self.network(x_t, vector=vector, tokens=tokens, mask=mask)

    def vector(self, t: Time, condition: Condition) -> Float[Tensor, "b c"]:
        """What steers every layer: the time, and the condition as a whole."""
        return self.time(sincos_time(t, 256)) + self.pooled(condition.mean())

    def condition(self, labels: Int[Tensor, " b"]) -> Condition:
        """What class labels ask for; VermeilError for a label that is no class of the model."""
        known = len(self.config.classes)
        if len(labels) and not 0 <= int(labels.min()) <= int(labels.max()) < known:
            raise VermeilError(
                f"class {int(labels.max())} was asked for, the model knows {known}, from 0 on",
                "train it on a data set with these classes",
            )
        return Condition(self.labels(labels)[:, None])

    def unconditional(self, like: Condition) -> Condition:
        """Nothing asked for, in the shape of another condition."""
        return self.without(like, torch.ones(len(like.tokens), dtype=torch.bool))

    def without(self, condition: Condition, dropped: Bool[Tensor, " b"]) -> Condition:
        """A condition with the rows of `dropped` emptied: one null token each."""
        return condition.without(dropped, self.null)

    def denoiser(
        self,
        condition: Condition,
        guidance_scale: float,
        interval: tuple[float, float] = (0.0, 1.0),
        overshoot: float = 0.0,
        predict: Predict | None = None,
    ) -> Denoiser:
        """`guided` by what this model draws without a condition.

        `predict` stands in for the network, e.g. the same one with fewer bits.
        """
        if guidance_scale != 1 and not self.config.condition_dropout:
            raise VermeilError(
                f"guidance {guidance_scale:g} needs a model that draws without a condition, and "
                "this one never trained without",
                "guidance 1, or train with --condition_dropout 0.1",
            )

        def own(x: Pictures, t: Time, condition: Condition) -> Pictures:
            return self(x, t, condition.tokens, condition.mask)

        empty, predict = self.unconditional(condition), predict or own
        return guided(predict, self.path, condition, empty, guidance_scale, interval, overshoot)

    @torch.inference_mode()
    def draw(
        self,
        condition: Condition,
        *,
        seeds: Sequence[int],
        steps: int = 20,
        solver: Literal["euler", "heun", "dpm"] = "heun",
        guidance_scale: float = 1.5,
        interval: tuple[float, float] = (0.0, 1.0),
        overshoot: float = 0.0,
        predict: Predict | None = None,
    ) -> Pictures:
        """Pictures in [-1, 1], one a row of the condition; row i is seeds[i]'s in any batch."""
        noise = torch.stack([self.noise(seed) for seed in seeds]).to(condition.tokens.device)
        denoise = self.denoiser(condition, guidance_scale, interval, overshoot, predict)
        times = falling_times(self.path, steps, noise.device)
        return SOLVERS[solver](denoise, self.path, noise, times).clamp(-1, 1)

    def noise(self, seed: int) -> Float[Tensor, "3 h w"]:
        """The noise that a seed stands for."""
        generator = torch.Generator().manual_seed(seed)
        return torch.randn(3, self.config.size, self.config.size, generator=generator)
