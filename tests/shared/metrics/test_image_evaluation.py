"""Pictures against pictures through a small network: meaning, floors, names, and the cache."""

import numpy as np
import pytest
import torch

import shared.metrics.image_evaluation as evaluation
from shared.errors import VermeilError
from shared.metrics.image import frechet_distance, inception_score, kernel_inception_distance
from shared.metrics.image_evaluation import (
    Statistics,
    evaluate_pictures,
    real_against_real,
    reference_statistics,
)
from shared.metrics.image_networks import FeatureNetwork, Features
from shared.results import Row, beats_floor


class Shrunk(torch.nn.Module):
    """A picture's 4 x 4 colours, and logits that ask which third of it is brightest."""

    def __init__(self):
        super().__init__()
        self.seen = 0

    def forward(self, pictures):
        self.seen += len(pictures)
        small = torch.nn.functional.adaptive_avg_pool2d(pictures / 255, 4)
        return small.flatten(1), small.mean(1)[:, :3].mean(2) * 20


def toy(name: str = "toy", identity: str = "toy 1", logits: bool = True) -> FeatureNetwork:
    module = Shrunk() if logits else WithoutLogits()
    return FeatureNetwork(name, 48, 4, identity, module)


class WithoutLogits(Shrunk):
    def forward(self, pictures):
        return super().forward(pictures)[0], None


def scenes(n: int, seed: int) -> torch.Tensor:
    """Pictures of a sky over a ground, of many colours, in the order of their brightness."""
    rng = np.random.default_rng(seed)
    brightness = np.sort(rng.random(n))
    colours = rng.random((n, 3, 2, 1)) * 60 + brightness[:, None, None, None] * 180
    pictures = np.repeat(np.repeat(colours, 4, 2), 8, 3) + rng.normal(0, 8, (n, 3, 8, 8))
    return torch.from_numpy(pictures.clip(0, 255).astype(np.uint8))


def shuffled(pictures: torch.Tensor) -> torch.Tensor:
    return pictures[torch.randperm(len(pictures), generator=torch.Generator().manual_seed(0))]


@pytest.fixture(scope="module")
def reference():
    return Statistics.of(toy().extract(scenes(600, 0)), toy())


