"""`vermeil plan`: what a language model of a size would take, before any GPU is rented.

Every number is an estimate from formulas (costs.py, simulate.py); what they assume is printed.
"""

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar, Literal

from phase3_scaling.distributed import costs, simulate
from phase3_scaling.distributed.simulate import Cluster, Link, Point
from shared.charts import duration
from shared.config import option, parse
from shared.errors import VermeilError

if TYPE_CHECKING:
    from phase1_foundation.language.model import LanguageModelConfig


@dataclass(frozen=True)
class Gpu:
    """A card: bf16 FLOP/s without sparsity, bytes of memory, its network, dollars an hour."""

    peak: float
    memory: float
    cluster: Cluster
    price: float


def _cluster(inside: float, between: float) -> Cluster:
    """Eight cards a node; of nominal GB/s, collectives reach about 80 % (NCCL's own tests).

    Latencies are those with which NCCL chooses its algorithms (its tuning model, ring, "simple").
    """
    reached = 0.8e9
    return Cluster(8, Link(inside * reached, 3.4e-6), Link(between * reached, 14e-6))


# Peaks, memory and NVLink one way: NVIDIA's data sheets. Between nodes a card has a port of 200
# (A100) or 400 Gbit/s, as in DGX. Dollars: middle of specialised clouds on demand, May 2026
# (Mercatus, "Cloud GPU pricing"); others ask half or twice of it.
GPUS = {
    "a100": Gpu(312e12, 80e9, _cluster(300, 25), 1.30),
    "h100": Gpu(989e12, 80e9, _cluster(450, 50), 3.00),
    "h200": Gpu(989e12, 141e9, _cluster(450, 50), 4.00),
}
RESERVED = 2e9  # of a card, for CUDA, NCCL's buffers and what the allocator cannot use


@dataclass(frozen=True)
class PlanConfig:
    """The model, its text and the machines."""

    POSITIONAL: ClassVar = ()

    params: float = option(1e9, "parameters of the model", low=1e6, high=1e12)
    tokens: float = option(2e10, "tokens to train on", low=1e6, high=1e15)
    gpus: int = option(8, "cards", low=1, high=65_536)
    gpu: Literal["a100", "h100", "h200"] = option("h200", "what cards")
    context: int = option(2048, "tokens that the model sees at once", low=32)
    vocab: int = option(32_768, "tokens that the tokenizer knows", low=256)
    batch_tokens: float = option(524_288, "tokens of an optimizer step, over all cards", low=1)
    micro_batch: int = option(8, "sequences that a card computes at once", low=1)
    mfu: float = option(0.4, "share of the cards' peak that training reaches", low=0.01, high=1)
    overlap: float = option(0.8, "share of the backward pass that hides traffic", low=0, high=1)
    price: float = option(-1.0, "dollars an hour of one card; -1: a list price", low=-1)

    def check(self) -> None:
        """Errors that would otherwise come late."""
        per_gpu = self.batch_tokens / self.gpus
        if per_gpu < self.context:
            raise VermeilError(
                f"a step of {self.batch_tokens:,.0f} tokens leaves each of {self.gpus:,} cards "
                f"{per_gpu:,.0f}, less than one sequence of {self.context:,}",
                f"--batch_tokens {self.gpus * self.context}, fewer --gpus or a shorter --context",
            )


def plan(arguments: list[str]) -> None:
    """Print memory, time, cost and a simulated scaling curve for training a language model."""
    config = parse(PlanConfig, arguments, command="vermeil plan", about=str(plan.__doc__)).config
    print("\n\n".join(sections(config)))


def sections(config: PlanConfig) -> list[str]:
    """The pages of the plan."""
    gpu = GPUS[config.gpu]
    if config.price >= 0:
        gpu = replace(gpu, price=config.price)
    c = costs.shape_of(config.params, context=config.context, vocab_size=config.vocab)
    per_gpu = config.batch_tokens / config.gpus / c.context
    config = replace(config, micro_batch=max(1, min(config.micro_batch, int(per_gpu))))
    return [_model(c, config), _memory(c, config, gpu), _time(c, config, gpu),
            _scaling(c, config, gpu)]  # fmt: skip


