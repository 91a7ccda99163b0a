"""The front door and the walk, as commands that a person types."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile
from PIL import Image

import vermeil
from shared.trackers import read_metrics
from vermeil import STEPS, WALK

ROOT = Path(__file__).resolve().parents[1]
SMOKE = ["--steps", "12", "--validate_every", "4", "--checkpoint_every", "4", "--sample_every", "6"]


@pytest.fixture(scope="module")
def walked(command, tmp_path_factory) -> Path:
    """A home in which `vermeil run smoke` has been walked once."""
    home = tmp_path_factory.mktemp("home")
    done = command("run", "smoke", home=home)
    assert done.returncode == 0, done.stderr
    assert str(home / "reports" / "latest" / "report.html") in done.stdout
    return home


def test_the_map_needs_no_torch_and_no_time():
    script = "import sys, vermeil; vermeil.main([]); print('torch' in sys.modules)"
    seconds = []
    for _ in range(5):
        start = time.perf_counter()
        words = [sys.executable, "-c", script]
        done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True)
        seconds.append(time.perf_counter() - start)
    assert done.stdout.splitlines()[-1] == "False"
    order = ["phase1_foundation", "tokenizer", "lm", "phase2", "phase3", "phase4"]
    places = [done.stdout.index(word) for word in order]
    assert places == sorted(places)
    assert min(seconds) < 0.3


@pytest.mark.parametrize("step", list(STEPS))
def test_help_answers_at_once(command, step, tmp_path):
    seconds = []
    for _ in range(3):
        start = time.perf_counter()
        done = command("train", step, "--help", home=tmp_path)
        seconds.append(time.perf_counter() - start)
    assert "presets" in done.stdout
    assert "smoke" in done.stdout
    assert min(seconds) < 1


def test_the_walk_leaves_artifacts_and_a_report(walked):
    report = json.loads((walked / "reports" / "latest" / "report.json").read_text())
    assert {row["step"] for row in report["rows"]} == {*WALK}
    manifest = json.loads(next(walked.glob("artifacts/phase1/lm/*/manifest.json")).read_text())
    [parent] = manifest["parents"]
    assert parent["id"].startswith("phase1/tokenizer@smoke-")
    assert manifest["data"][0]["name"] == "embedded_sample"
    assert set(manifest["files"]) >= {"model.safetensors", "config.json", "tokenizer.model"}
    closed = next(row for row in report["rows"] if row["metric"] == "wer_closed")
    assert "texts that there are" in closed["protocol"]
    assert set(closed["baselines"]) == {"pocketsphinx", "random_init"}
    assert closed["low"] <= closed["value"] <= closed["high"] <= 2
    row = next(row for row in report["rows"] if row["metric"] == "bits_per_byte")
    floors = {"unigram", "byte_5gram", "token_5gram", "xz", "xz_primed", "ppm_primed"}
    assert set(row["baselines"]) == floors


MEASURES_WITH = {"text_to_image": {"alignment"}}  # drawings of photographs, by CLIP score


def test_a_step_builds_on_what_it_says_it_needs(walked):
    """Steps beside each other wait for `needs`, and a missing one would be a race."""
    for name in WALK:
        manifest = json.loads(next(walked.glob(f"artifacts/*/{name}/*/manifest.json")).read_text())
        parents = {parent["id"].split("/")[1].split("@")[0] for parent in manifest["parents"]}
        assert parents | MEASURES_WITH.get(name, set()) == {*vermeil.step(name).needs}, name


def test_a_second_walk_skips_what_is_done_and_is_quick(command, walked):
    start = time.perf_counter()
    done = command("run", "smoke", home=walked)
    assert done.stdout.count("done before") == len(WALK)
    assert time.perf_counter() - start < 15


@pytest.mark.parametrize("words", [(), ("--model", "vision"), ("--layers", "1", "--heads", "1")])
def test_a_student_of_fewer_bits_or_blocks(command, walked, words):
    done = command("train", "distill", "smoke", *words, home=walked)
    assert done.returncode == 0, done.stderr
    folder = Path(done.stdout.splitlines()[-1])
    manifest = json.loads((folder / "manifest.json").read_text())
    model = "vision" if "vision" in words else "lm"
    assert manifest["role"] == model
    rows = {row["metric"]: row for row in manifest["metrics"]}
    apart = rows[f"{model}_divergence"]
    floor = "untrained" if "--layers" in words else "rounded"
    assert apart["value"] < apart["baselines"][floor] or floor == "rounded"
    shape = json.loads((folder / "config.json").read_text())
    assert (shape["layers"], shape["heads"]) == ((1, 1) if "--layers" in words else (2, 2))
    costs = f"{model}_multiply_adds" in rows
    assert costs == (floor == "untrained"), "rounding leaves the products as many as they were"


def test_what_was_made_smaller_stands_for_what_it_was_made_from(command, walked):
    """A language model's student writes, and phase 2 looks with a pruned encoder."""
    student = command("train", "distill", "smoke", "--steps", "3", home=walked)
    folder = student.stdout.splitlines()[-1]
    done = command("sample", folder, "She had", "--max_tokens", "3", home=walked)
    assert done.returncode == 0 and done.stdout.startswith("She had"), done.stderr
    done = command("eval", "distill@smoke", home=walked)
    assert done.returncode == 2 and "cannot eval 'distill'" in done.stderr
    small = command("train", "alignment", "smoke", "--vision", "prune@smoke", home=walked)
    assert small.returncode == 0, small.stderr
    wrong = command("train", "alignment", "smoke", "--lm", "prune@smoke", home=walked)
    assert wrong.returncode == 2
    assert "--lm prune@smoke is a vision, not a lm" in wrong.stderr


