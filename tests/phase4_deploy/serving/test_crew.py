"""Processes that write: what they lose when they die, and that they do not stay dead."""

import multiprocessing
import os
import signal
import time

import numpy as np
import pytest

from phase1_foundation.language.generate import Sampling
from phase4_deploy.serving.continuous import Writing
from phase4_deploy.serving.crew import Crew
from phase4_deploy.serving.engine import SERVED, Engine
from phase4_deploy.serving.lanes import Busy, Lost
from phase4_deploy.serving.models import Options, Served, Writer
from shared.artifact import Artifact
from shared.errors import VermeilError

LONG = Sampling(max_tokens=1500, seed=1)
SHORT = Sampling(max_tokens=12, seed=2)


@pytest.fixture
def engine(models_home):
    folders = [
        str(models_home / f"artifacts/{n}/random-0") for n in ("phase1/lm", "phase4/unified")
    ]
    engine = Engine.open(folders, Options(processes=2, rows=8, queue=4))
    yield engine
    engine.close(5.0)


def asked(writer: Writer, prompt: str, sampling: Sampling) -> Writing:
    """The request that `write` makes, for a process of our choice."""
    tokenizer = writer.tokenizer
    words = tokenizer.bos, *tokenizer.encode(prompt)
    return Writing(words, sampling, (tokenizer.eos, tokenizer.bos))


def until(true, seconds: float = 30.0) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)


def test_a_killed_process_loses_its_own_answers_and_comes_back(engine):
    writer, crew = engine.writer(), engine.writer().lane.crew
    tickets = [writer.write(f"a dog {n}", LONG, streamed=True) for n in range(4)]
    for ticket in tickets:
        next(iter(ticket))  # all are being written
    dead = crew.workers[0]
    os.kill(dead.process.pid, signal.SIGKILL)
    lost = []
    for ticket in tickets:
        try:
            "".join(ticket)
        except Lost as error:
            lost.append(str(error))
    assert lost == ["writer-1 ended while it wrote this: try again in 1 s"] * 2
    assert "".join(writer.write("a cat", SHORT)), "the other one goes on"
    until(dead.ready.is_set)
    text = "".join(writer.write("a cat", SHORT))
    assert "".join(dead.ask("lm", asked(writer, "a cat", SHORT))) == text
    assert engine.ready() and engine.rows() == {"lm": 0, "unified": 0}


def test_who_leaves_frees_the_row_in_the_other_process(engine):
    writer = engine.writer()
    tickets = [writer.write(f"a dog {n}", LONG, streamed=True) for n in range(4)]
    for ticket in tickets:
        next(iter(ticket))
    assert engine.rows()["lm"] == 4
    for ticket in tickets:
        ticket.cancel()
    until(lambda: engine.rows()["lm"] == 0, 2.0)
    assert all(ticket.notes["completion_tokens"] < 1500 for ticket in tickets)


def test_a_full_queue_is_said_at_once(engine):
    """Two processes: four rows and two that wait in each."""
    writer, tickets = engine.writer(), []
    with pytest.raises(Busy, match="2 requests for lm are waiting already"):
        for n in range(30):
            tickets.append(writer.write(f"a dog {n}", LONG))
    assert len(tickets) == 12 and engine.depths()["lm"] == 4 and engine.rows()["lm"] == 8
    for ticket in tickets:
        ticket.cancel()


@pytest.mark.parametrize("busy", [0, 1])
def test_a_picture_is_looked_at_once_though_another_process_has_less_to_do(engine, busy):
    """Whichever process is the one with more to do."""
    talker, writer, looked = engine.talker(), engine.writer(), []
    for seed in range(6):
        picture = np.random.default_rng(seed).integers(0, 255, (16, 16, 3), np.uint8)
        talker.answer("what is it?", picture=picture, sampling=SHORT).result()
        held = writer.lane.crew.workers[busy].ask("lm", asked(writer, f"a dog {seed}", LONG))
        again = talker.answer("is there a dog?", picture=picture, sampling=SHORT)
        again.result()
        looked.append(again.notes["cached_tokens"])
        held.cancel()
        until(lambda: engine.rows()["lm"] == 0, 5.0)
    assert min(looked) > 4


def test_an_engine_that_does_not_open_leaves_no_process(models_home, monkeypatch):
    class Failing(Served):
        def __init__(self, artifact, options):
            raise VermeilError("no")

    monkeypatch.setitem(SERVED, "speech", Failing)
    names = ("phase1/lm", "phase4/speech")
    with pytest.raises(VermeilError, match="no"):
        Engine.open([str(models_home / f"artifacts/{n}/random-0") for n in names],
                    Options(processes=1))  # fmt: skip
    until(lambda: "writer-1" not in [p.name for p in multiprocessing.active_children()], 5.0)


def test_while_the_only_process_starts_again_the_server_is_not_ready(models_home):
    engine = Engine.open([str(models_home / "artifacts/phase1/lm/random-0")], Options(processes=1))
    worker = engine.writer().lane.crew.workers[0]
    assert engine.ready()
    os.kill(worker.process.pid, signal.SIGKILL)
    until(lambda: not engine.ready(), 5.0)
    with pytest.raises(Lost, match="being started"):
        engine.writer().write("a dog", SHORT)
    until(engine.ready)
    assert "".join(engine.writer().write("a dog", SHORT))
    engine.close(5.0)


def test_closing_finishes_what_is_open_and_ends_the_processes(models_home):
    engine = Engine.open([str(models_home / "artifacts/phase1/lm/random-0")], Options(processes=1))
    writer = engine.writer()
    tickets = [writer.write(f"a dog {n}", Sampling(max_tokens=100, seed=n)) for n in range(4)]
    engine.close(30.0)
    assert all(ticket.notes["completion_tokens"] for ticket in tickets) and all(
        map("".join, tickets)
    )
    assert not writer.lane.crew.workers[0].process.is_alive() and not engine.ready()
    with pytest.raises(Busy, match="stopping"):
        writer.write("a dog", SHORT)


def test_a_model_that_does_not_load_is_said_and_not_tried_for_ever(models_home, tmp_path):
    folder = tmp_path / "broken"
    folder.mkdir()
    for file in (models_home / "artifacts/phase1/lm/random-0").iterdir():
        (folder / file.name).write_bytes(
            b"" if file.suffix == ".safetensors" else file.read_bytes()
        )
    crew = Crew([(Writer, Artifact(folder))], Options(processes=1))
    with pytest.raises(VermeilError, match="does not fit LanguageModel"):
        crew.wait()
    assert not crew.lane("lm").is_alive()
    with pytest.raises(Lost):
        crew.lane("lm").submit(Writing((1,), SHORT, ()))
