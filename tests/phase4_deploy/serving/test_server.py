"""`vermeil serve` as people start and stop it: what it says, how it ends, the page of the API."""

import json
import shutil
import signal
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import openai
import psutil
import pytest

from phase4_deploy.serving.commands import is_loopback
from phase4_deploy.serving.keys import KeyStore
from phase4_deploy.serving.trimming import KERNELS

LONG = {"model": "lm", "prompt": "a red star", "max_tokens": 1000, "temperature": 1, "seed": 1}
CHROMIUM = Path("/usr/bin/chromium")
KINDS = "phase1/lm@random-0, phase4/unified@random-0, phase2/text_to_image@random-0"


def test_it_says_what_it_serves(live, capsys):
    first, second, third, *_ = live.said.splitlines()
    assert first.startswith(f"serving {KINDS}")
    assert second.startswith("on cpu") and "fp16, ready after" in second
    assert third == f"{live.url}/docs describes the API; Ctrl-C stops it"
    with capsys.disabled():
        print(f"\n{second.rpartition(', ')[2]} (models and their warm-up, beside the tests)")


def test_the_log_is_json_without_content(live):
    secret = "xylophone"
    live.http.post("/v1/completions", json={"prompt": secret, "model": secret, "user": secret})
    live.http.post(
        f"/{secret}?a={secret}", headers={"user-agent": secret, "x-request-id": "mine-1"}
    )
    answer = live.http.post("/v1/completions", json={"prompt": secret, "max_tokens": 3})
    assert answer.headers["x-request-id"]
    time.sleep(0.2)
    lines = [json.loads(line) for line in live.said.splitlines()[3:] if line.startswith("{")]
    found = {line["id"]: line for line in lines}
    line = found[answer.headers["x-request-id"]]
    assert line["route"] == "/v1/completions" and line["status"] == 200
    assert line["completion_tokens"] == 3 and line["key"] is None
    assert found["mine-1"]["route"] == "other" and found["mine-1"]["status"] == 404
    assert secret not in live.said


def test_sigterm_finishes_what_is_open_and_takes_no_more(serve):
    """Streams and whole answers all end as they would have; the port is closed; the status is 0."""
    server = serve("--models", "lm", "--rows", "4").started()
    client = server.client()
    expected = client.completions.create(**LONG).choices[0].text

    def streamed() -> str:
        pieces = list(client.completions.create(**LONG, stream=True))
        assert pieces[-1].choices[0].finish_reason == "length"
        return "".join(piece.choices[0].text for piece in pieces)

    def whole() -> str:
        return client.completions.create(**LONG).choices[0].text

    with ThreadPoolExecutor(12) as threads:
        open_ones = [threads.submit(each) for each in (streamed, whole) * 6]
        while server.metric("vermeil_requests_in_flight") < 12:
            time.sleep(0.01)
        server.process.send_signal(signal.SIGTERM)
        start = time.monotonic()
        refusals = 0
        while server.process.poll() is None:
            try:
                httpx.get(f"{server.url}/v1/models", trust_env=False, timeout=5)
            except httpx.TransportError:
                refusals += 1
            time.sleep(0.05)
        assert [each.result() for each in open_ones] == [expected] * 12
    assert refusals > 0
    assert server.stop() == 0
    assert time.monotonic() - start < 30
    assert "Traceback" not in server.said and "Cancel" not in server.said


def test_a_killed_writer_costs_what_it_was_writing_and_nothing_else(serve):
    """What it wrote ends with an error that says to ask again; OpenAI's client does so."""
    server = serve("--models", "lm").started()
    client, patient = server.client(), server.client().with_options(max_retries=8)
    expected = client.completions.create(**LONG).choices[0].text
    stream = client.completions.create(**LONG, stream=True)
    next(iter(stream))
    with ThreadPoolExecutor(2) as threads:
        whole = threads.submit(client.completions.create, **LONG)
        while server.metric('vermeil_rows{lane="lm"}') < 2:
            time.sleep(0.01)
        (writer,) = (
            p for p in psutil.Process(server.process.pid).children(True) if p.num_threads() > 2
        )
        assert writer.environ()["ONEDNN_PRIMITIVE_CACHE_CAPACITY"] == KERNELS
        writer.kill()
        with pytest.raises(openai.APIError, match="ended while it wrote this: try again"):
            list(stream)
        with pytest.raises(openai.InternalServerError) as caught:
            whole.result()
    assert caught.value.status_code == 503 and caught.value.code == "worker_lost"
    assert caught.value.response.headers["retry-after"] == "1"
    assert server.http.get("/health/live").status_code == 200
    assert patient.completions.create(**LONG).choices[0].text == expected


def test_ctrl_c_stops_it(serve):
    server = serve("--models", "lm").started()
    assert server.stop(signal.SIGINT) == 0
    assert "Traceback" not in server.said


def said_no(done, *words: str) -> None:
    """Status 2, and one sentence with a hint."""
    assert done.returncode == 2, done.stderr
    problem, hint = done.stderr.strip().splitlines()
    assert problem.startswith("error: ") and hint.startswith("  -> ")
    assert all(word in done.stderr for word in words), done.stderr


