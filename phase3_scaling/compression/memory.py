"""How much memory a module takes: a fresh process loads it, calls it, and says what was added.

In the process that made a variant, its peak would be that of the making.

    python -m phase3_scaling.compression.memory FILE THREADS MODULE...    for `peak_bytes` alone
"""

import pickle
import subprocess
import sys
import tempfile
from importlib import import_module
from pathlib import Path

import torch
from torch import Tensor, nn

from shared.errors import VermeilError

CALLS = 3
ROOT = Path(__file__).resolve().parents[2]


def peak_bytes(module: nn.Module, example: tuple[Tensor, ...], processes: int = 3) -> int:
    """Bytes that loading the module and calling it add to a process at most: weights, what a
    runtime makes of them, and what a call takes.

    Of several processes the least counts: what a system keeps in hand only adds. Its packages are
    imported beforehand and do not count. The module must be one that pickle takes;
    VermeilError for another one, for one on a card, and with what the process said where it ended
    early: it asks /proc.
    """
    if any(part.device.type != "cpu" for part in (*module.parameters(), *module.buffers())):
        raise VermeilError("a card's memory is not asked for", "ask torch.cuda")
    for part in module.modules():
        part.__dict__.pop("extra_repr", None)  # torchao's: how it is printed, which pickle refuses
    classes = {type(part).__module__ for part in module.modules()}
    classes |= {type(p).__module__ for p in (*module.parameters(), *module.buffers())}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "module.pt"
        try:
            with torch.inference_mode(False):  # in which torchao's arrays cannot be taken apart
                torch.save((module, example), path)
        except (pickle.PicklingError, AttributeError, TypeError) as error:
            raise VermeilError(f"the module cannot be pickled: {error}", "name its parts") from None
        return min(_asked(path, sorted(classes)) for _ in range(processes))


def _asked(path: Path, modules: list[str]) -> int:
    command = [sys.executable, "-m", __name__, path, str(torch.get_num_threads()), *modules]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        said = done.stderr.strip().splitlines() or [f"status {done.returncode}"]
        raise VermeilError(f"a process that should load the module ended: {said[-1]:.200}",
                           "is there enough memory?")  # fmt: skip
    return int(done.stdout)


def resident(which: str) -> int:
    """Bytes of this process in memory: VmRSS now, VmHWM at most since the peak began."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{which}:"):
            return int(line.split()[1]) * 1024
    raise VermeilError("this system does not say how much memory a process has", "ask on Linux")


def _measured(path: str, threads: str, *modules: str) -> int:
    torch.set_num_threads(int(threads))
    for name in (*modules, "torch.nn.attention"):
        import_module(name)
    with torch.inference_mode():
        nn.Linear(64, 64)(torch.ones(64, 64))  # torch's own buffers and threads
        before = resident("VmRSS")
        Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
        module, example = torch.load(path, weights_only=False, mmap=True)  # our own
        for _ in range(CALLS):
            module(*example)
    return max(0, resident("VmHWM") - before)


if __name__ == "__main__":
    print(_measured(*sys.argv[1:]))
