"""Memory that malloc keeps for later, handed back to the system.

What is remembered of prompts and pictures comes and goes in many sizes, and between what is kept
lie holes. Without this a server under mixed load grows by some percent in half an hour.
"""

import ctypes
import threading

EVERY = 20.0  # seconds


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
