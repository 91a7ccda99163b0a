"""Ways to run a trained model: with fewer bits, in another runtime, or as it is, to compare with.

A variant takes a module and examples of its inputs and gives one that is called the same and gives
the same shapes. The module itself stays as it is.

    variant            linear layers                         embeddings     convolutions
    eager_fp32         as trained
    eager_bf16         bf16, all matrices                    bf16           bf16
    int8_weight_only   int8, a scale a row                   int8           fp32
    int4_weight_only   int4 in blocks, a scale for 32;       int8           fp32
                       int8 before and after the blocks
    int8_dynamic       int8 times int8, a scale a token      int8           fp32
    fp8                e4m3 times e4m3, a scale a token      bf16           bf16
    ort_fp32           as trained, in ONNX Runtime
    ort_int8_dynamic   uint8 times int8, a scale a call      int8           int8, computed in fp32
    int8_static        the same, the scale from examples     int8           int8, computed in fp32

Where an embedding is tied to the output layer, they stay one matrix. Norms, biases and learned
positions stay in fp32. The rows without `ort` and `static` are torchao's in eager mode.
"""

import copy
import io
import logging
from collections.abc import Callable, Collection, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from phase3_scaling.compression.onnx_int8 import dynamic_int8, static_int8
from phase3_scaling.compression.onnx_runtime import Example, OrtModule, graph_of
from phase3_scaling.compression.packed import Int4Linear, Int8Embedding
from shared.errors import VermeilError, nearest
from shared.nn import Hidden, Modulation

Variant = Callable[[nn.Module, Sequence[Example]], nn.Module]
GROUP = 32  # weights that share a scale, in 4 bits


def eager_fp32(model: nn.Module, examples: Sequence[Example]) -> nn.Module:
    """The model as it was trained."""
    return model


class Bfloat16(nn.Module):
    """A module whose parameters are bf16; what comes in and goes out is fp32.

    Under autocast, because times and positions stay exact and meet bf16 matrices.
    """

    def __init__(self, model: nn.Module):
        super().__init__()
        self.model = copy.deepcopy(model)
        for module in self.model.modules():
            if not isinstance(module, nn.BatchNorm2d):  # its statistics are fp32
                for parameter in module.parameters(recurse=False):
                    parameter.data = parameter.data.bfloat16()

    def forward(self, *inputs: Tensor) -> Tensor:
        device = next(self.model.parameters()).device
        with torch.autocast(device.type, torch.bfloat16):
            output = self.model(*(part.to(device) for part in inputs))
        return output.to(inputs[0].device, torch.float32)


def eager_bf16(model: nn.Module, examples: Sequence[Example]) -> nn.Module:
    """Half the bits, and on processors with bf16 units twice the speed."""
    return Bfloat16(model)


def int8_weight_only(model: nn.Module, examples: Sequence[Example]) -> nn.Module:
    """Matrices of 8 bits that become floats where they are used."""
    ao = torchao()
    return with_int8(model, ao.Int8WeightOnlyConfig(set_inductor_config=False))


def int8_dynamic(model: nn.Module, examples: Sequence[Example]) -> nn.Module:
    """Products of 8-bit integers; each token's scale is found as it runs."""
    ao = torchao()
    config = ao.Int8DynamicActivationInt8WeightConfig(set_inductor_config=False)
    return with_int8(model, config)


def int4_weight_only(model: nn.Module, examples: Sequence[Example]) -> nn.Module:
    """Matrices inside the blocks of 4 bits, the others of 8.

    torchao rounds; it has no 4-bit products for CPUs, so `Int4Linear` makes floats of them.
    """
    ao = torchao()
    chosen = four_bit_layers(model)
    config = ao.Int8WeightOnlyConfig(set_inductor_config=False)
    small = with_int8(model, config, besides=chosen)
    four = ao.IntxWeightOnlyConfig(torch.int4, ao.PerGroup(GROUP))  # type: ignore[attr-defined]
    ao.quantize_(small, four, lambda _, name: name in chosen)
    for name in chosen:
        layer: Any = small.get_submodule(name)
        packed = Int4Linear(layer.weight.qdata, layer.weight.scale, layer.bias)
        small.set_submodule(name, packed)
    return small


def four_bit_layers(model: nn.Module) -> list[str]:
    """The linear layers that 4 bits are for, by name: those between a model's first and last layer.

    What steers a diffusion model's norms is left out, and what no whole groups make up.
    """
    hidden = [name for name, module in model.named_modules() if isinstance(module, Hidden)]
    return [
        name
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear) and not isinstance(module, Modulation)
        and any(name.startswith(f"{block}." if block else "") for block in hidden)
        and module.in_features % GROUP == 0
    ]  # fmt: skip


