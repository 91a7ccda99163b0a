"""A diffusion model of small pictures made one of larger pictures, without forgetting anything.

Of a larger picture with noise, the mean of `times` x `times` pixels is a small picture with
1 / times of the noise: a smaller model is asked at the time at which it knows that much. The
differences from the mean are almost noise alone, which needs no network. So the larger model
believes of the whole what the smaller one believed, and learns the details.
"""

import dataclasses
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from phase1_foundation.diffusion.dit import DiT
from phase1_foundation.diffusion.model import DiffusionModel
from phase1_foundation.diffusion.paths import Pictures, Time
from phase2_multimodal.text_to_image.listening import listening
from shared.errors import VermeilError

ENDS = {  # of a transformer, and of a U-Net: the first layer's kernel, and the last layer
    True: ("network.embed.proj.weight", "network.out.proj.weight", "network.out.proj.bias"),
    False: ("network.stem.weight", "network.out.weight", "network.out.bias"),
}
DETAIL = 0.005  # variance of pixels about the mean of their neighbours, in drawings


@dataclass(frozen=True)
class Enlarging:
    """What a model of pictures that are `times` smaller sees, and what its velocity stands for.

    For the straight path x_t = (1 - t) x + t noise. With w = 1 - t + t / times, the mean of x_t's
    neighbours is w times a small picture at time t / (times w). At `times` 1 nothing changes.
    """

    times: int

    def seen(self, x_t: Pictures, t: Time) -> tuple[Pictures, Time]:
        """The picture and the time that the network is shown."""
        w = self._w(t)
        return x_t / w[:, None, None, None], t / self.times / w

    def velocity(self, output: Pictures, x_t: Pictures, t: Time) -> Pictures:
        """The larger picture's velocity, noise - x: of means by the network, of details by rule.

        A detail y of x_t is (1 - t) d + t noise; of all linear rules c y is nearest to noise - d.
        """
        w, wide = (each[:, None, None, None] for each in (self._w(t), t))
        mean = F.avg_pool2d(x_t, self.times).repeat_interleave(self.times, 2)
        mean = mean.repeat_interleave(self.times, 3)  # (B, 3, H, W)
        rest = 1 - wide
        c = (wide - rest * DETAIL) / (wide**2 + rest**2 * DETAIL)
        return output / (self.times * w) - (1 - 1 / self.times) * mean / w + c * (x_t - mean)

    def _w(self, t: Time) -> Time:
        return 1 - t * (1 - 1 / self.times)


def at_size(model: DiffusionModel, size: int) -> DiffusionModel:
    """A model for larger pictures that answers an enlarged picture with the enlarged answer.

    A patch becomes as many more pixels, so that only the first and the last layer differ. The first
    takes the mean of a pixel's parts, and of their differences random ones, which an enlarged
    picture does not have: without them neither layer would begin to learn details, each waiting for
    the other. The last says the same for each part. VermeilError where `size` is no multiple of the
    model's, and for other paths than the straight one.
    """
    config = model.config
    if size % config.size:
        raise VermeilError(
            f"a diffusion model of {config.size} pixels cannot become one of {size}",
            f"take a multiple, such as --size {2 * config.size}",
        )
    if size > config.size and (config.path, config.prediction) != ("flow", "velocity"):
        raise VermeilError(
            f"a diffusion model of path {config.path} that predicts {config.prediction} cannot be "
            "enlarged",
            f"--size {config.size}, or another --diffusion: --path flow --prediction velocity",
        )
    times, weights = size // config.size, model.state_dict()

    def in_parts(x: Tensor, axis: int) -> Tensor:
        """An axis of 3 x patch x patch pixels, as (channel, row, column), each in its parts."""
        x = x.unflatten(axis, (3, config.patch, config.patch))
        x = x.repeat_interleave(times, axis + 1).repeat_interleave(times, axis + 2)
        return x.flatten(axis, axis + 2)

    transformer = isinstance(model.network, DiT)
    first, *last = ENDS[transformer]
    kernel = weights[first].flatten(1) if transformer else weights[first]  # (C, 3 P P, ...)
    differences = torch.randn_like(in_parts(kernel, 1)) * kernel.std()
    differences -= in_parts(_together(differences, 1, config.patch, times) / times**2, 1)
    kernel = (in_parts(kernel, 1) + differences) / times**2
    wide = times * config.patch
    weights[first] = kernel.unflatten(1, (3, wide, wide)) if transformer else kernel
    for name in last:
        weights[name] = in_parts(weights[name], 0)
    made = DiffusionModel(dataclasses.replace(config, size=size, patch=wide))
    made.load_state_dict(weights, strict=True)
    return made


def small_again(model: DiffusionModel, times: int) -> DiffusionModel:
    """What a `listening` model of larger pictures says of enlarged ones, as a model of small ones.

    The inverse of `at_size`, whatever the larger one has learned since.
    """
    config, weights = model.config, model.state_dict()
    patch, transformer = config.patch // times, isinstance(model.network, DiT)
    first, *last = ENDS[transformer]
    kernel = weights[first].flatten(1) if transformer else weights[first]
    kernel = _together(kernel, 1, patch, times)
    weights[first] = kernel.unflatten(1, (3, patch, patch)) if transformer else kernel
    for name in last:
        weights[name] = _together(weights[name], 0, patch, times) / times**2
    small = dataclasses.replace(config, size=config.size // times, patch=patch)
    made = listening(DiffusionModel(small))
    made.load_state_dict(weights, strict=True)
    return made.to(model.null.device).eval()


def _together(x: Tensor, axis: int, patch: int, times: int) -> Tensor:
    """An axis of 3 channels of larger pixels: the sums over the parts of each."""
    x = x.unflatten(axis, (3, patch, times, patch, times))
    return x.sum(dim=(axis + 2, axis + 4)).flatten(axis, axis + 2)
