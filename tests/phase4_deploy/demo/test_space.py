"""A Space's folder: its card, its versions, its code; and that it lives without this checkout."""

import importlib.metadata
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from phase4_deploy.demo import space
from shared.artifact import ROOT, Artifact, publish
from shared.errors import VermeilError


def artifact(home: Path, step: str, phase: str, save=None) -> Artifact:
    """One in the home, of a file without meaning unless `save` writes a model."""
    data = [{"name": "embedded_text", "licence": "public domain"}]
    manifest = {"id": f"{phase}/{step}@tiny-1a2b3c4d", "step": step, "config": {}, "data": data}
    save = save or (lambda folder: (folder / "model.safetensors").write_bytes(b"weights"))
    return publish(home / "artifacts" / phase / step / "tiny-1a2b3c4d", save, manifest, "a card")


@pytest.fixture
def made(home, tmp_path) -> Path:
    artifact(home, "lm", "phase1")
    artifact(home, "vqa", "phase2")
    artifact(home, "caption", "phase2")
    report = home / "reports" / "latest" / "report.html"
    report.parent.mkdir(parents=True)
    report.write_text("<h1>numbers</h1>")
    assert [found.id.partition("@")[0] for found in space.make(tmp_path / "space")] == [
        "phase1/lm", "phase2/vqa"
    ]  # fmt: skip
    return tmp_path / "space"


def test_the_card_is_what_the_hub_reads(made):
    _, front, text = (made / "README.md").read_text().split("---\n", 2)
    card = yaml.safe_load(front)
    assert card == {
        "title": "Vermeil", "emoji": "🎨", "colorFrom": "red", "colorTo": "yellow",
        "sdk": "gradio", "sdk_version": importlib.metadata.version("gradio"),
        "python_version": f"{sys.version_info.major}.{sys.version_info.minor}",
        "app_file": "app.py", "pinned": False, "license": "mit",
        "short_description": "One small model that reads, looks, draws and listens",
    }  # fmt: skip
    assert len(card["short_description"]) <= 60  # the Hub refuses longer ones
    assert "| phase1/lm@tiny-1a2b3c4d | embedded_text (public domain) |" in text


def test_versions_are_those_of_the_constraints(made):
    pins = set((ROOT / "constraints.txt").read_text().splitlines())
    lines = (made / "requirements.txt").read_text().splitlines()
    assert set(lines) <= pins and len(set(lines)) == len(lines)
    names = {line.partition("==")[0].lower() for line in lines}
    assert names >= {"torch", "gradio", "fastapi", "sentencepiece", "soundfile", "numpy"}
    assert not names & {"pytorch-lightning", "transformers", "pytest", "streamlit", "onnx"}
    assert "--extra-index-url https://x\n" in space.requirements("https://x")


def test_models_report_packs_and_papers_are_in_it_and_no_path_of_this_machine(made):
    for found in (made / "home").glob("artifacts/*/*/*"):
        Artifact(found).verify()
    assert {path.parent.name for path in made.glob("home/artifacts/*/*/*")} == {"lm", "vqa"}
    assert (made / "home/reports/latest/report.html").read_text() == "<h1>numbers</h1>"
    for name in (*space.PACKS, *space.PAPERS, "phase4_deploy/demo/style.css"):
        assert (made / name).read_bytes() == (ROOT / name).read_bytes()
    texts = [path for path in made.rglob("*") if path.suffix in (".py", ".md", ".txt", ".json")]
    here = str(ROOT).encode()
    assert len(texts) > 100 and not [path for path in texts if here in path.read_bytes()]


def test_with_the_hub_models_stay_out_and_are_fetched(home, tmp_path):
    artifact(home, "lm", "phase1")
    space.make(tmp_path / "space", hub="ann/vermeil")
    assert not (tmp_path / "space" / "home" / "artifacts").exists()
    app = (tmp_path / "space" / "app.py").read_text()
    compile(app, "app.py", "exec")
    assert "snapshot_download('ann/vermeil', allow_patterns=[\"artifacts/**\"]" in app
    assert "models:\n- ann/vermeil\n---" in (tmp_path / "space" / "README.md").read_text()


