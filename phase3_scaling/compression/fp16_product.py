"""Products with weights in 16 bits and all else in fp32: what `Decoder` takes in place of its own.

A step of a small model takes as long as its weights take through memory, and these are half of
them. Weights keep 11 significant bits (bf16: 8), sums are fp32, and rows do not know each other.
The kernel is FBGEMM's, which torch has for x86 without being asked for more.
"""

import warnings
from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from phase1_foundation.language.decode import Product

LARGEST = 65_504  # that fp16 holds


class Fp16Product(Product):
    """x -> x @ weight.T, the weight rounded to fp16; x is expected in `dtype`, fp32 on a CPU."""

    def __init__(self, weight: Float[Tensor, "n m"], rows: int):
        if weight.abs().max() > LARGEST:
            super().__init__(weight, rows)
        elif weight.device.type != "cpu":
            super().__init__(weight.half(), rows)
        elif "fbgemm" in torch.backends.quantized.supported_engines:
            self.dtype, self.run = torch.float32, _packed(weight.float())
        else:
            super().__init__(weight.half().float(), rows)


def _packed(weight: Tensor) -> Callable[[Tensor], Tensor]:
    """The product with a weight that FBGEMM has packed.

    There are two ways to one kernel. The older costs 10 us less a call, which is a third of a small
    step, and will go one day.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it says so
        if hasattr(torch, "fbgemm_linear_fp16_weight_fp32_activation"):
            old, packed = (
                torch.fbgemm_linear_fp16_weight_fp32_activation,
                torch.fbgemm_pack_gemm_matrix_fp16(weight),
            )
            old(weight[:1], packed, None)  # it says so once, here
            return lambda x: old(x, packed, None)
    multiply = torch.ops.quantized.linear_dynamic_fp16.default
    kept = torch.ops.quantized.linear_prepack_fp16(weight, None)
    return lambda x: multiply(x, kept)
