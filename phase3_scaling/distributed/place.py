"""Which of a run's processes this one is: whoever started them says so in the environment."""

import os
from typing import Any

import torch
from lightning_fabric.plugins.environments import TorchElasticEnvironment
from torch import distributed

from shared import hardware
from shared.errors import VermeilError
from shared.training import Engine


def started(strategy: Any, **more: Any) -> Engine:
    """An engine on the processes that torchrun, or who speaks like it, has started."""
    local = int(os.environ["LOCAL_WORLD_SIZE"])
    _check_gpus(local)
    _meet_again()
    return Engine(
        strategy=strategy,
        processes=local,
        nodes=int(os.environ["WORLD_SIZE"]) // local,
        plugins=[TorchElasticEnvironment()],
        **more,
    )


def backend() -> str:
    """NCCL between GPUs, gloo between CPUs."""
    return "nccl" if hardware.device_name() == "cuda" else "gloo"


def _check_gpus(processes: int) -> None:
    gpus = torch.cuda.device_count()
    if 0 < gpus < processes:
        raise VermeilError(
            f"{processes} processes on this machine, which has {gpus} GPU(s)",
            f"--processes {gpus}, or export CUDA_VISIBLE_DEVICES= to train on its CPU",
        )


def _meet_again() -> None:
    """Connect the processes of a restart by keys of their own.

    torchrun keeps its store (torch 2.14), and with it the addresses of those that have died: who
    asks before the new ones are there tries to reach the dead.
    """
    said = os.environ.get
    attempt = said("TORCHELASTIC_RESTART_COUNT", "0")
    kept = said("TORCHELASTIC_USE_AGENT_STORE") == "True"
    if attempt == "0" or not kept or distributed.is_initialized():
        return
    host, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
    store = distributed.TCPStore(host, port, is_master=False)
    distributed.init_process_group(
        backend(), store=distributed.PrefixStore(f"attempt_{attempt}", store),
        rank=int(os.environ["RANK"]), world_size=int(os.environ["WORLD_SIZE"]),
    )  # fmt: skip
