"""Cached features: equal to fresh ones, found by content, whole or made anew."""

import io
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from phase4_deploy.audio import features as module
from phase4_deploy.audio.activity import edged, trimmed
from phase4_deploy.audio.decode import RATE, BadSound, read
from phase4_deploy.audio.features import Features
from phase4_deploy.audio.log_mel import LogMel
from shared.errors import VermeilError

ROOT = Path(__file__).resolve().parents[3]


def recording(seed: int = 0, kind: str = "FLAC") -> bytes:
    """A second of faint noise, a swelling voice, and another second."""
    random = np.random.default_rng(seed)
    wave = random.normal(0, 0.001, int(2.6 * RATE))
    time = np.arange(int(0.6 * RATE)) / RATE
    voice = sum(np.sin(2 * np.pi * k * (120 + 9 * seed) * time) / k for k in range(1, 20))
    wave[RATE : RATE + len(time)] += 0.1 * voice * np.sin(np.pi * time / 0.6)
    file = io.BytesIO()
    soundfile.write(file, wave, RATE, format=kind)
    return file.getvalue()


@pytest.fixture
def no_decoder(monkeypatch):
    """From now on nothing can be read."""

    def refuse(source, name=""):
        raise AssertionError("it was read again")

    return lambda: monkeypatch.setattr(module, "read", refuse)


def entries(features: Features) -> list[Path]:
    return [path for path in features.folder.rglob("*") if path.is_file()]


@pytest.mark.parametrize("trim", [True, False])
def test_what_is_found_is_what_was_made(no_decoder, trim):
    content = recording()
    made = Features(trim).get(content)
    no_decoder()
    found = Features(trim).get(content)
    assert found.span == made.span and torch.equal(found.mels, made.mels)
    assert found.mels.dtype == torch.float32


def test_they_are_the_frames_of_the_speech():
    content, features = recording(), Features()
    heard = features.get(content)
    speech = trimmed(read(content))
    assert 0.6 * RATE < len(speech) < RATE
    assert torch.equal(features.wave(content, heard.span), edged(speech))
    assert (heard.mels - LogMel()(edged(speech))).abs().max() < 2e-3  # 16 bits
    whole = Features(trim=False).get(content)
    assert whole.span == (0, int(2.6 * RATE)) and len(whole.mels) == 260 + 20


def test_the_content_is_looked_at_and_not_the_name(tmp_path, no_decoder):
    content = recording()
    (tmp_path / "a.flac").write_bytes(content)
    made = Features().get(tmp_path / "a.flac")
    (tmp_path / "a.flac").rename(tmp_path / "b.wav")
    (tmp_path / "a.flac").write_bytes(recording(1))
    assert not torch.equal(Features().get(tmp_path / "a.flac").mels, made.mels)
    no_decoder()
    assert torch.equal(Features().get(tmp_path / "b.wav").mels, made.mels)
    assert torch.equal(Features().get(content).mels, made.mels)
    key = Features().key(content)
    assert torch.equal(Features().get(tmp_path / "gone.wav", key=key).mels, made.mels)
    assert len(entries(Features())) == 2


def test_another_recipe_is_another_entry(monkeypatch):
    keys = {Features().key(b""), Features(trim=False).key(b"")}
    monkeypatch.setattr(module, "RECIPE", "next")
    assert len(keys | {Features().key(b"")}) == 3


@pytest.mark.parametrize(
    "damage",
    [
        lambda blob: b"",
        lambda blob: blob[:20],
        lambda blob: blob[:-160],
        lambda blob: blob[:500] + bytes([blob[500] ^ 1]) + blob[501:],
        lambda blob: blob + bytes(160),
    ],
    ids=["empty", "no hash", "cut short", "one bit", "longer"],
)
def test_a_damaged_entry_is_made_anew(damage):
    content = recording()
    made = Features().get(content)
    (path,) = entries(Features())
    blob = path.read_bytes()
    path.write_bytes(damage(blob))
    found = Features().get(content)
    assert torch.equal(found.mels, made.mels) and found.span == made.span
    assert path.read_bytes() == blob


def test_a_full_disk_costs_only_time(monkeypatch):
    content = recording()
    made = Features().get(content)
    (path,) = entries(Features())
    path.unlink()

    def full(self, blob):
        Path.touch(self)
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    assert torch.equal(Features().get(content).mels, made.mels)
    assert entries(Features()) == []


def test_processes_write_at_the_same_time(tmp_path, home):
    """Two that begin together make, and find, the same whole entries."""
    for number in range(6):
        (tmp_path / f"{number}.flac").write_bytes(recording(number))
    code = f"""
        import pathlib, sys, time
        from phase4_deploy.audio.features import Features
        folder = pathlib.Path({str(tmp_path)!r})
        (folder / ("ready" + sys.argv[1])).touch()
        while len([*folder.glob("ready*")]) < 2: time.sleep(0.001)
        features = Features()
        print([float(features.get(folder / f"{{n}}.flac").mels.sum()) for n in range(6)])
    """
    code = "\n".join(line[8:] for line in code.splitlines())
    running = [
        subprocess.Popen([sys.executable, "-c", code, str(n)], cwd=ROOT, stdout=subprocess.PIPE)
        for n in range(2)
    ]
    said = {process.communicate(timeout=120)[0] for process in running}
    expected = [float(Features().get(recording(n)).mels.sum()) for n in range(6)]
    assert said == {f"{expected}\n".encode()}
    assert len(entries(Features())) == 6, "partial ones were left"


def test_what_cannot_be_read_is_named_and_not_kept(tmp_path):
    with pytest.raises(BadSound, match="clip 7 cannot be used as sound"):
        Features().get(b"no sound", "clip 7")
    with pytest.raises(VermeilError, match=r"gone.wav cannot be read \(No such file"):
        Features().get(tmp_path / "gone.wav")
    assert entries(Features()) == []
