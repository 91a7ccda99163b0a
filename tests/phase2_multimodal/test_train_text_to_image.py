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
from phase1_foundation.vision.vit import VisionTransformerConfig
from phase2_multimodal.alignment.model import AlignmentConfig, AlignmentModel
from phase2_multimodal.text_to_image.model import TextToImageConfig, TextToImageModel
from phase2_multimodal.text_to_image.reuse import BYTES
from phase2_multimodal.train_text_to_image import STEP
from shared.artifact import Artifact, publish
from shared.config import as_dict
from shared.errors import VermeilError
from shared.results import Results

SMOKE = ["text_to_image", "smoke", "--steps", "8", "--validate_every", "4",
         "--checkpoint_every", "4", "--sample_every", "4", "--sampler_steps", "2"]  # fmt: skip
ASKED = "a large apple at the top left with blue behind"
BASE = ["text_to_image", "base", "--lm", "lm@smoke", "--diffusion", "diffusion@smoke", "--size",
        "32", "--steps", "4", "--batch_size", "8", "--warmup", "1", "--validate_every", "2",
        "--sample_every", "2", "--pictures", "48", "--sampler_steps", "2", "--networks",
        "efficientnet_lite0", "--compile", "false", "--workers", "0", "--threads", "1",
        "--precision", "fp32"]  # fmt: skip


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
def photographs(tmp_path_factory) -> str:
    """COCO in its official form, with two parts of a year."""
    root, random = tmp_path_factory.mktemp("photographs"), np.random.default_rng(0)
    (root / "annotations").mkdir()
    for part, first, n in (("train2017", 0, 24), ("val2017", 100, 20)):
        (root / part).mkdir()
        listed, said = [], []
        for number in range(first, first + n):
            name = f"{number:012}.jpg"
            pixels = random.integers(0, 256, (5, 6, 3), np.uint8)
            Image.fromarray(pixels).resize((60, 50)).save(root / part / name)
            listed.append({"id": number, "file_name": name, "width": 60, "height": 50})
            said += [{"image_id": number, "id": 2 * number + k, "caption": f"A dog , {number} {k}"}
                     for k in range(2)]  # fmt: skip
        found = json.dumps({"images": listed, "annotations": said})
        (root / "annotations" / f"captions_{part}.json").write_text(found)
    return f"coco@{root}"


@pytest.fixture(scope="module")
def illustrated(command, home, photographs) -> Path:
    """The folder of a model of `base`, made small, that has seen those pictures."""
    done = command("train", *BASE, "--data", photographs, home=home)
    assert done.returncode == 0, done.stderr
    return Path(done.stdout.splitlines()[-1])


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


def test_base_learns_from_any_pictures_with_words(home, illustrated, photographs):
    manifest = Artifact(illustrated).verify().manifest
    assert manifest["config"]["data"] == photographs
    assert [data["name"] for data in manifest["data"]] == [f"coco@{Path(photographs).name}"]
    found = results(home, illustrated)
    rows = {row.metric: row for row in found.rows}
    assert not {"object_accuracy", "judge_accuracy"} & {*rows}
    kid = rows["kid_efficientnet_lite0"]
    assert kid.n == 20 and kid.split == "test"
    if kid.value is not None:
        assert set(kid.baselines) == {"blurred"} and set(kid.ceilings) == {"real"}
    score = rows["clip_score"]
    assert score.value is None
    assert f"vermeil train alignment tiny --data {photographs}, then vermeil eval" in score.note
    shown = found.exhibits[0]["items"]
    assert len(shown) == 12 and all(item["label"].startswith("A dog , 1") for item in shown)
    samples = home / "runs" / "text_to_image" / illustrated.name / "samples"
    assert sorted(path.name for path in samples.iterdir()) == ["0000002.png", "0000004.png"]


def test_an_aligned_model_that_came_later_scores_it(command, home, illustrated, photographs):
    words = Tokenizer.from_pretrained(illustrated)
    language = LanguageModelConfig(
        500, dim=32, layers=1, heads=2, kv_heads=2, mlp_dim=64, context=64
    )
    vision = VisionTransformerConfig(16, 4, dim=16, layers=1, heads=2, mlp_dim=32)
    torch.manual_seed(0)
    aligned = AlignmentModel(AlignmentConfig(vision, language, 8))

    def save(folder: Path) -> None:
        aligned.save_pretrained(folder)
        words.save_pretrained(folder)

    manifest = {"id": "phase2/alignment@tiny-1", "step": "alignment", "preset": "tiny",
                "config": {"data": photographs},
                "data": [{"name": "coco@photographs"}]}  # fmt: skip
    publish(home / "artifacts" / "phase2" / "alignment" / "tiny-1", save, manifest, "")
    done = command("eval", str(illustrated), home=home)
    assert done.returncode == 0, done.stderr
    rows = {row.metric: row for row in results(home, illustrated).rows}
    for metric in ("clip_score", "clip_score_torchmetrics"):
        assert rows[metric].n == 20 and rows[metric].value is not None
        assert set(rows[metric].baselines) == {"shuffled_prompt"}
        assert set(rows[metric].ceilings) == {"real"}
        assert "phase2/alignment@tiny-1, trained on coco@photographs" in rows[metric].protocol


def test_what_reads_bytes_needs_no_tokenizer(command, home, model, tmp_path):
    shape = json.loads((model / "config.json").read_text())["diffusion"]
    diffusion = DiffusionConfig(**shape | {"classes": ("a",), "widths": tuple(shape["widths"])})
    config = TextToImageConfig(diffusion, BYTES, text_encoder="bytes")
    TextToImageModel(config).save_pretrained(tmp_path / "bytes")
    out = str(tmp_path / "a.png")
    done = command("draw", "собака", "--model", str(tmp_path / "bytes"), "--out", out, home=home)
    assert done.returncode == 0, done.stderr


def test_dali_without_a_gpu_is_said_at_once(home, photographs, monkeypatch):
    monkeypatch.setenv("VERMEIL_HOME", str(home))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    choice = STEP.parse([*BASE[1:], "--data", photographs, "--loader", "dali"])
    with pytest.raises(VermeilError, match="on an NVIDIA GPU, and there is none here: --loader"):
        STEP.inputs(choice)


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
        (["train", *SMOKE, "--data", "embedded_text"], "embedded_text holds text, not pictures"),
        (["train", *SMOKE, "--data", "cocoa@here"], "there is no reader 'cocoa'"),
        (["train", *SMOKE, "--clip_model", "lm@smoke"], "--clip_model lm@smoke is a lm"),
        (["train", *SMOKE, "--loader", "dali"], "no files for DALI to read"),
    ],
)
def test_what_cannot_be_is_one_sentence(command, words, says, model, home):
    done = command(*words, home=home)
    assert done.returncode == 2, done.stdout
    assert says in done.stderr and "Traceback" not in done.stderr
    assert len(done.stderr.splitlines()) <= 2
