"""The manifests for Kubernetes: rendered by kubectl's own kustomize, validated, and read."""

import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import kubernetes_validate
import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "phase4_deploy/kubernetes"
OVERLAYS = ("cpu", "gpu")
TOOLBOX = yaml.safe_load((FOLDER / "toolbox.yaml").read_text())


@cache
def rendered(overlay: str) -> tuple[dict, ...]:
    """What `kubectl apply -k` would send."""
    done = subprocess.run(
        [Path(sys.executable).parent / "kubectl", "kustomize", FOLDER / "overlays" / overlay],
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""  # deprecations are said there
    return tuple(yaml.safe_load_all(done.stdout))


def the(kind: str, overlay: str = "cpu") -> dict:
    [found] = [one for one in rendered(overlay) if one["kind"] == kind]
    return found


def pod(overlay: str = "cpu") -> dict:
    return the("Deployment", overlay)["spec"]["template"]


def validate(manifest: dict) -> None:
    version = kubernetes_validate.latest_version()
    kubernetes_validate.validate(manifest, version, strict=True)


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_manifests_are_valid(overlay):
    kinds = []
    for manifest in rendered(overlay):
        validate(manifest)
        kinds.append(manifest["kind"])
    assert sorted(kinds) == [
        "ConfigMap", "Deployment", "HorizontalPodAutoscaler", "Namespace", "NetworkPolicy",
        "PersistentVolumeClaim", "PodDisruptionBudget", "Service", "ServiceAccount",
    ]  # fmt: skip
    validate(TOOLBOX)


def test_the_validator_refuses_what_kubernetes_would():
    broken = yaml.safe_load(yaml.safe_dump(the("HorizontalPodAutoscaler")))
    broken["spec"]["maxReplica"] = broken["spec"].pop("maxReplicas")
    with pytest.raises(kubernetes_validate.ValidationError):
        validate(broken)


SPECS = [pytest.param(pod(name)["spec"], id=name) for name in OVERLAYS]
SPECS += [pytest.param(TOOLBOX["spec"], id="toolbox")]


@pytest.mark.parametrize("spec", SPECS)
def test_pods_keep_to_the_restricted_profile(spec):
    """What the namespace enforces (Pod Security Standards), and a root that is read-only."""
    assert {"hostNetwork", "hostPID", "hostIPC", "initContainers"} & set(spec) == set()
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert spec["automountServiceAccountToken"] is False
    for volume in spec["volumes"]:
        assert {"emptyDir", "persistentVolumeClaim"} & set(volume), volume
    [container] = spec["containers"]
    inside = container["securityContext"]
    assert inside["allowPrivilegeEscalation"] is False
    assert inside["readOnlyRootFilesystem"] is True
    assert inside["capabilities"] == {"drop": ["ALL"]}
    assert not any("hostPort" in port for port in container.get("ports", ()))
    assert {"requests", "limits"} == set(container["resources"])
    for size in container["resources"].values():
        assert {"cpu", "memory"} <= set(size)


@pytest.mark.parametrize("spec", SPECS)
def test_pods_run_as_the_user_of_the_image_and_write_where_it_writes(spec):
    dockerfile = (ROOT / "Dockerfile").read_text()
    [user] = re.findall(r"^USER (\d+):", dockerfile, re.M)
    context = spec["securityContext"]
    assert {context[key] for key in ("runAsUser", "runAsGroup", "fsGroup")} == {int(user)}
    [home] = re.findall(r"VERMEIL_HOME=(\S+)", dockerfile)
    mounts = {mount["mountPath"]: mount for mount in spec["containers"][0]["volumeMounts"]}
    assert set(mounts) == {home, f"{home}/artifacts", "/tmp"}
    assert {mount["name"] for mount in mounts.values()} == {one["name"] for one in spec["volumes"]}


def test_servers_cannot_change_the_models_and_the_toolbox_can():
    def artifacts(spec: dict) -> dict:
        return next(m for m in spec["containers"][0]["volumeMounts"] if m["name"] == "artifacts")

    assert artifacts(pod()["spec"])["readOnly"] is True
    assert "readOnly" not in artifacts(TOOLBOX["spec"])


def test_whatever_selects_finds_the_pods_of_the_api_and_not_the_toolbox():
    labels = pod()["metadata"]["labels"]
    spread = [each["labelSelector"] for each in pod()["spec"]["topologySpreadConstraints"]]
    selectors = [
        the("Service")["spec"]["selector"],
        the("Deployment")["spec"]["selector"]["matchLabels"],
        the("PodDisruptionBudget")["spec"]["selector"]["matchLabels"],
        *(selector["matchLabels"] for selector in spread),
    ]
    assert len(selectors) == 5
    for selector in selectors:
        assert selector.items() <= labels.items()
        assert not selector.items() <= TOOLBOX["metadata"]["labels"].items()


def test_nothing_refers_to_what_is_not_there():
    names = {(one["kind"], one["metadata"]["name"]) for one in rendered("cpu")}
    spec = pod()["spec"]
    assert ("ServiceAccount", spec["serviceAccountName"]) in names
    settings = the("ConfigMap")["data"]
    [container] = spec["containers"]
    for entry in container["env"]:
        source = entry["valueFrom"].get("configMapKeyRef")
        assert source is None or (source["name"] == "vermeil" and source["key"] in settings)
    for one in (spec, TOOLBOX["spec"]):
        claims = [v["persistentVolumeClaim"]["claimName"] for v in one["volumes"]
                  if "persistentVolumeClaim" in v]  # fmt: skip
        assert [("PersistentVolumeClaim", claim) in names for claim in claims] == [True]
    target = the("HorizontalPodAutoscaler")["spec"]["scaleTargetRef"]
    assert (target["kind"], target["name"]) in names
    set_here = {entry["name"] for entry in container["env"]}
    assert set(settings) <= set_here  # no setting that nobody reads
    used = set(re.findall(r"\$\((\w+)\)", " ".join(container["args"])))
    assert used | {"VERMEIL_KEYS"} == set_here  # the server reads that one itself
    assert {one["metadata"].get("namespace", "vermeil") for one in rendered("cpu")} == {"vermeil"}


def test_secrets_are_referred_to_and_never_written():
    for overlay in OVERLAYS:
        assert "Secret" not in {one["kind"] for one in rendered(overlay)}
    for spec in (pod()["spec"], TOOLBOX["spec"]):
        sources = {entry["name"]: entry["valueFrom"] for entry in spec["containers"][0]["env"]}
        wanted = {"secretKeyRef": {"name": "vermeil-keys", "key": "url"}}
        assert sources["VERMEIL_KEYS"] == wanted


def test_the_servers_read_the_secrets_variable(monkeypatch, tmp_path):
    from phase4_deploy.serving.keys import KeyStore

    path = tmp_path / "elsewhere.sqlite"
    monkeypatch.setenv("VERMEIL_KEYS", f"sqlite:///{path}")
    KeyStore().add("me")
    assert path.exists()


def test_probes_ask_paths_that_need_no_key_on_the_port_that_is_served():
    from phase4_deploy.serving.limits import OPEN

    [container] = pod()["spec"]["containers"]
    [port] = container["ports"]
    assert f"--port={port['containerPort']}" in container["args"]
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        asked = container[probe]["httpGet"]
        assert asked["path"] in OPEN and asked["port"] == port["name"]
    assert container["livenessProbe"]["httpGet"]["path"] == "/health/live"
    assert container["readinessProbe"]["httpGet"]["path"] == "/health/ready"
    assert the("Service")["spec"]["ports"][0]["targetPort"] == port["name"]
    [ingress] = the("NetworkPolicy")["spec"]["ingress"]
    assert ingress["ports"] == [{"port": port["name"]}]


def test_a_pod_has_time_to_answer_what_it_took_in():
    from phase4_deploy.serving.commands import ServeConfig

    spec = pod()["spec"]
    [container] = spec["containers"]
    word, seconds = container["lifecycle"]["preStop"]["exec"]["command"]
    assert word == "sleep"
    drain = ServeConfig().drain_seconds  # no flag changes it
    assert not any(word.startswith("--drain") for word in container["args"])
    assert spec["terminationGracePeriodSeconds"] >= int(seconds) + drain + 5
    assert the("Deployment")["spec"]["strategy"]["rollingUpdate"]["maxUnavailable"] == 0


def test_only_names_and_the_keys_database_are_reached_from_inside():
    spec = the("NetworkPolicy")["spec"]
    assert spec["podSelector"] == {} and set(spec["policyTypes"]) == {"Ingress", "Egress"}
    ports = [sorted(port["port"] for port in rule["ports"]) for rule in spec["egress"]]
    assert ports == [[53, 53], [5432]]
    for rule in spec["egress"]:
        assert all("ipBlock" not in peer for peer in rule["to"])
    # The label of this project's pods is not asked of the database's.
    [database] = spec["egress"][1]["to"]
    assert database["podSelector"]["matchLabels"] == {"vermeil-keys": "true"}


def test_replicas_follow_a_metric_that_exists():
    from phase4_deploy.serving.metrics import Metrics

    [metric] = the("HorizontalPodAutoscaler")["spec"]["metrics"]
    name = metric["pods"]["metric"]["name"]
    metrics = Metrics(depths=lambda: {"lm": 3})
    assert f'{name}{{lane="lm"}} 3.0' in metrics.text()
    adapter = yaml.safe_load((FOLDER / "prometheus-adapter.yaml").read_text())
    [rule] = adapter["rules"]["custom"]
    assert rule["name"]["as"] == name and rule["seriesQuery"].startswith(f"{name}{{")
    # The pod's lanes are added up before the autoscaler takes the mean over pods.
    assert rule["metricsQuery"].startswith("sum(")
    assert "replicas" not in the("Deployment")["spec"]  # the autoscaler's, not ours


def test_the_overlays_differ_in_the_card():
    cpu, gpu = (pod(name)["spec"]["containers"][0] for name in OVERLAYS)
    assert "nvidia.com/gpu" not in cpu["resources"]["limits"]
    assert gpu["resources"]["limits"]["nvidia.com/gpu"] == "1"
    for overlay, container in zip(OVERLAYS, (cpu, gpu), strict=True):
        threads = int(the("ConfigMap", overlay)["data"]["THREADS"])
        assert 2 * threads == int(container["resources"]["limits"]["cpu"])
    tolerated = [each["key"] for each in pod("gpu")["spec"]["tolerations"]]
    assert tolerated == ["nvidia.com/gpu"]
    assert [one["image"].rpartition(":")[2] for one in (cpu, gpu)] == ["0.1.0", "0.1.0-gpu"]
    assert TOOLBOX["spec"]["containers"][0]["image"] == cpu["image"]
