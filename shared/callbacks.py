"""What happens around the steps of `shared.training.fit`, one small callback each.

All act at the end of an optimizer step, in the order of `fit`'s list, and the checkpoint comes
last: so a resumed run finds every number of that step already written.
"""

import contextlib
import errno
import math
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from lightning_fabric.plugins.io.torch_io import TorchCheckpointIO
from pytorch_lightning import Callback, Trainer
from torch import Tensor

from shared.draws import RowDraws
from shared.errors import VermeilError
from shared.holding import Whole
from shared.home import replacing
from shared.objective import Objective
from shared.trackers import Made, log_samples
from shared.train_config import TrainConfig, rows_of


class AfterStep(Callback):
    """A callback that acts once an optimizer step is complete, on every `every`-th and the last."""

    every = 1

    def on_train_batch_end(self, trainer: Trainer, objective: Objective, *_: Any) -> None:
        if trainer.fit_loop._should_accumulate():
            return
        step = trainer.global_step
        if step % self.every == 0 or step == trainer.max_steps:
            self.after_step(trainer, objective, step)

    def after_step(self, trainer: Trainer, objective: Objective, step: int) -> None:
        raise NotImplementedError


class SeedEachStep(Callback):
    """Random numbers depend on (seed, micro-batch) alone: resuming needs no generator's state.

    Those that an objective draws through its `draws` depend on (seed, step, row of the batch), so
    that they do not change with the number of processes either.
    """

    def __init__(self, config: TrainConfig):
        self.seed, self.config, self.draws = config.seed, config, RowDraws(config.seed)

    def on_train_start(self, trainer: Trainer, objective: Objective) -> None:
        objective.row_draws = self.draws

    def on_train_batch_start(self, trainer: Trainer, objective: Objective, *_: Any) -> None:
        index = trainer.fit_loop.epoch_loop.total_batch_idx
        rank, world = trainer.global_rank, trainer.world_size
        torch.manual_seed(self.seed * 1_000_003 + index * world + rank)
        step, rows = rows_of(self.config, index, rank, world)
        self.draws.begin(step, rows.start)

    def on_train_end(self, trainer: Trainer, objective: Objective) -> None:
        objective.row_draws = None


