"""`vermeil caption`, `ask` and `eval` on models of a few seconds, as a person types them."""

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from data.scenes import SceneConfig, Scenes

STEPS = ("tokenizer", "lm", "vision", "alignment", "caption", "vqa")


@pytest.fixture(scope="module", autouse=True)
def no_java(tmp_path_factory):
    """METEOR's start takes longer than all else here; its numbers have tests of their own."""
    tools = tmp_path_factory.mktemp("bin")
    (tools / "git").symlink_to(str(shutil.which("git")))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", str(tools))
        yield


@pytest.fixture(scope="module")
def taught(command, tmp_path_factory) -> Path:
    """A home in which phase 2's smoke models have been made."""
    home = tmp_path_factory.mktemp("home")
    for step in STEPS:
        done = command("train", step, "smoke", home=home)
        assert done.returncode == 0, done.stderr
        assert "nan" not in done.stdout.lower()
    return home


@pytest.fixture(scope="module")
def picture(tmp_path_factory) -> Path:
    scenes = Scenes(config=SceneConfig(size=96))
    path = tmp_path_factory.mktemp("pictures") / "scene.png"
    Image.fromarray(scenes.render(scenes.scene("test", 0))).save(path)
    return path


@pytest.fixture
def typed(taught, monkeypatch, capsys):
    """typed("ask", ...) in this process: what was printed, and the error that a person sees."""
    import vermeil
    from shared import hardware

    monkeypatch.setenv("VERMEIL_HOME", str(taught))
    monkeypatch.setattr(hardware, "set_threads", lambda threads: 1)

    def run(*words) -> tuple[str, str]:
        try:
            vermeil.main([*map(str, words)])
        except SystemExit as stop:
            assert stop.code == 2
        said = capsys.readouterr()
        assert "Traceback" not in said.err
        return said.out, said.err

    return run


def test_a_picture_is_captioned_and_asked_about(command, taught, picture):
    caption = command("caption", str(picture), home=taught)
    assert caption.returncode == 0, caption.stderr
    assert len(caption.stdout.splitlines()) >= 1
    assert caption.stderr == ""
    asked = command("ask", str(picture), "what is it?", "--candidates", "yes,no,dog", home=taught)
    assert asked.returncode == 0, asked.stderr
    lines = [re.fullmatch(r" *(\d+\.\d)%  (\w+)", line) for line in asked.stdout.splitlines()]
    assert {line[2] for line in lines} == {"yes", "no", "dog"}
    shares = [float(line[1]) for line in lines]
    assert shares == sorted(shares, reverse=True)
    assert sum(shares) == pytest.approx(100, abs=0.2)


def test_the_same_words_give_the_same_answer(typed, picture):
    words = ("ask", picture, "what color is the background?", "--max_tokens", 6)
    assert typed(*words) == typed(*words)
    sampled = [typed(*words, "--temperature", 1, "--seed", seed)[0] for seed in (1, 1, 2, 3)]
    assert sampled[0] == sampled[1]
    assert len({*sampled}) > 1
    assert typed(*words, "--model", "caption@smoke")[1] == ""
    assert typed("caption", picture, "--beams", 2, "--max_tokens", 4)[1] == ""


def test_pictures_of_any_shape_and_kind(typed, tmp_path):
    for name, pixels in {
        "grey.jpg": np.full((30, 50), 90, np.uint8),
        "tiny.png": np.zeros((1, 1, 3), np.uint8),
        "clear.webp": np.zeros((40, 20, 4), np.uint8),
    }.items():
        Image.fromarray(pixels).save(tmp_path / name)
        assert typed("caption", tmp_path / name, "--max_tokens", 3)[1] == ""


def test_other_scripts_may_be_asked(typed, picture):
    out, err = typed("ask", picture, "что это? 这是什么？ 🐕", "--max_tokens", 3)
    assert err == ""
    assert "nan" not in out


@pytest.fixture
def broken(tmp_path, picture) -> dict[str, Path]:
    found = {name: tmp_path / f"{name}.png" for name in ("missing", "text", "cut", "empty")}
    found["text"].write_text("a dog on a red background\n" * 9)
    content = picture.read_bytes()
    found["cut"].write_bytes(content[: len(content) // 2])
    found["empty"].touch()
    return found


@pytest.mark.parametrize(("name", "says"), [
    ("missing", "there is no file"), ("text", "not a picture"), ("cut", "damaged"),
    ("empty", "empty file"),
])  # fmt: skip
@pytest.mark.parametrize("words", [["caption"], ["ask", "what is it?"]])
def test_what_is_no_picture_is_named(typed, broken, name, says, words):
    out, err = typed(words[0], broken[name], *words[1:])
    assert out == ""
    assert says in err
    assert broken[name].name in err
    assert len(err.splitlines()) == 2, "one sentence and one hint"


@pytest.mark.parametrize(("words", "says"), [
    (["caption"], "which picture?"),
    (["ask"], "which picture?"),
    (["ask", "PICTURE"], "the question is empty"),
    (["ask", "PICTURE", " \n"], "the question is empty"),
    (["ask", "PICTURE", "", "--candidates", "yes,no"], "the question is empty"),
    (["ask", "PICTURE", "why? " * 1000], "tokens long"),
    (["caption", "PICTURE", "--beams", "6"], "beams"),
    (["caption", "PICTURE", "--beams", "2", "--temperature", "1"], "searched, not sampled"),
    (["caption", "PICTURE", "--model", "vqa@tinny"], "no artifact 'vqa@tinny'"),
    (["caption", "PICTURE", "--tempreature", "1"], "unknown key '--tempreature'"),
])  # fmt: skip
def test_mistakes_get_a_sentence(typed, picture, words, says):
    out, err = typed(*(picture if word == "PICTURE" else word for word in words))
    assert out == ""
    assert says in err
    assert len(err) < 400


def test_without_a_model_the_command_that_makes_one_is_named(command, picture, tmp_path):
    done = command("caption", str(picture), home=tmp_path / "nothing")
    assert done.returncode == 2
    assert "no artifact 'caption'" in done.stderr
    assert "vermeil train caption" in done.stderr


@pytest.mark.parametrize(("step", "metric"), [
    ("alignment", "image_to_text_recall_at_1"), ("caption", "tuple_f1"), ("vqa", "vqa_accuracy"),
])  # fmt: skip
def test_eval_measures_again_what_the_step_measured(typed, taught, step, metric):
    [results] = taught.glob(f"runs/{step}/*/results.json")
    before = json.loads(results.read_text())["rows"]
    out, err = typed("eval", f"{step}@smoke")
    assert err == ""
    assert metric in out
    after = json.loads(results.read_text())["rows"]
    kept = {(r["metric"], r["split"]): r["value"] for r in before}
    again = {(r["metric"], r["split"]): r["value"] for r in after}
    for key, value in again.items():
        assert value == (None if kept[key] is None else pytest.approx(kept[key], abs=1e-6)), key
    assert all(r["baselines"] for r in after if r["value"] is not None and r["split"] == "test")
