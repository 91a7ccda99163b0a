"""The pack of speech: what is in it, what is held out, and what damage does."""

import io
import itertools
import re
from pathlib import Path

import numpy as np
import pytest
import soundfile

from data import embedded_speech, load_any, load_speech
from data.embedded.prompt_labels import HOMOPHONES, SAME_TAKE
from data.embedded_speech import CLOSED, PACK_SHA256, EmbeddedSpeech, vocabulary
from data.speech import SPLITS
from shared.errors import VermeilError

PACK = Path(embedded_speech.__file__).parent / "embedded" / "speech.zip"


@pytest.fixture(scope="module")
def table():
    return EmbeddedSpeech().table()


@pytest.fixture(scope="module")
def splits():
    data = load_any("embedded_speech")
    return {split: list(data.clips(split)) for split in SPLITS}


def test_clips_are_as_the_table_says(table, splits):
    data = load_speech("embedded_speech")
    assert data.ready() and data.sha256() == PACK_SHA256 and PACK.stat().st_size < 6e6
    assert data.splits == " / ".join(str(len(splits[split])) for split in SPLITS)
    rows = {row["id"]: row for row in table}
    assert len(rows) == len(table) == sum(map(len, splits.values()))
    for split, clips in splits.items():
        for clip in clips:
            row = rows[clip.id]
            assert (row["text"], row["split"], row["label_method"]) == (
                clip.text, split, clip.label_method)  # fmt: skip
            assert clip.id.split("/")[0] == row["category"] and clip.speaker == "Allison Smith"


def test_every_clip_is_whole_and_sounds(table, splits):
    seconds = {row["id"]: row["seconds"] for row in table}
    for clip in itertools.chain(*(splits[split][::5] for split in SPLITS)):
        wave, rate = soundfile.read(io.BytesIO(clip.source), dtype="float32")
        assert rate == 8_000 and wave.ndim == 1 and abs(len(wave) / rate - seconds[clip.id]) < 0.01
        assert 0.02 < np.abs(wave).max() <= 1.1 and np.isfinite(wave).all()


def test_labels_in_the_normal_spoken_form(table):
    assert all(re.fullmatch(r"[a-z]+('[a-z]+)?( [a-z]+('[a-z]+)?)*", row["text"]) for row in table)
    said = {row["id"]: row["text"] for row in table}
    assert said["digits/7"] == "seven" and said["digits/h-12"] == "twelfth"
    assert said["digits/90"] == "ninety" and said["letters/w"] == "w"
    assert said["words/digits-mon-3"] == "april" and said["words/phonetic-g_p"] == "golf"
    assert said["words/digits-oclock"] == "o'clock"
    assert said["sentences/vm-prev"] == "press four for the previous message"
    methods = {(row["category"] in CLOSED, row["label_method"]) for row in table}
    assert methods == {(True, "file_name"), (False, "recognisers")}


def test_what_is_held_out(table):
    train = {w for row in table if row["split"] == "train" for w in row["text"].split()}
    held_out = [row for row in table if row["split"] != "train"]
    for row in held_out:
        known = [word in train for word in row["text"].split()]
        assert row["heard"] == ("yes" if all(known) else "partly" if any(known) else "no")
    closed = [row for row in held_out if row["category"] in CLOSED and row["split"] == "test"]
    assert len(closed) == 53 and not {row["text"] for row in closed} & set(HOMOPHONES)
    assert sum(row["heard"] == "yes" for row in closed) == 24
    assert sum(row["heard"] == "no" for row in closed) == 29
    assert {row["category"] for row in closed} == set(CLOSED)
    where = {row["file"]: row["split"] for row in table}
    assert all(len({where[file] for file in group}) == 1 for group in SAME_TAKE)
    sentences = [row for row in table if row["category"] == "sentences"]
    texts = {split: {r["text"] for r in sentences if r["split"] == split} for split in SPLITS}
    assert sum(map(len, texts.values())) == len(set.union(*texts.values()))
    assert {row["text"] for row in closed} <= set(vocabulary())


def test_inventory(table):
    lines = list(load_speech("embedded_speech").inventory())
    assert lines[0].split() == ["labels", "split", "clips", "minutes", "words", "speakers"]
    number = sum(row["label_method"] == "file_name" and row["split"] == "test" for row in table)
    assert ["file_name", "test", str(number)] in [line.split()[:3] for line in lines]
    assert len(lines) == 10, "nothing strange, nothing passed over"


@pytest.mark.parametrize("damage", ["flipped", "cut", "missing"])
def test_a_damaged_pack_hands_out_nothing(tmp_path, damage):
    content = bytearray(PACK.read_bytes())
    content[len(content) // 2] ^= 1
    if damage != "missing":
        (tmp_path / PACK.name).write_bytes(content if damage == "flipped" else content[:-1000])
    data = EmbeddedSpeech(tmp_path)
    for ask in (data.prepare, data.sha256, data.table, lambda: data.clips("train")):
        with pytest.raises(VermeilError, match=r"speech\.zip .*git checkout -- data/embedded"):
            ask()
