"""`vermeil bench shakespeare`: character by character, in turns with nanoGPT's recipe.

The setting is the one that nanoGPT's README gives for a CPU: the distinct characters of
tinyshakespeare as vocabulary, its first 90 % for training, 2,000 steps of 12 windows of 64, some
0.80 M parameters, no dropout. Both see the same batches. Ours trains through the whole `fit`; after
every turn of it, inside the hook that `fit` calls for samples, the peer takes as many steps, so
that a noisy machine slows both alike. Measured is the mean over the whole validation text.
"""

import math
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from data.tokens import TokenWindows
from phase1_foundation.language.model import LanguageModel, LanguageModelConfig
from phase1_foundation.language.objective import NextToken
from phase1_foundation.train_lm import LMConfig
from shared import hardware
from shared.benchmark import conditions
from shared.config import option, parse
from shared.errors import VermeilError
from shared.training import History, fit, seed_everything

CONTEXT, BATCH_SIZE, TURN = 64, 12, 50
NANOGPT = 1.8857  # nats a character of nanoGPT itself after its 2,000 steps

# Query heads share keys and values two by two; the feed-forward layers take the parameters that
# saves: together exactly as many as nanoGPT counts, in widths that processors multiply fast.
SHAPE = LanguageModelConfig(
    vocab_size=65, dim=128, layers=4, heads=4, kv_heads=2, mlp_dim=384, context=CONTEXT
)
# So short a run does best without a constant part; all else is as in `vermeil train lm`.
RECIPE = LMConfig(batch_size=BATCH_SIZE, cooldown=1.0, trackers=())


@dataclass(frozen=True)
class ShakespeareConfig:
    """Which text, how long, and when to measure."""

    POSITIONAL: ClassVar = ("name",)

    name: str = option("shakespeare", "this comparison")
    text: str = option("", "the file tinyshakespeare.txt")
    steps: int = option(2000, "training steps of each", low=1)
    every: int = option(250, f"steps between measurements, in turns of {TURN}", low=TURN)
    threads: int = option(0, "CPU threads; 0 takes every core", low=0)
    seed: int = option(0, "fixes initial weights and the order of the text", low=0)

    def check(self) -> None:
        """Measurements fall between turns."""
        if self.every % TURN:
            raise VermeilError(f"--every {self.every} is not a multiple of {TURN}", "--every 250")


def bench(arguments: list[str]) -> None:
    """Train on tinyshakespeare in nanoGPT's setting, in turns with nanoGPT's recipe."""
    config = parse(
        ShakespeareConfig, arguments, command="vermeil bench", about=str(bench.__doc__)
    ).config
    text = Characters.read(config.text)
    hardware.set_threads(config.threads)
    print(f"{hardware.cpu_name()}, {conditions()}\n{text}", flush=True)

    peer = NanoGPT(text, config)
    ours = Ours(text, config)
    print(f"parameters: ours {parameters(ours.model):,}, peer {parameters(peer.model):,}", end=" ")
    print(f"({parameters(peer.model.transformer.wpe):,} of them positions)\n")
    print(HEAD, flush=True)
    history = ours.train(config.steps, config.every, beside=peer)
    print("\n".join(summary(ours.curve, peer.curve)))
    print(f"ours in {history.precision} ({history.precision_reason}), the peer in fp32")

    steps = int(config.steps * peer.curve.seconds / ours.curve.seconds)
    if steps > config.steps:
        longer = Ours(text, config)
        longer.train(steps, every=steps)
        [end] = longer.curve.marks
        print(f"in the peer's {peer.curve.seconds:,.0f} s ours takes {steps:,} steps and ends at "
              f"{end.nats:.4f} (alone it took {end.seconds:,.0f} s)")  # fmt: skip
    print(f"at the end: {conditions()}")


