"""`vermeil eval lm`, `vermeil sample lm "..."`, `vermeil export lm` and `vermeil bench lm`."""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

from shared.config import common, option, parse
from shared.errors import VermeilError
from shared.remeasure import measure_again


@dataclass(frozen=True)
class SampleConfig:
    """What to write, with which model and how."""

    POSITIONAL: ClassVar = ("model", "prompt")

    model: str = option("lm", "artifact: lm, lm@tiny or its folder")
    prompt: str = option("", "the text to continue")
    max_tokens: int = option(128, "tokens to write at most", low=1)
    temperature: float = option(0.8, "0 takes the likeliest token every time", low=0)
    top_k: int = option(0, "choose among the k likeliest; 0: all", low=0)
    top_p: float = option(0.95, "choose among the likeliest that make up p", low=0, high=1)
    repetition_penalty: float = option(1.0, "above 1: repeats itself less", low=0.1)
    stop: tuple[str, ...] = option((), "texts that end it")
    number: int = option(1, "how many continuations", low=1)
    seed: int = option(0, "same seed, same text", low=0)


def sample(arguments: list[str]) -> None:
    """Continue a prompt; one continuation streams as it is written."""
    config = parse(
        SampleConfig, arguments, command="vermeil sample", about=str(sample.__doc__)
    ).config
    if not config.prompt.strip():
        raise VermeilError("the prompt is empty", f'vermeil sample {config.model} "She had been"')
    from phase1_foundation.language import generate
    from phase1_foundation.language.model import LanguageModel
    from phase1_foundation.language.tokenizer import Tokenizer
    from shared.artifact import locate

    folder = locate(config.model)
    model, tokenizer = LanguageModel.from_pretrained(folder), Tokenizer.from_pretrained(folder)
    sampling = generate.Sampling(**common(config, generate.Sampling))
    if config.number > 1:
        prompts = [config.prompt] * config.number
        for text in generate.generate(model, tokenizer, prompts, sampling):
            print(f"{config.prompt}{text}\n")
        return
    pending = config.prompt  # shown with the first word, so that an error stands alone
    for [text] in generate.stream_text(model, tokenizer, [config.prompt], sampling):
        print(pending + text, end="", flush=True)
        pending = ""
    print()


def eval(arguments: list[str]) -> None:
    """Score the held-out documents again and put the numbers into the report."""
    measure_again(arguments, about=eval.__doc__, module="phase1_foundation.language.evaluate")


@dataclass(frozen=True)
class ExportConfig:
    """What to take where."""

    POSITIONAL: ClassVar = ("model",)

    model: str = option("lm", "artifact: lm, lm@tiny or its folder")
    to: Literal["hf", "onnx"] = option(
        "hf", "hf: the Llama class of transformers; onnx: one graph with a KV cache"
    )
    out: str = option("", "folder to write")

    def folder(self) -> Path:
        """Where to write, asked for before the model is read."""
        if not self.out:
            again = f"vermeil export {self.model} --to {self.to} --out DIR"
            raise VermeilError("--out is missing", again)
        return Path(self.out)


def export(arguments: list[str]) -> None:
    """Write the model in a format that other tools read."""
    config = parse(
        ExportConfig, arguments, command="vermeil export", about=str(export.__doc__)
    ).config
    from shared.artifact import locate

    out, folder = config.folder(), locate(config.model)
    if config.to == "hf":
        from phase1_foundation.language.export import export_llama

        export_llama(folder, out)
        loads = f'AutoModelForCausalLM.from_pretrained("{out}")'
    else:
        from phase1_foundation.language.onnx_export import export_onnx

        export_onnx(folder, out)
        loads = f'onnxruntime.InferenceSession("{out / "model.onnx"}")'
    print(f"wrote {out}", file=sys.stderr)
    print(f"{loads} loads it")


@dataclass(frozen=True)
class BenchConfig:
    """What to time and how long."""

    POSITIONAL: ClassVar = ("step",)

    step: str = option("lm", "what to time")
    rounds: int = option(5, "turns of every candidate", low=1)
    steps: int = option(10, "training steps a turn", low=3)
    new_tokens: int = option(128, "tokens to generate a turn", low=1)
    threads: int = option(0, "CPU threads; 0 takes every core", low=0)


def bench(arguments: list[str]) -> None:
    """Time training and generation beside `transformers`' Llama, in turns."""
    config = parse(BenchConfig, arguments, command="vermeil bench", about=str(bench.__doc__)).config
    from phase1_foundation.language.bench import table

    table(config)