def test_a_damaged_artifact_is_made_again(command, walked):
    weights = next(walked.glob("artifacts/phase1/tokenizer/*/tokenizer.model"))
    content = bytearray(weights.read_bytes())
    content[100] ^= 1
    weights.write_bytes(content)
    lm_alone = command("eval", "lm@smoke", home=walked)
    assert lm_alone.returncode == 0, "the language model carries its own tokenizer"
    done = command("run", "smoke", home=walked)
    assert done.returncode == 0
    again = done.stdout.count("done before")
    assert again == len(WALK) - 1, "the new tokenizer has the content of the old"


def test_variations_leave_the_preset_alone(command, walked, tmp_path):
    """A user's own text and a changed step do not become what `vermeil run` builds on or shows."""
    for number in range(4):
        text = f"Text number {number}. " + "She had been at home all day. " * 400
        (tmp_path / f"{number}.txt").write_text(text)
    own = ["tokenizer", "smoke", "--data", str(tmp_path), "--vocab_size", "310"]
    for words in (own, ["lm", "smoke", "--steps", "6"]):
        done = command("train", *words, home=walked)
        assert done.returncode == 0, done.stderr
    done = command("run", "smoke", home=walked)
    assert done.stdout.count("done before") == len(WALK)
    report = json.loads((walked / "reports" / "latest" / "report.json").read_text())
    shown = {row["artifact"] for row in report["rows"] if row["step"] == "lm"}
    manifests = [json.loads(p.read_text()) for p in walked.glob("artifacts/phase1/lm/*/man*")]
    assert shown == {manifest["id"] for manifest in manifests if not manifest["changed"]}
    small = ["--dim", "16", "--steps", "2", "--data", str(tmp_path)]
    done = command("train", "lm", "smoke", *small, home=walked)
    assert done.returncode == 0, done.stderr
    manifests = [json.loads(p.read_text()) for p in walked.glob("artifacts/phase1/lm/*/man*")]
    parents = {manifest["parents"][0]["id"] for manifest in manifests}
    assert len(parents) == 2, "own text takes the tokenizer of that text"


def test_a_dry_run_plans_and_does_nothing(command, tmp_path):
    done = command("run", "tiny", "--dry-run", home=tmp_path)
    assert done.returncode == 0
    for word in (*WALK, "to do", "GB of memory", "MB of disk", "in all about"):
        assert word in done.stdout
    assert list(tmp_path.iterdir()) == []


def test_sample_continues_a_prompt(command, walked):
    words = ["sample", "lm@smoke", "The people", "--max_tokens", "5", "--seed", "3"]
    first, again = (command(*words, home=walked) for _ in range(2))
    assert first.stdout.startswith("The people")
    assert first.stdout == again.stdout


