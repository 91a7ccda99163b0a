"""`vermeil bench scaling`: training on several processes beside one, on this machine, in turns.

Each turn is a process of its own (or several), started as `vermeil train` starts them, and trains
through the whole `fit`. The whole batch stays the same, each process has one thread. A time is
divided by comparison: DDP with a hook that sends nothing (torch's `noop_hook`) computes the same,
beside the same neighbours, so that what a step takes longer than that is communication.
"""

import contextlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any, ClassVar, Literal

from shared.benchmark import conditions, interleaved, now, seconds_a_step
from shared.config import common, option, parse
from shared.errors import VermeilError, nearest
from shared.hardware import cores, cpu_name

MODELS = {"lm": "tokens", "diffusion": "pictures"}  # and what their throughput counts
SILENT = "ddp, nothing sent"


@dataclass(frozen=True)
class ScalingConfig:
    """What to time and how long."""

    POSITIONAL: ClassVar = ("step",)

    step: str = option("scaling", "what to time")
    models: tuple[str, ...] = option(tuple(MODELS), f"any of {', '.join(MODELS)}; tiny's shapes")
    engines: tuple[str, ...] = option(("ddp",), "any of `vermeil train --strategy`'s")
    processes: tuple[int, ...] = option((2,), "how many, besides one")
    rounds: int = option(3, "turns of every candidate", low=1)
    steps: int = option(14, "training steps a turn", low=8)
    precision: Literal["fp32", "bf16"] = option("fp32", "number format of the products")
    trace: str = option("", "folder for traces of torch.profiler, one a model; empty: none")

    def check(self) -> None:
        """Errors that would otherwise come late."""
        from phase3_scaling.distributed.launch import ENGINES

        for what, known in (("models", [*MODELS]), ("engines", [*ENGINES])):
            for name in getattr(self, what):
                if name not in known:
                    raise VermeilError(f"--{what} has no '{name}'", nearest(name, known))
        for n in self.processes:
            if n < 2 or 16 % n:
                raise VermeilError(
                    f"batches of 16 cannot be divided among {n} processes", "--processes 2,4"
                )


@dataclass(frozen=True)
class Turn:
    """What one candidate trains; every process of it reads this."""

    model: str
    strategy: str
    processes: int
    threads: int
    steps: int
    precision: str
    silent: bool = False
    trace: str = ""

    @property
    def name(self) -> str:
        if self.strategy == "single":
            return f"1 process, {self.threads} thread{'s' * (self.threads > 1)}"
        return f"{SILENT if self.silent else self.strategy}, {self.processes} processes"


@dataclass(frozen=True)
class Timing:
    """Seconds of a step and of its parts, and of one save; units (tokens, pictures) a second."""

    turn: Turn
    step: float
    data: float
    save: float
    rate: float
    all_reduce: float = 0.0  # of the gradients' size alone, with nothing else running


def bench(arguments: list[str]) -> None:
    """Time training on several processes beside one, and divide a step into its parts."""
    if arguments[1:2] == ["turn"]:  # this command's own workers
        return take_turn(arguments[2:])
    config = parse(
        ScalingConfig, arguments, command="vermeil bench", about=str(bench.__doc__)
    ).config
    print(f"{cpu_name()}, {conditions()}; AdamW, {config.precision}, one thread a process")
    for model in config.models:
        print("\n" + "\n".join(table(measure(model, config))), flush=True)
        if config.trace:
            n = config.processes[0]
            path = Path(config.trace).absolute() / f"{model}-{config.engines[0]}-{n}.json"
            run(Turn(model, config.engines[0], n, 1, config.steps, config.precision,
                     trace=str(path)))  # fmt: skip
            print(f"trace: {path}", flush=True)
    print(f"\nmedians of {config.rounds} turns; at the end: {conditions()}")
    return None


