"""The container image and compose.yaml: linted, validated, and their commands run for real."""

import json
import re
import shlex
import shutil
import subprocess
import sys
import threading
import tomllib
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import compose_spec
import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
BIN = Path(sys.executable).parent
DOCKERFILE = (ROOT / "Dockerfile").read_text()
HOME = "/home/somebody"


def interpolated(text: str) -> str:
    """With the defaults of variables, as Compose would put them in."""
    return re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", text.replace("${HOME}", HOME))


COMPOSE = yaml.safe_load(interpolated((ROOT / "compose.yaml").read_text()))
SERVICES = COMPOSE["services"]
OURS = [name for name, service in SERVICES.items() if service["image"].startswith("vermeil")]


def lint(dockerfile: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [BIN / "hadolint", "--no-color", "-"], input=dockerfile, capture_output=True, text=True
    )


def instructions(word: str) -> list[str]:
    """What follows an instruction of the Dockerfile, continued lines joined."""
    lines = re.sub(r"\\\n\s*", "", re.sub(r"^#.*\n", "", DOCKERFILE, flags=re.M))
    return re.findall(rf"^{word} +(.*)", lines, re.M)


def test_the_dockerfile_is_clean():
    done = lint(DOCKERFILE)
    assert (done.returncode, done.stdout) == (0, "")


def test_the_linter_would_object():
    assert "DL3002" in lint(DOCKERFILE.replace("USER 10001:10001", "USER root")).stdout
    assert (
        "DL3025" in lint(DOCKERFILE.replace('ENTRYPOINT ["vermeil"]', "ENTRYPOINT vermeil")).stdout
    )


def test_the_last_target_is_for_cpus_and_both_are_the_same_server():
    stages = [line.split(" AS ") for line in instructions("FROM")]
    assert stages[-2:] == [["serve", "gpu"], ["serve", "cpu"]]
    assert instructions("USER") == ["10001:10001"]
    assert json.loads(instructions("ENTRYPOINT")[0]) == ["vermeil"]
    assert json.loads(instructions("CMD")[0])[0] == "serve"


def test_no_secret_can_be_given_to_a_build():
    named = [re.split(r"[= ]", line)[0] for line in instructions("ARG") + instructions("ENV")]
    assert [name for name in named if re.search("KEY|TOKEN|SECRET|PASSWORD", name)] == []


def test_the_image_installs_what_serving_needs_and_no_more(tmp_path):
    [script] = re.findall(r'python3 -c "(import tomllib.*?)" >', instructions("RUN")[0])
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True
    )
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    wanted = done.stdout.split("\n")[:-1]
    assert wanted == project["dependencies"] + extras["serve"]
    assert "pytest" in extras["dev"] and "pytest" not in wanted


def test_the_image_is_made_of_the_packages_and_nothing_else():
    kept = {
        line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line[:1] == "!"
    }
    assert (ROOT / ".dockerignore").read_text().splitlines()[1] == "*"
    found = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    packages = {name.rstrip("*") for name in found["find"]["include"]}
    files = {"pyproject.toml", "constraints.txt", "vermeil.py", "README.md", "LICENSE"}
    assert kept == packages | files
    assert all((ROOT / name).exists() for name in kept)


@pytest.mark.parametrize("status, code", [(200, 0), (503, 1), (None, 1)])
def test_the_healthcheck_tells_ready_from_not(status, code):
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(status if self.path == "/health/ready" else 404)
            self.end_headers()

        def log_message(self, *_):
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    port = server.server_port
    if status:
        threading.Thread(target=server.serve_forever, daemon=True).start()
    else:
        server.server_close()
    [check] = instructions("HEALTHCHECK")
    program = json.loads(check.partition("CMD ")[2])
    assert program[0] == "python"
    program = [sys.executable, *(word.replace("8000", str(port)) for word in program[1:])]
    assert subprocess.run(program, capture_output=True, timeout=20).returncode == code
    if status:
        server.shutdown()
        server.server_close()