def test_a_port_in_use(command, live, models_home):
    done = command("serve", "--port", str(live.port), home=models_home)
    said_no(done, f"127.0.0.1:{live.port}", "Address already in use", "--port")


def test_the_world_is_let_in_with_keys_only(command, models_home):
    for host in ("0.0.0.0", "::", "192.0.2.1", "localhost.example.com"):
        said_no(command("serve", "--host", host, home=models_home), host, "vermeil keys add")
    local = ("127.0.0.1", "127.9.9.9", "::1", "[::1]", "localhost")
    assert all(map(is_loopback, local))
    assert not any(map(is_loopback, ("", "0", "0.0.0.0", "127.0.0.1.nip.io", "::ffff:8.8.8.8")))


def test_artifacts_that_are_damaged_missing_or_of_another_kind(command, models_home, tmp_path):
    home = tmp_path / "own"
    shutil.copytree(models_home / "artifacts/phase1", home / "artifacts/phase1")
    weights = home / "artifacts/phase1/lm/random-0/model.safetensors"
    content = bytearray(weights.read_bytes())
    content[len(content) // 2] ^= 1
    weights.write_bytes(content)
    said_no(command("serve", "--port", "0", home=home), str(weights), "sha256 differs")
    weights.unlink()
    said_no(command("serve", "--port", "0", home=home), str(weights), "is missing")
    said_no(command("serve", "--models", "speech", home=home), "no artifact 'speech'")
    said_no(command("serve", home=tmp_path / "empty"), "vermeil run tiny")


def test_keys_made_while_it_runs_count_within_seconds(strict, command):
    """Made and revoked by the command line; with keys, the metrics are guarded as was asked."""
    strict.server.http.headers.pop("authorization", None)
    made = command("keys", "add", "late", "--rate", "1000", home=strict.server.home)
    assert made.returncode == 0, made.stderr
    key = next(word for word in made.stdout.split() if word.startswith("vm-") and len(word) == 46)
    assert _within(5, lambda: strict.server.http.get("/metrics").status_code == 401)
    assert _within(5, lambda: _models(strict.server.client(key)))
    assert strict.server.http.get("/health/ready").status_code == 200
    with_key = {"authorization": f"Bearer {key}"}
    assert "vermeil_requests_total" in strict.server.http.get("/metrics", headers=with_key).text
    revoked = command("keys", "revoke", "late", home=strict.server.home)
    assert revoked.returncode == 0, revoked.stderr
    assert _within(5, lambda: not _models(strict.server.client(key)))


def _models(client: openai.OpenAI) -> bool:
    try:
        return bool(client.models.list().data)
    except openai.AuthenticationError:
        return False


def _within(seconds: float, holds) -> bool:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if holds():
            return True
        time.sleep(0.1)
    return False


def test_what_was_used_is_written_when_it_stops(serve, models_home, tmp_path):
    url = f"sqlite:///{tmp_path / 'keys.sqlite'}"
    store = KeyStore(url)
    key = store.add("counted")
    server = serve("--models", "lm", "--keys", url).started()
    asked = {"model": "lm", "prompt": "a red star", "max_tokens": 7}
    usage = server.client(key).completions.create(**asked).usage
    list(server.client(key).completions.create(**asked, stream=True))
    assert server.stop() == 0
    ((used, _),) = store.totals().values()
    store.close()
    assert (used.requests, used.completion_tokens) == (2, 14)
    assert used.prompt_tokens == 2 * usage.prompt_tokens


@pytest.mark.skipif(not CHROMIUM.exists(), reason="Debian's chromium is not installed")
def test_the_page_of_the_api_asks_no_other_host(live):
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(
            executable_path=CHROMIUM,
            args=["--no-sandbox", "--disable-gpu", "--disable-background-networking"],
        )
        page = browser.new_page()
        asked, problems = [], []
        page.on("request", lambda request: asked.append(request.url))
        page.on("console", lambda said: problems.append(said.text) if said.type == "error" else 0)
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.goto(f"{live.url}/docs")
        page.wait_for_selector(".opblock", timeout=60_000)
        shown = set(page.locator(".opblock-summary-path").all_inner_texts())
        page.locator("#operations-text-completions, .opblock").first.click()
        browser.close()
    paths = set(live.http.get("/openapi.json").json()["paths"])
    assert {path.replace("\u200b", "") for path in shown} == paths
    assert all(url.startswith((live.url, "data:", "blob:")) for url in asked), asked
    assert problems == []


def test_a_server_behind_a_proxy_s_path(serve):
    server = serve("--models", "lm", "--root_path", "/vermeil").started()
    assert '"/vermeil/openapi.json"' in server.http.get("/docs").text.replace("'", '"')
    assert server.http.get("/openapi.json").json()["servers"] == [{"url": "/vermeil"}]
    assert server.http.get("/docs/static/swagger-ui.css").status_code == 200
    assert server.http.get("/v1/models").status_code == 200


def test_two_addresses_of_one_machine(command, models_home):
    """A port that another program listens on, at IPv6 too."""
    try:
        taken = socket.create_server(("::1", 0), family=socket.AF_INET6)
    except OSError:
        pytest.skip("this machine has no IPv6")
    with taken:
        port = str(taken.getsockname()[1])
        said_no(command("serve", "--host", "::1", "--port", port, home=models_home), port)
