"""Pictures and exhibits of speech: letters stand where they were heard, and clips come back."""

import base64
import io
import wave as wav_files

import numpy as np
import pytest
import torch
from PIL import Image

from phase4_deploy.speech.ctc import Span
from phase4_deploy.speech.plots import ACROSS, LINE, UP, Heard, exhibit, spectrogram, wav
from shared.results import check_exhibit


def pixels(png: bytes) -> np.ndarray:
    return np.array(Image.open(io.BytesIO(png))).astype(int)


def test_low_sounds_are_below_and_loud_ones_light():
    mels = torch.zeros(20, 80)
    mels[10:, :20] = 5  # later, and low
    sheet = pixels(spectrogram(mels)).sum(axis=2)
    assert sheet.shape == (80 * UP, 20 * ACROSS)
    assert sheet[-1, -1] == sheet.max() > sheet.min() == sheet[0, -1] == sheet[-1, 0]
    assert (sheet[-20 * UP :, 10 * ACROSS :] == sheet.max()).all()


@pytest.mark.parametrize("readings", [1, 2])  # of a state of four frames
def test_letters_stand_where_they_were_heard(readings):
    mels, r = torch.zeros(40, 80), readings
    certain, unsure = Span("h", 2 * r, 3 * r, 1.0), Span("i", 7 * r, 8 * r, 0.1)
    below = pixels(spectrogram(mels, [certain, unsure], 4 / r))[80 * UP :].sum(axis=2)
    assert below.shape == (LINE, 40 * ACROSS)
    ink = below.max() - below
    places = np.flatnonzero(ink.sum(axis=0))
    first, last = places[places < 60], places[places >= 60]
    assert abs(first.mean() - 2.5 * 4 * ACROSS) < 8 and abs(last.mean() - 7.5 * 4 * ACROSS) < 8
    assert ink[:, :60].max() > 2 * ink[:, 60:].max()


def test_silence_has_a_picture_too():
    assert pixels(spectrogram(torch.zeros(3, 80))).shape == (80 * UP, 3 * ACROSS, 3)


def test_a_clip_comes_back_from_its_exhibit():
    wave = torch.sin(torch.arange(1600) / 10) * 1.5  # clipped, not wrapped around
    found = exhibit("Heard", [Heard("clip", "The cat.", "the hat", wave, b"png"),
                              Heard("silence", "", "ghost")])  # fmt: skip
    check_exhibit(found)
    clip, silence = found["items"]
    assert [(word["kind"], word["said"], word["heard"]) for word in clip["words"]] == [
        ("equal", "the", "the"),
        ("substitute", "cat", "hat"),
    ]
    assert silence["wav_base64"] is silence["png_base64"] is None
    assert base64.b64decode(clip["png_base64"]) == b"png"
    with wav_files.open(io.BytesIO(base64.b64decode(clip["wav_base64"]))) as file:
        assert (file.getframerate(), file.getnchannels(), file.getsampwidth()) == (16_000, 1, 2)
        samples = np.frombuffer(file.readframes(1600), "<i2")
    np.testing.assert_allclose(samples / 32767, wave.clamp(-1, 1), atol=1e-4)
    assert len(wav(wave)) == 44 + 2 * 1600
