"""What docs/deploy.md tells to type: its flags, files, services and names are there."""

import json
import os
import re
import shlex
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import kubernetes_validate
import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "docs/deploy.md").read_text()
DOCKERFILE = (ROOT / "Dockerfile").read_text()
KUBECTL = Path(sys.executable).parent / "kubectl"
SERVICES = yaml.safe_load((ROOT / "compose.yaml").read_text())["services"]


def commands(program: str) -> list[list[str]]:
    """Every command line of the document that begins with `program`, in words."""
    blocks = re.findall(r"```sh\n(.*?)```", TEXT, re.S)
    lines = "\n".join(blocks).replace("\\\n", " ").splitlines()
    quoted = re.findall(r"`([^`\n]+)`", re.sub(r"```.*?```", "", TEXT, flags=re.S))
    found = [line for line in [*lines, *quoted] if line.startswith(f"{program} ")]
    return [shlex.split(line, comments=True) for line in found]


def values(line: list[str], *flags: str) -> list[str]:
    """What follows any of these flags."""
    return [after for word, after in pairwise(line) if word in flags]


def test_what_is_given_to_a_build_is_taken():
    builds = commands("docker build")
    assert len(builds) >= 3
    arguments = re.findall(r"^ARG (\w+)", DOCKERFILE, re.M)
    targets = re.findall(r"^FROM \S+ AS (\w+)", DOCKERFILE, re.M)
    named = [line.split("=")[0] for line in re.findall(r"--build-arg (\S+)", TEXT)]
    assert sorted(set(named)) == sorted(set(arguments) - {"VERSION"})
    assert {target for line in builds for target in values(line, "--target")} <= set(targets)


def test_containers_are_started_as_the_image_means_it():
    import vermeil

    for line in commands("docker run"):
        image = next(n for n, word in enumerate(line) if re.fullmatch(r"vermeil:[\d.]+", word))
        after = line[image + 1 :]
        assert not after or after[0] in vermeil.RUNS
    mounted = [mount for line in commands("docker run") for mount in values(line, "-v")]
    assert {mount.split(":")[1] for mount in mounted} == {"/vermeil", "/vermeil/artifacts"}


def test_compose_commands_name_services_that_are_there():
    lines = commands("docker compose")
    assert len(lines) >= 8
    verbs = {"up", "run", "restart", "exec", "cp"}
    flags_with_value = {"--entrypoint"}
    for line in lines:
        verb, *rest = line[2:]
        assert verb in verbs, line
        skip = set(values(rest, *flags_with_value))
        plain = [word for word in rest if not word.startswith("-") and word not in skip]
        if verb in ("run", "exec"):
            assert plain[0] in SERVICES, line
        elif verb in ("up", "restart"):
            assert set(plain) <= set(SERVICES), line
        else:
            assert plain[0].split(":")[0] in SERVICES, line


@pytest.mark.parametrize("line", commands("kubectl"), ids=" ".join)
def test_kubectl_takes_these_flags(line):
    """kubectl itself reads the line; with --help it does nothing else."""
    cut = line.index("--") if "--" in line else len(line)
    done = subprocess.run(
        [KUBECTL, *line[1:cut], "--help"], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0 and "unknown" not in done.stderr, done.stderr
    for path in values(line, "-f", "-k"):
        assert (ROOT / path).exists()


def test_kubectl_commands_name_what_the_manifests_make():
    made = set()
    for path in (ROOT / "phase4_deploy/kubernetes").rglob("*.yaml"):
        for one in yaml.safe_load_all(path.read_text()):
            if "metadata" in one:
                made.add(f"{one['kind'].lower()}/{one['metadata']['name']}")
    named = {word for line in commands("kubectl") for word in line
             if re.fullmatch(r"(deployment|service|pod)/\w+", word)}  # fmt: skip
    assert named and named <= made
    secret = next(line for line in commands("kubectl") if "secret" in line)
    [reference] = [
        entry["valueFrom"]["secretKeyRef"]
        for entry in yaml.safe_load(
            (ROOT / "phase4_deploy/kubernetes/base/deployment.yaml").read_text()
        )["spec"]["template"]["spec"]["containers"][0]["env"]
        if "secretKeyRef" in entry["valueFrom"]
    ]
    assert reference["name"] in secret
    assert any(word.startswith(f"--from-literal={reference['key']}=") for word in secret)


def test_an_overlay_as_the_document_has_it_is_valid(tmp_path):
    [block] = [b for b in re.findall(r"```yaml\n(.*?)```", TEXT, re.S) if "Kustomization" in b]
    gpu = os.path.relpath(ROOT / "phase4_deploy/kubernetes/overlays/gpu", tmp_path.resolve())
    assert "- ../gpu\n" in block
    (tmp_path / "kustomization.yaml").write_text(block.replace("- ../gpu\n", f"- {gpu}\n"))
    done = subprocess.run([KUBECTL, "kustomize", tmp_path], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    made = {one["kind"]: one for one in yaml.safe_load_all(done.stdout)}
    for one in made.values():
        kubernetes_validate.validate(one, kubernetes_validate.latest_version(), strict=True)
    assert made["PersistentVolumeClaim"]["spec"]["storageClassName"] == "efs-sc"
    peers = made["NetworkPolicy"]["spec"]["egress"][1]["to"]
    assert peers[-1] == {"ipBlock": {"cidr": "10.0.64.0/20"}} and len(peers) == 2
    spec = made["Deployment"]["spec"]["template"]["spec"]
    assert spec["nodeSelector"] == {"node.kubernetes.io/instance-type": "g6.xlarge"}


def test_series_are_named_as_the_server_names_them():
    from phase4_deploy.serving.metrics import Metrics

    families = list(Metrics(depths=dict).registry.collect())
    counters = {family.name + "_total" for family in families if family.type == "counter"}
    others = {family.name for family in families if family.type != "counter"}
    table = TEXT.partition("## Watching")[2].partition("\n## ")[0]
    assert set(re.findall(r"`(vermeil_\w+)", table)) == counters | others


def test_a_backup_of_the_keys_can_be_opened(tmp_path):
    from phase4_deploy.serving.keys import KeyStore

    path, copy = tmp_path / "serving.sqlite", tmp_path / "backup.sqlite"
    store = KeyStore(f"sqlite:///{path}")
    store.add("me")
    [line] = [line for line in commands("docker compose") if "sqlite3" in line[-1]]
    assert line[-3:-1] == ["python", "-c"]
    subprocess.run([sys.executable, "-c", line[-1].replace("/vermeil", str(tmp_path))], check=True)
    assert [key.name for key in KeyStore(f"sqlite:///{copy}").all()] == ["me"]
    store.close()


def test_the_request_is_json_and_for_a_path_that_is_there():
    [line] = commands("curl")
    assert json.loads(values(line, "-d")[0])["model"] == "lm"
    assert line[1].endswith("/v1/completions")
