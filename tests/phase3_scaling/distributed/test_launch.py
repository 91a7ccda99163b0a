"""From flags and a starter's environment to an engine."""

import sys
from importlib import util

import pytest

from phase3_scaling.distributed import launch
from phase3_scaling.distributed.launch import ENGINES, starter, take_engine, take_environment
from shared.errors import VermeilError

STARTED = ("WORLD_SIZE", "RANK", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "SLURM_LOCALID")


@pytest.fixture(autouse=True)
def nobody_has_started_us(monkeypatch):
    for name in STARTED:
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def begun(monkeypatch) -> list:
    """What would have been started, in place of starting it."""
    calls = []

    def start(*arguments) -> int:
        calls.append(arguments)
        return 7

    monkeypatch.setattr(launch, "start", start)
    return calls


def test_without_flags_there_is_one_process():
    assert take_engine(["tiny", "--steps", "3"], command=["train", "lm"]) == (
        None, ["tiny", "--steps", "3"],
    )  # fmt: skip


def test_processes_are_started_with_the_same_command_and_status(begun):
    words = ["tiny", "--processes=2", "--steps", "3", "--strategy", "fsdp", "--restarts", "4"]
    with pytest.raises(SystemExit) as stop:
        take_engine(words, command=["train", "lm"])
    assert stop.value.code == 7
    assert begun == [
        ("fsdp", 2, 4, ["train", "lm", "tiny", "--steps", "3", "--strategy", "fsdp"])
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("words", "handed"),
    [
        (["--offload"], ["--offload", "optimizer"]),
        (["--offload", "parameters"], ["--offload", "parameters"]),
        (["--offload", "--steps"], ["--offload", "optimizer"]),
        (["--deepspeed_config", "a.json"], ["--deepspeed_config", "a.json"]),
    ],
)
def test_deepspeeds_flags_are_handed_on(begun, words, handed):
    with pytest.raises(SystemExit):
        take_engine(["--strategy", "deepspeed_zero2", *words], command=["train"])
    [(_, processes, restarts, again)] = begun
    assert (processes, restarts) == (1, 0)
    assert again[-2:] == handed


@pytest.mark.parametrize(
    ("words", "says", "hint"),
    [
        (["--strategy", "fdsp"], "no strategy 'fdsp'", "fsdp"),
        (["--strategy"], "'--strategy' needs a value", "single"),
        (["--processes", "2"], "'single' is one process", "--strategy ddp"),
        (["--strategy", "ddp", "--processes", "two"], "whole number from 1 on, not 'two'", "2"),
        (["--strategy", "ddp", "--processes", "0"], "whole number from 1 on, not '0'", "2"),
        (["--strategy", "ddp", "--restarts", "-1"], "whole number from 0 on, not '-1'", "2"),
        (["--strategy", "ddp", "--processes", "4000"], "--processes 4000 on", "at most"),
        (["--strategy", "ddp", "--offload"], "--offload is for DeepSpeed", "deepspeed_zero2"),
    ],
)
def test_mistakes_get_a_sentence(words, says, hint):
    with pytest.raises(VermeilError, match=says) as error:
        take_engine(words, command=["train", "lm"])
    assert hint in error.value.hint


def test_a_package_that_is_missing_is_named_with_the_command(monkeypatch):
    monkeypatch.setattr(util, "find_spec", lambda name: None)
    with pytest.raises(VermeilError, match="deepspeed is not installed") as error:
        take_engine(["--strategy", "deepspeed_zero1", "--processes", "2"], command=[])
    assert error.value.hint == "make scale"


def test_single_under_a_starter_is_refused(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(VermeilError, match="'single' is one process"):
        take_engine([], command=[])


def test_every_engine_exists():
    for way in ENGINES.values():
        assert util.find_spec(way.module)


def test_starters():
    assert starter("single", 1) == [sys.executable, "-m", "vermeil"]
    words = starter("deepspeed_zero3", 3, "some.module")
    assert words[1:3] == ["-m", "torch.distributed.run"]
    assert "--nproc_per_node=3" in words
    assert words[-2:] == ["-m", "some.module"]


@pytest.mark.parametrize(
    ("environment", "found"),
    [
        (  # torchrun says all
            {"WORLD_SIZE": "4", "RANK": "3", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "2"},
            {"WORLD_SIZE": "4", "RANK": "3", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "2"},
        ),
        (  # DeepSpeed's starter has its own name for it
            {"WORLD_SIZE": "4", "RANK": "3", "LOCAL_RANK": "1", "LOCAL_SIZE": "2"},
            {"LOCAL_WORLD_SIZE": "2", "LOCAL_RANK": "1"},
        ),
        (  # a PyTorchJob with a process a pod
            {"WORLD_SIZE": "4", "RANK": "3", "MASTER_ADDR": "a", "MASTER_PORT": "1"},
            {"LOCAL_WORLD_SIZE": "1", "LOCAL_RANK": "0", "RANK": "3"},
        ),
        (  # srun on two nodes
            {"SLURM_NTASKS": "4", "SLURM_PROCID": "3", "SLURM_LOCALID": "1", "SLURM_NNODES": "2",
             "SLURM_NODELIST": "node[07-08]", "SLURM_JOB_ID": "45123"},
            {"WORLD_SIZE": "4", "RANK": "3", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "2",
             "MASTER_ADDR": "node07", "MASTER_PORT": "25123"},
        ),
    ],
)  # fmt: skip
def test_who_started_us(environment, found):
    assert take_environment(environment)
    assert environment.items() >= found.items()


def test_nobody_started_us():
    assert not take_environment({})
    assert not take_environment({"SLURM_NTASKS": "1", "SLURM_LOCALID": "0"})
    slurm = {"SLURM_NTASKS": "4", "SLURM_LOCALID": "0", "SLURM_PROCID": "0"}
    assert not take_environment(slurm, own=True), "a batch script that starts its own processes"
