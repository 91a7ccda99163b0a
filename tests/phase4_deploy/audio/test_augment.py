"""Changes to recordings: what they change, by how much, and that a key decides all of it."""

import numpy as np
import pytest
import torch

from phase4_deploy.audio import augment
from phase4_deploy.audio.augment import Augmentation, Recipe, babble, mixed, noise, warped
from phase4_deploy.audio.decode import RATE
from phase4_deploy.audio.log_mel import LogMel
from shared.errors import VermeilError

TONE = 0.3 * torch.sin(2 * torch.pi * 440 * torch.arange(RATE) / RATE)
MELS = torch.ones(200, 80)


def only(monkeypatch, **settings) -> Augmentation:
    monkeypatch.setitem(augment.RECIPES, "one", Recipe(**settings))
    return Augmentation("one")


@pytest.mark.parametrize("recipe", augment.RECIPES)
def test_a_key_decides_all(recipe):
    change = Augmentation(recipe)
    others = [torch.randn(5000), torch.randn(9000)]
    waves, masked = {}, {}
    for _ in range(2):
        for key in ((0, 1), (0, 2), (1, 1), (0, 1, 2)):
            wave, mels = change.wave(key, TONE, others), change.mels(key, MELS)
            assert torch.equal(wave, waves.setdefault(key, wave))
            assert torch.equal(mels, masked.setdefault(key, mels))
    assert len({mels.sum().item() for mels in masked.values()}) > 2
    assert change.changes_waves == (recipe not in ("mask", "voices", "few"))
    if recipe == "mask":
        assert all(torch.equal(wave, TONE) for wave in waves.values())
    assert MELS.min() == 1, "the frames themselves were changed"


def test_speeds_are_three_and_the_pitch_goes_along(monkeypatch):
    change = only(monkeypatch, speed=True)
    found = {}
    for place in range(60):
        wave = change.wave((0, place), TONE)
        assert len(wave) == change.samples((0, place), RATE)
        hertz = float(torch.fft.rfft(wave).abs().argmax()) * RATE / len(wave)
        found.setdefault(len(wave), []).append(hertz)
    assert {samples: round(np.mean(hertz)) for samples, hertz in found.items()} == {
        17_778: 396, 16_000: 440, 14_546: 484,
    }  # fmt: skip
    assert all(len(hertz) > 10 for hertz in found.values())
    assert change.fewest(RATE) == 14_546


def test_noise_has_the_promised_strength_and_comes_to_half(monkeypatch):
    change = only(monkeypatch, noise=0.5, snr=(3.0, 9.0))
    ratios = []
    for place in range(100):
        unwanted = change.wave((0, place), TONE) - TONE
        if unwanted.any():
            ratios.append(10 * float((TONE.square().mean() / unwanted.square().mean()).log10()))
    assert 35 < len(ratios) < 65
    assert 2.9 < min(ratios) < 4 and 8 < max(ratios) < 9.1


def test_pink_noise_is_equally_strong_in_each_octave():
    octaves = {}
    for pink in (False, True):
        power = torch.fft.rfft(noise(np.random.default_rng(0), 4 * RATE, pink)).abs().square()
        octaves[pink] = [float(power[4 * f : 8 * f].sum().log2()) for f in (250, 500, 1000, 2000)]
    assert np.diff(octaves[False]) == pytest.approx([1, 1, 1], abs=0.15)
    assert np.diff(octaves[True]) == pytest.approx([0, 0, 0], abs=0.15)


def test_babble_is_made_of_the_others():
    low, high = (torch.sin(2 * torch.pi * f * torch.arange(2000) / RATE) for f in (800, 2400))
    heard = set()
    for seed in range(8):
        found = babble(np.random.default_rng(seed), [low, 0.01 * high], RATE)
        spectrum = torch.fft.rfft(found).abs()
        heard.add(tuple(bool(spectrum[hertz] > 0.2 * spectrum.max()) for hertz in (800, 2400)))
        assert len(found) == RATE and float(spectrum[1200:2000].max()) < 0.1 * spectrum.max()
    assert (True, True) in heard, "the soft one is as loud as the other"
    assert babble(np.random.default_rng(0), [low], 10).shape == (10,)


def test_silence_stays_silence():
    assert not mixed(torch.zeros(10), torch.randn(10), 5.0).any()
    assert torch.equal(mixed(TONE, torch.zeros(RATE), 5.0), TONE)


def test_gain_covers_its_range_and_clips(monkeypatch):
    change = only(monkeypatch, gain=(-20.0, 20.0))
    quiet = 0.01 * TONE
    gains = [20 * np.log10(float((change.wave((0, n), quiet) / quiet)[5])) for n in range(60)]
    assert -20 <= min(gains) < -17 and 17 < max(gains) <= 20
    assert max(float(change.wave((0, n), TONE).abs().max()) for n in range(60)) == 1


