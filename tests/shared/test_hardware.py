"""The probe that chooses a number format, by what it is for."""

import time

import pytest
import torch

from shared import hardware


def test_the_faster_format_is_chosen():
    def slow_in(precision: torch.dtype):
        weight = torch.ones(2, 2, requires_grad=True)

        def loss(batch):
            product = batch @ weight
            if product.dtype == precision:
                time.sleep(0.01)
            return product.float().sum()

        return loss

    batch = torch.ones(2, 2)
    for slow, chosen in ((torch.float32, "bf16"), (torch.bfloat16, "fp32")):
        precision, reason = hardware.faster_precision(slow_in(slow), batch, device="cpu")
        assert precision == chosen
        assert "ms in bf16" in reason


@pytest.mark.parametrize(("bf16", "turns"), [(2.0, 2), (0.5, 2), (1.2, 4), (1.0, 4)])
def test_a_clear_difference_is_measured_once(bf16, turns, monkeypatch):
    """After the warm-up; a small one takes all turns. The clock stands still but in the loss."""
    now, asked, weight = [0.0], [], torch.ones(2, 2, requires_grad=True)
    monkeypatch.setattr(hardware.time, "perf_counter", lambda: now[0])

    def loss(batch):
        product = batch @ weight
        asked.append(product.dtype)
        now[0] += bf16 if product.dtype == torch.bfloat16 else 1.0
        return product.float().sum()

    precision, _ = hardware.faster_precision(loss, torch.ones(2, 2), device="cpu")
    assert precision == ("bf16" if bf16 < 1 else "fp32") and len(asked) == 2 * turns


def test_the_description_is_of_this_machine():
    found = hardware.describe("bf16")
    assert found["threads"] == torch.get_num_threads()
    assert found["cores"] >= 1
    assert found["dtype"] == "bf16"
    assert hardware.matrix_speed(torch.float32, "cpu", (64, 64, 64)) > 0