def test_real_pictures_are_good_and_others_worse(reference):
    real = evaluate_pictures(scenes(300, 1), reference)
    dark = evaluate_pictures(scenes(300, 1) // 3, reference)
    noise = torch.randint(256, (300, 3, 8, 8), generator=torch.Generator().manual_seed(0)).byte()
    noisy = evaluate_pictures(noise, reference)
    assert real["kid_toy"].low < 0 < real["kid_toy"].high
    assert real["precision_toy"].value > 0.8
    assert real["recall_toy"].value > 0.8
    for worse in (dark, noisy):
        assert worse["kid_toy"].low > 0
        assert worse["fid_toy"].value > 3 * real["fid_toy"].value
    assert noisy["recall_toy"].value < real["recall_toy"].value - 0.3


def test_scores_are_those_of_the_metrics(reference):
    pictures = scenes(50, 1)
    found = evaluate_pictures(pictures, reference)
    pooled, logits = toy().extract(pictures)
    real = reference.features.pooled
    kid = found["kid_toy"]
    assert (kid.value, kid.low, kid.high) == kernel_inception_distance(pooled, real)
    assert found["fid_toy"].value == pytest.approx(frechet_distance(pooled, real))
    assert found["inception_score_toy"].value == inception_score(logits)[0]


def test_the_order_of_pictures_matters_to_no_metric_but_the_inception_score(reference):
    one, other = (evaluate_pictures(p, reference) for p in (scenes(50, 1), scenes(50, 1).flip(0)))
    for name in ("kid_toy", "fid_toy", "precision_toy", "recall_toy"):
        assert one[name].value == pytest.approx(other[name].value, rel=1e-6)


def test_every_score_is_a_row(reference):
    """Row checks types, the interval and the name; the protocol says what and how many."""
    found = evaluate_pictures(scenes(50, 1), reference)
    floor = {"init": found["kid_toy"].value + 1}
    rest = {"step": "diffusion", "unit": "", "split": "test", "artifact": "a", "preset": "tiny"}
    for name, score in found.items():
        row = Row(metric=name, **rest, **vars(score), baselines=floor)
        assert row.n == 50
        assert "toy (toy 1)" in row.protocol
        if name != "inception_score_toy":
            assert row.protocol.startswith("50 against 600 real pictures")
            assert row.better == ("lower" if name in ("kid_toy", "fid_toy") else "higher")
    assert beats_floor(Row(metric="kid_toy", **rest, **vars(found["kid_toy"]), baselines=floor))


def test_kid_leads_where_pictures_are_few(reference, monkeypatch):
    names = ["kid_toy", "fid_toy", "precision_toy", "recall_toy", "inception_score_toy"]
    assert [*evaluate_pictures(scenes(49, 1), reference)] == names
    monkeypatch.setattr(evaluation, "KID_LEADS_BELOW", 50)
    assert [*evaluate_pictures(scenes(49, 1), reference)] == names
    assert next(iter(evaluate_pictures(scenes(50, 1), reference))) == "fid_toy"


def test_a_network_without_classes_gives_no_inception_score():
    network = toy("inception_v3", logits=False)
    found = evaluate_pictures(scenes(20, 1), reference_statistics(scenes(30, 0), network))
    assert [*found] == ["kid", "fid", "precision", "recall"]


def test_too_few_pictures(reference):
    with pytest.raises(VermeilError, match="9 pictures are too few to measure: take 10 or more"):
        evaluate_pictures(scenes(9, 0), reference)
    assert evaluate_pictures(scenes(10, 0), reference)


# real against real


def test_real_against_real_takes_halves_at_random(reference):
    """The file is in the order of brightness: its first half against its second is far apart."""
    floor = real_against_real(reference, 300)
    assert floor["kid_toy"].low < 0 < floor["kid_toy"].high
    assert floor["kid_toy"].n == 300
    assert floor["kid_toy"].protocol.startswith("300 against 300 real pictures")
    first, second = scenes(600, 0).split(300)
    in_order = evaluate_pictures(first, reference_statistics(second, toy()))
    assert in_order["fid_toy"].value > 20 * floor["fid_toy"].value


def test_the_halves_are_disjoint_and_depend_on_the_seed(monkeypatch):
    def pooled(generated, reference):
        assert generated.logits.equal(generated.pooled)  # rows of the same pictures
        return generated.pooled[:, 0].tolist(), reference.features.pooled[:, 0].tolist()

    monkeypatch.setattr(evaluation, "_evaluate", pooled)
    features = Features(torch.arange(40.0)[:, None], torch.arange(40.0)[:, None])
    reference = Statistics.of(features, toy())
    one, other = real_against_real(reference, 18)
    assert len({*one} | {*other}) == 36
    assert real_against_real(reference, 18) == (one, other)
    assert real_against_real(reference, 18, seed=1) != (one, other)


def test_fid_of_real_pictures_falls_with_their_number(reference):
    values = [real_against_real(reference, n)["fid_toy"].value for n in (20, 80, 300)]
    assert values == sorted(values, reverse=True)
    assert values[0] > 5 * values[2]


def test_more_than_half_is_refused(reference):
    with pytest.raises(VermeilError, match=r"n = 301 takes 602 .* there are 600: evaluate 300"):
        real_against_real(reference, 301)


# the cache


def test_statistics_are_computed_once(home):
    network, pictures = toy(), scenes(40, 0)
    first = reference_statistics(pictures, network)
    assert network.module.seen == 40
    again = reference_statistics(pictures.numpy(), network)
    assert network.module.seen == 40
    assert again.n == 40
    for one, other in zip((*first.features, *first.moments), (*again.features, *again.moments),
                          strict=True):  # fmt: skip
        assert one.equal(other)
    assert len([*(home / "statistics").iterdir()]) == 1


def test_a_network_without_logits_is_kept_too():
    network, pictures = toy(logits=False), scenes(40, 0)
    reference_statistics(pictures, network)
    assert reference_statistics(pictures, network).features.logits is None
    assert network.module.seen == 40


@pytest.mark.parametrize(
    ("network", "pictures"),
    [
        (toy(), scenes(40, 1)),
        (toy(), scenes(40, 0).flip(0)),
        (toy(), scenes(40, 0).reshape(80, 3, 4, 8)),
        (toy(identity="toy 2"), scenes(40, 0)),
    ],
    ids=["other pictures", "another order", "another shape", "another network"],
)
def test_statistics_of_something_else_are_computed(network, pictures):
    reference_statistics(scenes(40, 0), toy())
    before = network.module.seen
    reference_statistics(pictures, network)
    assert network.module.seen == before + len(pictures)


@pytest.mark.parametrize("position", [0, 100, -1], ids=["header", "key", "last feature"])
@pytest.mark.parametrize("how", ["flipped", "cut"])
def test_a_damaged_file_is_written_anew(home, position, how):
    network, pictures = toy(), scenes(40, 0)
    first = reference_statistics(pictures, network)
    (path,) = (home / "statistics").iterdir()
    content = bytearray(path.read_bytes())
    if how == "flipped":
        content[position] ^= 1
    else:
        del content[position:]
    path.write_bytes(content)
    again = reference_statistics(pictures, network)
    assert network.module.seen == 80
    assert again.features.pooled.equal(first.features.pooled)
    reference_statistics(pictures, network)
    assert network.module.seen == 80
