"""Two processes on halves of the batches train as one on the whole."""

import pytest

from phase3_scaling.distributed import equality
from phase3_scaling.distributed.equality import equal
from shared.errors import VermeilError

SAME = 1e-5  # in fp32, after rounding


def test_ddp_on_halves_is_one_process_on_the_whole():
    """The loss of CLIP stands over the rows of both, diffusion's noise belongs to its rows."""
    rows = equal(["ddp"], ["diffusion", "alignment"], steps=6, optimizers=["sgd"])
    assert [(row.engine, row.model) for row in rows] == [("ddp", "diffusion"), ("ddp", "alignment")]
    for row in rows:
        assert row.loss < SAME
        assert row.weight < SAME
        assert len(row.losses) == 6
        assert row.losses[-1] < row.losses[0]


@pytest.mark.full
def test_every_engine_is_equal():
    engines = ["ddp", "fsdp", "deepspeed_zero1", "deepspeed_zero2", "deepspeed_zero3"]
    rows = equal(engines, optimizers=["sgd"])
    assert len(rows) == 15
    for row in rows:
        assert row.loss < SAME, row
        assert row.weight < SAME, row


def test_an_engine_that_fails_is_named(monkeypatch):
    monkeypatch.setattr(equality, "starter", lambda *_: ["sh", "-c", "echo Error: no >&2; exit 3"])
    with pytest.raises(VermeilError, match=r"single on 2 processes failed \(Error: no\)"):
        equal(["ddp"], ["lm"], steps=1)
