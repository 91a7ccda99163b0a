"""FID, KID, inception score, precision and recall, LPIPS: peers' numbers, hand cases, meaning."""

import math

import numpy as np
import pytest
import torch

import shared.metrics.image as image
from shared.errors import VermeilError
from shared.metrics.image import (
    frechet_distance,
    inception_score,
    kernel_inception_distance,
    lpips,
    nearest_neighbours,
    precision_recall,
)
from shared.metrics.image_networks import PerceptualNetwork


def normal(seed: int, n: int, dim: int) -> np.ndarray:
    return np.random.RandomState(seed).randn(n, dim)


@pytest.fixture(params=[7, 1024], ids="blocks of {}".format)
def block(request, monkeypatch):
    """Few rows of all pairs at a time, or all at once."""
    monkeypatch.setattr(image, "BLOCK", request.param)


# FID


def test_fid_equals_torch_fidelity_and_pytorch_fid():
    a, b = normal(0, 500, 16), normal(1, 500, 16) * 2 + 0.5
    assert frechet_distance(a, b) == pytest.approx(21.4100893840954, rel=1e-12)
    assert frechet_distance(torch.from_numpy(b), a) == pytest.approx(21.4100893840954, rel=1e-12)


def test_fid_of_fewer_pictures_than_dimensions_equals_torch_fidelity():
    a, b = normal(2, 20, 64), normal(3, 30, 64) * 1.5 + 0.2
    assert frechet_distance(a, b) == pytest.approx(131.4614446, rel=1e-7)
    assert frechet_distance(b, a) == pytest.approx(131.4614446, rel=1e-7)


def test_fid_by_hand():
    """One dimension: (mean - mean)^2 + (deviation - deviation)^2 = 6^2 + (sqrt 2 - sqrt 8)^2."""
    assert frechet_distance(np.array([[0.0], [2]]), np.array([[5.0], [9]])) == pytest.approx(38)


def test_fid_of_covariances_that_do_not_commute():
    from scipy.linalg import sqrtm

    a, b = normal(0, 50, 5) @ normal(1, 5, 5), normal(2, 60, 5) @ normal(3, 5, 5)
    cov_a, cov_b = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
    assert np.abs(cov_a @ cov_b - cov_b @ cov_a).max() > 1
    root = np.trace(sqrtm(cov_a @ cov_b).real)
    means = np.square(a.mean(0) - b.mean(0)).sum()
    expected = means + np.trace(cov_a) + np.trace(cov_b) - 2 * root
    assert frechet_distance(a, b) == pytest.approx(expected, rel=1e-9)


def test_fid_of_the_same_pictures_in_another_order_is_0():
    a = normal(0, 30, 40).astype(np.float32)
    assert frechet_distance(a, a[::-1]) == pytest.approx(0, abs=1e-5)
    assert frechet_distance(a, a) >= 0


def test_fid_depends_on_how_many_pictures_there_are_and_kid_does_not():
    """Two sets of one distribution in 64 dimensions; FID as measured by others at these sizes."""
    for n, fid in ((64, 35.1), (256, 8.9), (1024, 2.1)):
        a, b = normal(n, n, 64), normal(n + 1, n, 64)
        kid = kernel_inception_distance(a, b)
        assert frechet_distance(a, b) == pytest.approx(fid, rel=0.1)
        assert abs(kid.value) < 0.1 * 64 / n
        assert kid.low < 0 < kid.high


# KID


def test_kid_equals_torch_fidelity_with_one_subset_of_all(block):
    a, b = normal(0, 500, 16), normal(1, 500, 16) * 2 + 0.5
    assert kernel_inception_distance(a, b).value == pytest.approx(4.062824410004479, rel=1e-12)


@pytest.mark.full  # its import alone takes many seconds
@pytest.mark.filterwarnings("ignore:Metric .Kernel Inception Distance. will save all:UserWarning")
def test_fid_and_kid_equal_torchmetrics():
    from torchmetrics.image.fid import FrechetInceptionDistance
    from torchmetrics.image.kid import KernelInceptionDistance

    class Same(torch.nn.Module):
        num_features = 6

        def forward(self, features):
            return features

    a, b = torch.from_numpy(normal(5, 40, 6)), torch.from_numpy(normal(6, 40, 6) * 1.2 + 0.3)
    fid = FrechetInceptionDistance(feature=Same()).set_dtype(torch.float64)
    kid = KernelInceptionDistance(feature=Same(), subsets=1, subset_size=40)
    for peer in (fid, kid):
        peer.update(a, real=True)
        peer.update(b, real=False)
    assert frechet_distance(a, b) == pytest.approx(fid.compute().item(), rel=1e-6)
    assert kernel_inception_distance(a, b).value == pytest.approx(kid.compute()[0].item(), rel=1e-6)


