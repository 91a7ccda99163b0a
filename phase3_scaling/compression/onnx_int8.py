"""Graphs with 8-bit matrices for ONNX Runtime: products in integers, everything else in fp32.

Every product with a constant matrix becomes one of int8 weights, a scale for each output, and uint8
activations, whose one scale is found as it runs (dynamic) or was found on examples (static).
Embeddings become int8 with a scale a row; one that is tied to a product shares its integers with
it. Convolutions are int8 in the file alone: in integers they are slower on CPUs, so when the file
is loaded their weights become floats again.
"""

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from phase3_scaling.compression.onnx_runtime import Example, graph_of, traceable
from phase3_scaling.compression.smoothing import smoothed

if TYPE_CHECKING:
    import onnx

Quantize = Callable[[Path, Path], None]  # from a prepared file to a file


def dynamic_int8(model: nn.Module, examples: Sequence[Example]) -> bytes:
    """A graph whose activations get their scale as it runs."""

    def quantize(prepared: Path, out: Path) -> None:
        from onnxruntime.quantization import quantize_dynamic

        quantize_dynamic(prepared, out, ["MatMul"], per_channel=True, reduce_range=needs_7_bits())

    return _int8(model, examples, quantize)


def static_int8(model: nn.Module, examples: Sequence[Example]) -> bytes:
    """A graph whose activations have the range that was seen in the examples."""

    def quantize(prepared: Path, out: Path) -> None:
        from onnxruntime.quantization import QuantType, quantize_static

        quantize_static(
            prepared, out, _reader(prepared, examples), op_types_to_quantize=["MatMul"],
            per_channel=True, reduce_range=needs_7_bits(), activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            extra_options={  # what products give stays in fp32
                "MatMulConstBOnly": True, "OpTypesToExcludeOutputQuantization": ["MatMul"]
            },
        )  # fmt: skip

    return _int8(model, examples, quantize)


def needs_7_bits() -> bool:
    """Whether this processor's 8-bit products can overflow: x86 without VNNI adds in 16 bits."""
    return torch.backends.cpu.get_cpu_capability().startswith("AVX") and not (
        torch.cpu._is_vnni_supported()
    )


def _reader(prepared: Path, examples: Sequence[Example]) -> Any:
    """The examples as ORT's calibration asks for them: one after the other, then None."""
    import onnx
    from onnxruntime.quantization import CalibrationDataReader

    names = [given.name for given in onnx.load(prepared).graph.input]
    left = iter(examples)

    class Reader(CalibrationDataReader):
        def get_next(self) -> dict[str, np.ndarray] | None:  # type: ignore[override]
            parts = next(left, None)
            if parts is None:
                return None
            return {name: part.numpy() for name, part in zip(names, parts, strict=True)}

    return Reader()


def _int8(model: nn.Module, examples: Sequence[Example], quantize: Quantize) -> bytes:
    """Trace, fold constants, quantize products, then embeddings and convolutions."""
    import onnx
    from onnxruntime.quantization.shape_inference import quant_pre_process

    with tempfile.TemporaryDirectory() as folder:
        traced, prepared, done = (Path(folder) / f"{i}.onnx" for i in range(3))
        traced.write_bytes(graph_of(smoothed(model, examples), examples))
        # Symbolic shapes add nothing here; folding makes constants of transposed weights.
        quant_pre_process(traced, prepared, skip_symbolic_shape=True)
        exact = onnx.load(prepared)
        # Shapes noted before a Gemm becomes a MatMul are wrong after it, and ORT checks them.
        del exact.graph.value_info[:]
        onnx.save(exact, prepared)
        quantize(prepared, done)
        rounded = onnx.load(done)
    _embeddings(rounded.graph, exact.graph, _embedding_names(model))
    _convolutions(rounded.graph)
    return rounded.SerializeToString()


def _embedding_names(model: nn.Module) -> set[str]:
    """What the graph may call the matrices of embeddings; a tied one has several names."""
    module = traceable(model)
    embeddings = {id(m.weight) for m in module.modules() if isinstance(m, nn.Embedding)}
    named = module.named_parameters(remove_duplicate=False)
    return {f"module.{name}" for name, parameter in named if id(parameter) in embeddings}


