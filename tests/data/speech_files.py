"""Small recordings for readers of speech, and what a reader makes of them."""

from pathlib import Path

import numpy as np
import soundfile

from data import load_speech
from data.speech import SPLITS


def tone(path: Path, seconds=0.1, rate=16_000) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    wave = np.sin(np.arange(int(seconds * rate)) / 9) / 2
    soundfile.write(path, wave, rate)
    return path


def read(name) -> dict[str, list]:
    data = load_speech(name)
    return {split: list(data.clips(split)) for split in SPLITS}


def ids(found) -> dict[str, list[str]]:
    return {split: [clip.id for clip in clips] for split, clips in found.items()}


def texts(found) -> dict[str, str]:
    return {clip.id: clip.text for clips in found.values() for clip in clips}
