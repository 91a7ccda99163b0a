"""What one step hands to the next: a folder that is complete, verified and knows its lineage.

    $VERMEIL_HOME/artifacts/<phase>/<step>/<version>/
        config.json  model.safetensors  [tokenizer files]  README.md  manifest.json

The manifest is written last, so its presence means complete. It holds the sha256 of every file and
of itself: one flipped byte anywhere is noticed on loading. Loading is strict: every tensor used,
none missing. No torch at import: the walk verifies artifacts without it.
"""

import dataclasses
import hashlib
import json
import shutil
import subprocess
import typing
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self, cast

from shared.errors import VermeilError, nearest
from shared.home import home

if TYPE_CHECKING:
    from torch import nn

SCHEMA = 1
ROOT = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class Artifact:
    """A finished artifact on disk."""

    folder: Path

    @cached_property
    def manifest(self) -> dict[str, Any]:
        """The manifest, its schema and its own hash checked."""
        return read_manifest(self.folder)

    @property
    def id(self) -> str:
        return self.manifest["id"]

    @property
    def role(self) -> str:
        """The step whose models it can take the place of: its own, if it says nothing else."""
        return self.manifest.get("role", self.manifest["step"])

    @property
    def sha256(self) -> str:
        """The identity of the content: equal weights and settings made twice have the same.

        The card and the manifest tell when and where it was made, and do not count.
        """
        files = self.manifest["files"]
        return fingerprint({name: sha for name, sha in files.items() if name != "README.md"})

    @property
    def lineage(self) -> dict[str, str]:
        """How a child's manifest names this parent."""
        return {"id": self.id, "sha256": self.sha256}

    def verify(self) -> "Artifact":
        """Compare every file with the manifest; returns itself or raises naming the file."""
        for name, expected in self.manifest["files"].items():
            path = self.folder / name
            if not path.is_file():
                raise self._damaged(f"{path} is missing")
            try:
                found = file_sha256(path)
            except OSError as error:
                raise VermeilError(
                    f"{path} cannot be read ({error.strerror})", f"chmod -R a+rX {self.folder}"
                ) from None
            if found != expected:
                raise self._damaged(f"{path} is not what was saved: its sha256 differs")
        return self

    def _damaged(self, message: str) -> VermeilError:
        return VermeilError(message, f"make it again: {remake(self.folder)}")


def remake(folder: Path) -> str:
    """The commands that make the artifact in `folder` again."""
    step, version = folder.parent.name, folder.name
    return f"rm -r {folder} && vermeil train {step} {version.rpartition('-')[0] or version}"