def kid_pair_by_pair(x: np.ndarray, y: np.ndarray) -> float:
    def kernel(a, b):
        return (float(a @ b) / len(a) + 1) ** 3

    m, n = len(x), len(y)
    within_x = sum(kernel(x[i], x[j]) for i in range(m) for j in range(m) if i != j)
    within_y = sum(kernel(y[i], y[j]) for i in range(n) for j in range(n) if i != j)
    between = sum(kernel(a, b) for a in x for b in y)
    return within_x / (m * (m - 1)) + within_y / (n * (n - 1)) - 2 * between / (m * n)


def test_kid_and_its_jackknife_pair_by_pair(block):
    """Sets of different sizes; the interval from leaving out each picture in turn."""
    x, y = normal(0, 9, 3), normal(1, 12, 3) + 0.5
    without_x = [kid_pair_by_pair(np.delete(x, i, 0), y) for i in range(9)]
    without_y = [kid_pair_by_pair(x, np.delete(y, i, 0)) for i in range(12)]
    margin = 1.96 * math.sqrt(8 * np.var(without_x) + 11 * np.var(without_y))
    value = kid_pair_by_pair(x, y)
    found = kernel_inception_distance(x, y)
    assert found == pytest.approx((value, value - margin, value + margin))


@pytest.mark.parametrize(("shift", "covered"), [(0.3, (0.88, 0.99)), (0.0, (0.97, 1.0))])
def test_the_interval_of_kid_holds_the_truth(shift, covered):
    """The mean over 200 pairs of sets is the truth, as each is unbiased; at 0 it is too wide."""
    rng = np.random.default_rng(0)
    pairs = [(rng.normal(size=(50, 8)), rng.normal(size=(50, 8)) + shift) for _ in range(200)]
    found = [kernel_inception_distance(*pair) for pair in pairs]
    truth = np.mean([kid.value for kid in found]) if shift else 0.0
    share = np.mean([kid.low < truth < kid.high for kid in found])
    assert covered[0] <= share <= covered[1]
    assert np.mean([kid.value for kid in found]) == pytest.approx(truth, abs=0.02)


# inception score


def test_inception_score_equals_torch_fidelity():
    assert inception_score(normal(6, 1000, 10) * 3)[0] == pytest.approx(3.69403603863122)
    uneven = inception_score(normal(7, 103, 10) * 3)
    assert uneven == pytest.approx((3.025468707231403, 0.3530889235886669))


def test_inception_score_of_the_extremes():
    sure = torch.eye(4).repeat(40, 1) * 100
    assert inception_score(sure, splits=1)[0] == pytest.approx(4)
    assert inception_score(torch.zeros(20, 4)) == pytest.approx((1, 0))
    assert inception_score(sure[torch.zeros(20, dtype=torch.long)]) == pytest.approx((1, 0))


# precision and recall


def test_precision_and_recall_equal_torch_fidelity(block):
    generated, real = normal(4, 300, 8) * 0.7, normal(5, 400, 8)
    assert precision_recall(generated, real) == pytest.approx((0.98, 0.4075), abs=1e-12)


def test_precision_and_recall_by_hand():
    """With k = 1 the real 0, 1, 5 reach 1, 1, 4 far, and the generated 8.5, 1, 0.5, 0.5 far.

    So 0.5 and just so 9 lie among the real ones, and all real ones are within 8.5 of 0.5.
    """
    real = np.array([[0.0], [1], [5]])
    generated = np.array([[0.5], [9], [10], [10.5]])
    assert precision_recall(generated, real, k=1) == (0.5, 1.0)


def test_a_generator_without_variety_has_precision_and_no_recall():
    precision, recall = precision_recall(normal(0, 200, 8) * 0.05, normal(1, 200, 8))
    assert precision > 0.9
    assert recall < 0.1


def test_precision_and_recall_of_equal_and_of_distant_sets():
    a = normal(0, 50, 8)
    assert precision_recall(a, a[::-1]) == (1, 1)
    assert precision_recall(a, a + 100) == (0, 0)


# nearest neighbours


