"""`vermeil bench lm`: training and generation beside `transformers`' Llama of the same shape.

Both train in bf16 autocast on the same batches in one run, in turns: ours through the whole `fit`
(journal, clipping, checkpoint at the end), Llama in the plain loop that its users write.
"""

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch

from data.tokens import TokenWindows
from phase1_foundation.language.commands import BenchConfig
from phase1_foundation.language.decode import Decoder
from phase1_foundation.language.export import llama_state
from phase1_foundation.language.generate import Sampling, stream
from phase1_foundation.language.model import LanguageModel, LanguageModelConfig
from phase1_foundation.language.objective import NextToken
from phase1_foundation.train_lm import LMConfig
from shared import hardware
from shared.benchmark import (
    beside,
    conditions,
    heading,
    interleaved,
    matrix_peak,
    now,
    seconds_a_step,
    time_fit,
)


@dataclass(frozen=True)
class Shape:
    """A model and a batch to time."""

    model: LanguageModelConfig
    batch_size: int

    @property
    def tokens(self) -> int:
        return self.batch_size * self.model.context


SHAPES = {
    "0.8 M": Shape(LanguageModelConfig(65, 128, 4, 4, 4, 341, 64), 12),
    "5.9 M": Shape(LanguageModelConfig(4096, 256, 6, 8, 8, 704, 256), 16),
}


def table(config: BenchConfig) -> None:
    """Time training and generation, in turns with the peer, and print a table."""
    hardware.set_threads(config.threads)
    peak = matrix_peak(torch.bfloat16)
    print(f"{hardware.cpu_name()}, {conditions()}; matrix peak in bf16 GFLOP/s, best so far\n")
    print(heading("transformers"))
    for name, shape in SHAPES.items():
        seconds = interleaved(training(shape, config.steps), config.rounds)
        rate = {who: shape.tokens / s for who, s in seconds.items()}
        peak = max(peak, matrix_peak(torch.bfloat16))  # a noisy start would flatter the shares
        for who, how in {"ours": "", "compiled": ", compiled"}.items():
            if who in rate:
                show(f"{name} training, bf16{how}, tokens/s", rate | {"ours": rate[who]})
                achieved = training_flops(shape) / seconds[who] / 1e9
                print(f"{'':<38}{achieved / peak:>11.0%} of a matrix peak of {peak:,.0f}")
    for name, shape in SHAPES.items():
        for dtype, batch_size in itertools.product(DTYPES, (1, 16)):
            candidates = generation(shape, batch_size, config.new_tokens, DTYPES[dtype])
            seconds = interleaved(candidates, config.rounds)
            new = batch_size * min(config.new_tokens, shape.model.context - PROMPT)
            rate = {who: new / s for who, s in seconds.items()}
            show(f"{name} writing, {dtype}, batch {batch_size}", rate)
    print(f"\nmedians of {config.rounds} turns; at the end: {conditions()}")


def show(name: str, rate: dict[str, float]) -> None:
    """One line of the table."""
    print(beside(name, rate["ours"], rate["transformers"]), flush=True)


def training_flops(shape: Shape) -> float:
    """Matrix FLOPs of one step: 6 a weight and token, and attention (Kaplan et al., 2020, 2.1)."""
    c = shape.model
    per_layer = c.dim * (c.dim + 2 * c.dim * c.kv_heads // c.heads + c.dim + 3 * c.mlp_dim)
    weights = c.layers * per_layer + c.dim * c.vocab_size
    attention = 2 * c.layers * c.dim * (c.context + 1) / 2  # causal: half of the square
    return 6 * shape.tokens * (weights + attention)


def training(shape: Shape, steps: int) -> dict[str, Callable[[], float]]:
    """One turn of each: seconds a step over `steps` steps, those left out that `time_fit` does."""
    batches = TokenWindows(
        torch.randint(shape.model.vocab_size, (50_000,)).numpy(), shape.model.context,
        shape.batch_size, seed=0,
    )  # fmt: skip

    def ours(compiled: bool = False) -> float:
        config = LMConfig(
            steps=steps, batch_size=shape.batch_size, optimizer="adamw", precision="bf16",
            checkpoint_every=steps, trackers=(), compile=compiled,
            threads=torch.get_num_threads(),
        )  # fmt: skip
        objective = NextToken(LanguageModel(shape.model), config)
        return time_fit(objective, batches, unit="tokens", amount=shape.tokens).step

    def transformers() -> float:
        model = llama(LanguageModel(shape.model)).train()
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
        starts = []
        for step in range(steps):
            starts.append(now())
            tokens = batches.rows(step, slice(None))[:, :-1]
            with torch.autocast("cpu", torch.bfloat16):
                loss = model(tokens, labels=tokens).loss
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
        return seconds_a_step(starts)

    candidates = {"ours": ours, "transformers": transformers}
    if hardware.has_compiler():
        candidates["compiled"] = partial(ours, compiled=True)
    return candidates


PROMPT = 8
DTYPES = {"bf16": torch.bfloat16, "fp32": torch.float32}


def generation(
    shape: Shape, batch_size: int, new_tokens: int, dtype: torch.dtype
) -> dict[str, Callable[[], None]]:
    """One turn of each: the same weights continue the same prompts greedily.

    Both models are in memory, in `dtype`, and ready to write before the first turn.
    """
    torch.manual_seed(0)
    model = LanguageModel(shape.model).to(dtype).eval()
    decoder, peer = Decoder(model, batch_size), llama(model).to(dtype).eval()
    prompts = torch.randint(shape.model.vocab_size, (batch_size, PROMPT))
    new = min(new_tokens, shape.model.context - PROMPT)

    def ours() -> None:
        sampling = Sampling(max_tokens=new, temperature=0)
        for _ in stream(decoder, prompts.tolist(), sampling, eos=()):
            pass

    def transformers() -> None:
        peer.generate(
            prompts, attention_mask=torch.ones_like(prompts), max_new_tokens=new,
            min_new_tokens=new, do_sample=False, pad_token_id=0,
        )  # fmt: skip

    return {"ours": ours, "transformers": transformers}


def llama(model: LanguageModel) -> Any:
    """The peer with our weights."""
    from transformers import LlamaConfig, LlamaForCausalLM

    c = model.config
    peer = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=c.vocab_size, hidden_size=c.dim, intermediate_size=c.mlp_dim,
            num_hidden_layers=c.layers, num_attention_heads=c.heads,
            num_key_value_heads=c.kv_heads, max_position_embeddings=c.context,
            rms_norm_eps=c.norm_eps, tie_word_embeddings=c.tie_embeddings,
            bos_token_id=None, eos_token_id=None,
        )
    )  # fmt: skip
    peer.load_state_dict(llama_state(model))
    return peer
