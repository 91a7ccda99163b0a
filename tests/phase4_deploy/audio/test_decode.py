"""Sound files: every kind, equal however they are read, and sentences about the broken ones."""

import io
import itertools
import struct
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import librosa
import numpy as np
import psutil
import pytest
import soundfile
import torch
from scipy.signal import resample_poly

from phase4_deploy.audio.decode import RATE, BadSound, Resampler, read, stream
from shared.errors import VermeilError


def tone(rate: int, seconds: float = 1.0, hertz: float = 440) -> np.ndarray:
    return (0.5 * np.sin(2 * np.pi * hertz * np.arange(int(rate * seconds)) / rate)).astype("f4")


def noise(rate: int, seconds: float) -> np.ndarray:
    """Below 6 kHz, and below three quarters of what the rate can hold."""
    samples = np.random.default_rng(0).normal(0, 0.1, int(rate * seconds))
    spectrum = np.fft.rfft(samples)
    spectrum[np.fft.rfftfreq(len(samples), 1 / rate) > min(6000, 0.375 * rate)] = 0
    return np.fft.irfft(spectrum, len(samples)).astype("f4")


def encoded(wave: np.ndarray, rate: int, kind: str = "WAV", subtype: str | None = None) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, wave, rate, format=kind, subtype=subtype)
    return file.getvalue()


KINDS = [("WAV", "PCM_16", 1e-4), ("WAV", "PCM_24", 1e-5), ("WAV", "PCM_U8", 0.01),
         ("WAV", "FLOAT", 1e-5), ("WAV", "ULAW", 0.03), ("WAV", "GSM610", 0.2),
         ("FLAC", "PCM_16", 1e-4), ("OGG", "VORBIS", 0.05), ("OGG", "OPUS", 0.05),
         ("MP3", "MPEG_LAYER_III", 0.05), ("AIFF", "PCM_16", 1e-4), ("AU", "PCM_16", 1e-4),
         ]  # fmt: skip


@pytest.mark.parametrize(("kind", "subtype", "error"), KINDS)
def test_every_kind(kind, subtype, error):
    found = read(encoded(tone(RATE), RATE, kind, subtype)).numpy()
    expected = tone(RATE)
    assert found.dtype == np.float32 and abs(len(found) - RATE) < 350
    middle = slice(4000, 12000)
    assert np.abs(found[middle] - expected[middle]).max() < error