def file_sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def fingerprint(value: Any) -> str:
    """sha256 of a JSON value, independent of key order."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def read_manifest(folder: Path) -> dict[str, Any]:
    """Read and check manifest.json."""
    path = folder / "manifest.json"
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
        if manifest["schema"] > SCHEMA:
            raise VermeilError(
                f"{path} has schema {manifest['schema']}, this Vermeil reads up to {SCHEMA}",
                "update Vermeil: git pull && make setup",
            )
        body = {key: value for key, value in manifest.items() if key != "sha256"}
        if manifest["sha256"] != fingerprint(body):
            raise ValueError("its own hash differs")
    except (OSError, ValueError, KeyError, TypeError) as error:
        message = f"{path} is damaged ({error})"
        raise VermeilError(message, f"make it again: {remake(folder)}") from None
    return manifest


class Missing(VermeilError):
    """No artifact fits a reference; the hint makes one."""


def find(reference: str, *, data: str | None = None) -> Artifact:
    """The artifact that a reference fits: "lm", "lm@tiny", "lm@tiny-1a2b3c4d" or a folder.

    Of several the newest counts; of a preset's, those with the preset's own configuration come
    first. `data` asks for one that was made from that data set.
    """
    if Path(reference).is_dir():
        return Artifact(Path(reference)).verify()
    step, _, version = reference.rpartition("/")[2].partition("@")
    artifacts = home() / "artifacts"
    folders = [p.parent for p in artifacts.glob("*/*/*/manifest.json") if p.parent.name[0] != "."]
    fitting = [
        folder
        for folder in folders
        if folder.parent.name == step
        and version in ("", folder.name, folder.name.rpartition("-")[0])
    ]
    if data is not None:
        fitting = [f for f in fitting if read_manifest(f)["config"].get("data") == data]
    if not fitting:
        preset = version.rpartition("-")[0] or version or "tiny"
        have = sorted({folder.parent.name for folder in folders})
        known = f" (there are: {', '.join(have)})" if have and step not in have else ""
        made_from = f" made from {data}" if data else ""
        raise Missing(
            f"there is no artifact '{reference}'{made_from}{known}",
            f"vermeil train {step} {preset}" + (f" --data {data}" if data else ""),
        )

    def rank(folder: Path) -> tuple[bool, float]:
        unchanged = bool(version) and not read_manifest(folder).get("changed", False)
        return unchanged, (folder / "manifest.json").stat().st_mtime

    return Artifact(max(fitting, key=rank) if len(fitting) > 1 else fitting[0]).verify()


def newest(kinds: Iterable[Sequence[str]]) -> list[Artifact]:
    """Of each kind the first step that has an artifact; raises for a damaged one, and for none."""
    found = []
    for steps in kinds:
        for step in steps:
            try:
                found.append(find(step))
                break
            except Missing:
                continue
    if not found:
        raise VermeilError("nothing has been trained yet", "vermeil run tiny")
    return found


def publish(
    folder: Path, save: Callable[[Path], None], manifest: dict[str, Any], card: str
) -> Artifact:
    """Write an artifact: files by `save(folder)`, the card, then the manifest; all or nothing.

    `manifest` holds what the run knows (id, config, parents, data, metrics, ...); hashes, code
    version and schema are added here.
    """
    partial = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        partial.mkdir(parents=True)
        save(partial)
        (partial / "README.md").write_text(card, encoding="utf-8")
        for path in partial.iterdir():  # safetensors lets its owner alone read; servers are others
            path.chmod(0o644)
        files = {p.name: file_sha256(p) for p in sorted(partial.iterdir())}
        manifest = {"schema": SCHEMA, **manifest, "code": code_version(), "files": files}
        manifest["sha256"] = fingerprint(manifest)
        (partial / "manifest.json").write_text(json.dumps(manifest, indent=2), encoding="utf-8")
        old = folder.with_name(f".{folder.name}.old")
        shutil.rmtree(old, ignore_errors=True)
        if folder.exists():
            folder.rename(old)
        partial.rename(folder)
        shutil.rmtree(old, ignore_errors=True)
    except OSError as error:
        shutil.rmtree(partial, ignore_errors=True)
        raise VermeilError(
            f"could not write the artifact {folder} ({error.strerror or error})",
            "free some space and run the same command; the training is kept",
        ) from error
    return Artifact(folder)


def code_version() -> dict[str, Any]:
    """Version, git commit and whether the tree was clean (None outside a checkout)."""
    from importlib.metadata import PackageNotFoundError, version

    def git(*arguments: str) -> str | None:
        done = subprocess.run(["git", "-C", ROOT, *arguments], capture_output=True, text=True)
        return done.stdout.strip() if done.returncode == 0 else None

    try:
        number = version("vermeil")
    except PackageNotFoundError:
        number = "not installed"
    status = git("status", "--porcelain", "--untracked-files=no")
    clean = None if status is None else status == ""
    return {"version": number, "commit": git("rev-parse", "HEAD"), "clean": clean}


class Pretrained:
    """The Hub's three verbs for a model whose constructor takes one config dataclass."""

    config_class: ClassVar[type]
    config: Any

    @classmethod
    def from_pretrained(cls, name: str | Path | Artifact, device: str = "cpu") -> Self:
        """Load strictly from an artifact ("lm@tiny"), a folder, or a Hub repository."""
        from safetensors import SafetensorError
        from safetensors.torch import load_model

        folder = name.folder if isinstance(name, Artifact) else locate(str(name))
        model = cls(read_config(folder / "config.json", cls.config_class))  # type: ignore[call-arg]
        try:
            load_model(cast("nn.Module", model), folder / "model.safetensors", strict=True)
        except (RuntimeError, OSError, SafetensorError) as error:
            reason = " ".join(str(error).split())
            raise VermeilError(f"{folder} does not fit {cls.__name__}: {reason}") from None
        return model.to(device).eval()  # type: ignore[attr-defined]

    def save_pretrained(self, folder: Path) -> None:
        """Write config.json and model.safetensors (tied weights once)."""
        from safetensors.torch import save_model

        folder.mkdir(parents=True, exist_ok=True)
        config = {"class": type(self).__name__, **dataclasses.asdict(self.config)}
        (folder / "config.json").write_text(json.dumps(config, indent=2))
        save_model(self, str(folder / "model.safetensors"))  # type: ignore[arg-type]

    def push_to_hub(self, repository: str, folder: Path, private: bool = True) -> str:
        """Upload a saved artifact folder to the Hugging Face Hub; returns its address."""
        from huggingface_hub import HfApi

        api = HfApi()
        address = api.create_repo(repository, private=private, exist_ok=True)
        api.upload_folder(repo_id=repository, folder_path=folder)
        return str(address)


def locate(name: str) -> Path:
    """The folder of a local artifact, a verified folder, or a snapshot fetched from the Hub."""
    if Path(name).is_dir():
        folder = Path(name)
        return Artifact(folder).verify().folder if (folder / "manifest.json").exists() else folder
    if "/" in name and "@" not in name and name.count("/") == 1:
        from huggingface_hub import snapshot_download

        try:
            return locate(snapshot_download(name))
        except Exception as error:
            raise VermeilError(
                f"'{name}' is no folder here and could not be fetched from the Hub "
                f"({type(error).__name__})",
                "check the name and the network, or name a local artifact such as lm@tiny",
            ) from None
    return find(name).folder


def read_config(path: Path, config_class: type) -> Any:
    """A model's config.json as its dataclass; unknown or missing keys are errors."""
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise VermeilError(f"cannot read {path} ({error})") from None
    values.pop("class", None)
    return _config_of(values, config_class, path)


def _config_of(values: dict[str, Any], config_class: type, path: Path) -> Any:
    """Plain values as a dataclass, and those of its fields that are dataclasses likewise."""
    kinds = typing.get_type_hints(config_class)
    made = {}
    for key, value in values.items():
        if key not in kinds:
            raise VermeilError(f"{path} has the unknown key '{key}'", nearest(key, [*kinds]))
        made[key] = tuple(value) if isinstance(value, list) else value
        if dataclasses.is_dataclass(kinds[key]) and isinstance(value, dict):
            made[key] = _config_of(value, cast("type", kinds[key]), path)
    try:
        return config_class(**made)
    except TypeError as error:
        raise VermeilError(f"{path} is incomplete ({error})") from None
