"""What is too long for CI: `make test-full`. The last result stands in docs/test-full.md."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.mark.full
def test_the_tiny_walk_is_quick_and_beats_its_floors(tmp_path):
    environment = os.environ | {"VERMEIL_HOME": str(tmp_path)}
    words = [sys.executable, "-m", "vermeil", "run", "tiny"]
    load, start = os.getloadavg()[1], time.monotonic()  # of others: the walk makes its own
    done = subprocess.run(words, cwd=ROOT, env=environment, capture_output=True, text=True)
    seconds = time.monotonic() - start
    assert done.returncode == 0, done.stderr[-2000:]
    assert "the loss is normal" in done.stdout
    report = json.loads((tmp_path / "reports" / "latest" / "report.json").read_text())
    rows = [row for row in report["rows"] if row["metric"] == "bits_per_byte"]
    assert {row["split"] for row in rows} == {"test", "test/austen", "test/sotu"}
    for row in rows:
        assert row["high"] < row["baselines"]["byte_5gram"]
        assert row["high"] < row["baselines"]["xz"]
    [kid] = [row for row in report["rows"] if row["metric"] == "kid_efficientnet_lite0"]
    for floor in ("pca_gaussian", "blurred", "init"):
        assert 2 * kid["high"] < kid["baselines"][floor]
    print(f"vermeil run tiny: {seconds:.0f} s, load before it {load:.1f}")
    assert seconds < 1800 or load > 0.5, f"{seconds:.0f} s on a quiet machine"


@pytest.mark.full
def test_a_compiled_model_has_the_losses_of_an_eager_one(tmp_path):
    finals = []
    for compiled in ("false", "true"):
        home = tmp_path / compiled
        environment = os.environ | {"VERMEIL_HOME": str(home)}
        for words in (["tokenizer", "smoke"], ["lm", "smoke", "--compile", compiled]):
            command = [sys.executable, "-m", "vermeil", "train", *words]
            done = subprocess.run(
                command, cwd=ROOT, env=environment, capture_output=True, text=True
            )
            assert done.returncode == 0, done.stderr[-2000:]
        [path] = home.glob("runs/lm/*/metrics.jsonl")
        lines = path.read_text().splitlines()
        finals.append([json.loads(line)["train_loss"] for line in lines if "train" in line])
    assert finals[0] == pytest.approx(finals[1], abs=1e-3)
