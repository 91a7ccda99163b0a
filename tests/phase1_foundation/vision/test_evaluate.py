"""The results of an encoder: every number worked out again from its parts."""

import base64
import io

import numpy as np
import pytest
import torch
from PIL import Image

from data.picture_batches import to_tensor
from data.pictures import arrays
from phase1_foundation.vision import evaluate, probes
from phase1_foundation.vision.encoders import untrained
from phase1_foundation.vision.probes import Features
from shared.errors import VermeilError


def measured(model, pictures) -> evaluate.Measured:
    return evaluate.measure(model, pictures, 16, seed=3, artifact="vision@x", preset="tiny")


@torch.no_grad()
def test_rows_from_their_parts(make_vit, colours):
    model = make_vit(classes=3)
    rows = {row.metric: row for row in measured(model, colours).rows}
    assert list(rows) == ["linear_probe_accuracy", "knn_accuracy", "top_1_accuracy"]
    splits = [arrays(colours, split, 16) for split in ("train", "validation", "test")]

    def features(way):
        return [
            Features(way(to_tensor(np.array(s.pixels))), torch.from_numpy(s.labels)) for s in splits
        ]

    ways = {
        "model": model.embed,
        "raw_pixels": lambda x: x.flatten(1),
        "random_init": untrained(model, 3).embed,
    }
    of = {name: features(way) for name, way in ways.items()}
    labels = splits[2].labels
    majority = np.bincount(splits[0].labels).argmax()
    for metric, right in (
        ("linear_probe_accuracy", {n: probes.linear_probe(*f)[0] for n, f in of.items()}),
        ("knn_accuracy", {n: probes.nearest_neighbours(f[0], f[2]) for n, f in of.items()}),
    ):
        row = rows[metric]
        expected = {name: r.float().mean().item() for name, r in right.items()}
        assert row.value == pytest.approx(expected.pop("model"))
        expected["majority"] = (labels == majority).mean()
        assert row.baselines == pytest.approx(expected)
        assert row.n == 25 and row.split == "test" and row.better == "higher"
        assert row.low <= row.value <= row.high
    named = model(to_tensor(np.array(splits[2].pixels))).argmax(1).numpy()
    assert rows["top_1_accuracy"].value == pytest.approx((named == labels).mean())
    assert set(rows["top_1_accuracy"].baselines) == {"majority", "raw_pixels"}
    assert rows["knn_accuracy"].baselines["raw_pixels"] == 1, "colour tells the class"


def test_without_a_head_there_is_no_top_1(make_vit, colours):
    found = measured(make_vit(classes=0), colours)
    assert [row.metric for row in found.rows] == ["linear_probe_accuracy", "knn_accuracy"]


def test_more_classes_than_the_model_knows(make_vit, colours):
    with pytest.raises(VermeilError, match="colours has 3 classes, the model knows 2") as error:
        measured(make_vit(classes=2), colours)
    assert "vermeil train vision --data colours" in error.value.hint


def test_exhibits(make_vit, colours):
    model = make_vit(classes=3)
    found = measured(model, colours)
    table, pictures = found.exhibits
    assert [row[0] for row in table["rows"]] == list(colours.classes)
    assert sum(row[1] for row in table["rows"]) == 25
    knn = next(row for row in found.rows if row.metric == "knn_accuracy")
    column = table["columns"].index("k-NN accuracy")
    mean = sum(row[1] * row[column] for row in table["rows"]) / 25
    assert mean == pytest.approx(knn.value)

    assert len(pictures["items"]) == evaluate.SHOWN * 8 and pictures["columns"] == 8
    shown = [
        np.asarray(Image.open(io.BytesIO(base64.b64decode(item["png_base64"]))))[::4, ::4]
        for item in pictures["items"]
    ]
    train, test = (arrays(colours, split, 16) for split in ("train", "test"))
    assert np.array_equal(shown[0], test.pixels[0])
    assert pictures["items"][0]["label"] == test.texts[0][0]
    with torch.no_grad():
        query = model.embed(to_tensor(np.array(test.pixels[:1])))
        keys = model.embed(to_tensor(np.array(train.pixels)))
    order = torch.nn.functional.cosine_similarity(query, keys).argsort(descending=True)
    for place, picture in zip(order[:7].tolist(), shown[1:8], strict=True):
        assert np.array_equal(picture, train.pixels[place])
