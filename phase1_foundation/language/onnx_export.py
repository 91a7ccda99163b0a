"""The language model as one ONNX graph with a KV cache, for ONNX Runtime.

    input_ids              (B, T)           tokens that continue the past
    attention_mask         (B, P + T)       1, and 0 where a row is padded
    position_ids           (B, T)           places in the row, padding not counted
    past_key_values.i.key  (B, Hkv, P, D)   and .value, for each layer i; P = 0 at first
    logits                 (B, T, V)
    present.i.key          (B, Hkv, P + T, D) and .value: the past of the next call

B, T and P are free, so one file reads a prompt, whole or in parts, and writes token by token. The
names are those that exports of `transformers` models have. P + T may not exceed the context.
"""

import logging
import warnings
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

import torch
from torch import Tensor, nn

from phase1_foundation.language.export import llama_config
from phase1_foundation.language.model import KVCache, LanguageModel, LanguageModelConfig
from phase1_foundation.language.tokenizer import Tokenizer
from shared.errors import VermeilError
from shared.home import replacing
from shared.nn import LayerCache

PACKAGES = ("onnx", "onnxscript")
LARGEST_FILE = 2**31  # bytes, a limit of the protobuf format


def export_onnx(folder: Path, out: Path) -> None:
    """Write model.onnx, Llama's config.json and the tokenizer of the language model in `folder`."""
    require_packages()
    require_new(out)
    model, tokenizer = LanguageModel.from_pretrained(folder), Tokenizer.from_pretrained(folder)
    require_small(model)
    out.mkdir(parents=True, exist_ok=True)
    with replacing(out / "model.onnx") as temporary:
        write_graph(model, temporary)
    tokenizer.save_pretrained(out)
    llama_config(model, tokenizer).save_pretrained(out)


def require_packages(*more: str) -> None:
    """VermeilError unless the exporter's packages are there."""
    if missing := [name for name in (*PACKAGES, *more) if find_spec(name) is None]:
        raise VermeilError(
            f"exporting to ONNX takes {' and '.join(missing)}, which this installation lacks",
            "pip install -c constraints.txt -e .",
        )


def require_new(out: Path) -> None:
    """VermeilError unless `out` can become a folder of new files."""
    if out.exists() and not (out.is_dir() and not any(out.iterdir())):
        raise VermeilError(f"{out} is no empty folder", "name a new folder with --out")


def require_small(model: nn.Module) -> None:
    """VermeilError where the weights do not fit into one file."""
    size = sum(parameter.nbytes for parameter in model.parameters())
    if size >= LARGEST_FILE:
        raise VermeilError(
            f"the weights take {size / 2**30:.1f} GiB, and an ONNX file holds less than 2",
            "export with --to hf",
        )


def write_graph(model: LanguageModel, path: Path) -> None:
    """Trace the model with a past, and write the graph."""
    config, past = model.config, past_names(model.config)
    b, t, p = 2, 3, 4  # the example's sizes, which tell nothing: all three are free
    shape = (b, config.kv_heads, p, config.dim // config.heads)
    example = (
        torch.zeros(b, t, dtype=torch.long),
        torch.ones(b, p + t, dtype=torch.long),
        torch.arange(p, p + t).expand(b, t),
        *(torch.zeros(shape) for _ in past),
    )
    tokens = {0: "batch", 1: "sequence"}
    axes = [tokens, {0: "batch", 1: "total"}, tokens, *({0: "batch", 2: "past"} for _ in past)]
    names = ["input_ids", "attention_mask", "position_ids", *past]
    present = [name.replace("past_key_values", "present") for name in past]
    save_graph(
        CachedModel(model), example, path, inputs=names, outputs=["logits", *present], axes=axes
    )


def past_names(config: LanguageModelConfig) -> list[str]:
    """What the keys and values of every layer are called in a graph."""
    return [
        f"past_key_values.{i}.{part}" for i in range(config.layers) for part in ("key", "value")
    ]


def save_graph(
    module: nn.Module,
    example: tuple[Tensor, ...],
    path: Path,
    *,
    inputs: Sequence[str],
    outputs: Sequence[str],
    axes: Sequence[dict[int, str]],
    opset: int | None = None,
) -> None:
    """Trace a module that takes and gives tensors, and write the graph.

    `axes` names the free axes of each input. In the example they should be 2 or more: a tracer
    takes 0 and 1 for constants. `opset` is the version of ONNX; None: what most runtimes read.
    """
    from onnx_ir.passes.common import ClearMetadataAndDocStringPass

    # Without torchvision it warns, at every export, that torchvision's operators are not known.
    registry = logging.getLogger("torch.onnx._internal.exporter._registration")
    registry.setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "# The axis name")  # says that the same name is the same
        program = torch.onnx.export(
            Called(module).eval(),
            example,
            input_names=inputs,
            output_names=outputs,
            dynamic_shapes=(tuple(axes),),
            opset_version=opset,
            dynamo=True,  # the older exporter knows neither RMSNorm nor grouped queries
            verbose=False,
        )
    assert program is not None
    ClearMetadataAndDocStringPass()(program.model)  # source lines, with this machine's paths
    program.save(path, external_data=False)


class Called(nn.Module):
    """A module as a function of so many tensors, whatever its arguments are called."""

    def __init__(self, module: nn.Module):
        super().__init__()
        self.module = module

    def forward(self, *tensors: Tensor) -> Tensor | tuple[Tensor, ...]:
        return self.module(*tensors)


class CachedModel(nn.Module):
    """The model as a function: what the cache holds comes in and goes out as tensors."""

    def __init__(self, model: LanguageModel):
        super().__init__()
        self.model = model

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor, position_ids: Tensor, *past: Tensor
    ) -> tuple[Tensor, ...]:
        """Logits, and each layer's keys and values, old and new; shapes as in the graph."""
        held, new = past[0].shape[2], input_ids.shape[1]
        query, key = torch.arange(held, held + new)[:, None], torch.arange(held + new)
        mask = (key <= query) & attention_mask[:, None, None].bool()  # (B, 1, T, P + T)
        mask = mask | (key == query)  # padding sees itself: a row of nothing would give NaN
        cache = GivenCache(past)
        states = self.model.hidden_states(
            self.model.embed(input_ids), positions=position_ids[:, None], mask=mask, cache=cache
        )
        present = (part for layer in cache.layers for part in (layer.keys, layer.values))
        return self.model.head(states), *present


class GivenCache(KVCache):
    """A cache of given keys and values (K_0, V_0, K_1, V_1, ...), with room for any number.

    Its length stays 0: `CachedModel` itself says where the new tokens stand and what they see.
    """

    def __init__(self, past: tuple[Tensor, ...]):
        self.layers = [ConcatenatedCache(k, v) for k, v in zip(past[::2], past[1::2], strict=True)]


class ConcatenatedCache(LayerCache):
    """One layer's cache that grows by making new tensors: a graph cannot write in place."""

    def append(self, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        self.keys = torch.cat([self.keys, key], dim=2)  # (B, Hkv, P + T, D)
        self.values = torch.cat([self.values, value], dim=2)
        return self.keys, self.values
