"""Quantization-aware training: a model learns to do with 4-bit weights (Jacob et al., 2018).

    names = prepare(model)              # its blocks now round their weights wherever they use them
    fit(NextToken(model, config), ...)  # the ordinary objective; gradients pass straight through
    finish(model)                       # an ordinary model again, whose weights bear rounding
    small = VARIANTS["int4_weight_only"](model, examples)

Rounding is torchao's, the same as that variant's, so what is trained is what is run. What comes out
of `finish` is saved as any model is.
"""

from typing import Any

import torch
from torch import nn

from phase3_scaling.compression.quantize import GROUP, four_bit_layers, torchao
from shared.errors import VermeilError


def prepare(model: nn.Module) -> list[str]:
    """Let the blocks' linear layers round their weights to 4 bits as they run; their names.

    In place: the parameters stay the same objects, under the same names. VermeilError for a model
    without such layers.
    """
    chosen = four_bit_layers(model)
    if not chosen:
        raise VermeilError(
            f"a {type(model).__name__} of this shape has no layer for 4 bits",
            f"blocks with widths that are multiples of {GROUP} have",
        )
    ao = torchao()
    from torchao.quantization.qat import IntxFakeQuantizeConfig, QATConfig, QATStep

    four: Any = torch.int4  # type: ignore[attr-defined]
    weights = IntxFakeQuantizeConfig(four, group_size=GROUP, is_symmetric=True)
    config = QATConfig(weight_config=weights, step=QATStep.PREPARE)
    ao.quantize_(model, config, lambda _, name: name in chosen)
    return chosen


def finish(model: nn.Module) -> nn.Module:
    """The same model with ordinary linear layers, which hold what was learned; in place."""
    ao = torchao()
    from torchao.quantization.qat import QATConfig, QATStep
    from torchao.quantization.qat.linear import FakeQuantizedLinear

    rounding = {n for n, m in model.named_modules() if isinstance(m, FakeQuantizedLinear)}
    ao.quantize_(model, QATConfig(step=QATStep.CONVERT), lambda _, name: name in rounding)
    return model
