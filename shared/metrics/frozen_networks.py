"""Architectures of the networks that metrics look through, made of given weights.

All take pictures (N, 3, H, W) in float32 from 0 to 255 and bring them to their size and range. They
draw no random numbers, learn nothing and compute in float32.
"""

from collections import defaultdict
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn


class FrozenConv(nn.Module):
    """A convolution with given weights, in the layout that is fastest on a CPU.

    Where it halves an even side and pads ("same"), it pads as TensorFlow does: the odd pixel on the
    right and below.
    """

    weight: torch.Tensor
    bias: torch.Tensor

    def __init__(
        self, weight: torch.Tensor, bias: torch.Tensor, stride: int = 1, padding: Any = "same"
    ):
        super().__init__()
        self.stride, self.padding = stride, padding
        self.register_buffer("weight", weight.contiguous(memory_format=torch.channels_last))
        self.register_buffer("bias", bias)

    @classmethod
    def fold(
        cls,
        weight: torch.Tensor,
        mean: torch.Tensor,
        variance: torch.Tensor,
        beta: torch.Tensor,
        gamma: torch.Tensor | float = 1.0,
        **where: Any,
    ) -> "FrozenConv":
        """A convolution and TensorFlow's batch norm after it: gamma (w x - mean) / sd + beta."""
        scale = gamma * (variance.double() + 1e-3).rsqrt()
        folded = weight.double() * scale[:, None, None, None]
        return cls(folded.float(), (beta - mean * scale).float(), **where)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        padding = self.padding
        if (padding, self.stride) == ("same", 2):
            surplus = self.weight.shape[-1] - 2
            x, padding = F.pad(x, (surplus // 2, surplus - surplus // 2) * 2), "valid"
        groups = x.shape[1] // self.weight.shape[1]
        return F.conv2d(x, self.weight, self.bias, self.stride, padding, groups=groups)


class InceptionV3(nn.Module):
    """The Inception-v3 of 2015-12-05 up to its pooled features, layers by TensorFlow's names.

    It is not torchvision's: average pools leave out the padding, and the last block has a maximum
    in place of an average (Szegedy et al. 2016; Heusel et al. 2017).
    """

    size, dim = 299, 2048
    HALVING = ("conv", "mixed_3/conv", "mixed_3/tower/conv_2", "mixed_8/tower/conv_1",
               "mixed_8/tower_1/conv_3")  # fmt: skip
    UNPADDED = (*HALVING, "conv_1", "conv_4")

    def __init__(self, tensors: Mapping[str, torch.Tensor]):
        super().__init__()
        layers: dict[str, dict[str, torch.Tensor]] = defaultdict(dict)
        for key, tensor in tensors.items():
            name, _, part = key.removeprefix("net.layers.").rpartition(".")
            layers[name.replace(".", "/")][part] = tensor
        self.convs = nn.ModuleDict()
        for name, layer in layers.items():
            self.convs[name] = FrozenConv.fold(
                layer["weight"], layer["mean"], layer["var"], layer["beta"],
                stride=2 if name in self.HALVING else 1,
                padding="valid" if name in self.UNPADDED else "same",
            )  # fmt: skip

    def forward(self, pictures: torch.Tensor) -> tuple[torch.Tensor, None]:
        """(N, 3, H, W) -> pooled features (N, 2048), and no logits."""
        x = (resize_like_tensorflow_1(pictures, self.size) - 128) / 128
        x = x.contiguous(memory_format=torch.channels_last)
        x = F.max_pool2d(self._tower(x, "conv", "conv_1", "conv_2"), 3, 2)
        x = F.max_pool2d(self._tower(x, "conv_3", "conv_4"), 3, 2)  # (N, 192, 35, 35)
        for name in ("mixed", "mixed_1", "mixed_2"):
            x = self._mixed(x, name)
        x = self._halve(x, "mixed_3", "conv", "tower")  # (N, 768, 17, 17)
        for name in ("mixed_4", "mixed_5", "mixed_6", "mixed_7"):
            x = self._mixed(x, name)
        x = self._halve(x, "mixed_8", "tower", "tower_1")  # (N, 1280, 8, 8)
        x = self._widen(x, "mixed_9", _average(x))
        x = self._widen(x, "mixed_10", F.max_pool2d(x, 3, 1, 1))  # (N, 2048, 8, 8)
        return x.mean((2, 3)), None

    def _tower(self, x: torch.Tensor, *names: str) -> torch.Tensor:
        """The layers of these names and those inside them, one after the other."""
        for layer, conv in self.convs.items():
            if layer in names or layer.rpartition("/")[0] in names:
                x = F.relu_(conv(x))
        return x

    def _mixed(self, x: torch.Tensor, name: str) -> torch.Tensor:
        towers = [self._tower(x, f"{name}/{tower}") for tower in ("conv", "tower", "tower_1")]
        return torch.cat([*towers, self._tower(_average(x), f"{name}/tower_2")], 1)

    def _halve(self, x: torch.Tensor, name: str, *towers: str) -> torch.Tensor:
        branches = [self._tower(x, f"{name}/{tower}") for tower in towers]
        return torch.cat([*branches, F.max_pool2d(x, 3, 2)], 1)

    def _widen(self, x: torch.Tensor, name: str, pooled: torch.Tensor) -> torch.Tensor:
        one = self._tower(x, f"{name}/tower_conv")
        two = self._tower(x, f"{name}/tower_1_conv", f"{name}/tower_1_conv_1")
        branches = [(x, "conv"), (one, "tower_mixed_conv"), (one, "tower_mixed_conv_1"),
                    (two, "tower_1_mixed_conv"), (two, "tower_1_mixed_conv_1"),
                    (pooled, "tower_2_conv")]  # fmt: skip
        return torch.cat([self._tower(y, f"{name}/{conv}") for y, conv in branches], 1)


def _average(x: torch.Tensor) -> torch.Tensor:
    return F.avg_pool2d(x, 3, 1, 1, count_include_pad=False)


def resize_like_tensorflow_1(pictures: torch.Tensor, size: int) -> torch.Tensor:
    """Bilinear resizing of (N, C, H, W) to size x size, as the FID was defined with.

    TensorFlow 1 takes output pixel i from position i * (input / output), half a pixel off what all
    others do. Plain bilinear resizing moves the features of a 32-px picture by 0.08 on average,
    where they are 0.34 on average.
    """
    for dim in (3, 2):
        n = pictures.shape[dim]
        position = torch.arange(size, device=pictures.device) * torch.tensor(n / size)
        low = position.long()
        weight = (position - low).unsqueeze(-1) if dim == 2 else position - low
        first = pictures.index_select(dim, low)
        second = pictures.index_select(dim, (low + 1).clamp_max(n - 1))
        pictures = first + (second - first) * weight
    return pictures


class EfficientNetLite0(nn.Module):
    """EfficientNet-lite0: inverted bottlenecks with ReLU6, no squeeze-and-excitation.

    Source: Tan and Le 2019; TensorFlow's "lite" variant of 2020, which sees (x - 127) / 128.
    """

    dim = 1280
    BLOCKS = 16
    HALVING = (1, 3, 5, 11)  # the first blocks of stages 2, 3, 4 and 6
    classifier: torch.Tensor
    bias: torch.Tensor

    def __init__(self, tensors: Mapping[str, torch.Tensor], size: int):
        super().__init__()
        self.size = size
        norms = {"_expand_conv": "_bn0", "_depthwise_conv": "_bn1", "_project_conv": "_bn2"}
        layers = {"_conv_stem": "_bn0", "_conv_head": "_bn1"} | {
            f"_blocks.{i}.{conv}": f"_blocks.{i}.{norm}"
            for i in range(self.BLOCKS)
            for conv, norm in norms.items()
            if f"_blocks.{i}.{conv}.weight" in tensors
        }
        halving = ["_conv_stem", *(f"_blocks.{i}._depthwise_conv" for i in self.HALVING)]
        self.convs = nn.ModuleDict()
        for conv, norm in layers.items():
            parts = [tensors[f"{norm}.{part}"] for part in
                     ("running_mean", "running_var", "bias", "weight")]  # fmt: skip
            stride = 2 if conv in halving else 1
            folded = FrozenConv.fold(tensors[f"{conv}.weight"], *parts, stride=stride)
            self.convs[conv.replace(".", "/")] = folded
        self.register_buffer("classifier", tensors["_fc.weight"])
        self.register_buffer("bias", tensors["_fc.bias"])

    def forward(self, pictures: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """(N, 3, H, W) -> pooled features (N, 1280) and logits (N, 1000)."""
        size = (self.size, self.size)
        x = F.interpolate(pictures, size, mode="bilinear", antialias=True)
        x = ((x - 127) / 128).contiguous(memory_format=torch.channels_last)
        x = F.relu6(self.convs["_conv_stem"](x), True)  # (N, 32, size / 2, size / 2)
        for i in range(self.BLOCKS):
            block = f"_blocks/{i}/"
            y = F.relu6(self.convs[block + "_expand_conv"](x), True) if i else x
            y = F.relu6(self.convs[block + "_depthwise_conv"](y), True)
            y = self.convs[block + "_project_conv"](y)
            x = x + y if x.shape == y.shape else y
        x = F.relu6(self.convs["_conv_head"](x), True)  # (N, 1280, size / 32, size / 32)
        pooled = x.mean((2, 3))
        return pooled, F.linear(pooled, self.classifier, self.bias)


class AlexNet(nn.Module):
    """The five layers of AlexNet that LPIPS compares (Krizhevsky 2014, torchvision's weights)."""

    smallest = 31  # px, or nothing is left for the second pool
    MEAN, SCALE = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)  # of pictures from -1 to 1
    mean: torch.Tensor
    scale: torch.Tensor

    def __init__(self, tensors: Mapping[str, Mapping[str, np.ndarray]]):
        super().__init__()
        self.convs = nn.ModuleList()
        for i in range(5):
            layer = tensors[f"Conv_{i}"]
            weight = torch.from_numpy(layer["kernel"].transpose(3, 2, 0, 1).copy())  # of HWIO
            where = {"stride": 4, "padding": 2} if i == 0 else {}
            self.convs.append(FrozenConv(weight, torch.from_numpy(layer["bias"]), **where))
        self.register_buffer("mean", torch.tensor(self.MEAN)[:, None, None])
        self.register_buffer("scale", torch.tensor(self.SCALE)[:, None, None])

    def forward(self, pictures: torch.Tensor) -> list[torch.Tensor]:
        """(N, 3, H, W) -> five maps (N, C, h, w)."""
        x, maps = (pictures / 127.5 - 1 - self.mean) / self.scale, []
        for i, conv in enumerate(self.convs):
            x = F.relu(conv(F.max_pool2d(x, 3, 2) if i in (1, 2) else x))
            maps.append(x)
        return maps
