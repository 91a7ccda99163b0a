"""A recogniser's results: error rates by who labelled the clips, speed, silence, and its pictures.

Clips whose words a recogniser helped to write down are measured apart, and no recogniser is
measured on them for comparison: it would be asked about its own answers.
"""

import contextlib
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
import torch
from torch import Tensor

from data.embedded_speech import EmbeddedSpeech
from data.speech import Clip, SpeechData
from phase4_deploy.audio.decode import RATE, read
from phase4_deploy.speech import plots
from phase4_deploy.speech.alphabet import Alphabet
from phase4_deploy.speech.comparators import Pocketsphinx, WhisperTiny, whisper_folder
from phase4_deploy.speech.ctc import align
from phase4_deploy.speech.encoder import STRIDE, SpeechRecogniser
from phase4_deploy.speech.transcribe import Transcriber
from shared import hardware, results
from shared.artifact import Artifact
from shared.errors import VermeilError
from shared.metrics.speech import (
    ErrorRate,
    by_group,
    character_error_rate,
    hallucination_rate,
    real_time_factor,
    word_error_rate,
)
from shared.results import Row

CLOSED = 200  # texts that a recogniser can be told to choose from
SHORT = 3  # words of such a text; sentences are too easily told apart
HEARD = 200  # clips that comparators listen to, at most
SHOWN = 8
WITHOUT_SPEECH = 60  # clips of silence, noise and music
Hear = Callable[[Tensor], str]


@dataclass(frozen=True)
class Measured:
    """What goes into the report."""

    rows: list[Row]
    exhibits: list[dict[str, Any]]


@dataclass(frozen=True)
class Recordings:
    """Clips that are labelled in one way, with their sound."""

    method: str
    clips: list[Clip]
    waves: list[Tensor]

    @property
    def texts(self) -> list[str]:
        return [clip.text for clip in self.clips]


def measure(
    model: SpeechRecogniser, speech: SpeechData, *, beams: int, seed: int, clips: int,
    artifact: str, preset: str,
) -> Measured:  # fmt: skip
    """CER and WER on the test split, at most so many clips, for each way of labelling."""
    common: dict[str, Any] = {"artifact": artifact, "preset": preset}
    parts, rows, shown, by_kind = recordings(speech, clips), [], [], []
    transcriber, untrained = Transcriber(model.cpu(), beams), Transcriber(_untrained(model, seed))
    known = familiar(speech)
    start = time.perf_counter()
    found = [[transcriber(wave) for wave in part.waves] for part in parts]
    spent = time.perf_counter() - start
    way = "greedy" if beams == 1 else f"prefix beam search, {beams}"
    for part, texts in zip(parts, found, strict=True):
        fair = part.method != "recognisers"
        floors, above = recognisers() if fair else ({}, {})
        rows += error_rows(part, texts, {"random_init": untrained} | floors, above, way, common)
        if fair and closed(part.texts, model.alphabet):
            rows += closed_rows(part, model, untrained.model, common)
        by_kind += kinds(part, texts, known)
        shown += heard(transcriber, part, texts)
    sound = sum(len(wave) for part in parts for wave in part.waves) / RATE
    rows.append(Row(
        step="speech", metric="real_time_factor", value=real_time_factor(spent, sound), unit="",
        better="lower", n=sum(len(part.clips) for part in parts), split="test",
        protocol=f"clips one at a time, {sound:.0f} s of sound, threads: {torch.get_num_threads()}",
        **common,
    ))  # fmt: skip
    rows.append(silence_row(transcriber, common))
    header = ["labelled by", "kind", "clips", "characters", "CER", "WER"]
    table = results.table("Error rates by kind of clip", header, by_kind)
    return Measured(rows, [plots.exhibit("What was said, and what it heard", shown), table])


