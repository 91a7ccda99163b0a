"""`vermeil export hub`: artifacts as folders that the Hugging Face Hub shows well, and the push.

A Hub folder is the artifact with another card: front matter that the Hub reads (task, licence,
results as a model index), every number with its floors and n, how to load it, and what it cannot
do. It stays an artifact: hashes are written anew, and it loads by folder or by repository.
"""

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from shared.artifact import Artifact, file_sha256, find, fingerprint, newest
from shared.config import option, parse
from shared.errors import VermeilError

TASKS = {  # step -> the Hub's name of the task, and what loads it
    "lm": ("text-generation", "from phase1_foundation.language.model import LanguageModel",
           'LanguageModel.from_pretrained("{repo}")'),
    "diffusion": ("unconditional-image-generation",
                  "from phase1_foundation.diffusion.model import DiffusionModel",
                  'DiffusionModel.from_pretrained("{repo}")'),
    "vision": ("image-feature-extraction",
               "from phase1_foundation.vision.vit import VisionTransformer",
               'VisionTransformer.from_pretrained("{repo}")'),
    "alignment": ("zero-shot-image-classification",
                  "from phase2_multimodal.alignment.model import AlignmentModel",
                  'AlignmentModel.from_pretrained("{repo}")'),
    "caption": ("image-to-text", "from phase2_multimodal.vision_language.generate import load",
                'model, prompter = load("{repo}")'),
    "vqa": ("visual-question-answering",
            "from phase2_multimodal.vision_language.generate import load",
            'model, prompter = load("{repo}")'),
    "text_to_image": ("text-to-image",
                      "from phase2_multimodal.text_to_image.model import TextToImageModel",
                      'TextToImageModel.from_pretrained("{repo}")'),
    "speech": ("automatic-speech-recognition",
               "from phase4_deploy.speech.encoder import SpeechRecogniser",
               'SpeechRecogniser.from_pretrained("{repo}")'),
    "unified": ("any-to-any", "from phase4_deploy.unified.generate import Unified",
                'Unified.from_pretrained("{repo}").generate(image="scene.png")'),
}  # fmt: skip
SHOWN = 12  # rows of the model index; the card's table has all


@dataclass(frozen=True)
class HubCommand:
    """Which artifacts, where to, and whether they are pushed."""

    POSITIONAL: ClassVar = ("what",)

    what: str = option("hub", "the front door's word")
    out: str = option("", "the folder to make, with one folder for each model")
    models: tuple[str, ...] = option((), "artifacts, e.g. lm,unified@tiny; by default all kinds")
    push: str = option(
        "", "USER: create USER/vermeil-STEP and upload; takes a token (hf auth login)"
    )
    public: bool = option(False, "let everybody see what is pushed")


def export(arguments: list[str]) -> None:
    """Make folders for the Hugging Face Hub, and push them if a user is named."""
    config = parse(
        HubCommand, arguments, command="vermeil export", about=str(export.__doc__)
    ).config
    if not config.out:
        raise VermeilError("which folder?", "vermeil export hub --out DIR")
    for artifact in [find(name) for name in config.models] or newest([step] for step in TASKS):
        step = artifact.manifest["step"]
        repo = f"{config.push or 'USER'}/vermeil-{step.replace('_', '-')}"
        folder = make(artifact, Path(config.out) / step, repo)
        print(f"{folder}: {artifact.id}")
        if config.push:
            print(f"  {push(folder, repo, private=not config.public)}")
        else:
            print(f"  hf upload {repo} {folder}")


def make(artifact: Artifact, folder: Path, repo: str) -> Path:
    """Write the Hub's folder of a verified artifact."""
    manifest = artifact.manifest
    if manifest["step"] not in TASKS:
        raise VermeilError(f"a {manifest['step']} is no model for the Hub", "name a trained model")
    if folder.exists() and not (folder / "manifest.json").exists() and any(folder.iterdir()):
        raise VermeilError(f"{folder} holds something else", "choose another --out")
    folder.mkdir(parents=True, exist_ok=True)
    for name in manifest["files"]:
        shutil.copyfile(artifact.folder / name, folder / name)
    (folder / "README.md").write_text(card(manifest, repo), encoding="utf-8")
    files = {name: file_sha256(folder / name) for name in manifest["files"]}
    body = {key: value for key, value in manifest.items() if key != "sha256"} | {"files": files}
    body["sha256"] = fingerprint(body)
    (folder / "manifest.json").write_text(json.dumps(body, indent=2), encoding="utf-8")
    Artifact(folder).verify()
    return folder