def _embeddings(graph: "onnx.GraphProto", exact: "onnx.GraphProto", names: set[str]) -> None:
    """Every look-up in an embedding: integers, times the scale of their row."""
    from onnx import helper, numpy_helper

    matrices = {each.name: numpy_helper.to_array(each) for each in exact.initializer}
    products = {n.input[1] for n in exact.node if n.op_type in ("MatMul", "Gemm")} & {*matrices}
    for name in sorted(names & {*matrices}):
        lookups = [n for n in graph.node if n.op_type == "Gather" and n.input[0] == name]
        if not lookups:
            continue
        table = matrices[name]  # (V, D)
        tied = [other for other in products if _is_transposed(matrices[other], table)]
        integers, scale = _shared(graph, tied[0]) if tied else round_rows(table)
        _drop(graph, name)
        _add(graph, f"{name}_int8", integers)
        _add(graph, f"{name}_scale", scale[:, None])
        for other in tied:  # at load, folded into the constant that the product wants
            _drop(graph, f"{other}_quantized")
            turned = helper.make_node("Transpose", [f"{name}_int8"], [f"{other}_quantized"])
            graph.node.insert(0, turned)
        for node in lookups:
            _replace(graph, node, _lookup(name, node))


def _is_transposed(matrix: np.ndarray, table: np.ndarray) -> bool:
    return matrix.shape == table.shape[::-1] and np.array_equal(matrix, table.T)


def _lookup(name: str, node: "onnx.NodeProto") -> list["onnx.NodeProto"]:
    """Rows of integers, and of their scales, multiplied."""
    from onnx import TensorProto, helper

    (out,), ids = node.output, node.input[1]
    return [
        helper.make_node("Gather", [f"{name}_int8", ids], [f"{out}_int8"]),
        helper.make_node("Cast", [f"{out}_int8"], [f"{out}_float"], to=TensorProto.FLOAT),
        helper.make_node("Gather", [f"{name}_scale", ids], [f"{out}_scale"]),
        helper.make_node("Mul", [f"{out}_float", f"{out}_scale"], [out]),
    ]


def _convolutions(graph: "onnx.GraphProto") -> None:
    """Weights as integers times a scale for each output: what is constant, ORT works out once."""
    from onnx import TensorProto, helper, numpy_helper

    held = {each.name: numpy_helper.to_array(each) for each in graph.initializer}
    weights = {node.input[1] for node in graph.node if node.op_type == "Conv"} & {*held}
    for name in sorted(weights):
        weight = held[name]  # (O, I, h, w)
        integers, scale = round_rows(weight.reshape(len(weight), -1))
        _drop(graph, name)
        _add(graph, f"{name}_int8", integers.reshape(weight.shape))
        _add(graph, f"{name}_scale", scale[:, None, None, None])
        cast = helper.make_node("Cast", [f"{name}_int8"], [f"{name}_float"], to=TensorProto.FLOAT)
        graph.node.insert(0, cast)
        graph.node.insert(1, helper.make_node("Mul", [f"{name}_float", f"{name}_scale"], [name]))


def round_rows(table: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Round to nearest with a scale a row: (V, D) int8 and (V,), table = integers * scale."""
    scale = np.maximum(np.abs(table).max(axis=1) / 127, np.finfo(np.float32).tiny)
    return np.rint(table / scale[:, None]).astype(np.int8), scale.astype(np.float32)


def _shared(graph: "onnx.GraphProto", product: str) -> tuple[np.ndarray, np.ndarray]:
    """The integers and scales that a product got, as rows."""
    from onnx import numpy_helper

    held = {each.name: each for each in graph.initializer}
    integers = numpy_helper.to_array(held[f"{product}_quantized"])  # (D, V)
    return np.ascontiguousarray(integers.T), numpy_helper.to_array(held[f"{product}_scale"])


def _add(graph: "onnx.GraphProto", name: str, array: np.ndarray) -> None:
    from onnx import numpy_helper

    graph.initializer.append(numpy_helper.from_array(array, name))


def _drop(graph: "onnx.GraphProto", name: str) -> None:
    graph.initializer.remove(next(each for each in graph.initializer if each.name == name))


def _replace(
    graph: "onnx.GraphProto", node: "onnx.NodeProto", others: list["onnx.NodeProto"]
) -> None:
    place = [*graph.node].index(node)
    graph.node.remove(node)
    for shift, other in enumerate(others):
        graph.node.insert(place + shift, other)