def _model(c: "LanguageModelConfig", config: PlanConfig) -> str:
    n = costs.parameters(c)
    return (
        f"{n / 1e9:.3g} B parameters: {c.layers} blocks of width {c.dim}, {c.heads} heads, "
        f"vocabulary {c.vocab_size:,}, context {c.context:,}\n"
        f"{config.tokens / n:.1f} tokens a parameter (compute-optimal is about 20), expected loss "
        f"{costs.expected_loss(n, config.tokens):.2f} nats a token on web text (Hoffmann et al., "
        f"2022)\na checkpoint takes {costs.CHECKPOINT_BYTES * n / 1e9:.1f} GB of disk"
    )


@dataclass(frozen=True)
class Memory:
    """Bytes on each card under one engine."""

    states: float
    working: float  # the output layer, gathered blocks and what is reserved
    activations: float
    recomputed: float  # activations with checkpointing

    def total(self, *, checkpointing: bool) -> float:
        kept = self.recomputed if checkpointing else self.activations
        return self.states + self.working + kept


def memory(c: "LanguageModelConfig", engine: str, gpus: int, sequences: int) -> Memory:
    """Bytes on each of `gpus` cards that compute so many sequences of full context at once."""
    chosen = costs.ENGINES[engine]
    return Memory(
        chosen.states(costs.parameters(c), gpus),
        costs.output_layer(c, sequences) + chosen.gathered(c, gpus) + RESERVED,
        costs.activations(c, sequences),
        costs.activations(c, sequences, checkpointing=True),
    )


def _memory(c: "LanguageModelConfig", config: PlanConfig, gpu: Gpu) -> str:
    lines = [
        f"memory on each of {config.gpus:,} {config.gpu}, GB of {gpu.memory / 1e9:.0f}, with "
        f"{config.micro_batch} sequences at once",
        f"{'':<17}{'states':>8}{'activations':>13}{'in all':>8}{'recomputed':>12}{'in all':>8}"
        "  fits",
    ]  # fmt: skip
    for name in costs.ENGINES:
        m = memory(c, name, config.gpus, config.micro_batch)
        whole, less = m.total(checkpointing=False), m.total(checkpointing=True)
        fits = "yes" if whole <= gpu.memory else "recomputed" if less <= gpu.memory else "no"
        figures = (m.states, m.activations, whole, m.recomputed, less)
        texts = [f"{figure / 1e9:,.1f}" for figure in figures]
        lines.append(f"{name:<17}{texts[0]:>8}{texts[1]:>13}{texts[2]:>8}{texts[3]:>12}"
                     f"{texts[4]:>8}  {fits}")  # fmt: skip
    return "\n".join(lines)


def choose(c: "LanguageModelConfig", config: PlanConfig, gpu: Gpu) -> tuple[str, bool]:
    """The first engine that fits, and whether it has to recompute activations.

    Engines stand in the order of their traffic's complexity; recomputing costs a third of the
    arithmetic, so that every engine is tried without it first.
    """
    for checkpointing in (False, True):
        for name in costs.ENGINES:
            m = memory(c, name, config.gpus, config.micro_batch)
            if m.total(checkpointing=checkpointing) <= gpu.memory:
                return name, checkpointing
    least = memory(c, "fsdp", config.gpus, 1).total(checkpointing=True)
    raise VermeilError(
        f"no engine fits {costs.parameters(c):.3g} parameters on {config.gpus:,} {config.gpu} of "
        f"{gpu.memory / 1e9:.0f} GB; fsdp with one sequence takes {least / 1e9:,.0f} GB on each",
        "--micro_batch 1, more --gpus, or fewer --params",
    )


