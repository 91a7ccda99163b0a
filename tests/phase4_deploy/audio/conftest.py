"""Recordings: of people where VERMEIL_REALDATA has them, of espeak-ng where it is installed."""

import os
import shutil
import subprocess
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from torch import Tensor

DIGITS = Path(os.environ.get("VERMEIL_REALDATA", "realdata")) / "free-spoken-digit-dataset.zip"


@pytest.fixture(scope="session")
def digits() -> Callable[..., list[tuple[str, bytes]]]:
    """digits(every=10) -> names ("7_theo_30") and contents of every tenth recording of FSDD."""
    if not DIGITS.exists():
        pytest.skip("real recordings; VERMEIL_REALDATA names their folder")

    def some(every: int) -> list[tuple[str, bytes]]:
        with zipfile.ZipFile(DIGITS) as archive:
            names = sorted(name for name in archive.namelist() if name.endswith(".wav"))
            return [(Path(name).stem, archive.read(name)) for name in names[::every]]

    return some


@pytest.fixture(scope="session")
def espeak(tmp_path_factory) -> Callable[..., Tensor]:
    """espeak("what colour is the circle") is that, spoken."""
    if not shutil.which("espeak-ng"):
        pytest.skip("espeak-ng is not installed")

    def say(text: str, voice: str = "en-gb") -> Tensor:
        from phase4_deploy.audio.decode import read

        path = tmp_path_factory.mktemp("espeak") / "said.wav"
        subprocess.run(["espeak-ng", "-v", voice, "-w", str(path), text], check=True)
        return read(path)

    return say
