"""Memory that is free goes back to the system, and oneDNN's kernels stay few."""

import os
import subprocess
import sys

PROGRAM = """
import re, time, torch
from phase4_deploy.serving import trimming

def held():
    return int(re.search(r"VmRSS:\\s+(\\d+)", open("/proc/self/status").read())[1]) / 1024

trimming.few_kernels()
trimming.EVERY = 0.1
parts = [torch.randn(20_000) for _ in range(2_000)]
full, kept = held(), parts[::2]
del parts
before = held()
trimming.start()
time.sleep(0.5)
print(round(full - before), round(before - held()))
"""


def test_holes_between_what_is_kept_are_given_back():
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True, env=environment
    )
    without, by_trimming = map(int, done.stdout.split())
    assert without < 20, "malloc gave it back by itself: nothing is tested"
    assert by_trimming > 50, f"{by_trimming} of 76 MB came back"


def test_a_setting_of_the_user_s_own_stays(monkeypatch):
    from phase4_deploy.serving import trimming

    monkeypatch.setenv("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "7")
    trimming.few_kernels()
    assert os.environ["ONEDNN_PRIMITIVE_CACHE_CAPACITY"] == "7"
