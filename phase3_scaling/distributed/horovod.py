"""Horovod: every gradient is averaged as soon as it is known (Sergeev & Del Balso, 2018).

Lightning has had no strategy for it since 2.0; this is ours. `make horovod` builds the package.
"""

import os
import socket
import sys
from collections.abc import Generator
from contextlib import contextmanager
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from lightning_fabric.plugins import ClusterEnvironment
from pytorch_lightning.strategies import ParallelStrategy
from pytorch_lightning.utilities.rank_zero import rank_zero_only
from torch import Tensor, nn

from shared import hardware
from shared.errors import VermeilError
from shared.lost import Lost
from shared.training import Engine

# What horovodrun calls what torchrun and the rest of this project call otherwise.
NAMES = {"RANK": "HOROVOD_RANK", "WORLD_SIZE": "HOROVOD_SIZE", "LOCAL_RANK": "HOROVOD_LOCAL_RANK",
         "LOCAL_WORLD_SIZE": "HOROVOD_LOCAL_SIZE"}  # fmt: skip
STALL_SECONDS = "60"  # after which a rank that the others wait for counts as lost


def command(processes: int) -> list[str]:
    """What starts that many processes of `vermeil` here; its arguments follow."""
    package()
    names = " ".join(f"{ours}=${theirs}" for ours, theirs in NAMES.items())
    run = str(Path(sys.executable).with_name("horovodrun"))
    return [run, "--gloo", "-np", str(processes), "sh", "-c",
            f'exec env {names} "$@"', "sh", sys.executable, "-m", "vermeil"]  # fmt: skip


def engine() -> Engine:
    """Horovod over the processes that horovodrun started; gradients travel in CPU memory."""
    hvd = package()
    if "HOROVOD_RANK" not in os.environ:
        raise VermeilError(
            "the strategy 'horovod' was not started by horovodrun", "add --processes 2"
        )
    if hardware.device_name() != "cpu" and not hvd.nccl_built():
        raise VermeilError(
            "Horovod is built for CPUs here, and this machine would train on its GPU",
            "--strategy ddp, or export CUDA_VISIBLE_DEVICES=",
        )
    os.environ.update({ours: os.environ[theirs] for ours, theirs in NAMES.items()})
    os.environ.setdefault("HOROVOD_STALL_SHUTDOWN_TIME_SECONDS", STALL_SECONDS)
    hvd.init()
    strategy = HorovodStrategy(hvd)
    return Engine(strategy, processes=hvd.local_size(), nodes=hvd.cross_size())


def package() -> Any:
    """`horovod.torch`; VermeilError where it is not built, or was for another torch."""
    try:
        return import_module("horovod.torch")
    except ImportError as error:
        built = error.name is None or not error.name.startswith("horovod")
        reason = f"does not load ({error})" if built else "is not built here"
        raise VermeilError(f"Horovod {reason}", "make horovod") from None


