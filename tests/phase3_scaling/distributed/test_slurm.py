"""Slurm jobs: what is asked of it, what each node runs, and that a job comes again where it was."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from phase3_scaling.distributed import slurm
from phase3_scaling.distributed.slurm import NodeJob, SlurmConfig, queue
from phase3_scaling.distributed.submit import submit
from shared.errors import VermeilError

pytest.importorskip("submitit", reason="the extra `scale` is not installed")
ROOT = Path(__file__).resolve().parents[3]
DDP = ["train", "lm", "base", "--strategy", "ddp"]

# Stands in for the command: waits until it is told to stop and saves; then it goes on and ends.
TRAINING = """
import pathlib, signal, sys, time
log = pathlib.Path("log")
said = log.read_text() if log.exists() else ""
def stop(*_):
    log.write_text(log.read_text() + "saved ")
    sys.exit(143)
signal.signal(signal.SIGTERM, stop)
log.write_text(said + " ".join(sys.argv[1:]) + " ")
if not said:
    time.sleep(60)
"""


def eventually(condition, seconds: float = 60.0) -> bool:
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.1)
    return condition()


def test_a_pre_empted_job_saves_and_comes_again(tmp_path, monkeypatch):
    """Through submitit's own executor for this machine, with the signal that Slurm would send."""
    import psutil

    (tmp_path / "vermeil.py").write_text(TRAINING)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    job = queue(SlurmConfig(cluster="local", minutes=5, gpus=0), ["train", "tokenizer", "smoke"])
    log = tmp_path / "log"
    try:
        assert eventually(lambda: log.exists() and "train" in log.read_text())
        task = psutil.Process(job._process.pid).children()[0]
        task.send_signal(signal.SIGUSR2)
        assert eventually(lambda: job.done()), Path(job.paths.stderr).read_text()
        assert log.read_text().split() == ["train", "tokenizer", "smoke", "saved",
                                           "train", "tokenizer", "smoke"]  # fmt: skip
        job.result()
    finally:
        job.cancel(check=False)
        job._process.wait(10)


def test_a_training_that_fails_fails_its_job(tmp_path, monkeypatch):
    (tmp_path / "vermeil.py").write_text("raise SystemExit(2)")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SUBMITIT_EXECUTOR", "local")
    monkeypatch.setenv("SUBMITIT_LOCAL_JOB_ID", "7")
    submitits = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        with pytest.raises(RuntimeError, match="ended with status 2"):
            NodeJob(["train", "tokenizer", "smoke"], 1)()
        assert signal.getsignal(signal.SIGTERM) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGTERM, submitits)


def test_each_node_runs_one_torchrun_that_finds_the_first(monkeypatch):
    started = []

    class Child:
        def __init__(self, command):
            started.append(command)

        def wait(self):
            return 0

    monkeypatch.setattr(slurm.subprocess, "Popen", Child)
    for name, value in {
        "SUBMITIT_EXECUTOR": "slurm", "SLURM_JOB_ID": "4071234", "SLURM_JOB_NUM_NODES": "2",
        "SLURM_NODEID": "1", "SLURM_JOB_NODELIST": "gpu[07-08]", "SLURM_NTASKS": "2",
        "SLURM_PROCID": "1", "SLURM_LOCALID": "0",
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    NodeJob(DDP, 8)()
    assert started == [
        [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node=8", "--nnodes=2",
         "--node_rank=1", "--master_addr=gpu07", "--master_port=31234", "-m", "vermeil", *DDP]
    ]  # fmt: skip


def test_what_sbatch_is_asked_for(tmp_path, monkeypatch, home, capsys):
    """A stand-in for sbatch keeps what it is given; submitit writes it as it always does."""
    for tool in ("sbatch", "srun"):
        path = tmp_path / tool
        path.write_text(f'#!/bin/sh\ncp "$1" {tmp_path}/given\necho Submitted batch job 42\n')
        path.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    own = ["--nodes", "2", "--processes", "8", "--partition", "long", "--cpus", "6", "--minutes",
           "90", "--memory_gb", "200"]  # fmt: skip
    submit(["slurm", *own, "--", *DDP])
    assert capsys.readouterr().out.splitlines()[0] == "job 42"
    given = (tmp_path / "given").read_text()
    for line in ("--nodes=2", "--ntasks-per-node=1", "--gpus-per-node=8", "--cpus-per-task=48",
                 "--partition=long", "--mem=200GB", "--time=90", "--signal=USR2@90",
                 "--open-mode=append"):  # fmt: skip
        assert f"#SBATCH {line}\n" in given
    assert (home / "jobs").is_dir()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "submit to what"),
        (["slurmm", "--", *DDP], "cannot submit to 'slurmm': did you mean 'slurm'"),
        (["slurm"], "behind -- stands 'nothing', not a training"),
        (["slurm", "--", "run", "tiny"], "behind -- stands 'run tiny'"),
        (["slurm", "--nodes", "0", "--", *DDP], "--nodes must be at least 1"),
        (["slurm", "--node", "2", "--", *DDP], "unknown key '--node': did you mean 'nodes'"),
        (["slurm", "--processes", "2", "--", *DDP[:3]], "2 processes .* the training is for one"),
        (["slurm", "--", *DDP, "--processes", "2"], "--processes stands behind --"),
        (["slurm", "--", *DDP[:3], "--strategy=horovod"], "Horovod starts its own"),
        (["slurm", "--", *DDP], "there is no Slurm here"),
    ],
)
def test_bad_input_is_one_sentence(words, message):
    with pytest.raises(VermeilError, match=message):
        submit(words)


def test_the_job_can_be_pickled_while_it_runs(tmp_path):
    """submitit pickles what `checkpoint` returns while the child is still known."""
    import cloudpickle

    job = NodeJob(DDP, 2)
    job.running = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    again = job.checkpoint()
    assert job.running.wait(5) == -signal.SIGTERM
    copy = cloudpickle.loads(cloudpickle.dumps(again))
    assert (copy.function.training, copy.function.processes) == (DDP, 2)
