"""The folder of a Hugging Face Space: a card, the demo, its code, its artifacts and exact versions.

What is in it is enough: `python app.py` there needs neither this checkout nor, unless the artifacts
come from the Hub, the network.
"""

import importlib.metadata
import shutil
import sys
import tomllib
from collections.abc import Sequence
from pathlib import Path

from shared.artifact import ROOT, Artifact, find, newest
from shared.errors import VermeilError
from shared.home import home

PACKAGES = ("shared", "data", "phase1_foundation", "phase2_multimodal", "phase3_scaling",
            "phase4_deploy")  # fmt: skip
CODE = (".py", ".j2", ".css")
PACKS = ("data/embedded/pictures.zip", "data/embedded/speech.zip")  # the examples are made of them
PAPERS = ("LICENSE", "LICENSES.md")
# The first that is there of each kind: those that the tabs ask.
KINDS = (("lm",), ("unified", "vqa", "caption"), ("text_to_image",), ("speech",))
# What the demo imports, besides the extra `serve`; what these need comes along.
NEEDED = ("espeakng-loader", "filelock", "huggingface_hub", "jaxtyping", "numpy", "packaging",
          "pillow", "PyYAML", "safetensors", "scipy", "sentencepiece", "soundfile", "tokenizers",
          "torch", "torchaudio")  # fmt: skip
CARD = """---
title: Vermeil
emoji: 🎨
colorFrom: red
colorTo: yellow
sdk: gradio
sdk_version: {gradio}
python_version: "{python}"
app_file: app.py
pinned: false
license: mit
short_description: One small model that reads, looks, draws and listens
{models}---

# Vermeil

One small model that reads, writes, looks, answers, draws and listens, trained from scratch.
Nothing that visitors give it is kept or sent on.

| model | trained on |
|---|---|
{table}

The code is MIT; the data sets keep their licences (LICENSES.md). Start it anywhere with
`pip install -r requirements.txt` and `python app.py`.
"""
APP = '''"""Vermeil's demo. Made by `vermeil export space`; it needs nothing but this folder."""

import os
from pathlib import Path

HOME = Path(__file__).resolve().parent / "home"
os.environ["VERMEIL_HOME"] = str(HOME)
{fetch}
from phase4_deploy.demo.commands import demo
from shared.step import user_errors

with user_errors():
    demo([])
'''
FETCH = """
from huggingface_hub import snapshot_download

snapshot_download({hub!r}, allow_patterns=["artifacts/**"], local_dir=HOME)
"""
LARGE = (
    "*.safetensors filter=lfs diff=lfs merge=lfs -text\n*.zip filter=lfs diff=lfs merge=lfs -text\n"
)


def make(out: Path, models: Sequence[str] = (), hub: str = "", index: str = "") -> list[Artifact]:
    """Write the folder; returns the artifacts that it shows. All or nothing.

    With `hub`, the artifacts are not copied: the Space fetches them from that model repository.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise VermeilError(f"{out} is there already", f"rm -r {out}, or name another folder")
    if hub and (hub.count("/") != 1 or not all(hub.split("/"))):
        raise VermeilError(f"'{hub}' is no repository of the Hub", "--hub USER/REPO")
    found = [find(name) for name in models] or newest(KINDS)
    partial = out.with_name(f".{out.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        partial.mkdir(parents=True)
        _code(partial)
        if not hub:
            for artifact in found:
                shutil.copytree(artifact.folder, partial / "home" / place(artifact))
        _report(partial)
        fetch = FETCH.format(hub=hub) if hub else ""
        pages = {"README.md": _card(found, hub), "app.py": APP.format(fetch=fetch),
                 "requirements.txt": requirements(index), ".gitattributes": LARGE}  # fmt: skip
        for name, text in pages.items():
            (partial / name).write_text(text, encoding="utf-8")
        if out.exists():
            out.rmdir()
        partial.rename(out)
    except OSError as error:
        shutil.rmtree(partial, ignore_errors=True)
        raise VermeilError(f"could not write {out} ({error.strerror or error})") from error
    return found


def place(artifact: Artifact) -> Path:
    """Where an artifact stands in a home: artifacts/phase1/lm/tiny-1a2b3c4d."""
    phase, _, rest = artifact.id.partition("/")
    step, _, version = rest.partition("@")
    return Path("artifacts", phase, step, version)


def _code(folder: Path) -> None:
    """This checkout's packages, and the packs and papers that belong to them."""
    files = [path for package in PACKAGES for path in (ROOT / package).rglob("*")
             if path.suffix in CODE and "__pycache__" not in path.parts]  # fmt: skip
    for path in [*files, *(ROOT / name for name in PACKS + PAPERS)]:
        target = folder / path.relative_to(ROOT)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)


def _report(folder: Path) -> None:
    report = home() / "reports" / "latest" / "report.html"
    if report.is_file():
        target = folder / "home" / report.relative_to(home())
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(report, target)


def _card(found: Sequence[Artifact], hub: str) -> str:
    rows = [
        f"| {artifact.id} | {', '.join(_data(artifact)) or 'see its card'} |" for artifact in found
    ]
    return CARD.format(
        gradio=importlib.metadata.version("gradio"),
        python=f"{sys.version_info.major}.{sys.version_info.minor}",
        models=f"models:\n- {hub}\n" if hub else "", table="\n".join(rows),
    )  # fmt: skip


def _data(artifact: Artifact) -> list[str]:
    """Data sets and their licences, as the manifest has them."""
    return [f"{data['name']} ({data['licence']})" for data in artifact.manifest.get("data", [])]


def requirements(index: str = "") -> str:
    """requirements.txt: what the demo needs and what that needs, in constraints.txt's versions."""
    from packaging.requirements import Requirement
    from packaging.utils import canonicalize_name

    pins = {}
    for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines():
        name, equal, _ = line.partition("==")
        if equal:
            pins[canonicalize_name(name)] = line.strip()
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    first = [*NEEDED, *project["optional-dependencies"]["serve"]]
    todo, known = [Requirement(line) for line in first], set[str]()
    if loose := [each.name for each in todo if canonicalize_name(each.name) not in pins]:
        raise VermeilError(
            f"no version of {', '.join(loose)} in constraints.txt", "make constraints"
        )
    while todo:
        wanted = todo.pop()
        name = canonicalize_name(wanted.name)
        # What is not pinned (CUDA's libraries) comes with what needs it.
        if name in known or name not in pins:
            continue
        known.add(name)
        for line in importlib.metadata.requires(name) or []:
            needed = Requirement(line)
            extras = wanted.extras or {""}
            if not needed.marker or any(needed.marker.evaluate({"extra": e}) for e in extras):
                todo.append(needed)
    head = [f"--extra-index-url {index}"] if index else []
    return "\n".join([*head, *(pins[name] for name in sorted(known))]) + "\n"
