"""What keeps the memory of a server flat for days.

What is remembered of prompts and pictures comes and goes in many sizes, and malloc keeps the holes;
oneDNN keeps a compiled kernel for each of the last 1,024 shapes it met, and recordings and prompts
are of thousands of lengths. Together that is some percent in half an hour.
"""

import ctypes
import os
import threading

EVERY = 20.0  # seconds
KERNELS = "128"


def few_kernels() -> None:
    """Let oneDNN keep few kernels, here and in processes started from here, from its first on."""
    os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", KERNELS)


def start() -> None:
    """Trim the heap from time to time, in a thread; nothing where the C library has no way to."""
    try:
        trim = ctypes.CDLL(None).malloc_trim  # glibc's
    except (AttributeError, OSError, TypeError):
        return
    stop = threading.Event()  # never set: waits without holding up the end of the process

    def run() -> None:
        while not stop.wait(EVERY):
            trim(0)

    threading.Thread(target=run, name="trimming", daemon=True).start()
