"""Distributed data parallel: one model a process, averaged gradients (Li et al., 2020)."""

from pytorch_lightning.strategies import DDPStrategy

from phase3_scaling.distributed.place import backend, started
from shared.training import Engine


def engine() -> Engine:
    """DDP over the processes that were started; gloo on CPUs, NCCL on GPUs."""
    return started(DDPStrategy(process_group_backend=backend()))
