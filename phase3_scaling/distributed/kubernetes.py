"""Kubernetes: an Indexed Job whose pods meet through torchrun's rendezvous, as a manifest."""

import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from phase3_scaling.distributed.submit import check, node_command
from shared.config import option, parse
from shared.errors import VermeilError
from shared.home import write_atomically

PORT = 29_500
HOME = "/vermeil"  # where the volume with artifacts, runs and data is mounted
SECONDS_TO_SAVE = 120


@dataclass(frozen=True)
class KubernetesConfig:
    """What the pods are made of."""

    image: str = option("", "container image with this project installed")
    claim: str = option("", "persistent volume claim for the home folder, shared by all pods")
    name: str = option("vermeil", "of the job and its service")
    namespace: str = option("default", "where they live")
    nodes: int = option(1, "pods", low=1)
    processes: int = option(1, "processes in each pod, one a GPU", low=1)
    gpus: int = option(-1, "GPUs of each pod; -1: one a process", low=-1)
    cpus: int = option(0, "cores of each pod; 0 asks for none", low=0)
    memory_gb: int = option(0, "memory of each pod; 0 asks for none", low=0)
    restarts: int = option(3, "times that a failed pod is started anew", low=0)
    out: str = option("", "file to write; by default the manifest is printed")

    def check(self) -> None:
        """Errors that would otherwise come from the cluster."""
        if not re.fullmatch(r"[a-z]([-a-z0-9]{0,50}[a-z0-9])?", self.name):
            raise VermeilError(
                f"a job cannot be called '{self.name}'",
                "up to 52 small letters, digits and '-', beginning with a letter",
            )


def submit(arguments: list[str], training: list[str]) -> None:
    """Write the manifest of a training; `kubectl apply -f FILE` starts it."""
    import yaml

    command = "vermeil submit kubernetes"
    config = parse(KubernetesConfig, arguments, command=command, about=str(submit.__doc__)).config
    for key in ("image", "claim"):
        if not getattr(config, key):
            raise VermeilError(f"--{key} is missing", f"{command} --{key} NAME ... -- train ...")
    check(training, config.nodes * config.processes)
    text = yaml.safe_dump_all([service(config), job(config, training)], sort_keys=False)
    if not config.out:
        print(text, end="")
        return
    write_atomically(Path(config.out), text)
    print(f"wrote {config.out}\nkubectl apply -f {config.out}", file=sys.stderr)


def service(config: KubernetesConfig) -> dict[str, Any]:
    """What gives pods their names: pod 0 is NAME-0.NAME, reachable before it is ready."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": _metadata(config),
        "spec": {
            "clusterIP": "None",
            "publishNotReadyAddresses": True,
            "selector": {"job-name": config.name},
            "ports": [{"name": "rendezvous", "port": PORT}],
        },
    }


def job(config: KubernetesConfig, training: list[str]) -> dict[str, Any]:
    """The Indexed Job: as many pods as nodes, each started anew where it fails.

    A pod that the cluster takes away (pre-emption, a drained node) does not count as failed. A
    pod that comes again goes on from the last checkpoint, and torchrun lets it join the others.
    """
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": _metadata(config),
        "spec": {
            "completionMode": "Indexed",
            "completions": config.nodes,
            "parallelism": config.nodes,
            "backoffLimit": config.restarts * config.nodes,
            "podFailurePolicy": {
                "rules": [{"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget"}]}]
            },
            "template": {
                "metadata": {"labels": {"app": config.name}},
                "spec": {
                    "subdomain": config.name,
                    "restartPolicy": "Never",
                    "terminationGracePeriodSeconds": SECONDS_TO_SAVE,
                    "containers": [_container(config, training)],
                    "volumes": [
                        {"name": "home", "persistentVolumeClaim": {"claimName": config.claim}},
                        # Processes of a pod exchange tensors in /dev/shm, which has 64 MB else.
                        {"name": "shm", "emptyDir": {"medium": "Memory"}},
                    ],
                },
            },
        },
    }


def _metadata(config: KubernetesConfig) -> dict[str, Any]:
    labels = {"app": config.name}
    return {"name": config.name, "namespace": config.namespace, "labels": labels}


def _container(config: KubernetesConfig, training: list[str]) -> dict[str, Any]:
    rendezvous = [
        f"--nnodes={config.nodes}",
        "--rdzv_backend=c10d",
        f"--rdzv_id={config.name}",
        f"--rdzv_endpoint={config.name}-0.{config.name}:{PORT}",
        f"--max_restarts={config.restarts}",
    ]
    sizes = {
        "nvidia.com/gpu": config.processes if config.gpus < 0 else config.gpus,
        "cpu": config.cpus,
        "memory": f"{config.memory_gb}Gi" if config.memory_gb else 0,
    }
    limits = {key: str(value) for key, value in sizes.items() if value}
    return {
        "name": "train",
        "image": config.image,
        "command": node_command(training, config.processes, rendezvous, python="python"),
        "env": [{"name": "VERMEIL_HOME", "value": HOME}],
        "ports": [{"containerPort": PORT}],
        "resources": {"limits": limits, "requests": limits} if limits else {},
        "volumeMounts": [
            {"name": "home", "mountPath": HOME},
            {"name": "shm", "mountPath": "/dev/shm"},
        ],
    }