def test_compose_is_valid():
    compose_spec.PyCompose.from_json(json.dumps(COMPOSE)).validate()
    used = {
        volume.split(":")[0]
        for service in SERVICES.values()
        for volume in service.get("volumes", ())
        if volume[0] not in "./"
    }
    assert used == set(COMPOSE["volumes"])
    waited = {name for service in SERVICES.values() for name in service.get("depends_on", ())}
    assert waited <= set(SERVICES)


@pytest.mark.parametrize(
    "old, new",
    [("read_only", "readonly"), ("service_healthy", "healthy"), ("3g", "plenty"),
     ("127.0.0.1:8000:8000", "127.0.0.1:8000:http")],
)  # fmt: skip
def test_the_validator_refuses_what_compose_would(old, new):
    text = json.dumps(COMPOSE)
    assert old in text
    with pytest.raises(ValueError):
        compose_spec.PyCompose.from_json(text.replace(old, new)).validate()


@pytest.mark.parametrize("name", SERVICES)
def test_every_service_can_do_no_more_than_it_must(name):
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert not {"privileged", "cap_add", "user", "pid", "devices"} & set(service)
    assert all(port.startswith("127.0.0.1:") for port in service.get("ports", ()))
    if name not in ("first-key", "keys"):  # they end at once, and see no network
        assert {"cpus", "memory"} == set(service["deploy"]["resources"]["limits"])
        assert "healthcheck" in service or name == "api"  # the image's own
    else:
        assert service["network_mode"] == "none"


def test_volumes_of_the_image_belong_to_its_user():
    [made] = [line for line in instructions("RUN") if line.startswith("install -d -o 10001")]
    for name in OURS:
        for volume in SERVICES[name].get("volumes", ()):
            target = volume.split(":")[1]
            assert target in made.split() or volume.startswith(
                f"{HOME}/.cache/vermeil/artifacts:"
            ), volume


def test_files_that_are_mounted_are_there():
    for service in SERVICES.values():
        for volume in service.get("volumes", ()):
            if volume.startswith("./"):
                assert (ROOT / volume.split(":")[0]).exists(), volume


def test_the_demos_key_is_made_once_and_seen_by_nobody_else(tmp_path, monkeypatch):
    """The script of compose.yaml itself, with a folder in the place of its volume."""
    [script] = SERVICES["first-key"]["command"]
    script = script.replace("/keys/", f"{tmp_path}/").replace("$$", "$")
    monkeypatch.setenv("PATH", f"{BIN}:/usr/bin:/bin")
    shell = [shutil.which("sh"), "-c", script]
    subprocess.run(shell, check=True, capture_output=True, timeout=60)
    key = (tmp_path / "demo").read_text().strip()
    assert re.fullmatch(r"vm-[\w-]{43}", key)
    assert (tmp_path / "demo").stat().st_mode & 0o777 == 0o600
    subprocess.run(shell, check=True, capture_output=True, timeout=60)
    assert (tmp_path / "demo").read_text().strip() == key
    listed = subprocess.run(
        [BIN / "vermeil", "keys", "list"], capture_output=True, text=True, check=True
    )
    assert listed.stdout.count("demo-") == 1


def command_lines() -> list[list[str]]:
    """Every `vermeil serve|demo ...` that compose.yaml and the manifests start."""
    deployment = yaml.safe_load(
        (ROOT / "phase4_deploy/kubernetes/base/deployment.yaml").read_text()
    )
    demo = shlex.split(SERVICES["demo"]["command"][0])
    return [
        json.loads(instructions("CMD")[0]),
        SERVICES["api"]["command"],
        demo[demo.index("demo") :],
        deployment["spec"]["template"]["spec"]["containers"][0]["args"],
    ]


@pytest.mark.parametrize("line", command_lines(), ids=" ".join)
def test_what_containers_are_started_with_is_understood(command, line, tmp_path):
    shown = command(line[0], "--help", home=tmp_path).stdout
    flags = [word.partition("=")[0] for word in line if word.startswith("--")]
    assert flags and [flag for flag in flags if not re.search(rf"{flag}\b", shown)] == []