def measure(model: str, config: ScalingConfig) -> list[Timing]:
    """Every candidate of a model, timed in turns; medians."""
    turns = [Turn(model, "single", 1, 1, config.steps, config.precision)]
    for n in config.processes:
        if n <= cores():
            turns.append(Turn(model, "single", 1, n, config.steps, config.precision))
        turns.append(Turn(model, "ddp", n, 1, config.steps, config.precision, silent=True))
        turns += [Turn(model, e, n, 1, config.steps, config.precision) for e in config.engines]
    kept: dict[str, list[Timing]] = {turn.name: [] for turn in turns}

    def candidate(turn: Turn) -> Callable[[], float]:
        def timed() -> float:
            kept[turn.name].append(run(turn))
            return kept[turn.name][-1].step

        return timed

    interleaved({turn.name: candidate(turn) for turn in turns}, config.rounds, warmup=0)
    parts = ("step", "data", "save", "rate", "all_reduce")
    return [
        Timing(turn, **{part: median(getattr(t, part) for t in kept[turn.name]) for part in parts})
        for turn in turns
    ]


def run(turn: Turn) -> Timing:
    """One turn in processes of its own."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "turn.json").write_text(json.dumps(asdict(turn)))
        command = [sys.executable, "-m", "vermeil", "bench", "scaling", "turn", folder,
                   "--strategy", turn.strategy, "--processes", str(turn.processes)]  # fmt: skip
        environment = os.environ | {"OMP_NUM_THREADS": str(turn.threads)}
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
        result = Path(folder) / "result.json"
        if done.returncode or not result.exists():
            said = [line for line in done.stderr.splitlines() if line.strip()]
            errors = [line for line in said if line.startswith("error: ")] or said[-1:]
            raise VermeilError(f"{turn.model} with {turn.name} failed", " ".join(errors[:1]))
        return Timing(turn, **json.loads(result.read_text()))


def take_turn(arguments: list[str]) -> None:
    """What a process of a turn does; the first one writes the times down."""
    from phase3_scaling.distributed.launch import take_engine
    from shared.training import fit

    engine, (folder,) = take_engine(arguments, command=["bench", "scaling", "turn"])
    turn = Turn(**json.loads((Path(folder) / "turn.json").read_text()))
    objective, batches, amount = made(turn)
    watch = Watch(objective, batches, turn)
    with watch.recording():
        fit(objective, watch, [], folder=Path(folder), name="bench", unit=MODELS[turn.model],
            amount_per_step=amount, engine=engine, quiet=True)  # fmt: skip
    step = seconds_a_step(watch.starts)
    parts = {"step": step, "data": median(watch.batches), "save": median(watch.saves),
             "rate": amount / step, "all_reduce": watch.all_reduce}  # fmt: skip
    (Path(folder) / "result.json").write_text(json.dumps(parts))


def made(turn: Turn) -> tuple[Any, Any, int]:
    """The tiny preset's objective, random batches of its shape, and what a step of it counts."""
    changes = {"steps": turn.steps, "checkpoint_every": turn.steps, "precision": turn.precision,
               "threads": turn.threads, "optimizer": "adamw", "trackers": ()}  # fmt: skip
    return _language(changes) if turn.model == "lm" else _pictures(changes)


VOCABULARY = 4096  # of the tiny preset's tokenizer


def _language(changes: dict[str, Any]) -> tuple[Any, Any, int]:
    import numpy as np

    from data.tokens import TokenWindows
    from phase1_foundation.language.model import LanguageModel, LanguageModelConfig
    from phase1_foundation.language.objective import NextToken
    from phase1_foundation.train_lm import PRESETS

    config = replace(PRESETS["tiny"].config, **changes)
    shape = LanguageModelConfig(vocab_size=VOCABULARY, **common(config, LanguageModelConfig))
    text = np.random.default_rng(0).integers(VOCABULARY, size=50_000)
    windows = TokenWindows(text, config.context, config.batch_size, config.seed)
    return NextToken(LanguageModel(shape), config), windows, config.batch_size * config.context


