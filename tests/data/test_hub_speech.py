"""Speech of the Hub: folders that `datasets` wrote, and a Hub that nobody reaches."""

import io
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import soundfile
from datasets import Audio, Features, Value

from data import load_any, load_speech
from data.hub_speech import HubSpeech
from data.splits import BY_SHARE
from shared.errors import VermeilError


def wav(n: int) -> bytes:
    content = io.BytesIO()
    soundfile.write(content, np.full(80, n / 100), 8_000, format="WAV")
    return content.getvalue()


def write(path: Path, number: int, texts=None, files=None, **columns) -> Path:
    """A parquet as `datasets` writes it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    files = files or [{"bytes": wav(n), "path": None} for n in range(number)]
    values = {"audio": files, "text": texts or [f"say {n}" for n in range(number)], **columns}
    kinds = {name: Value("string") for name in values} | {"audio": Audio()}
    # Not by Dataset.from_dict, which takes torchcodec for files that are encoded already.
    pq.write_table(pa.table(values, schema=Features(kinds).arrow_schema), path)
    return path.parent


def test_rows_are_clips_and_audio_stays_a_file(tmp_path):
    folder = write(tmp_path / "set" / "train-0.parquet", 3, client_id=["a", "b", "c"])
    write(folder / "validation-0.parquet", 2, client_id=["d", "e"])
    write(folder / "test-0.parquet", 1, client_id=["f"])
    data = load_any(f"hub_speech@{folder}")
    data.prepare()
    assert isinstance(data, HubSpeech) and data.ready()
    assert data.splits == "train / validation / test"
    first, _, third = data.clips("train")
    assert (first.id, first.text, first.speaker) == ("train/0", "say 0", "a")
    assert third.source == wav(2) and third.label_method == "human"
    assert [clip.speaker for clip in data.clips("test")] == ["f"]
    assert "say 1  [train/1, 0.0 s, b, en, human]" in "\n".join(data.excerpts("train", 2, 100))


def test_missing_splits_are_taken_from_the_training_rows(tmp_path):
    folder = write(tmp_path / "set" / "train-0.parquet", 300)
    data = load_speech(f"hub_speech@{folder}")
    found = {split: [c.id for c in data.clips(split)] for split in ("train", "validation", "test")}
    assert sum(map(len, found.values())) == 300
    assert all(BY_SHARE.of(i) == split for split, ids in found.items() for i in ids)


def test_rows_of_no_use_are_counted(tmp_path):
    files = [{"bytes": wav(0), "path": None}, {"bytes": b"", "path": None}, None,
             {"bytes": wav(3), "path": None}]  # fmt: skip
    folder = write(tmp_path / "set" / "train-0.parquet", 4, ["a", "b", "c", " "], files)
    write(folder / "test-0.parquet", 1)
    write(folder / "validation-0.parquet", 1)
    data = load_speech(f"hub_speech@{folder}")
    assert [clip.text for clip in data.clips("train")] == ["a"]
    assert sum(data.dropped.counts.values()) == 3
    assert data.dropped.names["empty transcript"] == ["train/3"]


def test_columns_that_are_not_there(tmp_path):
    folder = write(tmp_path / "set" / "train-0.parquet", 3, said=["x", "y", "z"])
    chosen = load_speech(f"hub_speech@{folder}#text=said")
    assert next(chosen.clips("train")).text in "xyz"
    with pytest.raises(VermeilError, match='has no column "sad"'):
        load_speech(f"hub_speech@{folder}#text=sad").prepare()
    with pytest.raises(VermeilError, match="needs a column of the type Audio"):
        load_speech(f"hub_speech@{folder}#audio=text").prepare()


def test_a_hub_that_nobody_reaches(hub):
    said = hub().says("""
        from data import load_speech
        try:
            load_speech("hub_speech@us/tales").prepare()
        except Exception as error:
            print(type(error).__name__, error)
    """)
    assert said.startswith("VermeilError hub_speech@us/tales cannot be had: the Hub cannot be")
