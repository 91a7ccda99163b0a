"""The Hub: a data set of a local folder, one from a Hub on this machine, and no Hub at all."""

import json
import os
import subprocess
import sys
import textwrap
import threading
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from data import load
from data.hub_text import HubText
from data.splits import BY_SHARE
from data.text import SPLITS, Document
from shared.errors import VermeilError

ROOT = Path(__file__).resolve().parents[2]
REVISION = "5f3c" * 10


def rows(path, number, **more):
    lines = ({"text": f"Tale {row}.", **more} for row in range(1, number + 1))
    path.parent.mkdir(exist_ok=True, parents=True)
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))


def everything(data):
    skipped = Counter()
    return list(data._read(lambda identifier: True, skipped)), skipped


def test_a_folder_in_the_hubs_layout_is_streamed_without_a_network(tmp_path):
    rows(tmp_path / "tales" / "data" / "train.jsonl", 600)
    rows(tmp_path / "tales" / "data" / "validation.jsonl", 5)
    data = load(f"hub@{tmp_path}/tales")
    data.prepare()
    assert (data.name, data.version, data.size) == ("hub@tales", "local", "streamed")
    found = {split: list(data.documents(split)) for split in SPLITS}
    assert sum(map(len, found.values())) == 600, "the data set's own validation stays untouched"
    assert found["train"][0] == Document("tales:1", "hub", "tales 1", "Tale 1.")
    for split, documents in found.items():
        assert {BY_SHARE.of(document.id) for document in documents} == {split}


def test_the_name_says_configuration_and_revision():
    data = HubText(Path("allenai/c4/en@v1")).hub
    assert (data.repository, data.configuration, data.asked_revision) == ("allenai/c4", "en", "v1")
    data = HubText(Path("us/tales")).hub
    assert (data.repository, data.configuration, data.asked_revision) == ("us/tales", None, "")


def test_parquet_and_rows_without_text(tmp_path):
    import pyarrow as pa
    import pyarrow.parquet as pq

    (tmp_path / "tales").mkdir()
    table = {"text": ["One.", None, "Three."], "title": ["First", "Second", None]}
    pq.write_table(pa.table(table), tmp_path / "tales" / "train-00000-of-00001.parquet")
    documents, skipped = everything(HubText(tmp_path / "tales"))
    assert [(d.id, d.title, d.text) for d in documents] == [
        ("tales:1", "First", "One."),
        ("tales:3", "tales 3", "Three."),
    ]
    assert skipped == {"no text": 1}


def test_identity_follows_the_content(tmp_path):
    rows(tmp_path / "tales" / "train.jsonl", 3)
    before = HubText(tmp_path / "tales").sha256()
    path = tmp_path / "tales" / "train.jsonl"
    path.write_bytes(path.read_bytes().replace(b"Tale 3", b"Tale 4"))
    assert HubText(tmp_path / "tales").sha256() != before


def test_a_data_set_without_text_names_its_columns(tmp_path):
    path = tmp_path / "pairs" / "train.jsonl"
    path.parent.mkdir()
    path.write_text('{"question": "Why?", "answer": "So."}\n')
    with pytest.raises(VermeilError, match=r'no column "text" .it has: question, answer'):
        load(f"hub@{tmp_path}/pairs").documents("train")


def test_a_file_that_is_cut_short(tmp_path):
    rows(tmp_path / "tales" / "train.jsonl", 2000)
    path = tmp_path / "tales" / "train.jsonl"
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(VermeilError, match=r"hub@tales (cannot be read|stopped after row [\d,]+) "):
        everything(HubText(tmp_path / "tales"))


def asked_for(name: str, endpoint: str, home: Path) -> str:
    """What a process of its own says of a data set; the endpoint is read when it starts."""
    code = f"""
        from collections import Counter
        from pathlib import Path
        from data.hub_text import HubText
        from shared.errors import VermeilError
        data = HubText(Path("{name}"))
        try:
            documents = list(data._read(lambda identifier: True, Counter()))
            print(data.version, data.licence, len(documents), documents[-1].text)
        except VermeilError as error:
            print(error)
        """
    environment = os.environ | {
        "HF_ENDPOINT": endpoint,
        "HF_HUB_OFFLINE": "0",
        "HF_HOME": str(home / "hf"),
        "VERMEIL_HOME": str(home),
        "NO_PROXY": "127.0.0.1",
    }
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


class Hub(BaseHTTPRequestHandler):
    """A Hub with one data set, us/tales; the requests are those of `datasets`.

    Its owner works on it: after the first answer there is a newer revision, which is another one.
    """

    revisions = iter(())

    files = {  # noqa: RUF012
        "data/train.jsonl": b"".join(b'{"text": "Tale %d."}\n' % row for row in range(1, 301)),
        "data/validation.jsonl": b'{"text": "Held out."}\n',
    }

    def do_GET(self):
        path = self.path.partition("?")[0]
        api = "/api/datasets/us/tales"
        resolve = f"/datasets/us/tales/resolve/{REVISION}/"
        if path in (api, f"{api}/revision/{REVISION}"):
            sha = REVISION if path != api else next(self.revisions, "0" * 40)
            siblings = [{"rfilename": name} for name in self.files]
            card = {"license": "mit"}
            self.answer({"id": "us/tales", "sha": sha, "siblings": siblings, "cardData": card})
        elif path.startswith(f"{api}/tree/{REVISION}"):
            folder = path.removeprefix(f"{api}/tree/{REVISION}").strip("/")
            self.answer(self.tree(folder))
        elif path.startswith(resolve) and path.removeprefix(resolve) in self.files:
            content = self.files[path.removeprefix(resolve)]
            self.answer(content, **{"ETag": '"1"', "X-Repo-Commit": REVISION})
        else:
            code = "EntryNotFound" if "us/tales" in path else "RepoNotFound"
            self.answer({"error": "not found"}, status=404, **{"X-Error-Code": code})

    do_HEAD = do_GET  # noqa: N815

    def tree(self, folder):
        if not folder:
            return [{"type": "directory", "path": "data", "oid": "0" * 40, "size": 0}]
        return [
            {"type": "file", "path": name, "oid": "1" * 40, "size": len(content)}
            for name, content in self.files.items()
        ]

    def answer(self, content, status=200, **headers):
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def log_message(self, *arguments):
        """Say nothing."""


@pytest.fixture
def endpoint(monkeypatch):
    monkeypatch.setattr(Hub, "revisions", iter([REVISION]))
    with ThreadingHTTPServer(("127.0.0.1", 0), Hub) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_a_data_set_of_the_hub_is_read_at_the_revision_that_it_answers_with(endpoint, tmp_path):
    assert asked_for("us/tales", endpoint, tmp_path) == f"{REVISION} mit 300 Tale 300."


def test_a_revision_can_be_asked_for(endpoint, tmp_path, monkeypatch):
    monkeypatch.setattr(Hub, "revisions", iter(()))  # the newest is another one from the start
    name = f"us/tales@{REVISION}"
    assert asked_for(name, endpoint, tmp_path) == f"{REVISION} mit 300 Tale 300."


def test_a_data_set_that_the_hub_does_not_have(endpoint, tmp_path):
    said = asked_for("us/tails", endpoint, tmp_path)
    assert said.startswith("hub@us/tails cannot be had: the Hub has no such data set")


def test_a_hub_that_cannot_be_reached(tmp_path):
    said = asked_for("us/tales", "http://127.0.0.1:9", tmp_path)
    assert said.startswith("hub@us/tales cannot be had: the Hub cannot be reached (")
    assert said.endswith("hub@./FOLDER")
