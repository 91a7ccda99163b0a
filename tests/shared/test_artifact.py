"""Artifacts: whole or absent, verified to the byte, found by name."""

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path

import pytest

from shared import artifact
from shared.artifact import SCHEMA, find, fingerprint, publish, read_config, read_manifest
from shared.errors import VermeilError
from shared.home import home


def save(folder: Path) -> None:
    (folder / "config.json").write_text("{}")
    (folder / "model.safetensors").write_bytes(bytes(range(256)) * 40)


def make(version: str = "tiny-00000000", step: str = "lm", **more) -> artifact.Artifact:
    folder = home() / "artifacts" / "phase1" / step / version
    manifest = {"id": f"phase1/{step}@{version}", "parents": [], **more}
    return publish(folder, save, manifest, card="# card")


def flip(path: Path, at: int) -> None:
    content = bytearray(path.read_bytes())
    content[at] ^= 1
    path.write_bytes(content)


def test_what_was_published_is_found_and_verified():
    made = make()
    for reference in ("lm", "lm@tiny", "lm@tiny-00000000", "phase1/lm@tiny-00000000"):
        assert find(reference).folder == made.folder
    assert find(str(made.folder)).id == "phase1/lm@tiny-00000000"


def test_the_identity_is_the_content_not_the_occasion():
    first, second = make("tiny-1", created="Monday"), make("tiny-2", created="Tuesday")
    assert first.sha256 == second.sha256
    (second.folder / "config.json").write_text('{"dim": 2}')
    third = publish(second.folder.with_name("tiny-3"), lambda folder: None, {"id": "x"}, card="")
    assert third.sha256 != first.sha256


def test_a_preset_is_not_found_by_its_beginning():
    make("tiny2-00000000")
    with pytest.raises(VermeilError, match="no artifact 'lm@tiny'") as error:
        find("lm@tiny")
    assert error.value.hint == "vermeil train lm tiny"


def test_of_a_preset_the_unchanged_comes_first_and_of_all_the_newest():
    make("tiny-1", config={"data": "a"})
    make("tiny-2", changed=True, config={"data": "b"})
    assert find("lm@tiny").id.endswith("tiny-1")
    assert find("lm").id.endswith("tiny-2")
    assert find("lm@tiny", data="b").id.endswith("tiny-2")
    with pytest.raises(VermeilError, match="made from c") as error:
        find("lm@tiny", data="c")
    assert error.value.hint == "vermeil train lm tiny --data c"


def test_pushing_uploads_the_folder(monkeypatch):
    import huggingface_hub

    calls = []

    class Hub:
        def create_repo(self, repository, **options):
            calls.append(("create", repository, options))
            return f"address of {repository}"

        def upload_folder(self, **options):
            calls.append(("upload", options))

    monkeypatch.setattr(huggingface_hub, "HfApi", Hub)
    folder = make().folder
    assert artifact.Pretrained().push_to_hub("me/model", folder) == "address of me/model"
    assert calls == [("create", "me/model", {"private": True, "exist_ok": True}),
                     ("upload", {"repo_id": "me/model", "folder_path": folder})]  # fmt: skip


def test_a_missing_parent_names_the_command_that_makes_it():
    with pytest.raises(VermeilError) as error:
        find("tokenizer@small")
    assert error.value.hint == "vermeil train tokenizer small"


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "README.md"])
@pytest.mark.parametrize("at", [0, -1])
def test_one_flipped_byte_in_a_file_is_noticed(name, at):
    made = make()
    flip(made.folder / name, at)
    with pytest.raises(VermeilError, match=f"{name} is not what was saved") as error:
        find("lm")
    assert "vermeil train lm tiny" in error.value.hint


def test_one_flipped_byte_anywhere_in_the_manifest_is_noticed():
    made = make()
    path = made.folder / "manifest.json"
    whole = path.read_bytes()
    for at in range(0, len(whole), 7):
        flip(path, at)
        if json_or_none(path.read_bytes()) != json.loads(whole):  # else only white space changed
            with pytest.raises(VermeilError, match=r"manifest\.json"):
                read_manifest(made.folder)
        path.write_bytes(whole)
    read_manifest(made.folder)


def json_or_none(content: bytes):
    try:
        return json.loads(content)
    except ValueError:
        return None


def test_a_missing_file_is_noticed():
    made = make()
    (made.folder / "model.safetensors").unlink()
    with pytest.raises(VermeilError, match=r"model\.safetensors is missing"):
        find("lm")


def test_a_newer_schema_says_update():
    made = make()
    path = made.folder / "manifest.json"
    manifest = json.loads(path.read_text()) | {"schema": SCHEMA + 1}
    manifest["sha256"] = fingerprint({k: v for k, v in manifest.items() if k != "sha256"})
    path.write_text(json.dumps(manifest))
    with pytest.raises(VermeilError, match=f"schema {SCHEMA + 1}") as error:
        find("lm")
    assert "git pull" in error.value.hint


def test_without_a_manifest_it_is_not_complete():
    made = make()
    (made.folder / "manifest.json").unlink()
    with pytest.raises(VermeilError, match="no artifact 'lm'"):
        find("lm")


def test_a_full_disk_keeps_the_artifact_from_before():
    made = make()

    def fail(folder: Path) -> None:
        save(folder)
        raise OSError(28, "No space left on device")

    with pytest.raises(VermeilError, match="No space left on device"):
        publish(made.folder, fail, {"id": "phase1/lm@tiny-00000000"}, card="")
    assert find("lm").manifest == made.manifest
    assert [p.name for p in made.folder.parent.iterdir()] == [made.folder.name]


@dataclass(frozen=True)
class Tower:
    dim: int
    widths: tuple[int, ...] = (1, 2)


@dataclass(frozen=True)
class Pair:
    left: Tower
    right: Tower
    name: str = ""


def written(folder: Path, values: dict) -> Path:
    path = folder / "config.json"
    path.write_text(json.dumps({"class": "Anything", **values}))
    return path


def test_nested_settings_come_back(tmp_path):
    pair = Pair(Tower(3, (4,)), Tower(5, ()), "both")
    assert read_config(written(tmp_path, dataclasses.asdict(pair)), Pair) == pair


@pytest.mark.parametrize(("values", "says", "hint"), [
    ({"left": {"dim": 1}, "right": {"dmi": 2}}, "unknown key 'dmi'", "dim"),
    ({"lfet": {"dim": 1}}, "unknown key 'lfet'", "left"),
    ({"left": {"widths": [1]}, "right": {"dim": 2}}, "incomplete.*'dim'", ""),
    ({"left": {"dim": 1}}, "incomplete.*'right'", ""),
])  # fmt: skip
def test_wrong_nested_settings_are_named(tmp_path, values, says, hint):
    path = written(tmp_path, values)
    with pytest.raises(VermeilError, match=says) as error:
        read_config(path, Pair)
    assert str(path) in error.value.message
    assert hint in (error.value.hint or "")