def test_it_listens(command, walked, tmp_path):
    """A recording is written down, a spoken question is answered, silence is said to be silence."""
    from data.embedded_speech import EmbeddedSpeech
    from data.scenes import Scenes

    clip = next(EmbeddedSpeech().clips("test"))
    (tmp_path / "clip.ogg").write_bytes(clip.source)
    scenes = Scenes()
    picture = tmp_path / "scene.png"
    Image.fromarray(scenes.render(scenes.scene("test", 0))).save(picture)
    soundfile.write(tmp_path / "still.wav", np.zeros(16_000), 16_000)
    written = command("transcribe", str(tmp_path / "clip.ogg"), "--form", "times", home=walked)
    assert written.returncode == 0, written.stderr
    if written.stdout:  # a model of ten steps may well hear nothing
        assert written.stdout.split()[0] == "0.0"
    still = command("transcribe", str(tmp_path / "still.wav"), home=walked)
    assert (still.returncode, still.stdout) == (0, "")
    assert "no words were heard" in still.stderr
    aloud = ["ask", str(picture), "--audio", str(tmp_path / "clip.ogg")]
    answered = command(*aloud, home=walked)
    if answered.returncode:  # a model of four steps may well have nothing to say
        assert answered.returncode == 2 and "there is no answer" in answered.stderr
    else:
        assert answered.stdout.strip()
    for step in ("speech", "unified"):
        again = command("eval", f"{step}@smoke", home=walked)
        assert again.returncode == 0, again.stderr
        assert "cer" in again.stdout