@pytest.mark.parametrize("hertz", [300, 440, 1500, 3000])
@pytest.mark.parametrize("factor", [0.87, 1.0, 1.15])
def test_a_warp_moves_a_tone_to_where_a_higher_one_is(hertz, factor):
    """Up to one band of 80, of which there are four to five for a factor of 1.15."""

    def loudest(mels: torch.Tensor) -> float:
        return float(
            (mels.mean(0).exp().pow(4) * torch.arange(80)).sum() / mels.mean(0).exp().pow(4).sum()
        )

    def tone(pitch: float) -> torch.Tensor:
        return LogMel()(0.3 * torch.sin(2 * torch.pi * pitch * torch.arange(RATE) / RATE))

    moved, expected = loudest(warped(tone(hertz), factor)), loudest(tone(hertz * factor))
    assert moved == pytest.approx(expected, abs=0.75)


def test_a_recipe_with_throats_moves_a_voice_up_and_down(monkeypatch):
    tone = LogMel()(0.3 * torch.sin(2 * torch.pi * 2000 * torch.arange(RATE) / RATE))

    def loudest(change: Augmentation) -> list[float]:
        moved = (change.mels((0, place), tone).mean(0).argmax() for place in range(40))
        return [float(augment.hertz_of(band, 80)) for band in moved]

    found = loudest(only(monkeypatch, warp=0.15))
    assert 1650 < min(found) < 1850 and 2150 < max(found) < 2400
    assert len(set(loudest(only(monkeypatch, warp=0.0)))) == 1


def test_a_tempo_keeps_pitch_and_order_and_what_a_text_needs(monkeypatch):
    change = only(monkeypatch, tempo=0.15)
    rising = torch.linspace(0, 1, 200)[:, None] + torch.arange(80)  # (T, 80)
    lengths = []
    for place in range(60):
        mels = change.mels((0, place), rising)
        lengths.append(len(mels))
        assert len(mels) == change.frames((0, place), 200)
        torch.testing.assert_close(mels[:, 7] - 7, mels[:, 0])  # every band at the same pace
        assert (mels[:, 0].diff() > -1e-6).all() and mels[0, 0] < 0.01 and mels[-1, 0] > 0.99
    assert 170 <= min(lengths) < 175 and 225 < max(lengths) <= 230
    enough = [change.frames((0, place), 200, 190) for place in range(60)]
    assert enough == [max(190, length) for length in lengths]
    assert change.frames((0, lengths.index(min(lengths))), 200, 500) == 200, "not longer than it is"


def test_bands_have_the_frequencies_of_their_filters():
    """Each filter of the spectrum is a triangle; its middle is where torchaudio puts it."""
    filters = LogMel()._spectrum.mel_scale.fb  # (201, 80)
    hertz = torch.linspace(0, RATE / 2, len(filters))
    wide = filters[:, 20:]  # narrow ones fall between two bins of 40 Hz
    middles = (wide * hertz[:, None]).sum(0) / wide.sum(0)
    own = augment.hertz_of(torch.arange(80), 80)
    torch.testing.assert_close(middles, own[20:], rtol=0.03, atol=12)
    torch.testing.assert_close(augment.band_of(own, 80), torch.arange(80.0), rtol=0, atol=1e-3)


def test_masks_are_stretches_of_bands_and_of_frames(monkeypatch):
    change = only(monkeypatch, band_masks=1, bands=20, time_masks=1, frames=30)
    widths = []
    for place in range(300):
        masked = change.mels((0, place), MELS) == 0
        bands, frames = masked.all(dim=0), masked.all(dim=1)
        assert torch.equal(masked, bands | frames[:, None])
        for line in (bands, frames):
            assert int(line.int().diff().abs().sum()) <= 2, "one stretch"
        widths.append((int(bands.sum()), int(frames.sum())))
    assert {width for width, _ in widths} == set(range(21))
    assert {width for _, width in widths} == set(range(31))


def test_masks_take_at_most_a_fifth_of_a_short_clip(monkeypatch):
    change = only(monkeypatch, time_masks=1)
    hidden = [int((change.mels((0, n), MELS[:40]) == 0).all(1).sum()) for n in range(99)]
    assert max(hidden) == 8
    assert torch.equal(change.mels((0, 0), MELS[:4]), MELS[:4])


def test_what_one_change_draws_another_does_not_move(monkeypatch):
    both = only(monkeypatch, speed=True, noise=0.5, band_masks=2, time_masks=2)
    masks = only(monkeypatch, band_masks=2, time_masks=2)
    speed = only(monkeypatch, speed=True)
    for place in range(20):
        assert torch.equal(both.mels((0, place), MELS), masks.mels((0, place), MELS))
        assert both.speed((0, place)) == speed.speed((0, place))


def test_an_unknown_recipe():
    with pytest.raises(
        VermeilError, match=r"augment 'strung' does not exist: did you mean 'strong'"
    ):
        Augmentation("strung")
