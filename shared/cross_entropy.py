"""Cross-entropy of a large vocabulary without ever holding all its logits."""

from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.autograd.function import once_differentiable


def linear_cross_entropy(
    hidden: Float[Tensor, "n c"],
    weight: Float[Tensor, "v c"],
    targets: Int[Tensor, " n"],
    shares: Float[Tensor, " n"] | None = None,
) -> Float[Tensor, ""]:
    """Mean cross-entropy, in nats, of logits hidden @ weight^T; cross_entropy(linear(...)), fused.

    `shares` says what each row counts; by default all count alike.

    The logits of all rows are the largest tensor of a small model's step, and memory, not
    arithmetic, bounds what is done with them. Here a few rows at a time are multiplied,
    normalised and turned into their gradient while they lie in the cache (Wijmans et al., 2024,
    "Cut your losses", has the idea). Cannot be differentiated twice.
    """
    if shares is not None:
        shares = shares / shares.mean()
    return _LinearCrossEntropy.apply(hidden, weight, targets, shares)  # type: ignore[return-value]


# Logits held at once: 4 MiB of float32 stay in a CPU's cache; a GPU wants large products.
LOGITS_AT_ONCE = {"cpu": 2**20, "cuda": 2**28}
SMALLEST = 1e-38  # a probability below float32's counts as 87 nats


class _LinearCrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, hidden: Tensor, weight: Tensor, targets: Tensor, shares: Tensor | None
    ) -> Tensor:
        kind = hidden.device.type
        mixed = torch.is_autocast_enabled(kind)
        dtype = torch.get_autocast_dtype(kind) if mixed else hidden.dtype
        rows = max(1, LOGITS_AT_ONCE.get(kind, 2**20) // len(weight))
        wanted = any(ctx.needs_input_grad)
        loss = torch.zeros((), device=hidden.device)
        hidden_grad = torch.empty_like(hidden) if wanted else None
        weight_grad = torch.zeros_like(weight) if wanted else None
        with torch.autocast(kind, enabled=False):
            matrix = weight.to(dtype)
            for start in range(0, len(hidden), rows):
                x = hidden[start : start + rows].to(dtype)  # (R, C)
                target = targets[start : start + rows, None]  # (R, 1)
                share = 1.0 if shares is None else shares[start : start + rows, None]  # (R, 1)
                p = torch.softmax(x @ matrix.T, dim=-1, dtype=torch.float32)  # (R, V)
                own = p.gather(1, target)
                loss -= (own.clamp(min=SMALLEST).log() * share).sum()
                if hidden_grad is None or weight_grad is None:
                    continue
                # Of the summed loss by the logits: share (p - onehot(target)).
                p.scatter_(1, target, own - 1)
                gradient = (p if shares is None else p.mul_(share)).to(dtype)
                hidden_grad[start : start + rows] = gradient @ matrix
                weight_grad += gradient.T @ x
        if wanted:
            ctx.save_for_backward(hidden_grad, weight_grad)
            ctx.rows = len(hidden)
        return loss / len(hidden)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None, None]:  # type: ignore[override]
        hidden_grad, weight_grad = ctx.saved_tensors
        share = grad / ctx.rows  # here, where there are fewer numbers than logits
        return hidden_grad * share, weight_grad * share, None, None