def test_three_ways_to_start_a_step_make_the_same_artifact(tmp_path):
    ways = {
        "door": ["-m", "vermeil", "train", "tokenizer"],
        "module": ["-m", "phase1_foundation.train_tokenizer"],
        "file": ["phase1_foundation/train_tokenizer.py"],
    }
    made = set()
    for name, way in ways.items():
        environment = os.environ | {"VERMEIL_HOME": str(tmp_path / name)}
        done = subprocess.run(
            [sys.executable, *way, "smoke", "--vocab_size", "600"],
            cwd=ROOT, env=environment, capture_output=True, text=True,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        folder = Path(done.stdout.splitlines()[-1])
        made.add((folder.name, (folder / "tokenizer.model").read_bytes()))
    assert len(made) == 1


@pytest.mark.parametrize("name", ["run", "train", "eval", "bench", "sample", "export", "data",
                                  "report", "doctor"])  # fmt: skip
def test_every_command_takes_help(name, capsys):
    import contextlib

    with contextlib.suppress(SystemExit):
        vermeil.main([name, "--help"])
    assert "usage: vermeil" in capsys.readouterr().out


def test_a_closed_pipe_is_no_error(walked):
    environment = os.environ | {"VERMEIL_HOME": str(walked)}
    words = f"{sys.executable} -m vermeil data list | head -1"
    done = subprocess.run(
        words, shell=True, cwd=ROOT, env=environment, capture_output=True, text=True
    )
    assert done.stderr == ""


def losses(home: Path) -> dict[int, float]:
    [path] = home.glob("runs/lm/*/metrics.jsonl")
    return {m["step"]: m["train_loss"] for m in read_metrics(path) if "train_loss" in m}


@pytest.fixture(scope="module")
def tokenizer_home(walked, tmp_path_factory):
    """Makes homes that hold the smoke tokenizer and no language model."""
    import shutil

    def make() -> Path:
        home = tmp_path_factory.mktemp("home")
        for part in ("artifacts/phase1/tokenizer", "runs/tokenizer", "floors"):
            shutil.copytree(walked / part, home / part)
        return home

    return make


def test_killed_and_resumed_has_the_losses_of_the_run_never_stopped(command, tokenizer_home):
    words = ["train", "lm", "smoke", "--steps", "60", "--checkpoint_every", "7"]
    whole, killed = tokenizer_home(), tokenizer_home()
    assert command(*words, home=whole).returncode == 0
    environment = os.environ | {"VERMEIL_HOME": str(killed)}
    process = subprocess.Popen([sys.executable, "-m", "vermeil", *words], cwd=ROOT, env=environment)
    target = random.randrange(7, 50)  # some later step, since metrics are written now and then
    while process.poll() is None:
        paths = list(killed.glob("runs/lm/*/metrics.jsonl"))
        if paths and any(m["step"] >= target for m in read_metrics(paths[0])):
            process.kill()
        time.sleep(0.005)
    assert process.wait() == -signal.SIGKILL
    assert not list(killed.glob("artifacts/phase1/lm/*"))
    resumed = command(*words, home=killed)
    assert resumed.returncode == 0, resumed.stderr
    assert losses(killed) == losses(whole)
    weights = [next(h.glob("artifacts/phase1/lm/*/model.safetensors")) for h in (whole, killed)]
    assert weights[0].read_bytes() == weights[1].read_bytes()


def test_ctrl_c_saves_says_so_and_exits_130(tokenizer_home):
    home = tokenizer_home()
    environment = os.environ | {"VERMEIL_HOME": str(home)}
    words = ["train", "lm", "smoke", "--steps", "5000", "--sample_every", "5000"]
    process = subprocess.Popen(
        [sys.executable, "-m", "vermeil", *words],
        cwd=ROOT, env=environment, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    while not list(home.glob("runs/lm/*/checkpoint.ckpt")):
        assert process.poll() is None
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "stopped at step" in said
    assert "Traceback" not in said


def test_two_runs_of_the_same_artifact_are_refused(command, tokenizer_home):
    home = tokenizer_home()
    environment = os.environ | {"VERMEIL_HOME": str(home)}
    words = ["train", "lm", "smoke", "--steps", "5000"]
    process = subprocess.Popen(
        [sys.executable, "-m", "vermeil", *words],
        cwd=ROOT, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        while not list(home.glob("runs/lm/*/owner.json")):
            time.sleep(0.02)
        second = command(*words, home=home)
    finally:
        process.kill()
        process.wait()
    assert second.returncode == 2
    assert f"process {process.pid} is already making lm@smoke-" in second.stderr


def test_torchrun_trains_on_two_processes(command, tokenizer_home):
    home = tokenizer_home()
    engine = ["--strategy", "ddp", "--processes", "2"]
    done = command("train", "lm", "smoke", *SMOKE, *engine, home=home)
    assert done.returncode == 0, done.stderr[-2000:]
    two = losses(home)
    alone = tokenizer_home()
    assert command("train", "lm", "smoke", *SMOKE, home=alone).returncode == 0
    one = losses(alone)
    assert list(two.values()) == pytest.approx(list(one.values()), abs=2e-3)


@pytest.mark.parametrize(
    ("words", "says", "hint"),
    [
        (["trian"], "no command 'trian'", "train"),
        (["train"], "train which step?", "tokenizer|lm"),
        (["train", "ml"], "no step 'ml'", "lm"),
        (["train", "lm", "tinny"], "no preset 'tinny'", "tiny"),
        (["train", "lm", "tiny", "--stesp", "3"], "unknown key '--stesp'", "steps"),
        (["train", "lm", "tiny"], "no artifact 'tokenizer@tiny'", "vermeil train tokenizer tiny"),
        (["train", "lm", "tiny", "--strategy", "dpp"], "no strategy 'dpp'", "ddp"),
        (["train", "lm", "tiny", "--data", "x"], "made from x", "tokenizer tiny --data x"),
        (["train", "tokenizer", "tiny", "--data", "embeded_text"], "not exist", "embedded_text"),
        (["run", "tinny"], "no preset 'tinny'", "tiny"),
        (["sample", "lm", ""], "the prompt is empty", "vermeil sample"),
        (["sample"], "sample what?", "vermeil sample lm"),
        (["export", "lm"], "--out is missing", "--out DIR"),
        (["train", "lm", "--strategy"], "'--strategy' needs a value", "single"),
        (["run", "--steps", "3"], "run takes a preset", "vermeil train STEP --steps"),
        (["run", "smoke", "--jobs"], "--jobs takes a number from 1 to", "not ''"),
        (["run", "smoke", "--jobs", "0"], "--jobs takes a number from 1 to", "not '0'"),
        (["report"], "", "vermeil run tiny"),
    ],
)
def test_mistakes_get_a_sentence(words, says, hint, tmp_path, capsys, monkeypatch):

    monkeypatch.setenv("VERMEIL_HOME", str(tmp_path))
    with pytest.raises(SystemExit) as stop:
        vermeil.main(words)
    error = capsys.readouterr().err
    assert stop.value.code == 2
    assert says in error
    assert hint in error
    assert "Traceback" not in error


def test_a_home_that_cannot_be_written_is_named(command, tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("")
    done = command("train", "tokenizer", "smoke", home=blocked / "home")
    assert done.returncode == 2
    assert "cannot create the home folder" in done.stderr
    assert "set VERMEIL_HOME" in done.stderr


def test_a_prompt_longer_than_the_context(command, walked):
    done = command("sample", "lm@smoke", "many words " * 100, home=walked)
    assert done.returncode == 2
    assert "the model's context is 64" in done.stderr


def test_debug_shows_the_traceback(command, tmp_path):
    done = command("train", "lm", "tinny", "--debug", home=tmp_path)
    assert "Traceback" in done.stderr


def test_doctor_reports_and_finds_faults(command, tmp_path):
    done = command("doctor", home=tmp_path)
    assert "GFLOP/s" in done.stdout
    assert "no other package owns our names" in done.stdout
    assert done.returncode == 0, done.stdout
