"""Packing in parts: several processes, runs that are killed, full disks, windows over shards."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import data.shards
from data.shards import TokenShards, pack
from data.text import Document
from data.tokens import TokenWindows, spaced_windows
from shared.errors import VermeilError

ROOT = Path(__file__).resolve().parents[2]
# Run in a process of its own: PACK OUT PROCESSES LARGEST, with the pace and the limits of the test.
SCRIPT = """
import sys, time
import data.shards
from data.shards import pack
from data.text import Document

data.shards.SHARD = 500

def encode(texts):
    time.sleep({seconds})
    return [[1, *map(ord, text)] for text in texts]

def documents():
    for i in range(40):
        yield Document(str(i), "test", str(i), chr(97 + i % 26) * (40 + 7 * i % 90))

if __name__ == "__main__":
    pack(documents(), encode, "key", processes=int(sys.argv[1]))
"""


@pytest.fixture
def shards_of_500(monkeypatch):
    monkeypatch.setattr(data.shards, "SHARD", 500)


def documents() -> list[Document]:
    texts = (chr(97 + i % 26) * (40 + 7 * i % 90) for i in range(40))
    return [Document(str(i), "test", str(i), text) for i, text in enumerate(texts)]


def letters(texts: list[str]) -> list[list[int]]:
    return [[1, *map(ord, text)] for text in texts]


def whole(tokens: TokenShards) -> list[int]:
    return [id for shard in tokens.shards for id in shard.tolist()]


def contents(home: Path) -> dict[str, bytes]:
    folder = home / "tokens" / "key"
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name != "lock"}


def script(tmp_path: Path, *arguments: str, seconds: float = 0, before: str = "") -> list[str]:
    path = tmp_path / "script.py"
    path.write_text(before + SCRIPT.format(seconds=seconds))
    return [sys.executable, str(path), *arguments]


def environment(home: Path) -> dict[str, str]:
    return {"VERMEIL_HOME": str(home), "PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"}


def ended(command: list[str], home: Path) -> str:
    """What the run wrote to stderr."""
    return subprocess.run(
        command, env=environment(home), stderr=subprocess.PIPE, text=True, timeout=100
    ).stderr


def test_shards_hold_whole_documents_of_about_the_same_length(home, shards_of_500):
    packed = pack(documents(), letters, "key")
    assert whole(packed) == [id for row in letters([d.text for d in documents()]) for id in row]
    assert len(packed.shards) == 7 and all(shard[0] == 1 for shard in packed.shards)
    assert all(500 <= len(shard) < 500 + 130 + 10 for shard in packed.shards[:-1])
    assert all(isinstance(shard, np.memmap) for shard in packed.shards)
    index = json.loads(contents(home)["index.json"])
    assert index == {"tokens": [len(shard) for shard in packed.shards]}


def test_one_process_and_two_write_the_same_bytes(home, tmp_path, shards_of_500):
    pack(documents(), letters, "key")
    other = tmp_path / "other"
    assert ended(script(tmp_path, "2"), other) == ""
    assert contents(other) == contents(home)


@pytest.mark.parametrize("processes", ["1", "2"])
def test_a_killed_run_goes_on_where_it_was(home, tmp_path, shards_of_500, processes):
    pack(documents(), letters, "key")
    other = tmp_path / "other"
    folder = other / "tokens" / "key"
    workers = killed_at_the_second_shard(script(tmp_path, processes, seconds=0.3), other)
    assert 2 <= len(list(folder.glob("*.npy"))) < 7 and not (folder / "index.json").exists()
    wait_until(lambda: not any(map(is_running, workers)))
    (folder / ".00003.npy.123.partial").write_bytes(b"half of a shard")
    before = {path: path.stat().st_mtime_ns for path in folder.glob("*.npy")}
    assert ended(script(tmp_path, processes), other) == ""
    assert contents(other) == contents(home)
    assert all(path.stat().st_mtime_ns == written for path, written in before.items())


def killed_at_the_second_shard(command: list[str], home: Path) -> list[int]:
    """The ids of its worker processes."""
    folder = home / "tokens" / "key"
    with subprocess.Popen(command, env=environment(home)) as run:
        wait_until(lambda: len(list(folder.glob("*.npy"))) >= 2)
        children = Path(f"/proc/{run.pid}/task/{run.pid}/children").read_text().split()
        run.send_signal(signal.SIGKILL)
    return [int(child) for child in children]


def wait_until(condition) -> None:
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def is_running(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def test_what_was_packed_before_the_disk_was_full_stays(home, tmp_path):
    # A limit stands for the disk: the last shard has more than 4,000 bytes, the others fewer.
    limit = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (3000, 3000))\n"
    large = SCRIPT.replace("* (40", "* ((2000 if i == 39 else 0) + 40")
    path = tmp_path / "script.py"
    path.write_text(limit + large.format(seconds=0))
    errors = ended([sys.executable, str(path), "1"], home)
    assert "VermeilError: could not write" in errors and "File too large" in errors
    done = sorted(contents(home))
    assert done == [f"{i:05}.npy" for i in range(len(done))] and len(done) >= 5
    path.write_text(large.format(seconds=0))
    assert ended([sys.executable, str(path), "1"], home) == ""
    assert {*done, "index.json"} < set(contents(home))


def test_a_damaged_shard_is_named(home, shards_of_500):
    packed = pack(documents(), letters, "key")
    path = home / "tokens" / "key" / "00002.npy"
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(VermeilError, match="key are damaged") as error:
        pack(documents(), letters, "key")
    assert error.value.hint == f"rm -r {path.parent}; the next run packs them again"
    np.save(path, packed.shards[1])
    with pytest.raises(VermeilError, match="damaged"):
        pack(documents(), letters, "key")


def test_windows_lie_within_shards_and_reach_every_place():
    tokens = TokenShards([np.arange(0, 10), np.arange(100, 103), np.arange(200, 206)])
    assert len(tokens) == 19 and tokens.places(4) == 6 + 0 + 2
    rows = tokens.windows(np.arange(8), 4)
    assert rows.tolist() == [
        *([start + i for i in range(5)] for start in range(6)),
        *([start + i for i in range(5)] for start in (200, 201)),
    ]
    drawn = np.concatenate([TokenWindows(tokens, 4, 8, 0).rows(i, slice(None)) for i in range(60)])
    assert set(drawn[:, 0].tolist()) == {*range(6), 200, 201}
    counts = [int((drawn[:, 0] == start).sum()) for start in (*range(6), 200, 201)]
    assert min(counts) > 35, "480 draws over 8 places"
    spaced = np.concatenate(spaced_windows(tokens, 4, 3, 4))
    assert spaced[:, 0].tolist() == [0, 2, 4, 201]


def test_windows_of_two_shards_are_those_of_one_where_no_edge_is_near():
    whole, halves = np.arange(1000), [np.arange(500), np.arange(500, 1000)]
    one, two = TokenShards([whole]), TokenShards(halves)
    assert two.places(8) == one.places(8) - 8
    assert np.array_equal(one.windows(np.arange(492), 8), two.windows(np.arange(492), 8))
    assert np.array_equal(one.windows(np.arange(500, 992), 8), two.windows(np.arange(492, 984), 8))


def test_shards_that_are_all_too_short():
    tokens = TokenShards([np.arange(4), np.arange(4)])
    with pytest.raises(VermeilError, match="8 tokens, less than a window of 5"):
        TokenWindows(tokens, 4, 2, 0)
