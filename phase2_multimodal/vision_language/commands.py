"""`vermeil caption`, `vermeil ask`, and `vermeil eval caption|vqa`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from shared.config import option, parse
from shared.errors import VermeilError
from shared.remeasure import measure_again


@dataclass(frozen=True)
class CaptionCommand:
    """Which picture to describe and how; the answer with the highest score of all beams."""

    POSITIONAL: ClassVar = ("picture",)

    picture: str = option("", "a picture file")
    model: str = option("", "artifact; by default the newest of vqa and caption")
    beams: int = option(1, "hypotheses kept; 1: greedy", low=1, high=5)
    temperature: float = option(0.0, "0: the likeliest words; more: bolder", low=0)
    max_tokens: int = option(32, "length of the answer", low=1)
    seed: int = option(0, "of a temperature above 0", low=0)


@dataclass(frozen=True)
class AskCommand(CaptionCommand):
    """What to ask about which picture."""

    POSITIONAL: ClassVar = ("picture", "question")

    question: str = option("", 'e.g. "what color is the background?"')
    candidates: tuple[str, ...] = option((), "answers to rank instead of writing one: yes,no")


def caption(arguments: list[str]) -> None:
    """Say what a picture shows."""
    config = parse(
        CaptionCommand, arguments, command="vermeil caption", about=str(caption.__doc__)
    ).config
    from phase2_multimodal.vision_language.prompts import CAPTION

    print(_answer(config, CAPTION))


def ask(arguments: list[str]) -> None:
    """Answer a question about a picture."""
    config = parse(AskCommand, arguments, command="vermeil ask", about=str(ask.__doc__)).config
    if not config.candidates:
        print(_answer(config, config.question))
        return
    speaker, prefix = _look(config)
    scores = speaker.rank(prefix, config.question, config.candidates).softmax(dim=0).tolist()
    for candidate, score in sorted(
        zip(config.candidates, scores, strict=True), key=lambda c: -c[1]
    ):
        print(f"{score:6.1%}  {candidate}")


def _answer(config: CaptionCommand, question: str) -> str:
    from phase1_foundation.language.generate import Sampling

    if config.beams > 1 and config.temperature > 0:
        raise VermeilError("beams are searched, not sampled", "leave out --beams or --temperature")
    speaker, prefix = _look(config)
    sampling = Sampling(
        max_tokens=config.max_tokens, temperature=config.temperature, seed=config.seed
    )
    return speaker.say(prefix, [question], sampling, config.beams)[0]


def _look(config: CaptionCommand) -> tuple[Any, Any]:
    """The model, ready to talk, and what it sees."""
    pixels = read_picture(config.picture)
    from data.decoding import resized
    from data.picture_batches import to_tensor
    from phase2_multimodal.vision_language.generate import Speaker, load
    from shared import hardware

    hardware.set_threads(0)
    model, prompter = load(config.model or _newest(), hardware.device_name())
    speaker = Speaker(model, prompter, rows=1)
    return speaker, speaker.look(to_tensor(resized(pixels, model.config.vision.size)[None]))


def read_picture(name: str) -> Any:
    """The pixels of a user's file, (H, W, 3) uint8."""
    from data.decoding import decode
    from data.folder_pictures import read

    if not name:
        raise VermeilError("which picture?", "vermeil caption PICTURE.png")
    if not Path(name).is_file():
        raise VermeilError(f"there is no file {name}", "give the path of a picture")
    return decode(read(Path(name), name), name)


def _newest() -> str:
    """The model that has learned most, of those that are there."""
    from shared.artifact import find

    try:
        return str(find("vqa").folder)
    except VermeilError:
        return str(find("caption").folder)


def eval(arguments: list[str]) -> None:
    """Caption or ask about the held-out pictures again and put the numbers into the report."""
    measure_again(arguments, about=eval.__doc__, module="phase2_multimodal.vision_language.again")


@dataclass(frozen=True)
class BenchConfig:
    """What to time and how long."""

    POSITIONAL: ClassVar = ("step",)

    step: str = option("multimodal", "what to time")
    tokenizer: str = option("tokenizer", "artifact whose words are used")
    rounds: int = option(3, "turns of every candidate", low=1)
    steps: int = option(6, "training steps a turn", low=4)
    batch_size: int = option(64, "pictures a training step", low=1)
    tokens: int = option(16, "of a caption", low=1)
    threads: int = option(0, "CPU threads; 0 takes every core", low=0)


def bench(arguments: list[str]) -> None:
    """Time learning and captioning beside transformers' LLaVA of the same shape, in turns."""
    config = parse(BenchConfig, arguments, command="vermeil bench", about=str(bench.__doc__)).config
    from phase2_multimodal.vision_language.bench import table

    table(config)