def _pictures(changes: dict[str, Any]) -> tuple[Any, Any, int]:
    import numpy as np

    from data.picture_batches import PictureBatches
    from phase1_foundation.diffusion.bench import of_preset
    from phase1_foundation.diffusion.model import DiffusionModel
    from phase1_foundation.diffusion.objective import Denoise
    from phase1_foundation.train_diffusion import PRESETS

    config, shape = replace(PRESETS["tiny"].config, **changes), of_preset("tiny")
    random = np.random.default_rng(0)
    pixels = random.integers(256, size=(1024, shape.size, shape.size, 3), dtype=np.uint8)
    labels = random.integers(len(shape.classes), size=1024)
    pictures = PictureBatches(pixels, labels, config.batch_size, config.seed, config.augment)
    return Denoise(DiffusionModel(shape), config), pictures, config.batch_size


class Watch:
    """A data stream that notes when steps begin, and how long batches and saves take."""

    def __init__(self, objective: Any, train: Any, turn: Turn):
        self.objective, self.train, self.turn = objective, train, turn
        self.starts: list[float] = []
        self.batches: list[float] = []
        self.saves: list[float] = []
        self.all_reduce = 0.0
        self.trace = None
        if turn.trace and os.environ.get("RANK", "0") == "0":
            from phase3_scaling.distributed.profile import Trace

            self.trace = Trace(Path(turn.trace))
        objective.on_train_start = self._begin
        objective.on_train_batch_start = lambda *_: self.starts.append(now())
        objective.on_train_batch_end = self._end_step

    def rows(self, step: int, rows: slice) -> Any:
        start = now()
        batch = self.train.rows(step, rows)
        self.batches.append(now() - start)
        return batch

    def recording(self) -> Any:
        """What the fit runs in: the profiler's context, or nothing."""
        return self.trace.running() if self.trace else contextlib.nullcontext()

    def _begin(self) -> None:
        import torch

        trainer = self.objective.trainer
        save = trainer.save_checkpoint

        def timed(*arguments: Any, **more: Any) -> None:
            start = now()
            save(*arguments, **more)
            self.saves.append(now() - start)

        trainer.save_checkpoint = timed
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            size = sum(p.numel() for p in self.objective.parameters() if p.requires_grad)
            self.all_reduce = _bare_all_reduce(size, self.objective.device)
        if self.turn.silent:
            from torch.distributed.algorithms.ddp_comm_hooks.debugging_hooks import noop_hook

            trainer.strategy.model.register_comm_hook(None, noop_hook)

    def _end_step(self, *_: Any) -> None:
        if self.trace:
            self.trace.step()


def _bare_all_reduce(size: int, device: Any) -> float:
    """Median seconds in which all processes add up that many floats."""
    import torch

    numbers, seconds = torch.zeros(size, device=device), []
    for _ in range(5):
        torch.distributed.barrier()
        start = now()
        torch.distributed.all_reduce(numbers)
        seconds.append(now() - start)
    return median(seconds)


def table(timings: list[Timing]) -> list[str]:
    """One line a candidate: throughput, efficiency, and a step's parts in milliseconds."""
    one = timings[0]
    unit = MODELS[one.turn.model]
    lines = [
        f"{one.turn.model:<29}{unit + '/s':>12}{'efficiency':>11}{'beside':>8}{'step':>8}"
        f"{'compute':>9}{'talk':>7}{'data':>7}{'save':>7}{'all-reduce':>12}"
    ]
    by_name = {t.turn.name: t for t in timings}
    for t in timings:
        n = max(t.turn.processes, t.turn.threads)
        efficiency = f"{t.rate / one.rate / n:.0%}"
        threaded = by_name.get(replace(t.turn, strategy="single", processes=1, threads=n,
                                       silent=False).name)  # fmt: skip
        beside = f"{t.rate / threaded.rate:.2f}" if threaded else "-"
        silent = by_name.get(replace(t.turn, strategy="ddp", silent=True).name, t)
        talk = t.step - silent.step if t.turn.strategy != "single" else 0.0
        parts = (t.step, t.step - talk - t.data, talk, t.data, t.save, t.all_reduce)
        ms = [f"{1000 * part:,.1f}" for part in parts]
        lines.append(
            f"{t.turn.name:<29}{t.rate:>12,.0f}{efficiency:>11}{beside:>8}{ms[0]:>8}{ms[1]:>9}"
            f"{ms[2]:>7}{ms[3]:>7}{ms[4]:>7}{ms[5]:>12}"
        )
    return lines