class MovingAverage(AfterStep):
    """Exponential moving average of the weights, with warm-up as in TensorFlow's.

    The decay of step t is min(decay, (1 + t) / (10 + t)), so that early weights are soon forgotten.
    Validation, samples and the final model use the average.
    """

    def __init__(self, decay: float, holding: Whole | None = None):
        self.decay, self.holding = decay, holding or Whole()
        self.average: list[Tensor] = []  # this process's parts of it

    def on_fit_start(self, trainer: Trainer, objective: Objective) -> None:
        self.objective = objective
        if self.average:  # whole, from a checkpoint
            self.average = self.holding.split(objective, self.average)
        else:
            self.average = [part.clone() for part in self.holding.parts(objective)]

    @torch.no_grad()
    def after_step(self, trainer: Trainer, objective: Objective, step: int) -> None:
        decay = min(self.decay, (1 + step) / (10 + step))
        torch._foreach_lerp_(self.average, self.holding.parts(objective), 1 - decay)

    def applied(self, objective: Objective) -> contextlib.AbstractContextManager[None]:
        """The model with averaged weights inside the `with`."""
        return self.holding.shown(objective, self.average)

    def state_dict(self) -> dict[str, Any]:
        return {"average": self.holding.join(self.objective, self.average)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.average = state["average"]


class Settle(Callback):
    """Leaves the model whole once training is over, with averaged weights where they are kept.

    Also where it was over `before`, and only what follows was cut short.
    """

    def __init__(self, holding: Whole, average: MovingAverage | None, before: bool):
        self.holding, self.average, self.before = holding, average, before

    def on_fit_start(self, trainer: Trainer, objective: Objective) -> None:
        if self.before:
            self._settle(objective)

    def on_train_end(self, trainer: Trainer, objective: Objective) -> None:
        if trainer.global_step >= trainer.max_steps:  # not after an interruption
            self._settle(objective)

    def _settle(self, objective: Objective) -> None:
        self.holding.settle(objective, self.average.average if self.average else None)


Shown = Callable[[Objective], contextlib.AbstractContextManager[None]]


@contextlib.contextmanager
def evaluating(objective: Objective, shown: Shown) -> Iterator[None]:
    """Evaluation mode with whole weights; training's random numbers go on as if nothing was.

    `shown` puts them there, averaged ones where they are kept. Blocks compiled for training run as
    they are written, since other shapes, without gradients, would each wait for the compiler.
    """
    objective.eval()
    with shown(objective), torch.random.fork_rng(), torch.compiler.set_stance("force_eager"):
        yield
    objective.train()


class Journal(AfterStep):
    """Sends every step's loss, learning rate and gradient norm to the trackers.

    Values stay on the device and are fetched together every `flush_every` steps, since fetching one
    makes a GPU wait. A loss that is not finite ends the run.
    """

    flush_every = 20

    def __init__(self, unit: str, amount_per_step: int):
        self.unit, self.amount = unit, amount_per_step
        self.pending: list[tuple[int, float, Tensor, Tensor]] = []
        self.losses: list[Tensor] = []
        self.last: dict[str, float] = {}
        self.step = 0  # the last that was done

    def on_train_start(self, *_: Any) -> None:
        self.mark, self.marked_step = time.perf_counter(), None

    def on_train_batch_end(self, trainer: Trainer, objective: Objective, *rest) -> None:
        self.losses.append(objective.last_loss)
        super().on_train_batch_end(trainer, objective, *rest)

    def after_step(self, trainer: Trainer, objective: Objective, step: int) -> None:
        self.step = step
        loss = torch.stack(self.losses).mean()  # over the parts of this step's batch
        self.losses = []
        rate = trainer.optimizers[0].param_groups[0]["lr"]
        self.pending.append((step, rate, loss, objective.grad_norm))
        if step % self.flush_every == 0 or step == trainer.max_steps or step <= 2:
            self.flush(trainer)

    def flush(self, trainer: Trainer) -> None:
        if not self.pending:
            return
        steps, rates, parts, norms = zip(*self.pending, strict=True)
        mine = torch.stack(parts)
        losses = trainer.strategy.reduce(mine.clone(), reduce_op="mean").tolist()
        norms = torch.stack(norms).tolist()
        self.pending = []
        bad = next((i for i, loss in enumerate(losses) if not math.isfinite(loss)), None)
        where = _rank_of(trainer, mine[bad]) if bad is not None else ""
        for step, rate, loss, norm in zip(steps, rates, losses, norms, strict=True):
            metrics = {"train_loss": loss, "learning_rate": rate, "grad_norm": norm}
            self.send(trainer, metrics, step)
            if not math.isfinite(loss):
                raise VermeilError(
                    f"the loss became {loss} at step {step}{where}",
                    "lower --learning_rate or set --clip 1; the last checkpoint is from before",
                )
        self._measure_speed(steps[-1])
        for logger in trainer.loggers:
            logger.save()

    def send(self, trainer: Trainer, metrics: dict[str, float], step: int) -> None:
        """Give the same numbers to every tracker."""
        self.last |= metrics
        for logger in trainer.loggers:
            logger.log_metrics(metrics, step)

    def _measure_speed(self, step: int) -> None:
        now = time.perf_counter()
        if self.marked_step is not None and step > self.marked_step:
            per_second = (step - self.marked_step) * self.amount / (now - self.mark)
            self.last[f"{self.unit}_per_second"] = per_second
        self.mark, self.marked_step = now, step


def _rank_of(trainer: Trainer, loss: Tensor) -> str:
    """Whose own loss is not finite, in words where it is not everyone's; all have to ask."""
    if trainer.world_size == 1:
        return ""
    everyone = trainer.strategy.all_gather(loss).flatten().isfinite().tolist()
    bad = [str(rank) for rank, fine in enumerate(everyone) if not fine]
    return f" on rank {', '.join(bad)}" if len(bad) < len(everyone) else ""


class Validate(AfterStep):
    """Mean loss over fixed validation batches, with averaged weights where they are kept.

    Losses that draw noise draw the same one every time, so that the curve shows the model alone.
    """

    def __init__(self, batches: Sequence, every: int, journal: Journal, shown: Shown):
        self.batches, self.every, self.journal, self.shown = batches, every, journal, shown

    def on_train_start(self, trainer: Trainer, objective: Objective) -> None:
        if trainer.global_step == 0:
            self.after_step(trainer, objective, 0)

    @torch.no_grad()
    def after_step(self, trainer: Trainer, objective: Objective, step: int) -> None:
        with evaluating(objective, self.shown), trainer.precision_plugin.forward_context():
            torch.manual_seed(0)
            batches = [trainer.strategy.batch_to_device(batch) for batch in self.batches]
            losses = [objective.loss(batch) for batch in batches]
        loss = trainer.strategy.reduce(torch.stack(losses).mean(), reduce_op="mean").item()
        self.journal.flush(trainer)
        self.journal.send(trainer, {"validation_loss": loss}, step)


class Sample(AfterStep):
    """Shows what the model makes as training goes, in every tracker that can."""

    def __init__(self, sample: Callable[[int], Made], every: int, shown: Shown):
        self.sample, self.every, self.shown = sample, every, shown

    @torch.no_grad()
    def after_step(self, trainer: Trainer, objective: Objective, step: int) -> None:
        with evaluating(objective, self.shown):
            if trainer.is_global_zero:
                log_samples(trainer.loggers, self.sample(step), step)


class Checkpoint(AfterStep):
    """Saves the run every so many steps; a new file replaces the old one once it is whole."""

    def __init__(self, path: Path, every: int, journal: Journal):
        self.path, self.every, self.journal = path, every, journal

    def after_step(self, trainer: Trainer, objective: Objective, step: int) -> None:
        self.journal.flush(trainer)
        trainer.save_checkpoint(self.path)


class AtomicCheckpointIO(TorchCheckpointIO):
    """Writes beside the old checkpoint and renames: a crash or a full disk keeps the old one."""

    def save_checkpoint(self, checkpoint: dict, path: Any, storage_options: Any = None) -> None:
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as temporary:
            try:
                torch.save(checkpoint, temporary)
            except RuntimeError as error:  # torch's writer hides the disk's own error
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)) from error