def _time(c: "LanguageModelConfig", config: PlanConfig, gpu: Gpu) -> str:
    name, checkpointing = choose(c, config, gpu)
    point = curve(c, config, gpu, [config.gpus])[0]
    done = costs.flops(c) * config.tokens
    seconds = point.step * config.tokens / config.batch_tokens
    hours = seconds * config.gpus / 3600
    priced = "as given" if config.price >= 0 else "list price, May 2026"
    return (
        f"with {name}{' and recomputed activations' if checkpointing else ''}: "
        f"{config.tokens / config.batch_tokens:,.0f} steps of {1000 * point.step:,.0f} ms, "
        f"{duration(seconds)}, {hours:,.0f} GPU hours, ${hours * gpu.price:,.0f} at "
        f"${gpu.price:.2f} an hour ({priced})\n"
        f"{done:.2e} FLOPs, 6 a weight and token and attention's (Kaplan et al., 2020), at "
        f"{config.mfu:.0%} of {gpu.peak / 1e12:.0f} TFLOP/s a card: nanochat reaches 41 to 46 % on "
        f"H100, PaLM 46 % (Chowdhery et al., 2022);\n"
        "here `vermeil bench lm` reaches 35 % of a CPU's matrix peak (docs/log.md)"
    )


def curve(
    c: "LanguageModelConfig",
    config: PlanConfig,
    gpu: Gpu,
    counts: list[int],
    *,
    batch_grows: bool = False,
) -> list[Point]:
    """Points of the scaling curve of the engine that fits; see `simulate.scaling`."""
    name, checkpointing = choose(c, config, gpu)
    engine, n = costs.ENGINES[name], costs.parameters(c)
    rate = gpu.peak * config.mfu / c.context / costs.flops(c, checkpointing=checkpointing)
    sequences = config.batch_tokens / c.context

    def work(gpus: int) -> simulate.Work:
        own = math.ceil(sequences / (config.gpus if batch_grows else gpus))
        parts = math.ceil(own / config.micro_batch)
        traffic = n * (engine.once + parts * engine.each)
        return simulate.Work(own / rate, traffic, config.overlap)

    return simulate.scaling(work, gpu.cluster, counts, batch_grows=batch_grows)


def _scaling(c: "LanguageModelConfig", config: PlanConfig, gpu: Gpu) -> str:
    name, checkpointing = choose(c, config, gpu)
    counts = [n for n in simulate.doubling(max(4096, config.gpus)) if n == 1 or n >= 8]
    lines = [
        f"simulated scaling of {name}: ring or tree all-reduce, nodes of {gpu.cluster.per_node}, "
        f"{config.overlap:.0%} of the backward pass hides it",
        "no stragglers, failures or congestion: a real curve lies below",
        f"{'':>6}  {'the same batch in all':^33}  {'the same batch a card':^22}",
        f"{'GPUs':>6}  {'time':>14}{'efficiency':>11}{'waiting':>8}  {'batch':>11}"
        f"{'efficiency':>11}",
    ]  # fmt: skip
    weak = curve(c, config, gpu, counts, batch_grows=True)
    for whole, own in zip(curve(c, config, gpu, counts), weak, strict=True):
        needed = memory(c, name, own.gpus, config.micro_batch).total(checkpointing=checkpointing)
        if needed > gpu.memory:
            lines.append(f"{own.gpus:>6}  {'does not fit':>14}")
            continue
        left = f"{'less than a sequence a card':^33}"
        if own.gpus * c.context <= config.batch_tokens:
            time = duration(whole.step * config.tokens / config.batch_tokens)
            left = f"{time:>14}{whole.efficiency:>11.0%}{whole.waiting:>8.0%}"
        batch = config.batch_tokens / config.gpus * own.gpus
        lines.append(f"{own.gpus:>6}  {left}  {batch / 1e6:>9,.2f} M{own.efficiency:>11.0%}")
    return "\n".join(lines)