class HorovodStrategy(ParallelStrategy):
    """One model a process; its gradients are averaged while the backward pass goes on.

    With accumulation only the last part of a batch sends gradients, the sums. Clipping and the
    optimizer, whatever it is, come after and see averages: every process takes the same step.
    """

    def __init__(self, hvd: Any):
        super().__init__(cluster_environment=HorovodEnvironment(hvd))
        self.hvd = hvd
        self.sending = True
        self.sent: list[tuple[int, Tensor, Tensor]] = []  # handle, what is averaged, the gradient
        self.hooks: list[Any] = []

    @property
    def root_device(self) -> torch.device:
        devices = self.parallel_devices or [torch.device("cpu")]
        return devices[self.local_rank % len(devices)]

    def model_to_device(self) -> None:
        if self.model is not None:
            self.model.to(self.root_device)

    def set_world_ranks(self) -> None:
        """Tell Lightning which process this is, as it asks its strategies for."""
        rank_zero_only.rank = self.global_rank

    def setup_environment(self) -> None:
        super().setup_environment()
        if self.world_size > 1 and not torch.distributed.is_initialized():
            self._join_torch()

    def _join_torch(self) -> None:
        """A process group for objectives that gather inside their loss, as CLIP's does."""
        with socket.socket() as free:
            free.bind(("", 0))
            place = (socket.gethostname() if self._several_hosts else "127.0.0.1",
                     free.getsockname()[1])  # fmt: skip
        host, port = self.broadcast(place)
        torch.distributed.init_process_group(
            "gloo", init_method=f"tcp://{host}:{port}", rank=self.global_rank,
            world_size=self.world_size,
        )  # fmt: skip

    @property
    def _several_hosts(self) -> bool:
        return self.hvd.cross_size() > 1

    def setup(self, trainer: Any) -> None:
        super().setup(trainer)
        module = self.lightning_module
        assert module is not None
        held = [*module.named_parameters(), *module.named_buffers()]
        self.hvd.broadcast_parameters(held, root_rank=0)
        self.hooks = [
            parameter.register_post_accumulate_grad_hook(partial(self._send, name))
            for name, parameter in module.named_parameters()
            if parameter.requires_grad
        ]

    def on_train_start(self) -> None:
        """A resumed run goes on from the first process's optimizer."""
        for index, optimizer in enumerate(self.optimizers):
            state = self.hvd.broadcast_object(optimizer.state_dict(), name=f"optimizer{index}")
            if not self.is_global_zero:
                optimizer.load_state_dict(state)

    def _send(self, name: str, parameter: nn.Parameter) -> None:
        if not self.sending or parameter.grad is None:
            return
        whole = parameter.grad.contiguous()
        handle = self.hvd.allreduce_async_(whole, name=name, op=self.hvd.Average)
        self.sent.append((handle, whole, parameter.grad))

    def post_backward(self, closure_loss: Tensor) -> None:
        """Wait for what `_send` began."""
        sent, self.sent = self.sent, []
        with lost_processes_named():
            for handle, whole, gradient in sent:
                self.hvd.synchronize(handle)
                if whole is not gradient:
                    gradient.copy_(whole)

    @contextmanager
    def block_backward_sync(self) -> Generator:
        self.sending = False
        try:
            yield
        finally:
            self.sending = True

    def barrier(self, name: str | None = None) -> None:
        self.hvd.barrier()

    def broadcast(self, obj: Any, src: int = 0) -> Any:
        # Without a name, ranks that pass objects of different types wait for each other for ever.
        return self.hvd.broadcast_object(obj, root_rank=src, name="object")

    def reduce(self, tensor: Any, group: Any = None, reduce_op: Any = "mean") -> Any:
        if not isinstance(tensor, Tensor):
            return tensor
        kind = str(getattr(reduce_op, "name", reduce_op) or "mean").lower()
        ops = {"mean": self.hvd.Average, "avg": self.hvd.Average, "sum": self.hvd.Sum,
               "min": self.hvd.Min, "max": self.hvd.Max}  # fmt: skip
        return self.hvd.allreduce(tensor, op=ops[kind])

    def all_gather(self, tensor: Tensor, group: Any = None, sync_grads: bool = False) -> Tensor:
        """(...) of each process -> (processes, ...), with gradients where `sync_grads`."""
        with torch.set_grad_enabled(sync_grads and torch.is_grad_enabled()):
            return self.hvd.allgather(tensor[None])

    def teardown(self) -> None:
        for hook in self.hooks:
            hook.remove()
        super().teardown()
        if torch.distributed.is_initialized():
            torch.distributed.destroy_process_group()


@contextmanager
def lost_processes_named() -> Generator:
    """Horovod's error where another process ended, as a sentence."""
    errors = import_module("horovod.common.exceptions")
    try:
        yield
    except errors.HorovodInternalError as error:
        raise Lost(
            f"the run lost another of its processes ({' '.join(str(error).split())[:120]})",
            "the same command goes on from the last checkpoint",
        ) from error


class HorovodEnvironment(ClusterEnvironment):
    """Which process this is. Kept as numbers: they are asked for after Horovod has ended too."""

    creates_processes_externally = True  # type: ignore[assignment]
    main_address = "127.0.0.1"  # type: ignore[assignment]
    main_port = 0  # type: ignore[assignment]

    def __init__(self, hvd: Any):
        self.ranks = hvd.size(), hvd.rank(), hvd.local_rank(), hvd.cross_rank()

    @staticmethod
    def detect() -> bool:
        return "HOROVOD_RANK" in os.environ

    def world_size(self) -> int:
        return self.ranks[0]

    def global_rank(self) -> int:
        return self.ranks[1]

    def local_rank(self) -> int:
        return self.ranks[2]

    def node_rank(self) -> int:
        return self.ranks[3]

    def set_world_size(self, size: int) -> None:
        """Horovod knows."""

    def set_global_rank(self, rank: int) -> None:
        """Horovod knows."""
