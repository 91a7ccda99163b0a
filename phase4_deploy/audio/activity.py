"""Where somebody speaks, by energy above a floor that follows the noise."""

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from phase4_deploy.audio.log_mel import HOP, LogMel

SMOOTH = 7  # frames of 10 ms that are averaged: noise alone stays within 5 dB of its minimum
PAUSE = 150  # frames to either side among which there is one without speech
SPEECH = 7.0  # dB above the floor, on average over the bands
SHORTEST = 10  # frames: clicks are shorter, syllables are not
HANGOVER = 15  # frames kept before and after: weak consonants, and the end of an echo
EDGE = 1600  # samples of silence, 100 ms
QUIETEST = -70.0  # dB; a band below is silent, so that 16 bits' rounding is no floor to rise above

_LOG_MEL = LogMel()


def activity(wave: Float[Tensor, " n"]) -> Bool[Tensor, " t"]:
    """Which frames of 10 ms hold speech.

    A frame does when its mel bands lie 7 dB above their floors, on average over the bands that are
    not silent. A band's floor is its minimum within 1.5 s (minimum statistics: Martin, 2001,
    section II), so a steady noise of any colour and loudness is none, hum and hiss included. Bursts
    under 100 ms are clicks and fall out; 150 ms around what is left are kept. It tells change from
    constancy and nothing more: music with pauses counts as speech, and so do 1.5 s of a noise that
    sets in.
    """
    level = 10 * _smooth(_LOG_MEL.energy(wave).T).log10().clamp_min(QUIETEST / 10)  # (80, T)
    heard = (level > QUIETEST).any(dim=1)
    if not heard.any():
        return torch.zeros(level.shape[1], dtype=torch.bool)
    level = level[heard]
    floor = -_highest(-level, PAUSE)
    above = ((level - floor).mean(dim=0) > SPEECH).float()[None]  # (1, T)
    # Opening: what is shorter than SHORTEST is gone, what is longer is as it was.
    runs = F.avg_pool1d(F.pad(above, (SHORTEST - 1, SHORTEST - 1)), SHORTEST, 1) > 0.999
    speech = F.max_pool1d(runs.float(), SHORTEST, 1)
    return _highest(speech, HANGOVER)[0].bool()


def speaks(wave: Float[Tensor, " n"]) -> bool:
    """Whether there is any speech; a recogniser that hears none should say nothing."""
    return bool(activity(wave).any())


def span(wave: Float[Tensor, " n"]) -> tuple[int, int]:
    """The samples from the first speech to the last, pauses within included.

    Where none is found, all of them: of a clip with a transcript it is known that somebody speaks,
    if too softly or, without a pause, too evenly to be told from noise.
    """
    frames = activity(wave).nonzero().flatten().tolist()
    if not frames:
        return 0, len(wave)
    return frames[0] * HOP, min((frames[-1] + 1) * HOP, len(wave))


def trimmed(wave: Float[Tensor, " n"]) -> Float[Tensor, " m"]:
    """What lies in its `span`."""
    return wave[slice(*span(wave))]


def edged(wave: Float[Tensor, " n"]) -> Float[Tensor, " m"]:
    """With silence before and after it.

    A recogniser writes a letter for 40 ms at most; words that were cut out tightly ("three" in 220
    ms) are shorter than their letters.
    """
    return F.pad(wave, (EDGE, EDGE))


def _smooth(energy: Float[Tensor, "m t"]) -> Float[Tensor, "m t"]:
    return F.avg_pool1d(energy, SMOOTH, 1, SMOOTH // 2, count_include_pad=False)


def _highest(values: Float[Tensor, "m t"], reach: int) -> Float[Tensor, "m t"]:
    """The maximum of those up to `reach` frames away."""
    return F.max_pool1d(F.pad(values, (reach, reach), value=-torch.inf), 2 * reach + 1, 1)
