"""What a module takes in memory, as a process of its own finds it."""

import pytest
import torch
from torch import nn

from phase3_scaling.compression.memory import peak_bytes
from phase3_scaling.compression.onnx_runtime import OrtModule
from phase3_scaling.compression.quantize import Bfloat16, int8_weight_only, ort_fp32
from shared.errors import VermeilError

WEIGHTS = 4 * 4 * 2000**2  # bytes of four matrices


@pytest.fixture(scope="module")
def wide() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(*(nn.Linear(2000, 2000, bias=False) for _ in range(4))).eval()


def test_peak_is_the_weights_and_what_a_call_takes(wide):
    few, many = (peak_bytes(wide, (torch.ones(rows, 2000),)) for rows in (1, 4000))
    assert few == pytest.approx(WEIGHTS, rel=0.25)
    rows = 4 * 4000 * 2000  # bytes of what goes in, and of what each layer makes of it
    assert many - few > 2 * rows, "and what the products' library and malloc keep in hand"


def test_half_the_bits_take_half_the_memory(wide):
    half = peak_bytes(Bfloat16(wide).eval(), (torch.ones(1, 2000),))
    assert half == pytest.approx(WEIGHTS / 2, rel=0.35)


def test_torchao_s_layers_are_weighed_too(wide):
    pytest.importorskip("torchao")
    eight = int8_weight_only(wide, [(torch.ones(2, 2000),)]).eval()
    assert peak_bytes(eight, (torch.ones(1, 2000),)) > WEIGHTS / 4, "8 bits, and floats to compute"


def test_a_graph_is_taken_along(wide):
    graph = ort_fp32(wide, [(torch.ones(2, 2000),)])
    assert isinstance(graph, OrtModule)
    assert WEIGHTS < peak_bytes(graph, (torch.ones(1, 2000),)) < 8 * WEIGHTS, "file and session"


def test_a_process_that_ends_is_told():
    with pytest.raises(VermeilError, match=r"ended: RuntimeError: mat1 and mat2"):
        peak_bytes(nn.Linear(4, 4), (torch.ones(2, 5),))


def test_what_cannot_be_pickled_is_told():
    class Local(nn.Linear):
        pass

    with pytest.raises(VermeilError, match="cannot be pickled"):
        peak_bytes(Local(4, 4), (torch.ones(2, 4),))
