"""A Hub on this machine, with one data set: the requests are those of `datasets`."""

import json
import os
import re
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@dataclass
class Hub:
    """One data set with its files in the folder data/.

    Its owner works on it: only the first `fresh` questions for the newest revision are answered
    with `revision`, then there is a newer one, which is another one.
    """

    home: Path
    name: str = ""
    files: dict[str, bytes] | None = None
    fresh: int = 1
    endpoint: str = "http://127.0.0.1:9"  # nobody answers there

    revision = "5f3c" * 10

    def says(self, code: str) -> str:
        """What a process of its own prints, which asks here: the endpoint is read at its start."""
        environment = os.environ | {
            "HF_ENDPOINT": self.endpoint,
            "HF_HUB_OFFLINE": "0",
            "HF_HOME": str(self.home / "hf"),
            "VERMEIL_HOME": str(self.home),
            "NO_PROXY": "127.0.0.1",
        }
        done = subprocess.run(
            [sys.executable, "-c", textwrap.dedent(code)],
            cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def newest(self) -> str:
        """The newest revision, by now."""
        self.fresh -= 1
        return self.revision if self.fresh >= 0 else "0" * 40

    def tree(self, inside: bool) -> list[dict]:
        """The outermost folder, or what is in it."""
        if not inside:
            return [{"type": "directory", "path": "data", "oid": "0" * 40, "size": 0}]
        return [
            {"type": "file", "path": name, "oid": "1" * 40, "size": len(content)}
            for name, content in (self.files or {}).items()
        ]


@pytest.fixture
def hub(tmp_path) -> Iterator[Callable[..., Hub]]:
    """hub("us/tales", {"data/train.jsonl": b"..."}) answers; hub() is one that nobody reaches."""
    servers = []

    def start(name: str = "", files: dict[str, bytes] | None = None, fresh: int = 1) -> Hub:
        made = Hub(tmp_path, name, files, fresh)
        if files:
            server = ThreadingHTTPServer(("127.0.0.1", 0), handler(made))
            thread = threading.Thread(target=server.serve_forever)
            thread.start()
            servers.append((server, thread))
            made.endpoint = f"http://127.0.0.1:{server.server_port}"
        return made

    yield start
    for server, thread in servers:
        server.shutdown()
        thread.join()
        server.server_close()


def handler(hub: Hub) -> type[BaseHTTPRequestHandler]:
    """What answers for a Hub."""
    api, revision, files = f"/api/datasets/{hub.name}", hub.revision, hub.files or {}
    tree, resolve = f"{api}/tree/{revision}", f"/datasets/{hub.name}/resolve/{revision}/"

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            path = self.path.partition("?")[0]
            if path in (api, f"{api}/revision/{revision}"):
                sha = hub.newest() if path == api else revision
                siblings = [{"rfilename": name} for name in files]
                card = {"license": "mit"}
                self.answer({"id": hub.name, "sha": sha, "siblings": siblings, "cardData": card})
            elif path.startswith(tree):
                self.answer(hub.tree(inside=bool(path.removeprefix(tree).strip("/"))))
            elif path.startswith(resolve) and path.removeprefix(resolve) in files:
                content = files[path.removeprefix(resolve)]
                self.answer(content, **{"ETag": '"1"', "X-Repo-Commit": revision})
            else:
                code = "EntryNotFound" if hub.name in path else "RepoNotFound"
                self.answer({"error": "not found"}, status=404, **{"X-Error-Code": code})

        do_HEAD = do_GET  # noqa: N815

        def do_POST(self):  # what is known of some paths
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            self.answer(hub.tree(inside=True))

        def answer(self, content, status=200, **headers):
            body = content if isinstance(content, bytes) else json.dumps(content).encode()
            asked = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
            if asked and isinstance(content, bytes):
                start, end = int(asked[1]), int(asked[2] or len(body) - 1)
                status, headers["Content-Range"] = 206, f"bytes {start}-{end}/{len(body)}"
                body = body[start : end + 1]
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(body))}.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        def log_message(self, *arguments):
            """Say nothing."""

    return Handler
