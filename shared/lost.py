"""What can go wrong between the processes of one run, in sentences."""

import os
import re

import torch

from shared.errors import VermeilError


class Lost(VermeilError):
    """Another process of the run ended, or cannot be reached any more."""

    exit_code = 3  # tells what started the processes that the mistake was made in another one


# What gloo, NCCL and the store say of a process that is gone.
GONE = re.compile("(?i)connection (closed|reset|refused)|broken pipe|timed? ?out|remote process")
TAKEN = re.compile("(?i)EADDRINUSE|address already in use")


def between_processes(error: RuntimeError, step: int) -> VermeilError | None:
    """The sentence for an error of the communication after that step; None for any other error."""
    said = str(error)
    known = isinstance(error, torch.distributed.DistError)
    if known and TAKEN.search(said):
        port = os.environ.get("MASTER_PORT", "?")
        return VermeilError(f"port {port} of this machine is in use", "export MASTER_PORT=29517")
    if not (GONE.search(said) and (known or "gloo" in said)):
        return None
    return Lost(
        f"the run lost another of its processes after step {step:,}",
        "the same command goes on from the last checkpoint",
    )
