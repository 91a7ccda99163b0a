"""The one fit: every objective of every phase trains through it.

A data stream is a function of the step: `rows(step, rows)` gives rows `rows` of the global batch of
that step. Resuming therefore needs only a number, and processes and accumulation split a batch
without changing it.
"""

import contextlib
import itertools
import json
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import pytorch_lightning as pl
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset

from shared import hardware
from shared.callbacks import (
    AtomicCheckpointIO,
    Checkpoint,
    Journal,
    MovingAverage,
    Progress,
    Sample,
    SeedEachStep,
    Settle,
    StopOnSignal,
    Validate,
)
from shared.errors import Stopped, VermeilError
from shared.holding import Whole
from shared.home import write_atomically
from shared.lost import between_processes
from shared.nn import Block
from shared.objective import Objective
from shared.trackers import Made, make_trackers, read_metrics
from shared.train_config import TrainConfig, rows_of


def seed_everything(seed: int) -> None:
    """Fix what is drawn before the first step: initial weights above all."""
    pl.seed_everything(seed, verbose=False)


class Batches(Protocol):
    """Training data as a function of the step."""

    def rows(self, step: int, rows: slice) -> Any:
        """Rows `rows` of the global batch of optimizer step `step` (from 0)."""


@dataclass
class Engine:
    """Where a fit runs: Lightning's strategy and processes. The front door hands others down.

    `whole_matrices`: the optimizer sees gradients of whole matrices, which Muon needs.
    """

    strategy: Any = "auto"
    processes: int = 1
    nodes: int = 1
    plugins: list = field(default_factory=list)
    holding: Whole = field(default_factory=Whole)
    whole_matrices: bool = True


@dataclass(frozen=True)
class History:
    """What a finished fit leaves besides the weights."""

    metrics: list[dict]
    precision: str
    precision_reason: str

    def series(self, name: str) -> tuple[list[int], list[float]]:
        """Steps and values of one metric."""
        points = [(m["step"], m[name]) for m in self.metrics if name in m]
        return [step for step, _ in points], [value for _, value in points]


def fit(
    objective: Objective,
    train: Batches,
    validation: Sequence,
    *,
    folder: Path,
    name: str,
    unit: str,
    amount_per_step: int,
    sample: Callable[[int], Made] | None = None,
    engine: Engine | None = None,
    quiet: bool = False,
) -> History:
    """Train `objective` to its config's last step, from its checkpoint where there is one.

    Everything lands in `folder`: checkpoint.ckpt, metrics.jsonl, run.json, trackers. `unit` and
    `amount_per_step` say what throughput counts ("tokens", 4096). Raises `Stopped` after Ctrl-C or
    SIGTERM, the checkpoint saved.
    """
    config, engine = objective.train_config, engine or Engine()
    _check_engine(config, engine)
    checkpoint = folder / "checkpoint.ckpt"
    resume_step = _checkpoint_step(checkpoint)
    machine = _machine(objective, train, folder, engine, fresh=not resume_step)
    _prepare_model(objective, config)

    journal = Journal(unit, amount_per_step)
    average = MovingAverage(config.ema, engine.holding) if config.ema else None
    shown = average.applied if average else engine.holding.shown
    save = Checkpoint(checkpoint, config.checkpoint_every, journal)
    stop = StopOnSignal(save)
    callbacks: list[pl.Callback | None] = [  # they act in this order
        SeedEachStep(config),
        journal,
        average,
        Validate(validation, config.validate_every, journal, shown) if validation else None,
        Sample(sample, config.sample_every, shown) if sample else None,
        None if quiet else Progress(name, journal),
        save,
        stop,
        Settle(engine.holding, average, resume_step >= config.steps),
    ]
    with warnings.catch_warnings():
        _silence_advice()
        trackers = make_trackers(config.trackers, folder, f"{name}-{folder.name}", resume_step)
        trainer = _trainer(config, engine, machine["precision"], callbacks, trackers)
        loader = _loader(train, config, trainer, resume_step)
        with _in_words(folder, journal), _compiled(objective.model, config.compile):
            trainer.fit(objective, loader, ckpt_path=checkpoint if resume_step else None)
    if trainer.global_step < config.steps:
        where = f"step {trainer.global_step:,} of {config.steps:,}"
        hint = "the same command goes on from there"
        raise Stopped(f"{name} stopped at {where}, saved", hint, stop.received)
    if trainer.global_rank > 0:
        raise SystemExit(0)  # the first process alone measures and publishes
    return History(read_metrics(folder / "metrics.jsonl"), **machine)


@contextlib.contextmanager
def _in_words(folder: Path, journal: Journal) -> Iterator[None]:
    """A full disk and a lost process as a sentence."""
    try:
        yield
    except OSError as error:
        raise VermeilError(
            f"could not write to {folder} ({error.strerror or error})",
            "free some space; the same command goes on from the last checkpoint",
        ) from error
    except RuntimeError as error:
        sentence = between_processes(error, journal.step)
        if sentence is None:
            raise
        raise sentence from error