def familiar(speech: SpeechData) -> dict[str, str]:
    """Of embedded clips: whether their voice says the words in training, too."""
    if not isinstance(speech, EmbeddedSpeech):
        return {}
    return {row["id"]: f"words heard in training: {row['heard']}" for row in speech.table()}


def recordings(speech: SpeechData, clips: int) -> list[Recordings]:
    """The test split's clips by label method, evenly chosen where there are more than `clips`."""
    parts: dict[str, list[Clip]] = defaultdict(list)
    for clip in speech.clips("test"):
        parts[clip.label_method].append(clip)
    if not parts:
        raise VermeilError(f"{speech.name} has no test clips", "choose another --data")
    found = []
    for method, all_of_it in sorted(parts.items()):
        places = np.linspace(0, len(all_of_it) - 1, min(clips, len(all_of_it))).round().astype(int)
        some = [all_of_it[place] for place in places]
        waves = [read(clip.source, clip.id) for clip in some]
        found.append(Recordings(method, some, waves))
    return found


def recognisers(phrases: Sequence[str] | None = None) -> tuple[dict[str, Hear], dict[str, Hear]]:
    """Floors and ceilings, as far as they are installed; told the phrases that there are, or not.

    Floor is pocketsphinx as it comes. Above stands Whisper tiny, which learned from 680,000 hours.
    """
    floors: dict[str, Hear] = {}
    above: dict[str, Hear] = {}
    # Not installed, or none of the phrases is in its dictionary: the row says None.
    with contextlib.suppress(VermeilError):
        floors["pocketsphinx"] = Pocketsphinx(phrases)
    if (whisper_folder() / "source.json").exists():
        above["whisper_tiny"] = WhisperTiny(phrases, threads=hardware.cores())
    return floors, above


def closed(texts: Sequence[str], alphabet: Alphabet) -> bool:
    """Whether these are a closed vocabulary that ours can be told: few, short, in its letters."""
    if len(set(texts)) > CLOSED or any(len(text.split()) > SHORT for text in texts):
        return False
    with contextlib.suppress(VermeilError):
        return all(alphabet.spell(text) for text in texts)
    return False


def closed_rows(
    part: Recordings, model: SpeechRecogniser, untrained: SpeechRecogniser, common: dict[str, Any]
) -> list[Row]:
    """Error rates where all recognisers are told which texts there are, ours among them."""
    phrases = sorted(set(part.texts))
    floors, above = recognisers(phrases)
    floors |= {"random_init": Transcriber(untrained, phrases=phrases)}
    found = [*map(Transcriber(model, phrases=phrases), part.waves)]
    way = f"the likeliest of the {len(phrases)} texts that there are"
    return error_rows(part, found, floors, above, way, common, suffix="_closed")


def error_rows(
    part: Recordings, found: list[str], floors: dict[str, Hear], above: dict[str, Hear],
    way: str, common: dict[str, Any], suffix: str = "",
) -> list[Row]:  # fmt: skip
    """CER and WER of one part, with what others hear in (at most HEARD of) the same clips."""
    others = {name: [*map(hear, part.waves[:HEARD])] for name, hear in (floors | above).items()}
    said = part.texts
    rows = []
    for metric, rate in (("cer", character_error_rate), ("wer", word_error_rate)):
        score, few = rate(said, found), said[:HEARD]
        values: dict[str, float | None] = {name: rate(few, o).value for name, o in others.items()}
        if part.method != "recognisers":
            values = {"pocketsphinx": None} | values
        rows.append(Row(
            step="speech", metric=metric + suffix, value=score.value, unit="", better="lower",
            n=score.n, low=score.low, high=score.high, split="test",
            protocol=f"labels: {part.method.replace('_', ' ')}; {way}; "
            f"{score.units:,} {'characters' if metric == 'cer' else 'words'}",
            baselines={name: value for name, value in values.items() if name not in above},
            ceilings={name: values[name] for name in above}, **common,
        ))  # fmt: skip
    return rows


