"""What this machine is, and which number format is faster on it."""

import os
import platform
import shutil
import time
from statistics import median


def cores() -> int:
    """CPU cores that this process may use (a container's share, not the whole machine)."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def cpu_name() -> str:
    """The processor's name as the system tells it."""
    try:
        with open("/proc/cpuinfo") as lines:
            return next(
                line.split(":")[1].strip() for line in lines if line.startswith("model name")
            )
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def set_threads(threads: int) -> int:
    """Use that many CPU threads (0: one a core) in torch; returns the number."""
    import torch

    torch.set_num_threads(threads or cores())
    return torch.get_num_threads()


def describe(dtype: str = "fp32") -> dict:
    """Hardware as results and manifests record it."""
    import torch

    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    return {
        "cpu": cpu_name(),
        "cores": cores(),
        "threads": torch.get_num_threads(),
        "gpu": gpu,
        "dtype": dtype,
        "torch": torch.__version__,
        "load": round(os.getloadavg()[0], 1),
    }


CLEARLY = 1.5  # times as fast: more than what a busy machine does to one turn


def faster_precision(loss_of_batch, batch, *, device: str, repetitions: int = 3) -> tuple[str, str]:
    """Time forward and backward in fp32 and under bf16 autocast; returns the faster and a sentence.

    bf16 halves what moves through memory and, on processors with bf16 units, doubles the matrix
    speed, but autocast's casts cost more than they save on small models: so it is measured with
    the model and the batch that will be trained, until one of them is CLEARLY faster.
    """
    import torch

    if device != "cpu":
        supported = torch.cuda.is_bf16_supported(including_emulation=False)
        return ("bf16" if supported else "fp32"), f"on {torch.cuda.get_device_name()}"
    seconds: dict[str, list[float]] = {"fp32": [], "bf16": []}
    for _ in range(repetitions + 1):  # the first round warms up
        for precision, times in seconds.items():
            start = time.perf_counter()
            with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
                loss = loss_of_batch(batch)
            loss.backward()
            times.append(time.perf_counter() - start)
        latest = [times[-1] for times in seconds.values()]
        if len(seconds["bf16"]) > 1 and max(latest) > CLEARLY * min(latest):
            break
    fp32, bf16 = (median(times[1:]) for times in seconds.values())
    chosen = "bf16" if bf16 < fp32 else "fp32"
    return chosen, f"measured: {1000 * fp32:.0f} ms a batch in fp32, {1000 * bf16:.0f} ms in bf16"


def has_compiler() -> bool:
    """Whether torch.compile can work: for a CPU it writes C++; a GPU's compiler is in torch."""
    return device_name() != "cpu" or shutil.which(os.environ.get("CXX", "g++")) is not None


def device_name() -> str:
    """ "cuda" where a GPU answers, "cpu" otherwise."""
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


SQUARE = (2048, 2048, 2048)


def matrix_speed(dtype, device: str, shape: tuple[int, int, int] = SQUARE) -> float:
    """GFLOP/s of the product of an (m, k) and a (k, n) matrix, the best of six."""
    import torch

    m, k, n = shape
    a, b = (
        torch.ones(m, k, dtype=dtype, device=device),
        torch.ones(k, n, dtype=dtype, device=device),
    )
    seconds = []
    for _ in range(6):
        start = time.perf_counter()
        (a @ b)[0, 0].item()  # waits for a GPU
        seconds.append(time.perf_counter() - start)
    return 2 * m * k * n / min(seconds) / 1e9
