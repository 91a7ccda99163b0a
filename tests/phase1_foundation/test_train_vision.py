"""`vermeil train vision`, as commands that a person types, on a folder of pictures."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from shared.trackers import read_metrics

ROOT = Path(__file__).resolve().parents[2]
SMALL = ["vision", "smoke", "--steps", "12", "--validate_every", "4", "--checkpoint_every", "4",
         "--sample_every", "6", "--batch_size", "8"]  # fmt: skip

PLAIN = ["--patch", "4", "--stem", "patch"]  # as a masked autoencoder needs it


@pytest.fixture(scope="module")
def train(command) -> Callable[..., Path]:
    """Train in a process of its own; the folder of the artifact that was made."""

    def run(*words: str, home: Path) -> Path:
        done = command("train", *SMALL, *words, home=home)
        assert done.returncode == 0, done.stderr
        return Path(done.stdout.splitlines()[-1])

    return run


@pytest.fixture(scope="module")
def pictures(tmp_path_factory) -> str:
    """Stripes, one way and the other, in folders of their names."""
    root = tmp_path_factory.mktemp("stripes")
    random = np.random.default_rng(0)
    for name, axis in (("lying", 0), ("standing", 1)):
        (root / name).mkdir()
        for i in range(60):
            line = np.arange(20) // random.integers(2, 5) % 2 * 200
            pixels = np.broadcast_to(np.expand_dims(line, 1 - axis), (20, 20))[..., None]
            colours = pixels + random.integers(0, 55, (20, 20, 3))
            Image.fromarray(colours.astype(np.uint8)).save(root / name / f"{i}.png")
    return str(root)


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def supervised(train, pictures, home) -> Path:
    return train("--data", pictures, home=home)


@pytest.fixture(scope="module")
def masked(train, pictures, home) -> Path:
    return train("--data", pictures, "--objective", "mae", *PLAIN, home=home)


def results(artifact: Path) -> dict:
    home = artifact.parents[3]
    return json.loads((home / "runs" / "vision" / artifact.name / "results.json").read_text())


def test_an_encoder_is_made_and_measured(supervised):
    manifest = json.loads((supervised / "manifest.json").read_text())
    assert manifest["step"] == "vision" and manifest["parents"] == []
    assert set(manifest["files"]) == {"config.json", "model.safetensors", "README.md"}
    assert json.loads((supervised / "config.json").read_text())["classes"] == 2
    assert "lying, standing" in (supervised / "README.md").read_text()
    rows = {row["metric"]: row for row in results(supervised)["rows"]}
    assert list(rows) == ["linear_probe_accuracy", "knn_accuracy", "top_1_accuracy"]
    for metric in ("linear_probe_accuracy", "knn_accuracy"):
        assert set(rows[metric]["baselines"]) == {"majority", "raw_pixels", "random_init"}
        assert rows[metric]["n"] > 0 and rows[metric]["low"] < rows[metric]["high"]
    assert {exhibit["kind"] for exhibit in results(supervised)["exhibits"]} == {
        "table", "images", "curve",
    }  # fmt: skip


def test_eval_measures_the_same(command, supervised, home):
    before = results(supervised)
    done = command("eval", str(supervised), home=home)
    assert done.returncode == 0, done.stderr
    assert "linear_probe_accuracy" in done.stdout
    after = results(supervised)
    assert [r["value"] for r in after["rows"]] == [r["value"] for r in before["rows"]]
    assert [r["baselines"] for r in after["rows"]] == [r["baselines"] for r in before["rows"]]


def test_without_labels_it_draws(masked):
    assert json.loads((masked / "config.json").read_text())["classes"] == 0
    found = results(masked)
    assert [row["metric"] for row in found["rows"]] == ["linear_probe_accuracy", "knn_accuracy"]
    titles = [exhibit["title"] for exhibit in found["exhibits"]]
    assert any("what it draws" in title for title in titles)


def test_a_second_encoder_starts_from_the_first(train, masked, pictures, home):
    words = ["--data", pictures, *PLAIN, "--encoder", str(masked)]
    child = train(*words, home=home)
    manifest = json.loads((child / "manifest.json").read_text())
    parent = json.loads((masked / "manifest.json").read_text())
    assert [one["id"] for one in manifest["parents"]] == [parent["id"]]
    reuse = results(child)["reuse"]
    assert reuse["new"] == 2 and reuse["frozen"] == 0
    again = train(*words, "--objective", "mae", home=home)
    reuse = results(again)["reuse"]
    assert reuse["new"] == 0
    assert reuse["loss_with_parent"] != reuse["loss_with_random"]


def test_resnet18(command, train, pictures, home):
    artifact = train("--data", pictures, "--model", "resnet18", "--steps", "2", home=home)
    assert json.loads((artifact / "config.json").read_text())["class"] == "ResNet"
    assert command("eval", str(artifact), home=home).returncode == 0


def test_a_killed_run_goes_on_with_the_same_losses(command, supervised, pictures, tmp_path):
    words = ["train", *SMALL, "--data", pictures]
    environment = os.environ | {"VERMEIL_HOME": str(tmp_path)}
    process = subprocess.Popen(
        [sys.executable, "-m", "vermeil", *words],
        cwd=ROOT, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    deadline = time.monotonic() + 120
    while not list(tmp_path.glob("runs/vision/*/checkpoint.ckpt")):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not list(tmp_path.glob("artifacts/phase1/vision/*/manifest.json"))
    done = command(*words, home=tmp_path)
    assert done.returncode == 0, done.stderr
    whole = supervised.parents[3] / "runs" / "vision" / supervised.name
    [cut] = tmp_path.glob("runs/vision/*")

    def losses(run: Path) -> list:
        lines = read_metrics(run / "metrics.jsonl")
        return [(m["step"], m["train_loss"]) for m in lines if "train_loss" in m]

    assert losses(cut) == losses(whole) and len(losses(cut)) == 12


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--size", "20", "--patch", "8"], "size 20 is not a multiple of patch 8"),
        (["--objective", "mae", "--stem", "conv"], "mixes hidden patches into visible ones"),
        (
            ["--objective", "mae", "--stem", "patch", "--mask_ratio", "0.9"],
            "leaves 0 of 4 patches visible",
        ),
        (["--model", "resnet18", "--objective", "mae"], "resnet18 has no patches"),
        (["--data", "embedded_text"], "holds text, not pictures"),
        (["--augment", "strongly"], "cannot be 'strongly'"),
        (["--encoder", "vision@nothing"], "there is no artifact 'vision@nothing'"),
    ],
)
def test_what_cannot_be_is_one_sentence(command, words, says, pictures, tmp_path):
    data = [] if "--data" in words else ["--data", pictures]
    done = command("train", *SMALL, *data, *words, home=tmp_path)
    assert done.returncode == 2
    assert says in done.stderr and "Traceback" not in done.stderr
    assert len(done.stderr.splitlines()) <= 2
