"""A module as a graph in ONNX Runtime that is called like the module."""

import inspect
import tempfile
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from phase1_foundation.language.model import LanguageModel
from phase1_foundation.language.onnx_export import require_packages, require_small, save_graph

Example = tuple[Tensor, ...]
OPSET = 23  # knows attention and RMSNorm as one operator each: a third of the operators, as fast


class OrtModule(nn.Module):
    """A graph in ONNX Runtime on the CPU: tensors in, the first output back.

    It keeps to as many threads as torch has when it is made; `graph` is the file's content.
    """

    def __init__(self, graph: bytes):
        import onnxruntime

        super().__init__()
        self.graph = graph
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        options.log_severity_level = 3  # errors; its advice is about other machines
        self.session = onnxruntime.InferenceSession(
            graph, options, providers=["CPUExecutionProvider"]
        )
        self.names = [given.name for given in self.session.get_inputs()]

    def __reduce__(self):
        return OrtModule, (self.graph,)  # a session cannot be pickled

    def forward(self, *inputs: Tensor) -> Tensor:
        given = {name: part.detach().numpy() for name, part in zip(self.names, inputs, strict=True)}
        return torch.from_numpy(self.session.run(None, given)[0])


class Scored(nn.Module):
    """A language model that is told who sees whom.

    Left to itself it asks how many tokens there are, which a tracer with a free length cannot say.
    """

    def __init__(self, model: LanguageModel):
        super().__init__()
        self.model = model

    def forward(self, tokens: Tensor) -> Tensor:
        t = tokens.shape[1]
        mask = torch.ones(t, t, dtype=torch.bool, device=tokens.device).tril()[None, None]
        return self.model(tokens, mask=mask)  # (B, T, V)


def traceable(model: nn.Module) -> nn.Module:
    """The module as the tracer takes it; in the graph `module.` stands before its names."""
    return Scored(model) if isinstance(model, LanguageModel) else model


def graph_of(model: nn.Module, examples: Sequence[Example]) -> bytes:
    """The module as an ONNX file: rows are free, and the length of integers, of masks and masked.

    Inputs are named as the module's own. VermeilError where the exporter's packages are missing or
    the weights do not fit into a file.
    """
    require_packages("onnxruntime")
    require_small(model)
    example, module = tuple(_two_rows(part) for part in examples[0]), traceable(model)
    names = [*inspect.signature(module.forward).parameters][: len(example)]
    masked = [part.shape[1] for part in example if part.dtype == torch.bool]

    def free(part: Tensor) -> dict[int, str]:
        long = part.dim() > 1 and not part.is_floating_point()
        long = long or (part.dim() == 3 and part.shape[1] in masked)
        return {0: "batch", 1: "length"} if long else {0: "batch"}

    axes = [free(part) for part in example]
    with tempfile.TemporaryDirectory() as folder, torch.no_grad():
        path = Path(folder) / "model.onnx"
        save_graph(module, example, path, inputs=names, outputs=["output"], axes=axes, opset=OPSET)
        return path.read_bytes()


def _two_rows(part: Tensor) -> Tensor:
    """A tracer takes an axis of 1 for a constant."""
    return part[:2] if len(part) > 1 else torch.cat([part, part])