@pytest.mark.parametrize(
    "rate", [8000, 11025, 12000, 22050, 24000, 32000, 44100, 48000, 96000, 192_000]
)
def test_every_rate_as_others_resample_it(rate):
    wave = noise(rate, 1.5)
    found = read(encoded(wave, rate, subtype="FLOAT")).numpy()
    by_librosa = librosa.resample(wave, orig_sr=rate, target_sr=RATE, res_type="soxr_vhq")
    divisor = np.gcd(RATE, rate)
    by_scipy = resample_poly(wave, RATE // divisor, rate // divisor, window=("kaiser", 14.0))
    assert abs(len(found) - 1.5 * RATE) <= 1
    middle = slice(1000, 22_000)
    for peer in (by_librosa, by_scipy):
        assert np.abs(found[middle] - peer[middle]).max() < 0.005 * np.abs(wave).max()


@pytest.mark.parametrize("rate", [22050, 44100, 48000])
def test_what_16_khz_cannot_hold_is_gone_and_not_folded(rate):
    found = read(encoded(tone(rate, hertz=9000), rate, subtype="FLOAT"))[1000:-1000]
    assert 20 * np.log10(float(found.std()) / 0.354) < -65


def test_a_rate_that_no_device_has_takes_little_memory():
    before = psutil.Process().memory_info().rss
    found = read(encoded(tone(7_919), 7_919))
    assert abs(len(found) - RATE) <= 1
    spectrum = torch.fft.rfft(found).abs()
    assert int(spectrum.argmax()) == 440
    assert psutil.Process().memory_info().rss - before < 50e6


def test_channels_are_averaged():
    wave = np.stack([tone(RATE), np.zeros(RATE, "f4"), -0.25 * np.ones(RATE, "f4")], 1)
    found = read(encoded(wave, RATE, subtype="FLOAT")).numpy()
    assert np.abs(found - wave.mean(1)).max() < 1e-6


@pytest.mark.parametrize(("kind", "name"), [("MP3", "a.wav"), ("WAV", "a.raw"), ("FLAC", "a.mp3"),
                                            ("OGG", "a"), ("WAV", "ä ö.txt")])  # fmt: skip
def test_the_content_decides_not_the_name(tmp_path, kind, name):
    (tmp_path / name).write_bytes(encoded(tone(RATE), RATE, kind))
    assert abs(len(read(tmp_path / name)) - RATE) < 2000


def test_a_file_and_its_bytes_are_the_same(tmp_path):
    content = encoded(noise(44100, 2), 44100, "MP3")
    (tmp_path / "a.mp3").write_bytes(content)
    assert torch.equal(read(tmp_path / "a.mp3"), read(content))


@pytest.mark.parametrize(("kind", "rate"), [("MP3", 44100), ("FLAC", 48000), ("OGG", 22050)])
def test_blocks_leave_no_trace(monkeypatch, kind, rate):
    content = encoded(np.stack([noise(rate, 3)] * 2, 1), rate, kind)
    whole = read(content)
    monkeypatch.setattr("phase4_deploy.audio.decode.BLOCK", 2000)
    assert (read(content) - whole).abs().max() < 1e-6


# What is heard


def test_silence_is_silence():
    assert torch.equal(read(encoded(np.zeros(RATE, "f4"), RATE)), torch.zeros(RATE))


def test_a_clipped_recording_is_read_as_it_is():
    wave = np.clip(8 * tone(RATE), -1, 1)
    assert np.abs(read(encoded(wave, RATE, subtype="FLOAT")).numpy() - wave).max() < 1e-6


def test_what_exceeds_full_scale_is_cut_off():
    found = read(encoded(3 * tone(RATE), RATE, subtype="FLOAT")).numpy()
    assert np.abs(found - np.clip(3 * tone(RATE), -1, 1)).max() < 1e-6
    loud = read(encoded(np.sign(tone(44100)), 44100, subtype="FLOAT"))  # interpolation overshoots
    assert loud.abs().max() == 1


# Streams


@pytest.mark.parametrize("rate", [8000, 16_000, 22050, 44_100, 192_000])
@pytest.mark.parametrize("block", [997, 20_000])
def test_seams_cannot_be_heard(rate, block):
    from torchaudio.functional import resample

    wave = torch.from_numpy(noise(rate, 1.3))
    resampler = Resampler(rate)
    pieces = [resampler(piece) for piece in wave.split(block)]
    found = torch.cat([*pieces, resampler(wave[:0], last=True)])
    whole = resample(wave.double(), rate, RATE, lowpass_filter_width=32)
    assert len(found) == len(whole)
    assert (found - whole).abs().max() < 3e-6


@pytest.mark.parametrize("seconds", [0.1, 0.73, 5.0])
def test_a_stream_is_the_file_in_chunks(seconds):
    content = encoded(noise(22050, 2), 22050, "FLAC")
    chunks = [*stream(content, seconds)]
    assert {len(chunk) for chunk in chunks[:-1]} <= {round(seconds * RATE)}
    assert 0 < len(chunks[-1]) <= round(seconds * RATE)
    assert torch.equal(torch.cat(chunks), read(content))


@pytest.mark.parametrize("seconds", [1.0, 1.5, 2.0, 2.01, 3.0, 7.0])  # of the file
def test_chunks_overlap(seconds):
    content = encoded(noise(RATE, seconds), RATE)
    chunks = [*stream(content, 1.0, overlap=0.5)]
    half = RATE // 2
    for before, after in itertools.pairwise(chunks):
        assert torch.equal(before[-half:], after[:half])
    rest = torch.cat([chunks[0], *(chunk[half:] for chunk in chunks[1:])])
    assert torch.equal(rest, read(content))
    assert all(len(chunk) > half for chunk in chunks[1:]), "a chunk with nothing new"


def test_two_hours_take_little_memory(tmp_path):
    path = tmp_path / "long.flac"
    minute = np.zeros(60 * 8000, np.int16)
    minute[:8000] = (tone(8000) * 32767).astype(np.int16)
    with soundfile.SoundFile(path, "w", 8000, 1) as file:
        for _ in range(120):
            file.write(minute)
    assert path.stat().st_size < 3e6
    process, samples, loud, most = psutil.Process(), 0, 0, 0
    for _ in stream(path, 30.0):  # what the first round takes for itself
        break
    before = process.memory_info().rss
    for chunk in stream(path, 30.0, overlap=5.0):
        samples += len(chunk) if not samples else len(chunk) - 5 * RATE
        loud += float(chunk.max()) > 0.4
        most = max(most, process.memory_info().rss - before)
    assert samples == 7200 * RATE and loud >= 120
    assert most < 60e6  # whole, it would be 460 MB
    with pytest.raises(BadSound, match=r"long.flac .*too long: over 60 minutes.*stream"):
        read(path)


@pytest.mark.parametrize(("seconds", "overlap"), [(1.0, 1.0), (0.0, 0.0), (1.0, -0.5)])
def test_chunks_that_never_end(seconds, overlap):
    with pytest.raises(VermeilError, match="overlap less than a chunk"):
        stream(b"", seconds, overlap)


# Broken files

FLAC = encoded(noise(RATE, 2), RATE, "FLAC")
WAV = encoded(noise(RATE, 2), RATE)
MP3 = encoded(noise(RATE, 2), RATE, "MP3")
AIFF = encoded(noise(RATE, 2), RATE, "AIFF")
NOT_A_NUMBER = tone(RATE).copy()
NOT_A_NUMBER[8000] = np.nan
INFINITE = np.stack([tone(RATE)] * 2, 1)
INFINITE[12_000, 1] = -np.inf
BROKEN = {
    "nothing.wav": (b"", "empty: 0 bytes"),
    "header.wav": (encoded(np.zeros(0), RATE), "empty: no samples"),
    "crashed.wav": (WAV[:40] + bytes(4) + WAV[44:], "empty: no samples"),
    "half.flac": (FLAC[: len(FLAC) // 2], r"damaged: after [\d.]+ of 2.0 s, .*lost sync"),
    "end.flac": (FLAC[:-2000], "cut short or damaged: after"),
    "beginning.flac": (FLAC[:30], "damaged: "),
    "flipped.flac": (FLAC[:9000] + b"\x55\xaa\x55\xaa" + FLAC[9004:], "damaged: after"),
    "half.wav": (WAV[: len(WAV) // 2], r"cut short: its last 32,0\d\d bytes are missing"),
    "half.aiff": (AIFF[: len(AIFF) // 2], "cut short: its last 3"),
    "beginning.wav": (WAV[:30], "damaged: "),
    "half.mp3": (MP3[: len(MP3) // 2], r"cut short: [01]\.\d of 2.0 s"),
    "text.wav": (b"Dear sir,\nyour recording", "it is text that begins with 'Dear sir"),
    "page.mp3": ("<!DOCTYPE html>ü".encode(), "it is text that begins with '<!DOCTYPE"),
    "zeros.wav": (bytes(1000), "of an unknown kind, it begins with"),
    "clip.mp4": (b"\0\0\0\x20ftypisom" + bytes(99), "an MP4 file.*ffmpeg -i FILE"),
    "clip.m4a": (b"\0\0\0\x20ftypM4A " + bytes(99), "an MP4 file: AAC or a video"),
    "clip.mkv": (b"\x1aE\xdf\xa3" + bytes(99), "a Matroska or WebM file"),
    "clip.avi": (b"RIFF\x10\x10\0\0AVI LIST" + bytes(99), "an AVI video"),
    "clip.mpg": (b"\0\0\x01\xba" + bytes(99), "an MPEG video"),
    "bare.aac": (b"\xff\xf1\x50\x80" + bytes(99), "bare AAC"),
    "nan.wav": (encoded(NOT_A_NUMBER, RATE, subtype="FLOAT"), "NaN or infinity at 0.50 s"),
    "infinite.wav": (encoded(INFINITE, RATE, subtype="FLOAT"), "NaN or infinity at 0.75 s"),
    "integers.wav": (encoded(tone(RATE) * 32767, RATE, subtype="FLOAT"),
                     "samples reach 16,3.., where 1 is full scale"),
    "slow.wav": (encoded(tone(1000), 1000), "unusual rate: 1,000 Hz"),
    "fast.wav": (encoded(tone(RATE, 0.1), 2_000_000), "unusual rate: 2,000,000 Hz"),
}  # fmt: skip


@pytest.mark.parametrize("name", BROKEN)
def test_broken_files(tmp_path, name):
    content, message = BROKEN[name]
    (tmp_path / name).write_bytes(content)
    for source, known_as in ((tmp_path / name, ""), (content, f"clip {name}")):
        with pytest.raises(
            BadSound, match=f"(?s){name} cannot be used as sound .*{message}"
        ) as caught:
            read(source, known_as)
        assert "\n" not in caught.value.message and caught.value.hint
    with pytest.raises(BadSound):
        [*stream(content, 0.5)]


@pytest.fixture
def torchcodec(monkeypatch):
    """What torchcodec 0.17 does: it cuts ranges at the end, and beyond it raises."""
    wave = torch.from_numpy(np.stack([noise(44100, 25.3)] * 2))
    whole = {"wave": wave, "error": None}

    class AudioDecoder:
        metadata = SimpleNamespace(sample_rate=44100, begin_stream_seconds=0.5)

        def __init__(self, source):
            if whole["error"]:
                raise whole["error"]

        def get_samples_played_in_range(self, start, stop):
            first, last = (round((seconds - 0.5) * 44100) for seconds in (start, stop))
            if first >= whole["wave"].shape[1]:
                raise RuntimeError("No audio frames were decoded")
            return SimpleNamespace(data=whole["wave"][:, first:last])

    decoders = ModuleType("torchcodec.decoders")
    decoders.AudioDecoder = AudioDecoder
    monkeypatch.setitem(sys.modules, "torchcodec", ModuleType("torchcodec"))
    monkeypatch.setitem(sys.modules, "torchcodec.decoders", decoders)
    return whole


@pytest.mark.parametrize("seconds", [25.3, 20, 3])
def test_what_soundfile_does_not_know_torchcodec_may(torchcodec, seconds):
    torchcodec["wave"] = torchcodec["wave"][:, : round(seconds * 44100)]
    expected = read(encoded(torchcodec["wave"].T.numpy(), 44100, subtype="FLOAT"))
    found = read(BROKEN["clip.m4a"][0])
    assert len(found) == len(expected) and (found - expected).abs().max() < 1e-6


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (RuntimeError("Could not load libtorchcodec. Likely FFmpeg"), "video"),
        (
            ValueError("The best audio stream is unknown"),
            "video; torchcodec finds no sound in it .*",
        ),
        (RuntimeError("moov atom not found"), "video; torchcodec finds no sound in it .*"),
    ],
)
def test_torchcodec_that_cannot(torchcodec, error, said):
    torchcodec["error"] = error
    with pytest.raises(BadSound, match=rf"it is an MP4 file: AAC or a {said}\): convert it"):
        read(BROKEN["clip.m4a"][0], "a.m4a")


def test_bytes_without_a_name():
    with pytest.raises(BadSound, match=r"^a sound of 9 bytes cannot"):
        read(b"something")


@pytest.mark.parametrize("name", ["missing.wav", "."])
def test_no_file(tmp_path, name):
    with pytest.raises(VermeilError, match="cannot be read"):
        read(tmp_path / name)


@pytest.mark.parametrize("length", [0xFFFFFFFF, 0x7FFFF000, 0x7FFFFFFF])
def test_a_wav_that_does_not_know_its_length(length):
    place = WAV.index(b"data") + 4
    unknown = struct.pack("<I", length)
    found = read(WAV[:4] + unknown + WAV[8:place] + unknown + WAV[place + 4 :])
    assert torch.equal(found, read(WAV))


def test_a_wav_that_counts_its_header(tmp_path):
    place = WAV.index(b"data") + 4
    found = read(WAV[:place] + struct.pack("<I", len(WAV)) + WAV[place + 4 :])
    assert torch.equal(found, read(WAV))


def test_files_are_closed(tmp_path):
    Path(tmp_path / "a.wav").write_bytes(WAV)
    before = psutil.Process().num_fds()
    for _ in range(3):
        read(tmp_path / "a.wav")
        next(stream(tmp_path / "a.wav", 0.1))
    assert psutil.Process().num_fds() == before
