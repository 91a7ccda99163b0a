"""The whole of cleaning: what is counted, what comes out, and runs that are cut short."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import data.prepare
import data.screening
from data import load
from data.clean_text import CleanText
from data.prepare import CleanConfig, command, folder_of, prepare, screen
from data.text import SPLITS, Document, TextData
from shared.errors import VermeilError

ROOT = Path(__file__).resolve().parents[2]
ONE = CleanConfig(processes=1)
FRENCH = "Le navire quitta le port avec vingt hommes, et le capitaine écrivit à sa femme. " * 9


def _prose() -> list[str]:
    """Pieces of 2,500 characters of real speeches, all different."""
    speeches = load("embedded_sample").documents("train")
    return [d.text[i : i + 2500] for d in speeches for i in range(0, len(d.text) - 2500, 2500)]


PROSE = _prose()


class Texts(TextData):
    """Documents by split, each with its id."""

    name, version, licence = "texts@here", "1", "none"
    description = size = splits = ""

    def __init__(self, identity: str = "1", **documents: dict[str, str]):
        self.identity, self.by_split = identity, documents

    def ready(self) -> bool:
        return True

    def prepare(self) -> None:
        pass

    def sha256(self) -> str:
        return self.identity

    def documents(self, split: str) -> Iterator[Document]:
        for id, text in self.by_split[split].items():
            yield Document(id, "test", id.upper(), text)


def reasons(card) -> dict[str, dict[str, int]]:
    return {
        split: {reason: some.documents for reason, some in n.dropped.items()}
        for split, n in card.splits.items()
    }


def kept(text: TextData, config: CleanConfig = ONE) -> dict[str, dict[str, str]]:
    clean = CleanText(folder_of(text, config))
    return {split: {d.id: d.text for d in clean.documents(split)} for split in SPLITS}


def contents(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def replaced(text: str, every: int) -> str:
    words = text.split(" ")
    return " ".join(word if i % every else "indeed" for i, word in enumerate(words, start=1))


@pytest.fixture
def mixed():
    """One document for each thing that can happen."""
    held_out_words = PROSE[2].split()
    return Texts(
        test={"t": PROSE[0], "t-empty": " \n"},
        validation={"v": PROSE[1], "v-near-t": replaced(PROSE[0], 150), "v-long": PROSE[2]},
        train={
            "good": PROSE[3],
            "untidy": PROSE[4].replace(", ", ",\r\n"),
            "copy": f"\n{PROSE[3]}",
            "copy-of-test": PROSE[0],
            "near": replaced(PROSE[4], 150),
            "quotes-validation": f"{PROSE[5]} {' '.join(held_out_words[:200])}",
            "quotes-little": f"{PROSE[6]} {' '.join(held_out_words[200:240])}",
            "french": FRENCH,
            "short": "Nothing to see here.",
            "empty": "",
        },
    )


def test_every_document_is_counted_with_its_reason(mixed):
    card = prepare(mixed, ONE)
    assert reasons(card) == {
        "test": {"empty": 1},
        "validation": {"near-duplicate": 1},
        "train": {
            "language": 1,
            "gopher_quality: gopher_short_doc": 1,
            "empty": 1,
            "exact duplicate": 2,
            "near-duplicate": 1,
            "held-out text": 1,
        },
    }
    for split, n in card.splits.items():
        assert n.read.documents == len(mixed.by_split[split])
        assert n.read.bytes == sum(len(text.encode()) for text in mixed.by_split[split].values())
        assert n.read.documents == n.kept.documents + sum(d.documents for d in n.dropped.values())
        assert n.read.bytes == n.kept.bytes + sum(d.bytes for d in n.dropped.values())
    train = card.splits["train"]
    assert train.changed == 1, "the untidy one"
    assert train.kept.bytes - train.written == PROSE[4].count(", ") > 0


def test_what_is_kept_is_read_again(mixed):
    card = prepare(mixed, ONE)
    assert kept(mixed) == {
        "test": {"t": PROSE[0]},
        "validation": {"v": PROSE[1], "v-long": PROSE[2]},
        "train": {
            "good": PROSE[3],
            "untidy": PROSE[4].replace(", ", ",\n"),
            "quotes-little": mixed.by_split["train"]["quotes-little"],
        },
    }
    clean = CleanText(folder_of(mixed, ONE))
    assert next(clean.documents("test")) == Document("t", "test", "T", PROSE[0])
    assert (clean.name, clean.licence, clean.splits) == ("texts_here", "none", "3 / 2 / 1")
    assert clean.sha256() == card.sha256 and clean.ready()


def test_the_card_shows_examples(mixed):
    card = prepare(mixed, ONE)
    [example] = card.splits["train"].dropped["held-out text"].examples
    assert example["id"] == "quotes-validation" and "common with v-long" in example["detail"]
    page = (folder_of(mixed, ONE) / "README.md").read_text()
    assert page == card.markdown()
    assert "| train | 10 | 3 (30.0%) |" in page
    assert "| exact duplicate | 2 | 0 | 0 |" in page
    assert "- language (fr 0.99), `french`: Le navire quitta" in page
    written = json.loads((folder_of(mixed, ONE) / "data_card.json").read_text())
    assert written["source"] == {"name": "texts@here", "version": "1", "sha256": "1"}
    assert written["packages"]["datatrove"] == "0.10.1"


def test_a_corpus_in_duplicate_is_dropped_once():
    once = {
        split: {f"{split}{i}": PROSE[j + i] for i in range(6)}
        for j, split in zip((0, 6, 12), SPLITS, strict=True)
    }
    twice = Texts(
        **{
            split: some | {f"{id}-again": text for id, text in some.items()}
            for split, some in once.items()
        }
    )
    card = prepare(twice, ONE)
    assert reasons(card) == {split: {"exact duplicate": 6} for split in SPLITS}
    assert kept(twice) == once
    examples = card.splits["train"].dropped["exact duplicate"].examples
    assert [example["id"] for example in examples] == [f"train{i}-again" for i in range(3)]


def test_a_second_time_nothing_is_read(mixed):
    first = prepare(mixed, ONE)
    mixed.documents = None
    assert prepare(mixed, ONE) == first
    assert folder_of(mixed, ONE) != folder_of(mixed, CleanConfig(language=""))
    assert folder_of(mixed, ONE) == folder_of(mixed, CleanConfig(processes=7, share="1/2"))


def test_when_nothing_is_left():
    empty = Texts(train={"a": FRENCH}, validation={"v": PROSE[0]}, test={"t": PROSE[1]})
    for _ in range(2):
        with pytest.raises(VermeilError, match="dropped all 1 train documents") as error:
            prepare(empty, ONE)
    assert "README.md" in error.value.hint
    assert (
        prepare(empty, CleanConfig(language="", processes=1, rules=())).splits["train"].kept.bytes
    )


def test_damage_is_noticed(mixed):
    prepare(mixed, ONE)
    path = next((folder_of(mixed, ONE) / "train").iterdir())
    path.write_text(path.read_text().replace("the", "teh", 1))
    with pytest.raises(VermeilError, match="sha256 differs"):
        CleanText(folder_of(mixed, ONE)).documents("test")


@pytest.fixture
def small_parts(monkeypatch):
    monkeypatch.setattr(data.screening, "PART", 20_000)


def corpus() -> Texts:
    """Five parts of training text; a third of it repeats the one before."""
    train = {str(i): PROSE[4 + i - (i % 3 == 2)] for i in range(40)}
    return Texts(train=train, validation={"v": PROSE[0]}, test={"t": PROSE[1]})


def test_parts_and_machines_change_nothing(home, monkeypatch, small_parts):
    card = prepare(corpus(), ONE)
    assert reasons(card)["train"] == {"exact duplicate": 13}
    folder = folder_of(corpus(), ONE)
    assert len(list((folder / "train").iterdir())) == 5
    expected = contents(folder)
    assert not list(folder.parent.glob("*.work"))

    monkeypatch.setenv("VERMEIL_HOME", str(home / "machines"))
    shares = [screen(corpus(), CleanConfig(processes=1, share=f"{i}/3")) for i in (3, 1, 2)]
    assert shares == [2, 3, 2], "seven parts"
    monkeypatch.setattr(data.screening, "_cleaner", None)  # nothing is screened twice
    prepare(corpus(), ONE)
    assert contents(folder_of(corpus(), ONE)) == expected


SCRIPT = """
import sys, time
import data.screening
from data import load
from data.prepare import CleanConfig, folder_of, prepare