def card(manifest: Mapping[str, Any], repo: str) -> str:
    """The README of a Hub repository."""
    import yaml

    task, importing, loading = TASKS[manifest["step"]]
    head = {
        "tags": ["vermeil", "from-scratch", manifest["step"]],
        "language": ["en"],
        "license": "other",
        "license_name": "data-licences",
        "pipeline_tag": task,
        "model-index": [{"name": repo.partition("/")[2], "results": _index(manifest, task)}],
    }
    if not head["model-index"][0]["results"]:
        del head["model-index"]
    machine = manifest.get("hardware", {})
    made_from = [f"- `{p['id']}` (sha256 {p['sha256'][:12]})" for p in manifest["parents"]]
    made_from += [
        f"- data: {d['name']} {d['version']}, licence: {d['licence']}" for d in manifest["data"]
    ]
    return CARD.format(
        head=yaml.safe_dump(head, sort_keys=False, allow_unicode=True), repo=repo,
        importing=importing, loading=loading.format(repo=repo), id=manifest["id"],
        step=manifest["step"], preset=manifest["preset"], seed=manifest["seed"],
        table="\n".join(_table(manifest)), made_from="\n".join(made_from),
        minutes=manifest.get("seconds", 0) / 60, created=manifest["created"][:10],
        machine=machine.get("gpu") or machine.get("cpu", "an unknown machine"),
    )  # fmt: skip


def _index(manifest: Mapping[str, Any], task: str) -> list[dict[str, Any]]:
    """The main results as the Hub's model index has them."""
    data = ", ".join(d["name"] for d in manifest["data"]) or "vermeil"
    rows = [row for row in manifest["metrics"] if row["value"] is not None and row["split"]]
    return [
        {
            "task": {"type": task},
            "dataset": {"type": data, "name": data, "split": row["split"]},
            "metrics": [{"type": row["metric"], "name": f"{row['metric']} (n = {row['n']})",
                         "value": round(float(row["value"]), 4)}],
        }
        for row in rows[:SHOWN]
    ]  # fmt: skip


def _table(manifest: Mapping[str, Any]) -> list[str]:
    """Every result with its interval, floors, ceilings and n."""
    lines = ["| metric | value | floors | ceilings | split | n |", "|---|---|---|---|---|---|"]
    for row in manifest["metrics"]:
        value = "not available" if row["value"] is None else f"**{row['value']:.4g}** {row['unit']}"
        if row.get("low") is not None:
            value += f" ({row['low']:.4g} to {row['high']:.4g})"
        beside = [
            ", ".join(f"{name} {number:.4g}" for name, number in (row.get(kind) or {}).items())
            for kind in ("baselines", "ceilings")
        ]
        cells = [row["metric"], value.strip(), *beside, row["split"] or "", str(row["n"] or "")]
        lines.append("| " + " | ".join(cells) + " |")
    return lines


CARD = """---
{head}---
# {repo}

`{id}`: trained from scratch by Vermeil's step `{step}`, preset `{preset}`, seed {seed}, on
{created}, {machine}, {minutes:.0f} minutes. No weights of anybody else are in it.

## Use

```python
{importing}

{loading}
```

in a checkout of Vermeil with `make setup`, or over HTTP: `vermeil serve --models FOLDER`.

## Results

Beside each number stand what a simpler method gets (floors) and what people or real data get
(ceilings).

{table}

## Made from

{made_from}

## Limits

It learned from the data above and from nothing else: what is not in them, it does not know. It is
small, was not filtered and not aligned to anybody's values, and repeats the views and the errors of
its sources. Do not let it decide about people.
"""


def push(folder: Path, repo: str, *, private: bool = True) -> str:
    """Create the repository and upload the folder; the address. Takes a token (HF_TOKEN)."""
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError, LocalTokenNotFoundError

    api = HfApi()
    try:
        address = api.create_repo(repo, private=private, exist_ok=True)
        api.upload_folder(repo_id=repo, folder_path=folder)
    except LocalTokenNotFoundError:
        raise VermeilError("the Hub asks for a token", "hf auth login, or set HF_TOKEN") from None
    except (HfHubHTTPError, OSError) as error:
        said = " ".join(str(error).split())[:200]
        raise VermeilError(
            f"{repo} could not be pushed ({type(error).__name__}: {said})",
            f"the folder is complete; later: hf upload {repo} {folder}",
        ) from None
    return str(address)
