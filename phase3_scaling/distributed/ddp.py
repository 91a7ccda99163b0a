"""Distributed data parallel: one model a process, averaged gradients (Li et al., 2020)."""

import os

import torch
from pytorch_lightning.strategies import DDPStrategy

from shared.training import Engine


def engine() -> Engine:
    """DDP over the processes that torchrun started; gloo on CPUs, NCCL on GPUs."""
    local = int(os.environ["LOCAL_WORLD_SIZE"])
    backend = "nccl" if torch.cuda.is_available() else "gloo"
    return Engine(
        strategy=DDPStrategy(process_group_backend=backend),
        processes=local,
        nodes=int(os.environ["WORLD_SIZE"]) // local,
    )