class StopOnSignal(AfterStep):
    """Ctrl-C and SIGTERM finish the step, save and stop; a second Ctrl-C stops at once.

    Several processes, which the signal reaches at different steps, agree on one of every few.
    """

    agree_every = 5

    def __init__(self, checkpoint: Checkpoint):
        self.checkpoint = checkpoint
        self.received = 0

    def on_train_start(self, *_: Any) -> None:
        # Installed here, after Lightning's own handlers, which would end the process unsaved.
        self.previous = {s: signal.signal(s, self._note) for s in (signal.SIGTERM, signal.SIGINT)}

    def _note(self, number: int, _: Any) -> None:
        self.received = number
        signal.signal(signal.SIGINT, signal.default_int_handler)

    def after_step(self, trainer: Trainer, objective: Objective, step: int) -> None:
        if trainer.world_size > 1 and not self._agreed(trainer, objective, step):
            return
        if self.received and step < trainer.max_steps:
            self.checkpoint.after_step(trainer, objective, step)
            trainer.should_stop = True

    def _agreed(self, trainer: Trainer, objective: Objective, step: int) -> bool:
        if step % self.agree_every:
            return False
        asked = torch.tensor(float(self.received > 0), device=objective.device)
        if trainer.strategy.reduce(asked, reduce_op="mean") > 0:
            self.received = self.received or signal.SIGTERM
        return True

    def teardown(self, *_: Any, **__: Any) -> None:
        for number, handler in getattr(self, "previous", {}).items():
            signal.signal(number, handler or signal.SIG_DFL)


class Progress(AfterStep):
    """One line that says where the run stands: rewritten on a terminal, now and then in a log."""

    def __init__(self, name: str, journal: Journal):
        self.name, self.journal = name, journal
        self.live = sys.stderr.isatty()
        self.pause = 0.5 if self.live else float(os.environ.get("VERMEIL_PROGRESS_SECONDS", 15))

    def on_train_start(self, trainer: Trainer, *_: Any) -> None:
        self.start, self.first_step, self.shown = time.monotonic(), trainer.global_step, 0.0

    def after_step(self, trainer: Trainer, objective: Objective, step: int) -> None:
        now, last = time.monotonic(), step == trainer.max_steps
        if trainer.is_global_zero and (now - self.shown >= self.pause or last):
            self.shown = now
            print(self.line(step, trainer.max_steps, now), end="", file=sys.stderr, flush=True)
            if last or not self.live:
                print(file=sys.stderr)

    def line(self, step: int, steps: int, now: float) -> str:
        left = (now - self.start) / max(step - self.first_step, 1) * (steps - step)
        parts = [f"{self.name}  step {step:,}/{steps:,}"]
        for label, key in (("loss", "train_loss"), ("validation", "validation_loss")):
            if key in self.journal.last:
                parts.append(f"{label} {self.journal.last[key]:.3f}")
        speed = self.journal.last.get(f"{self.journal.unit}_per_second")
        if speed:
            parts.append(f"{speed:,.0f} {self.journal.unit}/s")
        parts.append(f"{int(left) // 60}:{int(left) % 60:02d} left")
        return ("\r\x1b[K" if self.live else "") + "  ".join(parts)