def _trainer(
    config: TrainConfig, engine: Engine, precision: str, callbacks: list, trackers: list
) -> pl.Trainer:
    """Lightning's loop with everything switched off that our callbacks do."""
    return pl.Trainer(
        accelerator="auto",
        strategy=engine.strategy,
        devices=engine.processes,
        num_nodes=engine.nodes,
        precision="bf16-mixed" if precision == "bf16" else "32-true",
        max_steps=config.steps,
        accumulate_grad_batches=config.accumulate,
        gradient_clip_val=config.clip or None,
        callbacks=[callback for callback in callbacks if callback],
        logger=trackers,
        plugins=[AtomicCheckpointIO(), *engine.plugins],
        use_distributed_sampler=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        log_every_n_steps=1,
    )


def _check_engine(config: TrainConfig, engine: Engine) -> None:
    if config.optimizer == "muon" and not engine.whole_matrices:
        raise VermeilError(
            "Muon needs whole matrices, and this engine gives its optimizer slices of them",
            "add --optimizer adamw, or --strategy fsdp",
        )
    processes = engine.processes * engine.nodes
    parts = config.accumulate * processes
    if config.batch_size % parts:
        raise VermeilError(
            f"batch_size {config.batch_size} cannot be split in {config.accumulate} parts on "
            f"{processes} processes",
            f"make --batch_size a multiple of {parts}",
        )


def _checkpoint_step(path: Path) -> int:
    """The step a checkpoint was written at; 0 without one."""
    if not path.exists():
        return 0
    try:
        return torch.load(path, map_location="meta", weights_only=True, mmap=True)["global_step"]
    except Exception as error:
        raise VermeilError(
            f"the checkpoint {path} cannot be read ({type(error).__name__})",
            f"delete it to start the run again: rm {path}",
        ) from None


def _machine(
    objective: Objective, train: Batches, folder: Path, engine: Engine, *, fresh: bool
) -> dict:
    """Threads and number format; a resumed run keeps the format it began with."""
    config = objective.train_config
    hardware.set_threads(config.threads or max(1, hardware.cores() // engine.processes))
    path, cuda = folder / "run.json", hardware.device_name() == "cuda"
    if not fresh and path.exists():
        return json.loads(path.read_text())
    precision, reason = config.precision, "as configured"
    if precision == "auto" and engine.processes * engine.nodes > 1 and not cuda:
        precision, reason = "fp32", "several processes could not agree on a measurement"
    elif precision == "auto":
        part = slice(0, config.batch_size // config.accumulate)
        precision, reason = hardware.faster_precision(
            objective.loss, train.rows(0, part), device=hardware.device_name()
        )
        objective.zero_grad()
    machine = {"precision": precision, "precision_reason": reason}
    write_atomically(path, json.dumps(machine, indent=2))
    return machine


def _prepare_model(objective: Objective, config: TrainConfig) -> None:
    """Checkpointing of activations, where it is asked for."""
    if config.gradient_checkpointing:
        from torch.distributed.algorithms._checkpoint import checkpoint_wrapper

        checkpoint_wrapper.apply_activation_checkpointing(
            objective.model, check_fn=lambda module: isinstance(module, Block)
        )


@contextlib.contextmanager
def _compiled(model: nn.Module, wanted: bool) -> Iterator[None]:
    """Compile the blocks inside the `with`: one of them is compiled, its like share the code.

    What follows training asks for other shapes and should not wait for a compiler.
    """
    blocks = [module for module in model.modules() if isinstance(module, Block)] if wanted else []
    if blocks and not hardware.has_compiler():
        raise VermeilError("--compile needs a C++ compiler", "install g++, or --compile false")
    for block in blocks:
        block.compile()
    try:
        yield
    finally:
        for block in blocks:
            block._compiled_call_impl = None  # torch has no public way back


class _MicroBatches(Dataset):
    """Item i is what this process computes as its i-th micro-batch."""

    def __init__(self, train: Batches, config: TrainConfig, rank: int, world: int):
        self.train, self.config, self.rank, self.world = train, config, rank, world

    def __getitem__(self, index: int) -> Any:
        return self.train.rows(*rows_of(self.config, index, self.rank, self.world))


class _CountFrom:
    """A sampler without end or length, so that Lightning sees one long epoch."""

    def __init__(self, start: int):
        self.start = start

    def __iter__(self):
        return itertools.count(self.start)


def _loader(train: Batches, config: TrainConfig, trainer: pl.Trainer, step: int) -> DataLoader:
    micro = _MicroBatches(train, config, trainer.global_rank, trainer.world_size)
    return DataLoader(
        micro,
        batch_size=None,
        sampler=_CountFrom(step * config.accumulate),
        num_workers=config.workers,
        pin_memory=hardware.device_name() == "cuda",
    )


def _silence_advice() -> None:
    """Lightning's advice on workers and loggers is answered by design; its banner is noise.

    So is what the compiler says of a CUDA toolkit where there is no card, and that functions
    of torch.distributed are deprecated, whose successors are private or too new.
    """
    import logging

    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    logging.getLogger("lightning_fabric").setLevel(logging.ERROR)
    logging.getLogger("torch.utils.cpp_extension").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", message=r"`?torch\.distributed\..* is deprecated")
    warnings.filterwarnings("ignore", module=r"pytorch_lightning|lightning_fabric")
