"""Recordings of any length: cut in pauses, nothing lost, silence left alone."""

import numpy as np
import pytest
import soundfile
import torch

from phase4_deploy.audio.decode import RATE, BadSound
from phase4_deploy.speech.encoder import (
    SpeechEncoderConfig,
    SpeechRecogniser,
    SpeechRecogniserConfig,
)
from phase4_deploy.speech.transcribe import Transcriber, pieces
from shared.errors import VermeilError


def words(*places: float, seconds: float) -> torch.Tensor:
    """A second of something like speech at each place: a voice that rises and falls in bursts."""
    time = torch.arange(RATE) / RATE
    voice = sum(torch.sin(2 * torch.pi * 140 * k * time) / k for k in range(1, 12))
    voice = 0.2 * voice * (0.55 + 0.45 * torch.sin(2 * torch.pi * 5 * time))
    wave = torch.zeros(int(seconds * RATE))
    for place in places:
        start = int(place * RATE)
        wave[start : start + RATE] = voice
    return wave + 1e-4 * torch.randn(len(wave), generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def recogniser() -> SpeechRecogniser:
    torch.manual_seed(0)
    shape = SpeechEncoderConfig(dim=16, layers=1, heads=2, mlp_dim=32)
    return SpeechRecogniser(SpeechRecogniserConfig(shape)).eval()


def saved(wave: torch.Tensor, path):
    soundfile.write(path, wave.numpy(), RATE, subtype="FLOAT")
    return path


def test_a_recording_is_cut_in_its_pauses_and_nothing_is_lost(tmp_path):
    wave = words(0.5, 2, 6, 8.5, 13, seconds=15)
    path = saved(wave, tmp_path / "long.wav")
    parts = list(pieces(path, seconds=5.0))
    torch.testing.assert_close(torch.cat(parts), wave)
    assert all(len(part) <= 5 * RATE for part in parts)
    ends = np.cumsum([len(part) for part in parts])[:-1] / RATE
    for end in ends:
        assert not any(start - 0.1 < end < start + 1.1 for start in (0.5, 2, 6, 8.5, 13)), end


def test_without_a_pause_it_is_cut_at_the_limit(tmp_path):
    wave = words(*range(12), seconds=12)
    parts = list(pieces(saved(wave, tmp_path / "long.wav"), seconds=4.0))
    torch.testing.assert_close(torch.cat(parts), wave)
    assert max(map(len, parts)) <= 4 * RATE


def test_where_nobody_speaks_nothing_is_written(recogniser, tmp_path):
    hear = Transcriber(recogniser)
    assert hear(words(seconds=3)) == ""
    assert hear(torch.zeros(100)) == ""
    assert hear(words(1, seconds=3))  # an untrained model babbles where somebody does
    assert list(hear.file(saved(words(seconds=3), tmp_path / "still.wav"))) == []


def test_pieces_have_their_times(recogniser, tmp_path):
    path = saved(words(1, 21, seconds=24), tmp_path / "two.wav")
    found = [(start, end) for start, end, _ in Transcriber(recogniser).file(path)]
    assert len(found) == 2
    for place, (start, end) in zip((1, 21), found, strict=True):
        assert start <= place and place + 1 <= end <= start + 20.01


def test_beams_and_greedy_agree_where_the_model_is_sure(recogniser):
    alphabet = recogniser.alphabet
    path = [0, *alphabet.encode("ten"), 0, *alphabet.encode("to"), 0]
    sure = torch.full((len(path), len(alphabet)), -20.0)
    sure[range(len(path)), path] = 0
    sure = sure.log_softmax(dim=-1)
    assert Transcriber(recogniser).write(sure) == "tento"
    assert Transcriber(recogniser, beams=4).write(sure) == "tento"
    assert Transcriber(recogniser).write(sure[:0]) == ""


def test_told_the_phrases_it_writes_one_of_them(recogniser):
    alphabet = recogniser.alphabet
    path = [0, *alphabet.encode("tin"), 0]
    heard = torch.full((len(path), len(alphabet)), -4.0)
    heard[range(len(path)), path] = 0
    heard = heard.log_softmax(dim=-1)
    phrases = ["one", "Ten!", "eleven"]
    assert Transcriber(recogniser).write(heard) == "tin"
    assert Transcriber(recogniser, phrases=phrases).write(heard) == "ten"
    assert Transcriber(recogniser, phrases=["seventeen"]).write(heard) == ""
    assert Transcriber(recogniser, phrases=phrases)(words(seconds=3)) == "", "nobody speaks"
    with pytest.raises(VermeilError, match=r"the phrase '\?' has no letter"):
        Transcriber(recogniser, phrases=["one", "?"])


def test_what_cannot_be_read_is_named(recogniser, tmp_path):
    path = tmp_path / "talk.wav"
    path.write_text("not a sound")
    with pytest.raises(BadSound, match=r"talk\.wav"):
        list(Transcriber(recogniser).file(path))
