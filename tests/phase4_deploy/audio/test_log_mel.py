"""Log-mel frames against librosa and Whisper, and streams against whole recordings."""

import itertools

import librosa
import numpy as np
import pytest
import torch
from transformers import WhisperFeatureExtractor

from phase4_deploy.audio.decode import RATE, read
from phase4_deploy.audio.log_mel import HOP, MELS, WINDOW, LogMel

LOG_MEL = LogMel()


def chirps(seconds: float = 2.0, loud: float = 0.3) -> torch.Tensor:
    """Rising tones in pauses of faint noise: what speech is to a spectrogram."""
    time = np.arange(int(seconds * RATE)) / RATE
    tones = sum(np.sin(2 * np.pi * (f + 150 * time) * time) for f in (120, 700, 2300)) / 3
    random = np.random.default_rng(0).normal(size=len(time))
    wave = loud * (tones * (np.sin(2 * np.pi * 3 * time) > 0) + 0.01 * random)
    return torch.from_numpy(wave.astype("f4"))


def test_energies_are_those_of_librosa():
    wave = chirps()
    found = LOG_MEL.energy(wave).numpy().T
    expected = librosa.feature.melspectrogram(
        y=wave.numpy(), sr=RATE, n_fft=WINDOW, hop_length=HOP, window="hann", center=True,
        pad_mode="reflect", power=2.0, n_mels=MELS, fmin=0, fmax=8000, htk=False, norm="slaney",
    )[:, : found.shape[1]]  # fmt: skip
    assert np.abs(found - expected).max() < 4e-6 * expected.max()
    assert np.abs(np.log10(found) - np.log10(expected)).max() < 1e-3


def test_frames_are_whispers_but_for_the_normalisation():
    """Whisper: log10, at most 8 decades under the maximum, (x + 4) / 4, over exactly 30 s."""
    peer = WhisperFeatureExtractor()
    wave = chirps(30)
    expected = peer(wave.numpy(), sampling_rate=RATE)["input_features"][0]  # (80, 3000)
    decades = LOG_MEL.energy(wave).clamp_min(1e-10).log10()
    ours = (decades.clamp_min(float(decades.max()) - 8) + 4) / 4
    assert ours.shape == (3000, MELS)
    assert np.abs(ours.numpy().T - expected).max() < 2e-4
    found = LOG_MEL(wave).numpy()
    offset = found - 4 * expected.T
    loud = found > -2
    assert loud.mean() > 0.3 and np.ptp(offset[loud]) < 1e-3


@pytest.mark.parametrize(("samples", "frames"), [(1, 2), (159, 2), (400, 2), (479, 2), (480, 3),
                                                 (16_000, 100), (16_159, 100)])  # fmt: skip
def test_a_frame_is_ten_milliseconds(samples, frames):
    found = LOG_MEL(chirps()[:samples])
    assert found.shape == (frames, MELS) and found.isfinite().all()


def test_a_frame_stands_where_its_sound_is():
    wave = torch.zeros(RATE)
    wave[50 * HOP] = 1
    loud = LOG_MEL.energy(wave).sum(1) > 1e-6
    assert loud.nonzero().flatten().tolist() == [49, 50, 51]


def test_loudness_falls_out():
    quiet, loud = LOG_MEL(chirps(loud=0.003)), LOG_MEL(chirps(loud=0.9))
    assert (quiet - loud).abs().max() < 1e-3


def test_pauses_hardly_move_it():
    """Twice as long a recording, half of it silence, is half as loud, 0.3 decades."""
    wave = chirps()
    padded = LOG_MEL(torch.cat([wave, 0.003 * torch.randn(len(wave))]))
    moved = (padded[:180] - LOG_MEL(wave)[:180]).median()
    assert moved == pytest.approx(np.log10(2), abs=0.04)


def test_silence_is_even_and_noise_below_hearing_is_not_raised():
    silence = LOG_MEL(torch.zeros(RATE))
    assert silence.unique().numel() == 1 and silence.min() == pytest.approx(3.3 - 6)
    dither = LOG_MEL(torch.randint(-1, 2, (RATE,)) / 32768)
    assert dither.mean() < 1


def test_speech_is_about_zero(digits):
    frames = torch.cat([LOG_MEL(read(content)) for _, content in digits(every=50)])
    assert abs(float(frames.mean())) < 0.5 and 1.8 < float(frames.std()) < 2.5
    assert frames.abs().max() < 6


# Streams


@pytest.mark.parametrize("samples", [30, 300, 399, 400, 401, 5_000, 16_000, 16_100])
@pytest.mark.parametrize("size", [1, 160, 333, 20_000])
def test_a_stream_has_the_energies_of_the_whole(samples, size, monkeypatch):
    if size == 1 and samples > 401:
        pytest.skip("the same, only longer")
    monkeypatch.setattr("phase4_deploy.audio.log_mel.normalised", lambda energy, mean: energy)
    wave = chirps()[:samples]
    pieces = [*LOG_MEL.stream(wave.split(size))]
    assert len(pieces) == len(wave.split(size)) + 1
    found, expected = torch.cat(pieces), LOG_MEL.energy(wave)
    assert found.shape == expected.shape
    assert (found - expected).abs().max() <= 1e-5 * expected.max()


def test_a_stream_waits_no_longer_than_it_must():
    heard = given = 0
    wave = chirps()
    for piece, frames in itertools.zip_longest(wave.split(100), LOG_MEL.stream(wave.split(100))):
        heard, given = heard + len(piece if piece is not None else ()), given + len(frames)
        if heard >= WINDOW:
            assert given >= (heard - WINDOW // 2) // HOP


def test_a_stream_of_one_piece_is_the_whole_but_for_its_last_frame():
    wave = chirps()
    first, last = LOG_MEL.stream([wave])
    assert len(last) <= 1
    assert (first - LOG_MEL(wave)[: len(first)]).abs().max() < 0.02


def test_a_stream_comes_to_the_same_level():
    """After a second of speech what is given differs by less than a pause changes."""
    wave = chirps(6)
    found = torch.cat([*LOG_MEL.stream(wave.split(3200))])
    difference = (found - LOG_MEL(wave)).abs().mean(1)  # (T,)
    assert difference[100:].max() < 0.3 and difference[400:].max() < 0.1


def test_no_sound_at_all():
    assert [piece.shape for piece in LOG_MEL.stream([])] == [(0, MELS)]
