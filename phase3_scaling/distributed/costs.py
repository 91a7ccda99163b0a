"""What training a language model of a shape costs: parameters, memory, arithmetic, expected loss.

Sizes are bytes. `tests/phase3_scaling/distributed/test_plan.py` holds the formulas against real
models: parameters, optimizer states, and the tensors that torch keeps for the backward pass.
"""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from shared.errors import VermeilError

if TYPE_CHECKING:  # it brings torch
    from phase1_foundation.language.model import LanguageModelConfig


def parameters(c: "LanguageModelConfig") -> int:
    """Parameters of our language model, norms included."""
    embeddings = c.vocab_size * c.dim * (1 if c.tie_embeddings else 2)
    return embeddings + c.layers * (_matrices(c) + 2 * c.dim) + c.dim


def _matrices(c: "LanguageModelConfig") -> int:
    """The weights of one block's products: query, key and value, output, and SwiGLU's three."""
    return c.dim * (2 * c.dim + 2 * c.dim * c.kv_heads // c.heads + 3 * c.mlp_dim)


def shape_of(size: float, *, context: int, vocab_size: int) -> "LanguageModelConfig":
    """The language model of about `size` parameters: width about 64 times its depth.

    Depth and width trade off within wide limits (Kaplan et al., 2020, figure 5). Heads are 64 wide,
    from 2,048 channels on 128; the feed-forward layer is 8/3 as wide, which makes SwiGLU as large
    as a layer of 4 without gate (Shazeer, 2020).
    """
    from phase1_foundation.language.model import LanguageModelConfig

    def shape(dim: int) -> LanguageModelConfig:
        heads = dim // (128 if dim >= 2048 else 64)
        mlp_dim = 64 * round(8 * dim / 3 / 64)
        one = LanguageModelConfig(vocab_size, dim, 1, heads, heads, mlp_dim, context)
        layers = (size - vocab_size * dim) / (_matrices(one) + 2 * dim)
        return LanguageModelConfig(
            vocab_size, dim, max(1, round(layers)), heads, heads, mlp_dim, context
        )

    def misfit(c: LanguageModelConfig) -> float:
        return 4 * abs(math.log(parameters(c) / size)) + abs(math.log(64 * c.layers / c.dim))

    widths = [*range(64, 2048, 64), *range(2048, 32_768, 128)]
    best = min(map(shape, widths), key=misfit)
    if abs(parameters(best) / size - 1) > 0.2:
        smallest = parameters(shape(64))
        raise VermeilError(
            f"no model with a vocabulary of {vocab_size:,} has about {size:.3g} parameters",
            f"--params from {smallest:.2g} to 1e12, or another --vocab",
        )
    return best


@dataclass(frozen=True)
class Engine:
    """Where an engine keeps how many bytes a parameter, and what of it is spread over the GPUs.

    Mixed precision with Adam takes 16 bytes a parameter, in whatever way they are divided
    (Rajbhandari et al., 2020, 3.1). Under autocast, as `fit` trains, these are fp32 weights and
    gradients and Adam's two averages: 4 + 4 + 8; under DeepSpeed bf16 weights and gradients, and
    fp32 weights with the averages: 2 + 2 + 12. `whole` is what no GPU is spared: DDP's buckets, a
    second copy of the gradients, and the bf16 copies of the weights that autocast's products keep.
    Traffic is counted in all-reduces (7 of the same paper): to gather weights, or to add up
    gradients that are spread, is half of one.
    """

    weights: float
    gradients: float
    optimizer: float
    whole: float = 0.0
    spread: tuple[str, ...] = ()
    once: float = 0.0  # bytes a parameter that all-reduces carry in a step
    each: float = 0.0  # and with every part of its batch

    def states(self, n: float, gpus: int) -> float:
        """Bytes on each GPU for the weights, gradients and optimizer of n parameters."""
        parts = {"weights": self.weights, "gradients": self.gradients, "optimizer": self.optimizer}
        own = sum(size / (gpus if name in self.spread else 1) for name, size in parts.items())
        return n * (own + self.whole)

    def gathered(self, c: "LanguageModelConfig", gpus: int) -> float:
        """Bytes that are whole for a moment: the running block, the next one, and its gradients."""
        if "weights" not in self.spread or gpus == 1:
            return 0.0
        block = max(_matrices(c), c.vocab_size * c.dim)
        return 2 * block * self.weights + block * self.gradients


STATES = ("optimizer", "gradients", "weights")
ENGINES = {
    "ddp": Engine(4, 4, 8, whole=6, once=4),
    "deepspeed_zero1": Engine(2, 2, 12, spread=STATES[:1], once=2),
    "deepspeed_zero2": Engine(2, 2, 12, spread=STATES[:2], once=1, each=1),
    "deepspeed_zero3": Engine(2, 2, 12, spread=STATES, each=3),
    "fsdp": Engine(4, 4, 8, whole=2, spread=STATES, each=6),
}
CHECKPOINT_BYTES = 12.0  # a parameter: fp32 weights and Adam's two averages


def activations(
    c: "LanguageModelConfig",
    sequences: int,
    *,
    mixed: bool = True,
    fused: bool = True,
    checkpointing: bool = False,
) -> float:
    """Bytes that the forward pass keeps for the backward pass, for sequences of full context.

    Counted as Korthikanti et al. (2022, 4.1) count a GPT's layer, for our block. The residual
    stream is fp32, what products read is bf16 (`mixed`). GPUs have one kernel for attention
    (`fused`); a CPU keeps every head's scores, and each query's own keys and values. With
    `checkpointing` a block keeps its input alone, and one block at a time is computed again (their
    5, "full recomputation").
    """
    narrow, tokens = (2.0 if mixed else 4.0), sequences * c.context
    norm = 4.0 * c.dim
    keys_values = 2 * c.dim * (c.kv_heads / c.heads if fused else 1)
    read = 4 * c.dim + keys_values + 4 * c.mlp_dim  # by qkv, q k^T, v, proj, fc1, silu, *, fc2
    attended = c.dim if fused else c.heads * c.context
    block = tokens * (2 * norm + narrow * (read + attended))
    ends = tokens * (norm + 4.0 * c.dim)  # the last norm's, and the gradient by its output
    if checkpointing:
        return c.layers * tokens * 4.0 * c.dim + block + ends
    return c.layers * block + ends


LOGITS_AT_ONCE = 2**28  # of a GPU, as in shared/cross_entropy.py


def output_layer(c: "LanguageModelConfig", sequences: int) -> float:
    """Bytes of the logits held at once, in bf16 and fp32 and their gradient, and of the matrix'."""
    logits = min(sequences * c.context * c.vocab_size, LOGITS_AT_ONCE)
    return logits * (2.0 + 4.0 + 2.0) + 4.0 * c.vocab_size * c.dim


def flops(c: "LanguageModelConfig", *, checkpointing: bool = False) -> float:
    """FLOPs of training on one token: 6 a weight, and attention (Kaplan et al., 2020, 2.1).

    Recomputing the blocks adds a third of theirs (Korthikanti et al., 2022, 5). Norms and the
    embedding's look-up are left out; causal attention counts half of the square.
    """
    blocks = c.layers * (_matrices(c) + c.dim * (c.context + 1))
    return 6 * (blocks * (4 / 3 if checkpointing else 1) + c.dim * c.vocab_size)


def expected_loss(size: float, tokens: float) -> float:
    """Nats a token that a model of that size reaches (Hoffmann et al., 2022, equation 10)."""
    return 1.69 + 406.4 / size**0.34 + 410.7 / tokens**0.28