def test_a_copy_is_found_at_exactly_0(block):
    training = normal(0, 50, 8).astype(np.float32) + 100
    generated = normal(1, 20, 8).astype(np.float32) + 100
    generated[[3, 17]] = training[[42, 5]]
    found = nearest_neighbours(generated, training)
    assert found.index[3, 0] == 42
    assert found.index[17, 0] == 5
    assert (found.distance == 0).nonzero().tolist() == [[3, 0], [17, 0]]


def test_nearest_neighbours_in_order(block):
    x, y = normal(0, 15, 4), normal(1, 30, 4)
    distances = np.linalg.norm(x[:, None] - y[None], axis=-1)
    found = nearest_neighbours(x, y, k=5)
    assert found.index.tolist() == distances.argsort(1)[:, :5].tolist()
    np.testing.assert_allclose(found.distance, np.sort(distances, 1)[:, :5], rtol=1e-12)


# LPIPS


class Means(torch.nn.Module):
    """The means of red and green, as two channels of one position; then both colours themselves."""

    def forward(self, pictures):
        colours = pictures[:, :2]
        return [colours.mean((2, 3), keepdim=True), colours]


TOY = PerceptualNetwork("toy", 2, Means(), (torch.tensor([1.0, 10.0]), torch.tensor([0.0, 0.0])))


def test_lpips_by_hand():
    """(3, 4) and (4, 3) at length 1 are (.6, .8) and (.8, .6): 1 * .04 + 10 * .04."""
    a = torch.tensor([3, 4, 0], dtype=torch.uint8)[None, :, None, None].expand(5, 3, 2, 2)
    b = torch.tensor([4, 3, 0], dtype=torch.uint8)[None, :, None, None].expand(5, 3, 2, 2)
    np.testing.assert_allclose(lpips(a, b, TOY, batch_size=2), np.full(5, 0.44), rtol=1e-5)
    assert lpips(a, a, TOY).tolist() == [0] * 5


def test_lpips_averages_over_positions():
    network = PerceptualNetwork("toy", 2, TOY.module, TOY.weights[::-1])
    a = torch.tensor([3, 4, 0], dtype=torch.uint8)[None, :, None, None].repeat(1, 1, 2, 2)
    b = a.clone()
    b[0, :, 0, 0] = torch.tensor([4, 3, 0])
    np.testing.assert_allclose(lpips(a, b, network), [0.11], rtol=1e-5)


# mistakes


@pytest.mark.parametrize(
    "metric", [frechet_distance, kernel_inception_distance, precision_recall, nearest_neighbours]
)
@pytest.mark.parametrize(
    ("a", "b", "message"),
    [
        (np.zeros((0, 4)), np.zeros((9, 4)), "0 pictures are too few"),
        (np.zeros((9, 4)), np.zeros((9, 5)), "4 and of 5 dimensions"),
        (np.zeros(9), np.zeros((9, 1)), r"features are \(9,\)"),
        (np.full((9, 4), np.nan), np.zeros((9, 4)), "not finite"),
        (np.zeros((9, 4)), np.full((9, 4), np.inf), "not finite"),
    ],
)
def test_features_that_cannot_be_compared(metric, a, b, message):
    with pytest.raises(VermeilError, match=message):
        metric(a, b)


@pytest.mark.parametrize(
    ("metric", "least"),
    [(frechet_distance, 2), (kernel_inception_distance, 3), (precision_recall, 4)],
)
def test_the_least_number_of_pictures(metric, least):
    metric(normal(0, least, 2), normal(1, least, 2))
    for a, b in ((least - 1, least), (least, least - 1)):
        with pytest.raises(VermeilError, match=f"{least - 1} pictures .* takes {least} or more"):
            metric(normal(0, a, 2), normal(1, b, 2))


def test_more_than_there_is_is_refused():
    with pytest.raises(VermeilError, match="9 pictures are too few: this takes 10"):
        inception_score(np.zeros((9, 4)))
    for k in (0, 6):
        with pytest.raises(VermeilError, match=f"{k} nearest of 5 training pictures"):
            nearest_neighbours(np.zeros((3, 2)), np.zeros((5, 2)), k=k)


def test_pictures_that_lpips_cannot_compare():
    a = torch.zeros((4, 3, 8, 8), dtype=torch.uint8)
    with pytest.raises(VermeilError, match="compares pairs"):
        lpips(a, a[:3], TOY)
    with pytest.raises(
        VermeilError, match="toy cannot see pictures of 8 x 1 px: enlarge them to 2"
    ):
        lpips(a[:, :, :1], a[:, :, :1], TOY)
    with pytest.raises(VermeilError, match=r"pictures are float32 \(4, 3, 8, 8\)"):
        lpips(a.float(), a.float(), TOY)
