"""Steps beside each other: who begins when and where, and what becomes of those that fail."""

import io
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import pytest

from shared import side_by_side
from shared.config import Choice
from shared.errors import Stopped, VermeilError
from shared.hardware import cores
from shared.side_by_side import Board, Lanes, family, urgency
from shared.step import Inputs, Step

ROOT = Path(__file__).resolve().parents[2]
CORE = min(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 0


def step(name: str, *needs: str, alone: bool = False) -> Step:
    nothing = SimpleNamespace()
    return Step(name, "phase1", name, int, {}, lambda _: Inputs(), lambda *_: nothing,  # type: ignore[arg-type]
                needs=needs, alone=alone)  # fmt: skip


STEPS = [
    step("words"), step("text", "words"), step("pictures"), step("times", "words", alone=True),
    step("both", "text", "pictures"), step("more", "both", alone=True),
]  # fmt: skip
SECONDS = {"words": 1, "text": 5, "pictures": 2, "times": 3, "both": 4, "more": 1}


def test_the_longest_chain_counts():
    chain = urgency(STEPS, SECONDS)
    assert chain == {"words": 11, "text": 10, "pictures": 7, "times": 3, "both": 5, "more": 1}


def lanes(jobs: int = 2, cores: tuple[int, ...] = (0, 1, 2, 3)) -> Lanes:
    return Lanes(STEPS, SECONDS, jobs, cores)


def begun(of: Lanes) -> dict[str, tuple[int, ...]]:
    return {step.name: cores for step, cores in of.begin()}


def test_steps_wait_for_what_they_need_and_share_the_cores():
    of = lanes()
    assert begun(of) == {"words": (0, 1), "pictures": (2, 3)}
    assert begun(of) == {}
    of.end("pictures")
    assert begun(of) == {}, "text needs words"
    of.end("words")
    assert begun(of) == {"text": (0, 1, 2, 3)}, "nothing else is ready but what wants to be alone"
    of.end("text")
    assert begun(of) == {"both": (0, 1, 2, 3)}, "which has more after it than the times"
    of.end("both")
    assert begun(of) == {"times": (0, 1, 2, 3)}
    assert begun(of) == {}, "times are measured alone"
    of.end("times")
    assert begun(of) == {"more": (0, 1, 2, 3)}


def test_the_freed_share_is_taken_again():
    of = lanes(cores=(3, 5))
    assert begun(of) == {"words": (3,), "pictures": (5,)}
    of.end("words")
    assert begun(of) == {"text": (3,)}


def test_no_core_is_left_over():
    of = lanes(cores=(0, 1, 2))
    assert begun(of) == {"words": (0,), "pictures": (1, 2)}


def test_what_was_made_before_takes_no_core():
    of = lanes()
    assert [each.name for each in STEPS if of.ready(each)] == ["words", "pictures"]
    of.end("words")
    of.end("pictures")
    assert begun(of) == {"text": (0, 1, 2, 3)}


def test_of_several_the_longest_chain_goes_first():
    many = [step("short"), step("long"), step("middle"), step("after", "middle")]
    of = Lanes(many, {"short": 1, "long": 4, "middle": 2, "after": 3}, 2, (0, 1))
    assert begun(of) == {"middle": (0,), "long": (1,)}


def test_one_that_wants_to_be_alone_goes_first_where_all_wait_for_it():
    many = [step("first", alone=True), step("other"), step("after", "first")]
    of = Lanes(many, {"first": 1, "other": 2, "after": 3}, 2, (0, 1))
    assert begun(of) == {"first": (0, 1)}
    assert begun(of) == {}
    of.end("first")
    assert begun(of) == {"after": (0,), "other": (1,)}


def test_in_every_order_of_endings_all_steps_are_made():
    """Whatever ends first, every step is made once, and never before what it needs."""
    from vermeil import STEPS as NAMES
    from vermeil import step as imported

    steps = [imported(name) for name in NAMES]
    for pick in (min, max):
        of = Lanes(steps, dict.fromkeys(NAMES, 1.0), 2, (0, 1))
        order: list[str] = []
        while len(order) < len(steps):
            for each, _ in of.begin():
                assert {*each.needs} <= {*order}
            assert len(of.running) <= 2
            alone = [name for name in of.running if imported(name).alone]
            assert not alone or len(of.running) == 1
            order.append(pick(of.running))
            of.end(order[-1])
        assert len({*order}) == len(steps)


MODULE = """
import json, os, signal, sys, time
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
import torch
from shared.config import Preset
from shared.errors import Stopped, VermeilError
from shared.hardware import cores
from shared.step import Inputs, Step

@dataclass(frozen=True)
class Config:
    seed: int = 0

def main(run, engine):
    {body}
    return SimpleNamespace(folder=run.folder)

STEP = Step("{name}", "phase1", "{name}", Config, {{"smoke": Preset(Config(), "", "")}},
            lambda _: Inputs(), main)
"""
WAITS = """
    def stop(number, _):
        raise Stopped("waiting stopped, saved", "", number)
    signal.signal(signal.SIGTERM, stop)
    (run.folder / "began").touch()
    time.sleep(60)
"""


@dataclass
class Made:
    """Modules of steps with these bodies, and a family that runs them."""

    folder: Path

    def step(self, name: str, body: str) -> tuple[Step, Choice]:
        (self.folder / f"steps_{name}.py").write_text(MODULE.format(name=name, body=body.strip()))
        found = __import__(f"steps_{name}").STEP
        return found, Choice("smoke", found.presets["smoke"].config)


@pytest.fixture
def made(tmp_path, monkeypatch) -> Made:
    monkeypatch.syspath_prepend(str(tmp_path))
    yield Made(tmp_path)
    for name in [name for name in sys.modules if name.startswith("steps_")]:
        del sys.modules[name]


def wait_for(made: Made, own, seconds: float = 60.0) -> list[tuple[str, Path]]:
    found, end = [], time.monotonic() + seconds
    while own.members and time.monotonic() < end:
        found += [(step.name, folder) for step, folder in own.listen()]
    return found


def test_a_step_has_its_cores_and_its_words_come_back(made, capsys, home):
    core = max(os.sched_getaffinity(0))
    body = (
        "print('passed over: 3', file=sys.stderr)\n"
        "    import threadpoolctl\n"
        "    pools = [pool['num_threads'] for pool in threadpoolctl.threadpool_info()]\n"
        "    found = [sorted(os.sched_getaffinity(0)), torch.get_num_threads(), max(pools)]\n"
        "    (run.folder / 'found.json').write_text(json.dumps(found))"
    )
    with family(Board()) as own:
        own.begin(*made.step("seen", body), (core,))
        [(name, folder)] = wait_for(made, own)
    assert name == "seen"
    assert folder.is_relative_to(home)
    assert (folder / "found.json").read_text() == f"[[{core}], 1, 1]"
    assert "passed over: 3" in capsys.readouterr().err


def test_where_one_fails_the_others_save_and_its_sentence_is_told(made, capsys, home):
    fails = (
        f"while not list(Path({str(home)!r}).glob('runs/waits/*/began')): time.sleep(0.01)\n"
        "    raise VermeilError('the picture 3.png is broken', 'take it away')"
    )
    with pytest.raises(VermeilError, match="the picture 3") as error, family(Board()) as own:
        own.begin(*made.step("waits", WAITS), (CORE,))
        own.begin(*made.step("fails", fails), (CORE,))
        wait_for(made, own)
    assert error.value.hint == "take it away"
    assert "waiting stopped, saved" in capsys.readouterr().err
    assert not own.members


CLEANS = """
    (run.folder / "began").touch()
    try:
        time.sleep(60)
    finally:
        time.sleep(0.3)
        (run.folder / "cleaned").touch()
"""


def test_what_a_step_has_to_clean_up_it_cleans_up(made, home):
    """Also where a terminal's Ctrl-C comes first, and the walk's own SIGTERM into the midst."""
    with pytest.raises(Stopped), family(Board()) as own:
        own.begin(*made.step("cleans", CLEANS), (CORE,))
        while not list(home.glob("runs/cleans/*/began")):
            time.sleep(0.01)
        [(_, process)] = own.members.values()
        os.kill(process.pid, signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)
        wait_for(made, own)
    assert list(home.glob("runs/cleans/*/cleaned"))


def test_a_signal_while_a_step_begins_waits_until_it_has(made, home):
    """It would be one that nobody watches."""
    with pytest.raises(Stopped), family(Board()) as own:
        start = own.context.Process.start

        def interrupted(process):
            os.kill(os.getpid(), signal.SIGINT)
            start(process)

        own.context.Process.start = interrupted
        try:
            own.begin(*made.step("waits", WAITS), (CORE,))
        finally:
            own.context.Process.start = start
        assert len(own.members) == 1
        wait_for(made, own)
    assert not own.members


GRANDCHILD = """
    if os.fork() == 0:
        time.sleep(20)
        os._exit(0)
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_child_of_its_own_does_not_hide_that_a_step_was_killed(made):
    start = time.monotonic()
    with pytest.raises(VermeilError, match=r"of parent ended .*code -9"), family(Board()) as own:
        own.begin(*made.step("parent", GRANDCHILD), (CORE,))
        wait_for(made, own)
    assert time.monotonic() - start < 15


def test_a_process_that_is_killed_is_named(made, capsys):
    with (
        pytest.raises(VermeilError, match=r"of dies ended .*code -9") as error,
        family(Board()) as own,
    ):
        own.begin(*made.step("dies", "os.kill(os.getpid(), signal.SIGKILL)"), (CORE,))
        wait_for(made, own)
    assert "--jobs 1" in error.value.hint


def test_an_error_of_ours_shows_its_traceback(made, capsys):
    with pytest.raises(VermeilError, match="the process of wrong ended"), family(Board()) as own:
        own.begin(*made.step("wrong", "[][3]"), (CORE,))
        wait_for(made, own)
    assert "IndexError: list index out of range" in capsys.readouterr().err


def test_a_missing_package_is_told_as_everywhere(made):
    with pytest.raises(ModuleNotFoundError) as error, family(Board()) as own:
        own.begin(*made.step("lacks", "import no_such_package"), (CORE,))
        wait_for(made, own)
    assert error.value.name == "no_such_package"


def test_a_signal_to_the_walk_reaches_its_steps(made, capsys, home):
    before = signal.getsignal(signal.SIGINT)  # ignored where a shell runs this in the background
    with pytest.raises(Stopped) as error, family(Board()) as own:
        own.begin(*made.step("waits", WAITS), (CORE,))
        while not list(home.glob("runs/waits/*/began")):
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGTERM)
        wait_for(made, own)
    assert error.value.exit_code == 128 + signal.SIGTERM
    assert "waiting stopped, saved" in capsys.readouterr().err
    assert signal.getsignal(signal.SIGINT) is before


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_terminal_shows_how_far_all_are_in_one_line(monkeypatch):
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setattr(sys, "stdout", terminal)
    monkeypatch.setattr(side_by_side, "get_terminal_size", lambda: os.terminal_size((30, 20)))
    board = Board()
    board.say("lm", "\r\x1b[Klm 1/9")
    board.say("vision", "\r\x1b[Kvision 2/9")
    board.keep("[1/14] done")
    board.end("lm")
    board.say("vision", "\r\x1b[Kvision 3/9 " + "x" * 40)
    shown = terminal.getvalue().split("\r\x1b[K")
    assert shown == [
        "", "lm 1/9", "lm 1/9 | vision 2/9", "[1/14] done\n", "lm 1/9 | vision 2/9", "",
        "vision 2/9",
        ("vision 3/9 " + "x" * 40)[:29],
    ]  # fmt: skip


@pytest.mark.skipif(cores() < 2, reason="two at a time take two cores")
def test_ctrl_c_ends_the_walk_and_all_of_it(tmp_path):
    environment = os.environ | {"VERMEIL_HOME": str(tmp_path)}
    process = subprocess.Popen(
        [sys.executable, "-m", "vermeil", "run", "smoke", "--jobs", "2"],
        cwd=ROOT, env=environment, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        start_new_session=True,
    )  # fmt: skip
    while not list(tmp_path.glob("runs/vision/*/owner.json")):
        assert process.poll() is None
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "the walk was stopped\n  -> the same command goes on" in said
    assert "Traceback" not in said
    time.sleep(1)  # the process that others are forked from ends when nobody is left
    assert not [pid for pid in Path("/proc").iterdir() if pid.name.isdigit() and _at(pid, tmp_path)]


def _at(process: Path, home: Path) -> bool:
    try:
        return f"VERMEIL_HOME={home}".encode() in (process / "environ").read_bytes().split(b"\0")
    except OSError:
        return False
