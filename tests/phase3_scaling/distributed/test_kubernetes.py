"""Kubernetes manifests, validated against the official schemas without a network."""

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from phase3_scaling.distributed.kubernetes import KubernetesConfig, job, service
from phase3_scaling.distributed.submit import node_command, submit
from shared.errors import VermeilError

kubernetes_validate = pytest.importorskip("kubernetes_validate", reason="not installed")
DDP = ["train", "lm", "base", "--strategy", "ddp"]
OWN = ["--image", "registry/vermeil:1", "--claim", "home"]


def validate(manifest: dict) -> None:
    version = kubernetes_validate.latest_version()
    kubernetes_validate.validate(manifest, version, strict=True)


def written(path: Path, *more: str) -> list[dict]:
    submit(["kubernetes", *OWN, *more, "--out", str(path), "--", *DDP])
    return list(yaml.safe_load_all(path.read_text()))


@pytest.mark.parametrize(
    "more",
    [(), ("--nodes", "4", "--processes", "8", "--cpus", "32", "--memory_gb", "256"),
     ("--gpus", "0", "--restarts", "0", "--namespace", "team", "--name", "lm-base")],
)  # fmt: skip
def test_the_manifest_is_valid(tmp_path, more):
    manifests = written(tmp_path / "job.yaml", *more)
    assert [one["kind"] for one in manifests] == ["Service", "Job"]
    for manifest in manifests:
        validate(manifest)


def test_the_validator_refuses_what_kubernetes_would():
    broken = job(KubernetesConfig(image="i", claim="c"), DDP)
    broken["spec"]["completion"] = 2
    with pytest.raises(kubernetes_validate.ValidationError):
        validate(broken)


def test_pods_meet_at_the_first_one_by_name(tmp_path):
    first, second = written(tmp_path / "job.yaml", "--nodes", "2", "--processes", "8", "--name",
                            "big")  # fmt: skip
    spec = second["spec"]
    assert (spec["completionMode"], spec["completions"], spec["parallelism"]) == ("Indexed", 2, 2)
    pod = spec["template"]["spec"]
    [container] = pod["containers"]
    command = container["command"]
    assert command[:4] == ["python", "-m", "torch.distributed.run", "--nproc_per_node=8"]
    assert command[-len(DDP) - 2 :] == ["-m", "vermeil", *DDP]
    # An Indexed Job calls its pods NAME-INDEX; the service of that subdomain makes them reachable.
    assert "--rdzv_endpoint=big-0.big:29500" in command
    assert pod["subdomain"] == first["metadata"]["name"] == "big"
    assert first["spec"]["clusterIP"] == "None"
    assert first["spec"]["publishNotReadyAddresses"]
    assert first["spec"]["selector"] == {"job-name": "big"}
    assert container["resources"]["limits"] == {"nvidia.com/gpu": "8"}
    assert container["env"] == [{"name": "VERMEIL_HOME", "value": "/vermeil"}]
    assert {"name": "home", "mountPath": "/vermeil"} in container["volumeMounts"]


def test_a_pod_that_is_taken_away_does_not_count_as_failed():
    spec = job(KubernetesConfig(image="i", claim="c", nodes=3, restarts=2), DDP)["spec"]
    assert spec["backoffLimit"] == 6
    [rule] = spec["podFailurePolicy"]["rules"]
    assert rule == {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget"}]}
    assert spec["template"]["spec"]["restartPolicy"] == "Never"  # the policy demands it


def test_without_a_file_the_manifest_is_printed(capsys):
    submit(["kubernetes", *OWN, "--", *DDP])
    printed = list(yaml.safe_load_all(capsys.readouterr().out))
    config = KubernetesConfig(image="registry/vermeil:1", claim="home")
    assert printed == [service(config), job(config, DDP)]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--claim", "home"], "--image is missing"),
        (["--image", "i"], "--claim is missing"),
        ([*OWN, "--name", "Big_Job"], "a job cannot be called 'Big_Job'"),
        ([*OWN, "--processes", "-1"], "--processes must be at least 1"),
    ],
)
def test_bad_input_is_one_sentence(words, message):
    with pytest.raises(VermeilError, match=message):
        submit(["kubernetes", *words, "--", *DDP])


@pytest.mark.full
def test_two_pods_meet_through_the_rendezvous(tmp_path):
    """The very commands of two pods, on one machine, with a stand-in for the training."""
    stand_in = "import os; print(os.environ['RANK'], os.environ['WORLD_SIZE'])"
    (tmp_path / "vermeil.py").write_text(stand_in)
    meeting = ["--nnodes=2", "--rdzv_backend=c10d", "--rdzv_id=t", "--max_restarts=0",
               "--rdzv_endpoint=localhost:29541"]  # fmt: skip
    command = node_command(DDP, 2, meeting, python=sys.executable)
    pods = [
        subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, text=True) for _ in range(2)
    ]
    said = [pod.communicate(timeout=120)[0].split("\n") for pod in pods]
    assert sorted(line for lines in said for line in lines if line) == [
        f"{rank} 4" for rank in range(4)
    ]
