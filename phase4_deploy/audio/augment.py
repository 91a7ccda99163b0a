"""Changes to recordings and their mel frames that leave what is said.

Every change depends on its key alone, so a run that is resumed or divided among processes hears the
same.
"""

from dataclasses import dataclass
from math import ceil, log
from typing import Protocol, runtime_checkable

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from phase4_deploy.audio.decode import resampler
from shared.errors import VermeilError, nearest

Key = tuple[int, ...]  # e.g. the seed, and the place in the endless line of training

SPEEDS = ((10, 9), (1, 1), (10, 11))  # new samples for old: 0.9, 1 and 1.1 times as fast
NOISES = ("white", "pink", "babble")
VOICES = 3  # that babble together
# What each kind of change adds to a key, so that one does not move what another draws.
SPEED, NOISE, GAIN, MASK, WARP, TEMPO = range(6)


@dataclass(frozen=True)
class Recipe:
    """How much is changed; nothing where nothing is said.

    Masks as in SpecAugment (Park et al., 2019, table 1): how many, and how wide at most, in bands
    and in frames, the latter no more than `time_share` of the clip either.
    """

    speed: bool = False
    noise: float = 0.0  # of clips have some
    snr: tuple[float, float] = (5.0, 25.0)  # dB
    gain: tuple[float, float] = (0.0, 0.0)  # dB
    warp: float = 0.0  # frequencies are raised or lowered by up to this share
    tempo: float = 0.0  # frames are made more or fewer by up to this share
    band_masks: int = 0
    bands: int = 27
    time_masks: int = 0
    frames: int = 100
    time_share: float = 0.2


RECIPES = {
    "mask": Recipe(band_masks=2, time_masks=2),
    "voices": Recipe(warp=0.15, tempo=0.15, band_masks=2, time_masks=2),
    "few": Recipe(warp=0.15, tempo=0.2, band_masks=2, time_masks=5, frames=30, time_share=0.1),
    "speed": Recipe(speed=True, band_masks=2, time_masks=2),
    "strong": Recipe(
        speed=True, noise=0.5, gain=(-20.0, 6.0), warp=0.15, band_masks=2, time_masks=2
    ),
}


@runtime_checkable
class Recordings(Protocol):
    """Samples by number."""

    def __len__(self) -> int: ...

    def __getitem__(self, number: int, /) -> Tensor: ...


class Augmentation:
    """One of the RECIPES, for waves and then for their mel frames."""

    def __init__(self, recipe: str):
        if recipe not in RECIPES:
            raise VermeilError(f"augment '{recipe}' does not exist", nearest(recipe, [*RECIPES]))
        self.recipe = RECIPES[recipe]
        # Without these, mel frames that were made before can be used.
        self.changes_waves = self.recipe.speed or self.recipe.noise > 0 or any(self.recipe.gain)

    def wave(
        self, key: Key, wave: Float[Tensor, " n"], others: Recordings = ()
    ) -> Float[Tensor, " m"]:
        """Faster or slower (Ko et al., 2015), with noise, softer or louder.

        `others` are the recordings that babble is made of; without them there is none. What gets
        too loud is clipped, as it would be by a microphone.
        """
        new, old = self.speed(key)
        wave = resampler(old, new)(wave)
        random = np.random.default_rng((*key, NOISE))
        if random.random() < self.recipe.noise:
            wave = self._noisy(random, wave, others)
        decibels = np.random.default_rng((*key, GAIN)).uniform(*self.recipe.gain)
        return (wave * 10 ** (decibels / 20)).clamp(-1, 1)

    def samples(self, key: Key, samples: int) -> int:
        """How many `wave` makes of so many."""
        new, old = self.speed(key)
        return ceil(samples * new / old)

    def fewest(self, samples: int) -> int:
        """How many samples are left of so many at the greatest speed."""
        new, old = SPEEDS[-1] if self.recipe.speed else (1, 1)
        return ceil(samples * new / old)

    def speed(self, key: Key) -> tuple[int, int]:
        """New samples for how many old ones."""
        if not self.recipe.speed:
            return (1, 1)
        return SPEEDS[np.random.default_rng((*key, SPEED)).integers(len(SPEEDS))]

    def mels(self, key: Key, mels: Float[Tensor, "t m"], least: int = 0) -> Float[Tensor, "n m"]:
        """By a longer or shorter throat, slower or faster (not below `least` frames), with some
        bands and some stretches of time at 0, which is about the mean; a copy."""
        recipe, bands = self.recipe, mels.shape[1]
        mels = self.voice(key, mels, least)
        frames = len(mels)
        random = np.random.default_rng((*key, MASK))
        widest = min(recipe.frames, int(recipe.time_share * frames))
        for _ in range(recipe.band_masks):
            mels[:, _span(random, bands, min(recipe.bands, bands))] = 0
        for _ in range(recipe.time_masks):
            mels[_span(random, frames, widest)] = 0
        return mels

    def voice(self, key: Key, mels: Float[Tensor, "t m"], least: int = 0) -> Float[Tensor, "n m"]:
        """By a longer or shorter throat, slower or faster, and nothing hidden; a copy."""
        frames, most = self.frames(key, len(mels), least), self.recipe.warp
        if most:
            mels = warped(mels, 1 + np.random.default_rng((*key, WARP)).uniform(-most, most))
        return paced(mels, frames) if frames != len(mels) else mels.clone()

    def frames(self, key: Key, frames: int, least: int = 0) -> int:
        """How many `mels` makes of so many: `least` at least, where there are as many."""
        most = self.recipe.tempo
        if not most:
            return frames
        drawn = round(frames * (1 + np.random.default_rng((*key, TEMPO)).uniform(-most, most)))
        return max(drawn, min(frames, least))

    def _noisy(self, random: np.random.Generator, wave: Tensor, others: Recordings) -> Tensor:
        kind = NOISES[random.integers(len(NOISES) if len(others) else len(NOISES) - 1)]
        decibels = random.uniform(*self.recipe.snr)
        if kind == "babble":
            return mixed(wave, babble(random, others, len(wave)), decibels)
        return mixed(wave, noise(random, len(wave), pink=kind == "pink"), decibels)


