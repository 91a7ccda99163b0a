"""Slurm, through submitit: one torchrun a node, requeued after pre-emption and time limits.

The home folder ($VERMEIL_HOME) has to lie where every node sees it: a requeued job finds its
checkpoint there.
"""

import contextlib
import os
import signal
import subprocess
from dataclasses import dataclass
from typing import Any, Literal

from phase3_scaling.distributed.submit import check, node_command, package
from shared.config import option, parse
from shared.errors import VermeilError
from shared.home import home


@dataclass(frozen=True)
class SlurmConfig:
    """What to ask Slurm for."""

    nodes: int = option(1, "nodes", low=1)
    processes: int = option(1, "processes on each node, one a GPU", low=1)
    gpus: int = option(-1, "GPUs on each node; -1: one a process", low=-1)
    cpus: int = option(0, "cores of each process; 0 leaves it to the cluster", low=0)
    memory_gb: int = option(0, "memory of each node; 0 leaves it to the cluster", low=0)
    minutes: int = option(60, "time limit; 90 s before it the run saves and is requeued", low=1)
    requeues: int = option(10, "time limits that the job may pass", low=0)
    partition: str = option("", "Slurm's --partition")
    account: str = option("", "Slurm's --account")
    qos: str = option("", "Slurm's --qos")
    cluster: Literal["slurm", "local"] = option("slurm", "local: on this machine, to try it out")

    @property
    def parameters(self) -> dict[str, Any]:
        """Arguments of submitit's executor."""
        slurm = {"slurm_partition": self.partition, "slurm_account": self.account,
                 "slurm_qos": self.qos} if self.cluster == "slurm" else {}  # fmt: skip
        sizes = {"mem_gb": self.memory_gb, "cpus_per_task": self.cpus * self.processes}
        return {
            "name": "vermeil",
            "nodes": self.nodes,
            "tasks_per_node": 1,
            "gpus_per_node": self.processes if self.gpus < 0 else self.gpus,
            "timeout_min": self.minutes,
            **{key: value for key, value in (slurm | sizes).items() if value},
        }


def submit(arguments: list[str], training: list[str]) -> None:
    """Queue a training; prints the job's number and where its output goes."""
    command = "vermeil submit slurm"
    config = parse(SlurmConfig, arguments, command=command, about=str(submit.__doc__)).config
    check(training, config.nodes * config.processes)
    job = queue(config, training)
    print(f"job {job.job_id}\n{job.paths.stdout}\n{job.paths.stderr}")


def queue(config: SlurmConfig, training: list[str]) -> Any:
    """submitit's job of a training; its logs lie in the home folder."""
    submitit = package("submitit")
    if config.cluster == "slurm" and submitit.AutoExecutor.which() != "slurm":
        raise VermeilError("there is no Slurm here (no sbatch)", "--cluster local, or a login node")
    executor = submitit.AutoExecutor(
        folder=home() / "jobs" / "%j", cluster=config.cluster,
        **{f"{config.cluster}_max_num_timeout": config.requeues},
    )  # fmt: skip
    executor.update_parameters(**config.parameters)
    return executor.submit(NodeJob(training, config.processes))


class NodeJob:
    """What Slurm starts on each node; pickled by submitit, called there."""

    def __init__(self, training: list[str], processes: int):
        self.training, self.processes = training, processes
        self.running: subprocess.Popen | None = None

    def __call__(self) -> None:
        environment = package("submitit").JobEnvironment()
        port = 20_000 + int("".join(filter(str.isdigit, environment.raw_job_id))) % 20_000
        rendezvous = [
            f"--nnodes={environment.num_nodes}", f"--node_rank={environment.node}",
            f"--master_addr={environment.hostnames[0]}", f"--master_port={port}",
        ]  # fmt: skip
        # submitit ignores SIGTERM for itself, which a child would inherit.
        handler = signal.signal(signal.SIGTERM, signal.SIG_DFL)
        self.running = subprocess.Popen(node_command(self.training, self.processes, rendezvous))
        signal.signal(signal.SIGTERM, handler)
        status = self.running.wait()
        if status:
            raise RuntimeError(f"the training ended with status {status}; its message is in stderr")

    def checkpoint(self) -> Any:
        """Called by submitit before pre-emption and at the time limit: save, and come again.

        torchrun hands SIGTERM on; every process ends its step, the first one saves.
        """
        if self.running is not None:
            self.running.send_signal(signal.SIGTERM)
            with contextlib.suppress(ChildProcessError):  # `wait` above holds Popen's lock
                os.waitid(os.P_PID, self.running.pid, os.WEXITED | os.WNOWAIT)
        again = NodeJob(self.training, self.processes)
        return package("submitit").helpers.DelayedSubmission(again)
