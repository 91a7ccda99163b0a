"""Other people's recognisers: real ones where they are installed, and what is said where not."""

import builtins
import io
import os
import tarfile
import zipfile
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from phase4_deploy.speech import comparators
from phase4_deploy.speech.comparators import (
    FILES,
    INSIDE,
    Pocketsphinx,
    WhisperTiny,
    fetch_whisper,
    main,
    measure,
)
from shared.errors import VermeilError

# Whoever runs the tests may have fetched it; the tests themselves have a home of their own.
HOME = Path(os.environ.get("VERMEIL_HOME") or "~/.cache/vermeil").expanduser()
FOLDER = os.environ.get("VERMEIL_REALDATA", "")
DIGITS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]


@pytest.fixture(scope="module")
def clips() -> dict[str, torch.Tensor]:
    """Recordings of free-spoken-digit-dataset by digit, one speaker's, at 16 kHz."""
    path = Path(FOLDER) / "free-spoken-digit-dataset.zip"
    if not FOLDER or not path.is_file():
        pytest.skip("VERMEIL_REALDATA names no folder with free-spoken-digit-dataset.zip")
    soundfile = pytest.importorskip("soundfile")
    found = {}
    with zipfile.ZipFile(path) as archive:
        for digit, word in enumerate(DIGITS):
            blob = archive.read(f"recordings/{digit}_george_0.wav")
            wave, rate = soundfile.read(io.BytesIO(blob), dtype="float32")
            assert rate == 8000
            doubled = np.interp(np.arange(2 * len(wave)) / 2, np.arange(len(wave)), wave)
            found[word] = torch.from_numpy(doubled.astype(np.float32))
    return found


@pytest.fixture(scope="module")
def closed() -> Pocketsphinx:
    pytest.importorskip("pocketsphinx")
    return Pocketsphinx([*DIGITS, "Fourteen", "qwzx vrb"])


def test_pocketsphinx_hears_nothing_but_the_phrases(closed, clips):
    heard, factor = measure(closed, [*clips.values()])
    assert {*heard} <= {*DIGITS, "fourteen", ""}
    assert sum(a == b for a, b in zip(heard, DIGITS, strict=True)) >= 7
    assert heard[0] == closed(clips["zero"])  # nothing is carried over from clip to clip
    assert 0 < factor < 20


def test_pocketsphinx_says_which_phrases_it_cannot_know(closed):
    assert (closed.name, closed.unknown) == ("pocketsphinx_closed", ["qwzx vrb"])
    with pytest.raises(VermeilError, match="none of the 1 phrases"):
        Pocketsphinx(["qwzx"])


def test_pocketsphinx_with_all_its_words(clips):
    pytest.importorskip("pocketsphinx")
    free = Pocketsphinx()
    assert free.name == "pocketsphinx"
    assert {free(clips["zero"]), free(clips["four"])} - {*DIGITS, ""}
    assert free(torch.zeros(0)) == ""


