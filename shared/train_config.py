"""What every training step can be told; the verbs add their own keys to it."""

from dataclasses import dataclass
from typing import Literal

from shared.config import option


@dataclass(frozen=True)
class TrainConfig:
    """Budget, optimizer, cadence and machine of one run; all cadences count optimizer steps."""

    steps: int = option(1000, "optimizer steps in all", low=1)
    batch_size: int = option(16, "examples per optimizer step, over all processes", low=1)
    accumulate: int = option(1, "parts a batch is computed in, to save memory", low=1)
    optimizer: Literal["adamw", "muon", "sgd"] = option(
        "adamw", "muon: for hidden matrices; sgd: with momentum"
    )
    learning_rate: float = option(1e-3, "AdamW's peak learning rate", low=0)
    muon_learning_rate: float = option(0.02, "Muon's peak learning rate", low=0)
    warmup: int = option(50, "steps of linear warm-up", low=0)
    cooldown: float = option(0.5, "last share of the steps, rate falls to 0", low=0, high=1)
    weight_decay: float = option(0.1, "pull of matrices towards zero", low=0)
    beta2: float = option(0.95, "AdamW's decay of squared gradients", low=0, high=1)
    clip: float = option(1.0, "largest gradient norm; 0 leaves gradients alone", low=0)
    ema: float = option(0.0, "decay of the moving average of weights; 0 keeps none", low=0, high=1)
    validate_every: int = option(100, "steps between validations", low=1)
    checkpoint_every: int = option(100, "steps between checkpoints", low=1)
    sample_every: int = option(200, "steps between samples", low=1)
    gradient_checkpointing: bool = option(False, "recompute activations: less memory, more time")
    compile: bool = option(False, "torch.compile the model: slow start, faster steps")
    precision: Literal["auto", "fp32", "bf16"] = option("auto", "auto times both, takes the faster")
    threads: int = option(0, "CPU threads; 0 takes every core", low=0)
    workers: int = option(0, "processes that prepare batches; 0 prepares them in line", low=0)
    seed: int = option(0, "fixes initial weights, data order and noise", low=0)
    trackers: tuple[str, ...] = option(
        ("tensorboard",), "any of tensorboard, wandb, mlflow; metrics.jsonl is always written"
    )


def rows_of(config: TrainConfig, index: int, rank: int, world: int) -> tuple[int, slice]:
    """The step and the rows of its batch that are a process's micro-batch number `index`."""
    step, part = divmod(index, config.accumulate)
    size = config.batch_size // (config.accumulate * world)
    first = (part * world + rank) * size
    return step, slice(first, first + size)