def kinds(part: Recordings, found: list[str], known: dict[str, str]) -> list[list[Any]]:
    """Lines of a table: the part as a whole, then by folder, speaker and familiarity."""
    lines = []
    for group in (
        [""] * len(found),
        [clip.id.rpartition("/")[0] for clip in part.clips],
        [clip.speaker for clip in part.clips],
        [known.get(clip.id, "") for clip in part.clips],
    ):
        if len(set(group)) == 1 and lines:
            continue
        letters = by_group(part.texts, found, group, "characters")
        words = by_group(part.texts, found, group)
        lines += [_line(part.method, name, letters[name], words[name]) for name in letters]
    return lines


def _line(method: str, kind: str, letters: ErrorRate, words: ErrorRate) -> list[Any]:
    said = (method.replace("_", " "), kind or "all", letters.n, letters.units)
    return [*said, letters.value, words.value]


def heard(transcriber: Transcriber, part: Recordings, found: list[str]) -> list[plots.Heard]:
    """Some clips, chosen by place: their spectrogram with the letters below, and the words."""
    shown = []
    for place in np.linspace(0, len(found) - 1, min(SHOWN, len(found))).round().astype(int):
        wave = part.waves[place]
        spans = align(transcriber.log_probs(wave), found[place], transcriber.model.alphabet)
        frames = STRIDE / transcriber.model.config.readings
        picture = plots.spectrogram(transcriber.trimmed_mels(wave), spans, frames)
        shown.append(
            plots.Heard(part.clips[place].id, part.texts[place], found[place], wave, picture)
        )
    return shown


def silence_row(transcriber: Transcriber, common: dict[str, Any]) -> Row:
    """The share of clips without speech in which it hears words; without the guard beside it."""
    clips = [*islice(without_speech(), WITHOUT_SPEECH)]
    rate = hallucination_rate([transcriber(wave) for wave in clips])
    unguarded = [transcriber.write(transcriber.log_probs(wave)) for wave in clips]
    return Row(
        step="speech", metric="hallucination_rate", value=rate.value, unit="", better="lower",
        n=rate.n, low=rate.low, high=rate.high, split=None,
        protocol="2 s each of silence, white and pink noise, hum and chords",
        baselines={"without_guard": hallucination_rate(unguarded).value}, **common,
    )  # fmt: skip


def without_speech(seconds: float = 2.0) -> Iterator[Tensor]:
    """Silence, white noise, pink noise, hum, a held chord, in turn, at random loudness."""
    random, n = np.random.default_rng(0), round(seconds * RATE)
    moments = np.arange(n) / RATE
    fade = np.sqrt(np.arange(n // 2 + 1) + 1)
    while True:
        loud, pitch = 10 ** random.uniform(-2.5, -0.3), random.uniform(110, 440)
        white = random.standard_normal(n)
        for wave in (
            np.zeros(n), white, np.fft.irfft(np.fft.rfft(white) / fade),
            np.sin(2 * np.pi * 50 * moments),
            np.sin(2 * np.pi * pitch * np.outer((1, 1.25, 1.5), moments)).sum(axis=0),
        ):  # fmt: skip
            peak = np.abs(wave).max() or 1
            yield torch.from_numpy((loud * wave / peak).astype(np.float32))


def _untrained(model: SpeechRecogniser, seed: int) -> SpeechRecogniser:
    """The model as it was before the first step."""
    torch.manual_seed(seed)
    return SpeechRecogniser(model.config)


def evaluate(artifact: Artifact) -> list[Row]:
    """Measure a published recogniser again."""
    import data

    hardware.set_threads(0)
    config = artifact.manifest["config"]
    return measure(
        SpeechRecogniser.from_pretrained(artifact),
        data.load_speech(config["data"]),
        beams=config["beams"],
        seed=config["seed"],
        clips=config["clips"],
        artifact=artifact.id,
        preset=artifact.manifest["preset"],
    ).rows