def warped(mels: Float[Tensor, "t m"], factor: float) -> Float[Tensor, "t m"]:
    """What lay at a frequency lies at `factor` times it, as of a speaker with a shorter throat.

    Vocal tract length perturbation (Jaitly and Hinton, 2013), between neighbouring bands; what is
    not known, beyond the highest, is as the highest.
    """
    bands = mels.shape[1]
    places = band_of(hertz_of(torch.arange(bands), bands) / factor, bands).clamp(0, bands - 1)
    low = places.floor().long().clamp(max=bands - 2)  # (m,)
    return torch.lerp(mels[:, low], mels[:, low + 1], places - low)


def paced(mels: Float[Tensor, "t m"], frames: int) -> Float[Tensor, "n m"]:
    """The same said in `frames` frames, slower or faster at the same pitch; between neighbours."""
    return F.interpolate(mels.T[None], size=frames, mode="linear", align_corners=False)[0].T


# Slaney's scale: 3 mels for 200 Hz up to 1 kHz, then 27 for each factor of 6.4.
KNEE, TOP = 15.0, 15 + 27 * log(8) / log(6.4)  # mels of 1 and of 8 kHz


def hertz_of(band: Tensor, bands: int) -> Tensor:
    """The middle frequency of a band."""
    mel = (band + 1) * TOP / (bands + 1)
    return torch.where(mel < KNEE, mel * 200 / 3, 1000 * 6.4 ** ((mel - KNEE) / 27))


def band_of(hertz: Tensor, bands: int) -> Tensor:
    """The band, with a fraction, whose middle a frequency is."""
    above = KNEE + 27 * torch.log(hertz.clamp_min(1) / 1000) / log(6.4)
    mel = torch.where(hertz < 1000, hertz * 3 / 200, above)
    return mel * (bands + 1) / TOP - 1


def mixed(
    wave: Float[Tensor, " n"], noise: Float[Tensor, " n"], decibels: float
) -> Float[Tensor, " n"]:
    """Both, the noise so many decibels below the wave in mean power; silence stays silence."""
    power, unwanted = wave.square().mean(), noise.square().mean()
    if not unwanted:
        return wave
    return wave + noise * (power / unwanted * 10 ** (-decibels / 10)).sqrt()


def noise(random: np.random.Generator, samples: int, pink: bool) -> Float[Tensor, " n"]:
    """White noise, or pink: equally strong in each octave."""
    white = random.standard_normal(samples, dtype=np.float32)
    if not pink:
        return torch.from_numpy(white)
    spectrum = torch.fft.rfft(torch.from_numpy(white))
    octaves = torch.arange(len(spectrum)).clamp_min(1).sqrt()
    return torch.fft.irfft(spectrum / octaves, samples)


def babble(random: np.random.Generator, others: Recordings, samples: int) -> Float[Tensor, " n"]:
    """Some of the other recordings at once, over and over, each from anywhere, equally loud."""
    voices = []
    for number in random.integers(len(others), size=VOICES).tolist():
        voice = others[number]
        start = int(random.integers(len(voice)))
        voice = voice.roll(-start).repeat(-(-samples // len(voice)))[:samples]
        voices.append(F.normalize(voice, dim=0))
    return torch.stack(voices).sum(0)


def _span(random: np.random.Generator, length: int, widest: int) -> slice:
    """From 0 to `widest` of so many, anywhere."""
    width = int(random.integers(widest + 1))
    start = int(random.integers(length - width + 1))
    return slice(start, start + width)