@dataclass(frozen=True)
class Characters:
    """A text as numbers of its distinct characters, the last tenth held out."""

    vocabulary: str
    train: np.ndarray
    validation: np.ndarray  # the last training character, so that all that follow are predicted

    @classmethod
    def read(cls, path: str) -> "Characters":
        """The text of a file; says which file is wanted where it is not there."""
        wanted = "vermeil bench shakespeare --text PATH/tinyshakespeare.txt"
        about = "tinyshakespeare.txt is the file data/tinyshakespeare/input.txt of char-rnn"
        if not path:
            raise VermeilError(f"--text is missing ({about})", wanted)
        if not Path(path).is_file():
            raise VermeilError(f"there is no file '{path}' ({about})", wanted)
        try:
            return cls.of(Path(path).read_text(encoding="utf-8"))
        except UnicodeDecodeError as error:
            raise VermeilError(f"{path} is not UTF-8 at byte {error.start:,}", wanted) from None

    @classmethod
    def of(cls, text: str) -> "Characters":
        """Numbers in the order of the sorted characters; the first 90 % are for training."""
        cut = int(0.9 * len(text))
        if min(cut, len(text) - cut) <= CONTEXT:
            raise VermeilError(
                f"a text of {len(text)} characters is too short to hold out a window of {CONTEXT}",
                "bring the whole of tinyshakespeare.txt",
            )
        characters, ids = np.unique(np.array(list(text)), return_inverse=True)
        return cls("".join(characters), ids[:cut], ids[cut - 1 :])

    def __str__(self) -> str:
        return (
            f"{len(self.vocabulary)} distinct characters; {len(self.train):,} for training, "
            f"{len(self.validation) - 1:,} for validation, every one of them measured"
        )


def validation_windows(ids: np.ndarray, context: int = CONTEXT) -> list[Int[Tensor, "_ _"]]:
    """Windows of `context` + 1 that share their ends, in batches: all but the first id are targets.

    The last window is as long as what is left.
    """
    whole = (len(ids) - 1) // context
    places = context * np.arange(whole)[:, None] + np.arange(context + 1)
    batches = list(torch.from_numpy(ids[places].astype(np.int64)).split(64))
    rest = torch.from_numpy(ids[whole * context :].astype(np.int64))[None]
    return batches + [rest] * (rest.shape[1] > 1)


Logits = Callable[[Int[Tensor, "b t"]], Float[Tensor, "b t v"]]


@torch.no_grad()
def nats_per_character(logits: Logits, windows: list[Int[Tensor, "_ _"]]) -> float:
    """Mean cross-entropy of all targets of all windows, in fp32."""
    total, characters = 0.0, 0
    for window in windows:
        found, targets = logits(window[:, :-1]), window[:, 1:]
        total += F.cross_entropy(found.flatten(0, 1), targets.flatten(), reduction="sum").item()
        characters += targets.numel()
    return total / characters


def parameters(model: nn.Module) -> int:
    """How many numbers are trained."""
    return sum(p.numel() for p in model.parameters() if p.requires_grad)


@dataclass(frozen=True)
class Mark:
    """What was measured after so many steps and the seconds that they took."""

    step: int
    seconds: float
    nats: float


@dataclass
class Curve:
    """Seconds of training so far, and the measurements, whose own time does not count."""

    seconds: float = 0.0
    marks: list[Mark] = field(default_factory=list)

    def first(self, nats: float) -> Mark | None:
        """The first measurement that is at most so high."""
        return next((mark for mark in self.marks if mark.nats <= nats), None)


class NanoGPT:
    """nanoGPT's model and loop, with `transformers`' GPT-2 as the model.

    No biases, GELU, tied embeddings, fp32; AdamW with decay 0.1 on all matrices, 100 steps of
    warm-up, a cosine from 1e-3 to 1e-4, gradients clipped at 1. It stands in for nanoGPT: 2.4471,
    2.0847, 1.9608 and 1.9020 nats a character after 250, 1,000, 1,500 and 2,000 steps, where
    nanoGPT itself, by its own estimate from some validation windows, had 2.4447, 2.0528, 1.9225
    and 1.8857: at most 0.04 higher.
    """

    peak, lowest, warmup = 1e-3, 1e-4, 100

    def __init__(self, text: Characters, config: ShakespeareConfig):
        from transformers import GPT2Config, GPT2LMHeadModel

        self.batches = TokenWindows(text.train, CONTEXT, BATCH_SIZE, config.seed)
        self.windows = validation_windows(text.validation)
        self.curve, self.steps, self.done = Curve(), config.steps, 0
        seed_everything(config.seed)
        shape = GPT2Config(
            vocab_size=len(text.vocabulary), n_positions=CONTEXT, n_embd=128, n_layer=4, n_head=4,
            activation_function="gelu", resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0,
            use_cache=False, bos_token_id=None, eos_token_id=None,
        )  # fmt: skip
        self.model: Any = GPT2LMHeadModel(shape).train()
        for name, parameter in self.model.named_parameters():
            if name.endswith("bias"):  # zeros, and they stay so
                parameter.requires_grad_(False)
        trained = [p for p in self.model.parameters() if p.requires_grad]
        groups = [
            {"params": [p for p in trained if p.dim() >= 2], "weight_decay": 0.1},
            {"params": [p for p in trained if p.dim() < 2], "weight_decay": 0.0},
        ]
        self.optimizer = torch.optim.AdamW(groups, betas=(0.9, 0.99))

    def rate(self, step: int) -> float:
        """Learning rate of a step, counted from 0."""
        if step < self.warmup:
            return self.peak * (step + 1) / (self.warmup + 1)
        share = (step - self.warmup) / (self.steps - self.warmup)
        return self.lowest + (self.peak - self.lowest) * (1 + math.cos(math.pi * share)) / 2

    def logits(self, tokens: Int[Tensor, "b t"]) -> Float[Tensor, "b t v"]:
        return self.model(tokens).logits

    @torch.enable_grad()
    def train(self, until: int) -> None:
        """Go on to step `until`."""
        start = time.perf_counter()
        for step in range(self.done, until):
            for group in self.optimizer.param_groups:
                group["lr"] = self.rate(step)
            tokens = self.batches.rows(step, slice(None))
            logits = self.logits(tokens[:, :-1])  # (B, T, V)
            F.cross_entropy(logits.flatten(0, 1), tokens[:, 1:].flatten()).backward()
            nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
            self.optimizer.step()
            self.optimizer.zero_grad()
        self.done = until
        self.curve.seconds += time.perf_counter() - start

    def measure(self) -> None:
        nats = nats_per_character(self.logits, self.windows)
        self.curve.marks.append(Mark(self.done, self.curve.seconds, nats))


