"""`vermeil transcribe`, `ask PICTURE --audio`, `eval speech|unified` and `bench speech`."""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

from shared.config import option, parse
from shared.errors import VermeilError
from shared.remeasure import measure_again


@dataclass(frozen=True)
class TranscribeCommand:
    """Which recording to write down, and how."""

    POSITIONAL: ClassVar = ("recording",)

    recording: str = option("", "WAV, FLAC, OGG or MP3, of any length")
    model: str = option("speech", "artifact: speech, speech@tiny, unified, or a folder")
    beams: int = option(8, "hypotheses kept; 1: greedy", low=1)
    lm: str = option("", "artifact of a language model that has a say in the words, e.g. lm")
    phrases: tuple[str, ...] = option(
        (), "all that can be said, apart by commas; the likeliest is written"
    )
    form: Literal["text", "times"] = option("text", "times: with the seconds of each piece")


@dataclass(frozen=True)
class AskCommand:
    """A picture, and a question that is spoken."""

    POSITIONAL: ClassVar = ("picture",)

    picture: str = option("", "a picture file")
    audio: str = option("", "the question: a recording")
    model: str = option("unified", "artifact of a unified model")


def transcribe(arguments: list[str]) -> None:
    """Write down what is said in a recording; nothing where nobody speaks."""
    config = parse(
        TranscribeCommand, arguments, command="vermeil transcribe", about=str(transcribe.__doc__)
    ).config
    recording = existing(config.recording, "which recording?", "vermeil transcribe FILE.wav")
    if config.phrases and config.lm:
        raise VermeilError(
            "told the phrases, it asks no language model", "take --phrases or --lm, not both"
        )
    from phase4_deploy.speech.transcribe import Transcriber
    from shared import hardware
    from shared.artifact import find

    hardware.set_threads(0)
    artifact = find(config.model)
    if artifact.manifest["step"] == "unified":
        from phase4_deploy.unified.generate import Unified

        recogniser = Unified.from_pretrained(str(artifact.folder)).model.speech
    else:
        from phase4_deploy.speech.encoder import SpeechRecogniser

        recogniser = SpeechRecogniser.from_pretrained(artifact)
    transcriber = Transcriber(recogniser, config.beams, scorer(config.lm), config.phrases)
    found = False
    for start, end, text in transcriber.file(recording):
        print(f"{start:8.1f} {end:8.1f}  {text}" if config.form == "times" else text, flush=True)
        found = True
    if not found:
        print("no words were heard in this recording", file=sys.stderr)


def scorer(name: str):
    """A language model's say in the words, or None."""
    if not name:
        return None
    from phase1_foundation.language.model import LanguageModel
    from phase1_foundation.language.tokenizer import Tokenizer
    from phase4_deploy.speech.ctc import WordScorer
    from shared.artifact import find

    artifact = find(name)
    return WordScorer(LanguageModel.from_pretrained(artifact), Tokenizer.from_pretrained(artifact))


def ask(arguments: list[str]) -> None:
    """Answer a spoken question about a picture."""
    config = parse(AskCommand, arguments, command="vermeil ask", about=str(ask.__doc__)).config
    again = "vermeil ask PICTURE.png --audio QUESTION.wav"
    picture = existing(config.picture, "which picture?", again)
    recording = existing(config.audio, "which question?", again)
    from phase4_deploy.unified.generate import Unified
    from shared import hardware

    hardware.set_threads(0)
    unified = Unified.from_pretrained(config.model)
    answer = unified.generate(image=picture, audio=recording)
    if not answer:
        raise VermeilError(
            f"to {recording} there is no answer: nobody speaks, or the model has nothing to say",
            'ask louder, or type the question: vermeil ask PICTURE.png "..."',
        )
    print(answer)


def existing(name: str, missing: str, again: str) -> Path:
    """The path of a user's file."""
    if not name:
        raise VermeilError(missing, again)
    if not Path(name).is_file():
        raise VermeilError(f"there is no file {name}", again)
    return Path(name)


@dataclass(frozen=True)
class BenchConfig:
    """What to time and how long."""

    POSITIONAL: ClassVar = ("step",)

    step: str = option("speech", "what to time")
    rounds: int = option(3, "turns of every candidate", low=1)
    steps: int = option(8, "training steps a turn", low=4)
    batch_size: int = option(32, "clips a training step", low=1)
    threads: int = option(0, "CPU threads; 0 takes every core", low=0)


def bench(arguments: list[str]) -> None:
    """Time learning and decoding beside Wav2Vec2 of the same shape and Whisper tiny, in turns."""
    config = parse(BenchConfig, arguments, command="vermeil bench", about=str(bench.__doc__)).config
    from phase4_deploy.speech.bench import table

    table(config)


def eval(arguments: list[str]) -> None:
    """Measure on the held-out recordings again and put the numbers into the report."""
    step = arguments[0].partition("@")[0].rpartition("/")[2] if arguments else ""
    module = "unified" if step == "unified" else "speech"
    measure_again(arguments, about=eval.__doc__, module=f"phase4_deploy.{module}.evaluate")
