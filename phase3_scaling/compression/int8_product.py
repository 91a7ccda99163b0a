"""Products in 8 bits for writing, a token a row and step: what `Decoder` takes in place of its own.

Weights have a scale for each output, inputs one for each row and step, so that what a row is
answered does not depend on its neighbours (Dettmers et al., 2022, "LLM.int8()", vector-wise). The
kernel is FBGEMM's, which torch has without being asked for more; it takes 8-bit weights through
memory, a quarter of what fp32 takes.
"""

import warnings

import torch
from jaxtyping import Float
from torch import Tensor

from phase1_foundation.language.decode import Product

LEAST = 1 << 19  # rows x weights; below, rounding the input takes longer than it saves
TINY = 1e-8  # a row of zeros has some scale


class Int8Product(Product):
    """x -> x @ weight.T with both rounded to 8 bits; x is expected in fp32."""

    def __init__(self, weight: Float[Tensor, "n m"], rows: int):
        weight = weight.float()
        if weight.device.type != "cpu" or rows * weight.numel() < LEAST:
            super().__init__(weight, rows)
            return
        scales = weight.abs().amax(dim=1).clamp(min=TINY) / 127
        with warnings.catch_warnings():  # torch announces that its way to say this will change
            warnings.simplefilter("ignore")
            zeros = torch.zeros(len(scales), dtype=torch.long)
            rounded = torch.quantize_per_channel(weight, scales, zeros, 0, torch.qint8)
            self.packed = torch.ops.quantized.linear_prepack(rounded, None)
        self.dtype, self.run = torch.float32, self._rounded

    def _rounded(self, x: Float[Tensor, "b m"]) -> Float[Tensor, "b n"]:
        multiply = torch.ops.quantized.linear_with_input_q_dq_qweight_dq_output_fp32
        largest = x.abs().amax(dim=1, keepdim=True).clamp_(min=TINY)
        return multiply(x / largest, 1 / 127, 128, self.packed).mul_(largest)