class Ours:
    """Our language model through `fit`, with the recipe of `vermeil train lm`."""

    def __init__(self, text: Characters, config: ShakespeareConfig):
        self.batches = TokenWindows(text.train, CONTEXT, BATCH_SIZE, config.seed)
        self.windows = validation_windows(text.validation)
        self.curve, self.config = Curve(), config
        seed_everything(config.seed)
        self.model = LanguageModel(replace(SHAPE, vocab_size=len(text.vocabulary)))

    def train(self, steps: int, every: int, beside: NanoGPT | None = None) -> History:
        """Train and measure; after each turn of ours the peer takes its own, off our clock."""
        resumed = time.perf_counter()

        def after_turn(step: int) -> dict[str, str]:
            nonlocal resumed
            self.curve.seconds += time.perf_counter() - resumed
            if beside:
                beside.train(until=step)
            if step % every == 0 or step == steps:
                nats = nats_per_character(self.model, self.windows)
                self.curve.marks.append(Mark(step, self.curve.seconds, nats))
                if beside:
                    beside.measure()
                    print(row(self.curve.marks[-1], beside.curve.marks[-1]), flush=True)
            resumed = time.perf_counter()
            return {}

        config = replace(
            RECIPE, steps=steps, sample_every=TURN, checkpoint_every=steps,
            threads=self.config.threads, seed=self.config.seed,
        )  # fmt: skip
        with tempfile.TemporaryDirectory() as folder:
            return fit(
                NextToken(self.model, config), self.batches, [], folder=Path(folder),
                name="shakespeare", unit="characters", amount_per_step=BATCH_SIZE * CONTEXT,
                sample=after_turn, quiet=True,
            )  # fmt: skip


HEAD = f"{'nats a character':<16}{'ours':>10}{'seconds':>9}{'peer':>12}{'seconds':>9}"


def row(ours: Mark, peer: Mark) -> str:
    """One line of the table."""
    sides = f"{ours.nats:>10.4f}{ours.seconds:>9.1f}{peer.nats:>12.4f}{peer.seconds:>9.1f}"
    return f"{f'step {ours.step:,}':<16}{sides}"


def summary(ours: Curve, peer: Curve) -> list[str]:
    """The ratio of times, and when each first came to nanoGPT's result.

    The share at mean speeds does not depend on when the machine was busy.
    """
    lines = ["", f"seconds a step, ours / peer: {ours.seconds / peer.seconds:.2f}"]
    for who, curve in (("ours", ours), ("peer", peer)):
        mark, when = curve.first(NANOGPT), "never"
        if mark:
            share = mark.seconds / peer.seconds
            even = mark.step / curve.marks[-1].step * curve.seconds / peer.seconds
            when = (
                f"step {mark.step:,}, {mark.seconds:.1f} s, {share:.0%} of the peer's whole time "
                f"({even:.0%} at the mean speeds)"
            )
        lines.append(f"{NANOGPT} or less, first measured: {who} {when}")
    return lines
