"""Speech is found where it is, and none in noise, hum and silence."""

import numpy as np
import pytest
import torch

from phase4_deploy.audio.activity import activity, speaks, trimmed
from phase4_deploy.audio.decode import RATE, read

RANDOM = np.random.default_rng(0)


def noise(seconds: float, power: float = 0.0, loud: float = 0.1) -> torch.Tensor:
    """Its spectrum falls by 3 `power` dB an octave: 0 is white, 1 pink, 2 brown."""
    spectrum = np.fft.rfft(RANDOM.normal(size=int(seconds * RATE)))
    hertz = np.fft.rfftfreq(int(seconds * RATE), 1 / RATE)
    wave = np.fft.irfft(spectrum / np.maximum(hertz, 20) ** (power / 2), int(seconds * RATE))
    return torch.from_numpy((loud * wave / wave.std()).astype("f4"))


def word(seconds: float = 0.4) -> torch.Tensor:
    """Harmonics of a falling voice that swells and fades."""
    time = np.arange(int(seconds * RATE)) / RATE
    voice = sum(np.sin(2 * np.pi * k * (140 - 40 * time) * time) / k for k in range(1, 30))
    return torch.from_numpy((0.1 * voice * np.sin(np.pi * time / seconds)).astype("f4"))


@pytest.mark.parametrize("seconds", [0.3, 3, 20])
@pytest.mark.parametrize("power", [0, 1, 2])
@pytest.mark.parametrize("loud", [1e-4, 1e-3, 0.01, 0.3])
def test_noise_is_no_speech(seconds, power, loud):
    assert not speaks(noise(seconds, power, loud))


@pytest.mark.parametrize(
    "wave",
    [
        torch.zeros(RATE),
        torch.zeros(1),
        torch.randint(-1, 2, (RATE,)) / 32768,  # dither
        torch.cat([torch.zeros(RATE), torch.randint(-1, 2, (RATE,)) / 32768]),
        0.3 * torch.sin(torch.arange(3 * RATE) * 2 * torch.pi * 50 / RATE),  # hum
        0.3 * torch.sin(torch.arange(3 * RATE) * 2 * torch.pi * 1000 / RATE),
        torch.ones(RATE),
    ],
    ids=["silence", "one sample", "dither", "dither that sets in", "hum", "tone", "direct current"],
)
def test_what_does_not_change_is_no_speech(wave):
    assert not speaks(wave)


def test_a_click_is_no_speech():
    wave = noise(3, loud=0.001)
    wave[RATE] = 0.9
    wave[2 * RATE : 2 * RATE + 80] = 0.5
    assert not speaks(wave)


@pytest.mark.parametrize("loud", [1e-4, 1e-3, 0.005])
@pytest.mark.parametrize("start", [0.0, 0.5, 2.0, 3.6])
def test_a_word_is_found_where_it_is(loud, start):
    wave = noise(4, power=1, loud=loud)
    begin = int(start * RATE)
    wave[begin : begin + len(word())] += word()
    frames = activity(wave)
    assert len(frames) == 400
    found = frames.nonzero().flatten()
    assert found[0] == pytest.approx(max(0, 100 * start - 15), abs=8)
    assert found[-1] == pytest.approx(min(399, 100 * start + 40 + 15), abs=8)
    assert frames[found[0] : found[-1] + 1].all()


def test_pauses_within_stay_and_the_ends_go():
    wave = noise(6, loud=0.001)
    for start in (2, 4):
        wave[start * RATE : start * RATE + len(word())] += word()
    frames = activity(wave)
    assert not frames[:170].any() and frames[200:240].all()
    assert not frames[270:370].any() and frames[400:440].all() and not frames[470:].any()
    left = trimmed(wave)
    assert len(left) / RATE == pytest.approx(2.4 + 0.3, abs=0.15)
    place = next(i for i in range(3 * RATE) if torch.equal(wave[i : i + 99], left[:99]))
    assert torch.equal(left, wave[place : place + len(left)])


def test_where_nothing_is_found_all_is_kept():
    wave = noise(1)
    assert torch.equal(trimmed(wave), wave)


def test_loudness_does_not_matter():
    wave = noise(3, loud=0.003)
    wave[RATE : RATE + len(word())] += word()
    assert torch.equal(activity(wave), activity(wave * 5))


def test_people_speak(digits):
    """Of 150 digits, some cut so tightly that they hold no pause, all but a few are heard."""
    recordings = [(name, read(content)) for name, content in digits(every=20)]
    missed = [name for name, wave in recordings if not speaks(wave)]
    assert len(missed) <= 0.03 * len(recordings), missed


def test_what_is_left_of_a_digit_in_noise_is_the_digit(digits):
    """Between two seconds of noise, 20 dB below: it is found, and hardly more."""
    shares = []
    for _, content in digits(every=100):
        digit = read(content)
        loud = float(digit.pow(2).mean().sqrt())
        wave = noise(4 + len(digit) / RATE, power=1, loud=0.1 * loud)
        wave[2 * RATE : 2 * RATE + len(digit)] += digit
        left = trimmed(wave)
        assert len(left) < len(digit) + 0.5 * RATE
        shares.append(len(left) / len(digit))
    assert np.median(shares) > 0.9


@pytest.mark.parametrize("voice", ["en-gb", "en-us+f3", "de"])
def test_a_computer_speaks(espeak, voice):
    said = espeak("what colour is the big circle", voice)
    assert speaks(said)
    padded = torch.cat([torch.zeros(2 * RATE), said, torch.zeros(2 * RATE)])
    padded += noise(len(padded) / RATE, power=1, loud=0.001)
    assert len(said) - 0.5 * RATE < len(trimmed(padded)) < len(said) + 0.4 * RATE