def test_a_package_that_is_missing_is_named(monkeypatch):
    real = builtins.__import__

    def missing(name, *rest):
        if name == "pocketsphinx":
            raise ImportError(name=name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", missing)
    with pytest.raises(VermeilError, match=r"takes the package pocketsphinx, .*pip install"):
        Pocketsphinx()


def package(folder: Path, monkeypatch) -> None:
    """The package's form with other content, and the hash that it is expected to have."""
    folder.mkdir()
    path = folder / comparators.WHISPER.file
    with tarfile.open(path, "w:gz") as archive:
        for inside in (*FILES, "vocab.json"):
            entry = tarfile.TarInfo(INSIDE + inside)
            entry.size = len(inside)
            archive.addfile(entry, io.BytesIO(inside.encode()))
    found = sha256(path.read_bytes()).hexdigest()
    monkeypatch.setattr(comparators, "WHISPER", replace(comparators.WHISPER, sha256=found))


def test_whisper_is_fetched_once_and_verified(tmp_path, monkeypatch, home, capsys):
    with pytest.raises(VermeilError, match=r"not on this machine: fetch it .*comparators"):
        WhisperTiny()
    package(tmp_path / "packages", monkeypatch)
    main(["--root", str(tmp_path / "packages")])
    folder = home / "networks" / "whisper_tiny"
    assert capsys.readouterr().out.strip() == str(folder)
    assert {path.name for path in folder.iterdir()} == {*FILES.values(), "source.json"}
    assert (folder / "encoder.onnx").read_text() == "onnx/encoder_model_quantized.onnx"
    fetch_whisper(tmp_path / "nowhere")  # it is there already
    (folder / "tokenizer.json").write_text("{}")
    with pytest.raises(VermeilError, match=r"tokenizer.json is damaged: rm -r"):
        WhisperTiny()
    (folder / "tokenizer.json").unlink()
    with pytest.raises(VermeilError, match=r"tokenizer.json is damaged"):
        WhisperTiny()


class Decoder:
    """Says its script; its cache is how many tokens it has read."""

    def __init__(self, script: list[list[int]]):
        self.script, self.calls = script, []

    def get_inputs(self):
        shapes = [["b", "t"], ["b", "s", 4], ["b", 2, "past", 3], ["b", 2, "s", 3]]
        return [SimpleNamespace(shape=shape) for shape in shapes]

    def get_outputs(self):
        names = ["logits", "present.0.decoder.key", "present.0.encoder.key", "cross_attentions.0"]
        return [SimpleNamespace(name=name) for name in names]

    def run(self, wanted, given):
        assert wanted == ["logits", "present.0.decoder.key", "present.0.encoder.key"]
        self.calls.append(given)
        past = given["past_key_values.0.decoder.key"]
        length = past.shape[2] + given["input_ids"].shape[1]
        logits = np.zeros((1, given["input_ids"].shape[1], 9), np.float32)
        for rank, token in enumerate(self.script[len(self.calls) - 1]):
            logits[0, -1, token] = 10 - rank
        first = not given["use_cache_branch"][0]
        encoder = np.full((1, 2, 5 if first else 0, 3), 7, np.float32)
        return logits, np.zeros((1, 2, length, 3), np.float32), encoder


def test_greedy_decoding_keeps_its_cache_and_what_is_never_said():
    """Never 1; not 8 (the end) at first; the encoder's keys are those of the first step."""
    whisper = WhisperTiny.__new__(WhisperTiny)
    whisper.decoder = Decoder([[1, 8, 3], [1, 4], [8]])
    whisper.end, whisper.never, whisper.not_first, whisper.prompt = 8, [1], [8], [5, 6]
    whisper.phrases = []
    assert whisper._decode(np.zeros((1, 5, 4), np.float32)) == [3, 4]
    first, second, third = whisper.decoder.calls
    assert [call["input_ids"].tolist() for call in (first, second, third)] == [
        [[5, 6]],
        [[3]],
        [[4]],
    ]
    lengths = [call["past_key_values.0.decoder.key"].shape[2] for call in (first, second, third)]
    assert lengths == [0, 2, 3]
    assert third["past_key_values.0.encoder.key"].shape[2] == 5
    whisper.decoder = Decoder([[1, 2, 3], [7, 2], [8]])
    whisper.phrases = [[3, 2, 8], [2, 4, 8], [3, 8]]
    assert whisper._decode(np.zeros((1, 5, 4), np.float32)) == [2, 4]  # no 1, and no 2 after 2
    whisper.decoder, whisper.phrases = Decoder([[2]] * 300), []
    assert len(whisper._decode(np.zeros((1, 5, 4), np.float32))) == WhisperTiny.MOST


@pytest.fixture(scope="module")
def whisper() -> WhisperTiny:
    if not (HOME / "networks" / "whisper_tiny" / "source.json").exists():
        pytest.skip("Whisper tiny is not there: python -m phase4_deploy.speech.comparators")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VERMEIL_HOME", str(HOME))
        return WhisperTiny()


def test_whisper_writes_numbers_in_letters(whisper, clips):
    """Of a digit cut out alone it makes "Thanks."; knowing what there is, it finds it."""
    heard = whisper(clips["six"])
    assert heard and not any(character.isdigit() for character in heard)
    numerals = [whisper.tokenizer.token_to_id(token) for token in ("6", "Ġ6", "2018")]
    assert {*numerals} <= {*whisper.never}
    assert not {whisper.tokenizer.token_to_id("six"), whisper.end} & {*whisper.never}
    assert whisper(torch.zeros(0)) == ""


def test_whisper_that_knows_the_phrases(whisper, clips):
    closed = WhisperTiny.__new__(WhisperTiny)
    closed.__dict__ |= whisper.__dict__
    closed.phrases = [
        [*closed.tokenizer.encode(f" {word}", add_special_tokens=False).ids, closed.end]
        for word in DIGITS
    ]
    heard = [closed(clips[word]) for word in DIGITS[:4]]
    assert {*heard} <= {*DIGITS} and sum(map(str.__eq__, heard, DIGITS)) >= 2


def test_whisper_takes_long_sound_in_pieces(whisper, monkeypatch):
    monkeypatch.setattr(whisper, "_hear", lambda wave: str(len(wave)))
    assert whisper(torch.zeros(65 * 16_000)) == "472000 472000 96000"