def test_what_cannot_be_made_is_refused_and_nothing_is_left(home, tmp_path):
    with pytest.raises(VermeilError, match="nothing has been trained"):
        space.make(tmp_path / "space")
    found = artifact(home, "lm", "phase1")
    with pytest.raises(VermeilError, match="USER/REPO"):
        space.make(tmp_path / "space", hub="vermeil")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("mine")
    with pytest.raises(VermeilError, match="is there already"):
        space.make(tmp_path / "full")
    (found.folder / "model.safetensors").write_bytes(b"other")
    with pytest.raises(VermeilError, match="sha256 differs"):
        space.make(tmp_path / "space")
    assert not list(tmp_path.glob("*space*")) and (tmp_path / "full" / "mine.txt").exists()


# Runs app.py where only the packages of requirements.txt can be imported, and tells when it ends
# which modules it took from where.
WATCH = """
import atexit, json, runpy, sys
absent = set(sys.argv[1].split())

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in absent:
            raise ModuleNotFoundError(f"No module named '{name}'", name=name)

def tell():
    files = {name: getattr(module, "__file__", None) for name, module in sys.modules.items()}
    open(sys.argv[2], "w").write(json.dumps(files))

sys.path[0] = ""
sys.meta_path.insert(0, Absent())
atexit.register(tell)
runpy.run_path("app.py", run_name="__main__")
"""


def not_listed(requirements: Path) -> set[str]:
    """Modules that are installed here and would not be there."""
    lines = requirements.read_text().splitlines()
    listed = {line.partition("==")[0].lower().replace("_", "-") for line in lines}
    with_torch = {"setuptools", "cuda", "nvidia"}  # not pinned: they come with it
    return {
        module for module, packages in importlib.metadata.packages_distributions().items()
        if not {package.lower().replace("_", "-") for package in packages} & listed
        and module not in {*space.PACKAGES, *with_torch} and not module.startswith("_")
    }  # fmt: skip


def language_model(folder: Path) -> None:
    """A model of random weights that can be opened and asked."""
    from phase1_foundation.language.model import LanguageModel, LanguageModelConfig
    from phase1_foundation.language.tokenizer import Tokenizer

    words = ("she", "had", "been", "thinking", "of", "all", "those", "people", "in", "town")
    texts = [f"{a} {b} {c}." for a in words for b in words for c in words]
    tokenizer = Tokenizer.train(texts, 320, "bpe", threads=1)
    tokenizer.save_pretrained(folder)
    config = LanguageModelConfig(
        vocab_size=tokenizer.vocab_size, dim=32, layers=1, heads=2, kv_heads=2, mlp_dim=64,
        context=64,
    )  # fmt: skip
    LanguageModel(config).save_pretrained(folder)


@pytest.mark.full
def test_it_starts_and_answers_in_a_clean_folder(home, tmp_path):
    """It has what is in the folder and in its requirements.txt, and nothing else."""
    from gradio_client import Client

    artifact(home, "lm", "phase1", language_model)
    space.make(tmp_path / "made")
    place = Path(shutil.move(tmp_path / "made", tmp_path / "elsewhere"))
    shutil.rmtree(home)
    absent = not_listed(place / "requirements.txt")
    assert {"pytorch_lightning", "transformers", "pytest", "vermeil"} <= absent
    environment = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ}
    command = [sys.executable, "-c", WATCH, " ".join(absent), str(tmp_path / "modules.json")]
    with (tmp_path / "errors").open("w") as errors:
        process = subprocess.Popen(
            command, cwd=place, text=True, stdout=subprocess.PIPE, stderr=errors,
            env=environment | {"HOME": str(tmp_path), "OMP_NUM_THREADS": "1"},
        )  # fmt: skip
    try:
        assert process.stdout
        said = process.stdout.readline()
        assert said.startswith("Vermeil's demo: http"), (tmp_path / "errors").read_text()
        client = Client(said.split()[2], verbose=False, analytics_enabled=False)
        text = client.predict("She had", 8, 1, 1, 0, api_name="/write")
        client.close()
        assert text.startswith("She had") and len(text) > len("She had")
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=120)
    finally:
        process.kill()
    told = json.loads((tmp_path / "modules.json").read_text())
    files = {name: Path(file) for name, file in told.items() if file}
    assert files["phase4_deploy.demo.app"].is_relative_to(place)
    own = [
        file for file in files.values() if file.is_relative_to(ROOT) and ".venv" not in file.parts
    ]
    assert not own