data.screening.PART = 20_000

def say(line):
    print(line, flush=True)
    time.sleep({seconds})

if __name__ == "__main__":
    text = load(sys.argv[1])
    prepare(text, CleanConfig(processes=int(sys.argv[2])), say)
    print(folder_of(text, CleanConfig()))
"""


@pytest.fixture
def files(tmp_path):
    """The corpus as .txt files."""
    folder = tmp_path / "texts"
    folder.mkdir()
    for i in range(40):
        (folder / f"{i}.txt").write_text(PROSE[4 + i - (i % 3 == 2)])
    return folder


def script(tmp_path: Path, seconds: float = 0, before: str = "") -> Path:
    path = tmp_path / "script.py"
    path.write_text(before + SCRIPT.format(seconds=seconds))
    return path


def run(path: Path, files: Path, home: Path, processes: int = 1) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, str(path), str(files), str(processes)],
        env=os.environ | {"VERMEIL_HOME": str(home), "PYTHONPATH": str(ROOT)},
        capture_output=True, text=True, timeout=100,
    )  # fmt: skip


def prepared(path: Path, files: Path, home: Path, processes: int = 1) -> dict[str, bytes]:
    done = run(path, files, home, processes)
    assert done.stderr == ""
    return contents(Path(done.stdout.splitlines()[-1]))


def test_killed_and_parallel_runs_end_alike(tmp_path, files):
    expected = prepared(script(tmp_path), files, tmp_path / "one")
    assert len(expected) > 7 and b"exact duplicate" in expected["README.md"]
    home = tmp_path / "killed"
    command = [sys.executable, str(script(tmp_path, seconds=0.3)), str(files), "1"]
    environment = os.environ | {"VERMEIL_HOME": str(home), "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as killed:
        while "screened part 2" not in killed.stdout.readline():
            assert killed.poll() is None
        killed.send_signal(signal.SIGKILL)
    records = list(home.glob("clean/*.work/*.screened.json"))
    assert 2 <= len(records) < 7 and not list(home.glob("clean/*/data_card.json"))
    folder = home / "clean" / records[0].parent.name.removesuffix(".work") / "train"
    folder.mkdir(parents=True)
    (folder / ".00002.jsonl.1.partial").write_text("half of a part")
    assert prepared(script(tmp_path), files, home, processes=2) == expected


def test_a_full_disk_is_a_sentence_and_what_was_done_stays(tmp_path, files):
    limit = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, ({0}, {0}))\n"
    for size in (500, 15_000):  # bytes of a file: less than signatures, less than documents
        failed = run(script(tmp_path, before=limit.format(size)), files, tmp_path / "home")
        assert (
            "VermeilError: could not write" in failed.stderr and "File too large" in failed.stderr
        )
    expected = prepared(script(tmp_path), files, tmp_path / "one")
    assert prepared(script(tmp_path), files, tmp_path / "home") == expected


def test_the_command_prints_the_card(tmp_path, files, capsys):
    command(load(files), ["--processes", "1", "--share", "1/2"])
    assert (
        "2 parts are screened; when all shares are: vermeil data prepare" in capsys.readouterr().out
    )
    command(load(files), ["--processes", "1"])
    printed = capsys.readouterr().out
    assert "| exact duplicate |" in printed
    assert f"vermeil train lm --data {folder_of(load(files), CleanConfig())}" in printed


@pytest.mark.parametrize("share", ["3/2", "0/2", "half", "1/", "1/0"])
def test_shares_that_do_not_exist(share):
    with pytest.raises(VermeilError, match=share):
        command(corpus(), ["--share", share])


def test_a_missing_package_is_named(monkeypatch):
    monkeypatch.setattr(data.prepare, "PACKAGES", ("datatrove", "no-such-package"))
    with pytest.raises(VermeilError, match="takes the package no-such-package") as error:
        prepare(corpus(), ONE)
    assert error.value.hint == 'pip install -c constraints.txt -e ".[text]"'


def test_an_unknown_rule():
    with pytest.raises(VermeilError, match="no rule 'gofer'"):
        prepare(corpus(), CleanConfig(rules=("gofer",), processes=1))


def test_import_is_quick():
    check = "import sys, data.prepare; print({'torch', 'spacy', 'datatrove'} & {*sys.modules})"
    assert subprocess.check_output([sys.executable, "-c", check], cwd=ROOT, text=True) == "set()\n"


def test_the_embedded_sample_is_kept_whole():
    sample = load("embedded_sample")
    card = prepare(sample, ONE)
    assert all(not n.dropped and n.kept.bytes == n.written for n in card.splits.values())
    assert kept(sample) == {
        split: {d.id: d.text for d in sample.documents(split)} for split in SPLITS
    }
