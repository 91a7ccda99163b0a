"""`vermeil train|eval text_to_image` and `vermeil draw`, as commands that a person types."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

import data
from phase1_foundation.diffusion.model import DiffusionConfig, DiffusionModel
from phase1_foundation.language.model import LanguageModel, LanguageModelConfig
from phase1_foundation.language.tokenizer import Tokenizer
from phase1_foundation.train_diffusion import PRESETS as DIFFUSION
from phase2_multimodal.text_to_image.model import TextToImageConfig, TextToImageModel
from phase2_multimodal.text_to_image.reuse import BYTES
from shared.artifact import Artifact, publish
from shared.config import as_dict
from shared.results import Results

SMOKE = ["text_to_image", "smoke", "--steps", "8", "--validate_every", "4",
         "--checkpoint_every", "4", "--sample_every", "4", "--sampler_steps", "2"]  # fmt: skip
ASKED = "a large apple at the top left with blue behind"


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Path:
    """Where phase 1 has been: parents as its smoke presets make them, but for the training."""
    home = tmp_path_factory.mktemp("home")
    texts = [document.text[:3000] for document in data.load("embedded_text").documents("train")]
    words = Tokenizer.train(texts, 500, "bpe", threads=1)
    torch.manual_seed(0)
    lm = LanguageModel(
        LanguageModelConfig(500, dim=32, layers=2, heads=2, kv_heads=2, mlp_dim=64, context=64)
    )
    config = DIFFUSION["smoke"].config
    diffusion = DiffusionModel(
        DiffusionConfig(16, tuple("abcdefghi"), widths=(8, 16), layers=1, heads=2, mlp_dim=32)
    )

    def save_lm(folder: Path) -> None:
        lm.save_pretrained(folder)
        words.save_pretrained(folder)

    for step, save in (("lm", save_lm), ("diffusion", diffusion.save_pretrained)):
        manifest = {
            "id": f"phase1/{step}@smoke-1", "step": step, "preset": "smoke",
            "config": as_dict(config) if step == "diffusion" else {},
            "metrics": [{"metric": "kid_efficientnet_lite0", "value": 0.5}],
        }  # fmt: skip
        publish(home / "artifacts" / "phase1" / step / "smoke-1", save, manifest, "")
    return home


@pytest.fixture(scope="module")
def model(command, home) -> Path:
    """The folder of a model that was hardly trained."""
    done = command("train", *SMOKE, home=home)
    assert done.returncode == 0, done.stderr
    return Path(done.stdout.splitlines()[-1])


def results(home: Path, model: Path) -> Results:
    return Results.load(home / "runs" / "text_to_image" / model.name)


def test_a_model_is_made_measured_and_knows_its_parents(home, model):
    manifest = Artifact(model).verify().manifest
    assert [p["id"] for p in manifest["parents"]] == [
        "phase1/diffusion@smoke-1",
        "phase1/lm@smoke-1",
    ]
    assert (model / "tokenizer.model").exists()
    found = results(home, model)
    assert found.reuse is not None and found.reuse["taken"] > found.reuse["new"] > 0
    assert found.reuse["frozen"] > 0
    rows = {(row.metric, row.split): row for row in found.rows}
    for split, n in (("test", 48), ("pairs", 16)):
        for metric in ("object_accuracy", "background_accuracy"):
            row = rows[metric, split]
            assert row.n == n and set(row.baselines) == {"shuffled_prompt"}
            assert row.value is None and "of real pictures right" in row.note  # after ten steps
        assert rows["judge_accuracy", split].n == 512
    again = rows["phase1_kid_efficientnet_lite0", "train"]
    if again.value is not None:
        assert again.reference == {"phase 1": 0.5}
        assert set(rows["kid_efficientnet_lite0", "validation"].baselines) == {"blurred"}
    shown = found.exhibits[0]["items"]
    assert len(shown) == 12 and any("missed" in item["label"] for item in shown)


def test_the_reader_is_the_language_model_to_the_bit(home, model):
    lm = load_file(home / "artifacts" / "phase1" / "lm" / "smoke-1" / "model.safetensors")
    ours = load_file(model / "model.safetensors")
    assert {f"text.{name}" for name in lm} == {name for name in ours if name.startswith("text.")}
    for name, weight in lm.items():
        assert torch.equal(ours[f"text.{name}"], weight), name


def test_draw_writes_a_picture(command, home, model, tmp_path):
    out = tmp_path / "a.png"
    done = command("draw", ASKED, "--out", str(out), "--steps", "2", "--scale", "2", home=home)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == f"wrote {out}: {ASKED}"
    first = np.asarray(Image.open(out))
    assert first.shape == (64, 64, 3)
    words = ["draw", ASKED, "--out", str(out), "--steps", "2", "--scale", "2"]
    for more, same in (([], True), (["--seed", "1"], False)):
        assert command(*words, *more, home=home).returncode == 0
        assert np.array_equal(np.asarray(Image.open(out)), first) == same
    done = command(*words, "--number", "3", "--negative_prompt", "a dog", home=home)
    assert done.returncode == 0 and np.asarray(Image.open(out)).shape == (
        2 * (32 + 4),
        2 * (3 * 34 + 2),
        3,
    )


def test_eval_measures_the_same(command, home, model):
    before = results(home, model)
    wrong = [dataclasses.replace(r, protocol="wrong") for r in before.rows]
    dataclasses.replace(before, rows=wrong).save(home / "runs" / "text_to_image" / model.name)
    done = command("eval", str(model), home=home)
    assert done.returncode == 0, done.stderr
    for old, new in zip(before.rows, results(home, model).rows, strict=True):
        assert new.protocol == old.protocol
        if new.value is not None and new.metric != "pictures_per_second":
            assert new.value == pytest.approx(old.value, rel=1e-3, abs=1e-5), new.metric


def test_what_reads_bytes_needs_no_tokenizer(command, home, model, tmp_path):
    shape = json.loads((model / "config.json").read_text())["diffusion"]
    diffusion = DiffusionConfig(**shape | {"classes": ("a",), "widths": tuple(shape["widths"])})
    config = TextToImageConfig(diffusion, BYTES, text_encoder="bytes")
    TextToImageModel(config).save_pretrained(tmp_path / "bytes")
    out = str(tmp_path / "a.png")
    done = command("draw", "собака", "--model", str(tmp_path / "bytes"), "--out", out, home=home)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["draw", "dog " * 1250], "(5,000 characters), the model takes 64"),
        (["draw", "a dog", "--out", "a.jpg"], "is written as PNG"),
        (["draw", "a dog", "--out", "no/such/folder.png"], "there is no folder no/such"),
        (["draw", "a", "--negative_prompt", "b", "--guidance_scale", "1"], "does nothing"),
        (["draw", "a dog", "--model", "text_to_image@large"], "no artifact 'text_to_image@large'"),
        (["train", *SMOKE, "--lm", "diffusion@smoke"], "--lm diffusion@smoke is a diffusion"),
        (["train", *SMOKE, "--diffusion", "lm@smoke"], "--diffusion lm@smoke is a lm"),
        (["train", *SMOKE, "--lm", "lm@tiny"], "there is no artifact 'lm@tiny'"),
        (["train", *SMOKE, "--size", "24"], "of 16 pixels cannot become one of 24"),
        (["train", *SMOKE, "--concepts", "17"], "17 concepts"),
        (["train", *SMOKE, "--most", "3"], "cannot be made of 2"),
        (["train", *SMOKE, "--condition_dropout", "0"], "guidance 2.5 needs a model"),
        (["train", *SMOKE, "--text_encoder", "bytes", "--lm", "lm@smoke"], "without a language"),
    ],
)
def test_what_cannot_be_is_one_sentence(command, words, says, model, home):
    done = command(*words, home=home)
    assert done.returncode == 2, done.stdout
    assert says in done.stderr and "Traceback" not in done.stderr
    assert len(done.stderr.splitlines()) <= 2
