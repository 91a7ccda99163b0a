"""Your own recordings: words beside them or in a list, splits by folder or by words."""

import json

import pytest

from data import load_any, load_speech
from data.command import main
from data.folder_speech import FolderSpeech
from data.speech import SPLITS
from shared.errors import VermeilError
from tests.data.speech_files import ids, read, texts, tone


@pytest.fixture
def mine(tmp_path):
    """Forty recordings with their words beside them."""
    for n in range(40):
        tone(tmp_path / "mine" / "deep" / f"{n}.wav")
        (tmp_path / "mine" / "deep" / f"{n}.txt").write_text(f"Sentence  {n}.\n")
    return tmp_path / "mine"


def test_your_own_recordings(mine):
    data = load_any(mine)
    assert isinstance(data, FolderSpeech) and data.name == "mine" and data.splits == "36 / 2 / 2"
    found = read(mine)
    assert texts(found)["deep/7.wav"] == "Sentence 7."
    hashes = {data.sha256()}
    (mine / "deep" / "7.txt").write_text("Another sentence")
    hashes.add(load_speech(mine).sha256())
    tone(mine / "deep" / "7.wav", 0.2)
    hashes.add(load_speech(mine).sha256())
    assert len(hashes) == 3


@pytest.mark.parametrize(
    ("name", "lines"),
    [
        ("transcripts.txt", [f"{n}|Listed {n}" for n in range(40)]),
        ("metadata.csv", ["file_name,transcription", *(f'{n}.wav,Listed {n}' for n in range(40))]),
        ("manifest.jsonl",
         [json.dumps({"audio_filepath": f"{n}.wav", "text": f"Listed {n}"}) for n in range(40)]),
    ],
)  # fmt: skip
def test_a_list_wins_over_files_beside(mine, name, lines):
    (mine / "deep" / name).write_text("\ufeff" + "\n".join(lines[:-1]) + "\n", encoding="utf-8")
    found = texts(read(mine))
    assert found["deep/3.wav"] == "Listed 3" and len(found) == 40
    assert found["deep/39.wav"] == "Sentence 39.", "what is on no list has its own"


def test_your_own_splits_and_faults(tmp_path, capsys):
    for split, names in (("train", "abcdefgh"), ("val", "ij"), ("test", "k")):
        for name in names:
            tone(tmp_path / split / f"{name}.wav")
            (tmp_path / split / f"{name}.txt").write_text(f"the word {name}")
    (tmp_path / "train" / "a.txt").unlink()
    (tmp_path / "train" / "b.txt").write_text(" \n")
    (tmp_path / "train" / "c.txt").write_text("Привет, мир")
    (tmp_path / "train" / "d.wav").write_bytes(b"")
    (tmp_path / "train" / "e.wav").write_text("no audio")
    tone(tmp_path / "train" / ".hidden.wav")
    (tmp_path / "train" / "transcripts.txt").write_text("f|first\nf|second\ngone|no file\n")
    found = read(tmp_path)
    assert ids(found) == {"train": [f"train/{n}.wav" for n in "cefgh"],
                          "validation": ["val/i.wav", "val/j.wav"],
                          "test": ["test/k.wav"]}  # fmt: skip
    assert texts(found)["train/f.wav"] == "first" and texts(found)["train/c.wav"] == "Привет, мир"
    assert load_speech(tmp_path).dropped.names == {
        "no transcript": ["train/a.wav"], "empty transcript": ["train/b.wav"],
        "empty file": ["train/d.wav"], "listed twice": ["train/f.wav"],
        "missing audio": ["train/gone"],
    }  # fmt: skip
    main(["show", str(tmp_path)])
    out = capsys.readouterr().out
    assert "1 without a letter of the LATIN script (train/c.wav)" in out
    assert "1 with audio that cannot be read (train/e.wav)" in out


def test_names_that_several_files_have_are_not_guessed(tmp_path):
    for folder in "ab":
        for n in range(4):
            tone(tmp_path / folder / f"{n}.wav")
    lines = [f"{n}|unclear" for n in range(4)] + [f"b/{n}|clear {n}" for n in range(4)]
    (tmp_path / "transcripts.txt").write_text("\n".join(lines))
    assert texts(read(tmp_path)) == {f"b/{n}.wav": f"clear {n}" for n in range(4)}
    assert load_speech(tmp_path).dropped.counts == {"missing audio": 4, "no transcript": 4}


def test_a_word_that_many_say_may_be_in_every_split(tmp_path):
    for word in ("yes", "no", "stop"):
        for n in range(40):
            tone(tmp_path / f"{word}{n}.wav", 0.01)
            (tmp_path / f"{word}{n}.txt").write_text(word)
    found = read(tmp_path)
    assert [len(found[split]) for split in SPLITS] == [108, 6, 6]
    assert {clip.text for clip in found["train"]} == {"yes", "no", "stop"}


def test_equal_sentences_are_of_one_split(tmp_path):
    for n in range(120):
        tone(tmp_path / f"{n}.wav", 0.01)
        (tmp_path / f"{n}.txt").write_text(f"Sentence {n // 2}" + "." * (n % 2))
    found = read(tmp_path)
    said = {split: {clip.text.strip(".") for clip in clips} for split, clips in found.items()}
    assert sum(map(len, said.values())) == len(set.union(*said.values())) == 60


@pytest.mark.parametrize("names", ["", "a", "ab"])
def test_too_little(tmp_path, names):
    for name in names:
        tone(tmp_path / f"{name}.wav")
        (tmp_path / f"{name}.txt").write_text(name)
    with pytest.raises(VermeilError, match="at least 3 are needed"):
        load_speech(tmp_path).prepare()