def with_int8(model: nn.Module, config: Any, besides: Collection[str] = ()) -> nn.Module:
    """A copy with linear layers as torchao's config says and 8-bit embeddings.

    Layers named in `besides` stay as they are. VermeilError for a model without linear layers.
    """
    ao, made = torchao(), copy.deepcopy(model).eval()
    linear = {name: m for name, m in made.named_modules() if isinstance(m, nn.Linear)}
    if not linear:
        raise VermeilError(f"a {type(model).__name__} has no linear layer to quantize",
                           "take ort_fp32 or eager_bf16")  # fmt: skip
    of_weight = {id(module.weight): module for module in linear.values()}
    tables = {name: m for name, m in made.named_modules() if isinstance(m, nn.Embedding)}
    tied = {name: of_weight.get(id(table.weight)) for name, table in tables.items()}
    ao.quantize_(made, config, lambda _, name: name in linear and name not in besides)
    for name, table in tables.items():
        product = tied[name]
        rounded = product.weight if product else ao.Int8Tensor.from_hp(table.weight, ao.PerRow())
        made.set_submodule(name, Int8Embedding(rounded))
    return made


def fp8(model: nn.Module, examples: Sequence[Example]) -> nn.Module:
    """Products of 8-bit floats on a card that has them; tensors come from the CPU and go back."""
    card = torch.cuda.is_available()
    if not card or torch.cuda.get_device_capability() < (8, 9):
        found = torch.cuda.get_device_name() if card else "no card"
        raise VermeilError(
            f"fp8 takes a card of compute capability 8.9 (Ada, Hopper) or newer; here is {found}",
            "on a CPU take ort_int8_dynamic",
        )
    ao, made = torchao(), Bfloat16(model).cuda().eval()
    config = ao.Float8DynamicActivationFloat8WeightConfig(set_inductor_config=False)

    def fits(module: nn.Module, _: str) -> bool:  # what its kernels take
        linear = isinstance(module, nn.Linear)
        return linear and module.in_features % 16 == 0 and module.out_features % 16 == 0

    ao.quantize_(made, config, fits)
    return made


def ort_fp32(model: nn.Module, examples: Sequence[Example]) -> nn.Module:
    """The same arithmetic in ONNX Runtime."""
    return OrtModule(graph_of(model, examples))


def ort_int8_dynamic(model: nn.Module, examples: Sequence[Example]) -> nn.Module:
    """Products of 8-bit integers in ONNX Runtime; each call's scales are found as it runs."""
    return OrtModule(dynamic_int8(model, examples))


def int8_static(model: nn.Module, examples: Sequence[Example]) -> nn.Module:
    """Products of 8-bit integers in ONNX Runtime; the scales were found on the examples."""
    return OrtModule(static_int8(model, examples))


VARIANTS: dict[str, Variant] = {
    each.__name__: each
    for each in (
        eager_fp32, eager_bf16, ort_fp32, int8_weight_only, int4_weight_only, int8_dynamic,
        int8_static, ort_int8_dynamic, fp8,
    )
}  # fmt: skip


def variant(name: str) -> Variant:
    """By name; VermeilError for one that there is not."""
    if name not in VARIANTS:
        raise VermeilError(f"there is no variant '{name}'", nearest(name, [*VARIANTS]))
    return VARIANTS[name]


def size_bytes(module: nn.Module) -> int:
    """Bytes on disk: of the graph, or of the saved parameters, shared ones once."""
    if isinstance(module, OrtModule):
        return len(module.graph)
    file = io.BytesIO()
    with torch.inference_mode(False):  # in which torchao's arrays cannot be taken apart
        torch.save(module.state_dict(), file)
    return file.tell()


def left_in_fp32(model: nn.Module) -> list[str]:
    """Names of the arrays that no variant of 8 or 4 bits computes with as integers."""
    taken = {
        id(parameter)
        for module in model.modules()
        if isinstance(module, nn.Linear | nn.Embedding)
        for parameter in module.parameters(recurse=False)
    }
    return [
        name for name, p in model.named_parameters() if p.dim() > 1 and id(p) not in taken
    ]  # fmt: skip


def torchao() -> Any:
    """The package, with what is used of it; VermeilError where it is not installed."""
    logging.getLogger("torch.utils._pytree").setLevel(logging.ERROR)  # of torchao's own future
    try:
        import torchao.quantization as ao
    except ImportError:
        raise VermeilError(
            "quantizing takes the package torchao, which is not installed",
            "make scale",
        ) from None
    return ao
