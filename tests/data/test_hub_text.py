"""The Hub: a data set of a local folder, one from a Hub on this machine, and no Hub at all."""

import json
from collections import Counter
from pathlib import Path

import pytest

from data import load
from data.hub_text import HubText
from data.splits import BY_SHARE
from data.text import SPLITS, Document
from shared.errors import VermeilError


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


ASK = """
    from collections import Counter
    from pathlib import Path
    from data.hub_text import HubText
    from shared.errors import VermeilError
    data = HubText(Path("{}"))
    try:
        documents = list(data._read(lambda identifier: True, Counter()))
        print(data.version, data.licence, len(documents), documents[-1].text)
    except VermeilError as error:
        print(error)
    """
TALES = {
    "data/train.jsonl": b"".join(b'{"text": "Tale %d."}\n' % row for row in range(1, 301)),
    "data/validation.jsonl": b'{"text": "Held out."}\n',
}


def test_a_data_set_of_the_hub_is_read_at_the_revision_that_it_answers_with(hub):
    made = hub("us/tales", TALES)
    assert made.says(ASK.format("us/tales")) == f"{made.revision} mit 300 Tale 300."


def test_a_revision_can_be_asked_for(hub):
    made = hub("us/tales", TALES, fresh=0)  # the newest is another one from the start
    said = made.says(ASK.format(f"us/tales@{made.revision}"))
    assert said == f"{made.revision} mit 300 Tale 300."


def test_a_data_set_that_the_hub_does_not_have(hub):
    said = hub("us/tales", TALES).says(ASK.format("us/tails"))
    assert said.startswith("hub@us/tails cannot be had: the Hub has no such data set")


def test_a_hub_that_cannot_be_reached(hub):
    said = hub().says(ASK.format("us/tales"))
    assert said.startswith("hub@us/tales cannot be had: the Hub cannot be reached (")
    assert said.endswith("hub@./FOLDER")
