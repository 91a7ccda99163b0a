"""The user's own files: what is a document, how they are divided, and what is refused."""

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from data import load
from data.folder_text import FolderText
from data.text import SPLITS, Document
from shared.errors import VermeilError


def _folder(root, number):
    for i in range(number):
        (root / f"{i:03}.txt").write_text(f"document {i}")
    return FolderText(root)


def _ids(data):
    return {split: {document.id for document in data.documents(split)} for split in SPLITS}


def test_files_and_lines_are_documents(tmp_path):
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "essay.txt").write_bytes(b"\xef\xbb\xbfCaf\xc3\xa9\r\nnoir\r\n")
    lines = ['{"text": "first", "title": "One"}', "", '{"text": "third"}', '{"text": " "}']
    (tmp_path / "posts.jsonl").write_text("\n".join(lines))
    (tmp_path / "picture.png").write_bytes(b"\x89PNG")
    (tmp_path / ".hidden.txt").write_text("not mine")
    (tmp_path / "blank.txt").write_text("\n")
    found = {d.id: d for split in SPLITS for d in FolderText(tmp_path).documents(split)}
    source = tmp_path.name
    assert found == {
        "deep/essay.txt": Document("deep/essay.txt", source, "essay", "Café\nnoir\n"),
        "posts.jsonl:1": Document("posts.jsonl:1", source, "One", "first"),
        "posts.jsonl:3": Document("posts.jsonl:3", source, "posts 3", "third"),
    }


@pytest.mark.parametrize(
    ("number", "held_out"), [(3, 1), (4, 1), (20, 1), (29, 1), (60, 3), (200, 10)]
)
def test_splits_are_disjoint_complete_and_never_empty(tmp_path, number, held_out):
    ids = _ids(_folder(tmp_path, number))
    assert [len(ids[split]) for split in SPLITS] == [number - 2 * held_out, held_out, held_out]
    assert len(set.union(*ids.values())) == number


def test_splits_depend_on_the_names_alone(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    first = _folder(tmp_path / "a", 40)
    for i in reversed(range(40)):
        (tmp_path / "b" / f"{i:03}.txt").write_text(f"another text {i}")
    assert _ids(first) == _ids(FolderText(tmp_path / "b"))
    # The two smallest sha256; a changed rule would silently move test documents into training.
    assert _ids(first)["test"] == {"014.txt", "037.txt"}


def test_identity_follows_the_content(tmp_path):
    before = _folder(tmp_path, 5).sha256()
    assert FolderText(tmp_path).sha256() == before
    (tmp_path / "002.txt").write_text("document !")
    changed = FolderText(tmp_path).sha256()
    (tmp_path / "002.txt").write_text("document 2")
    (tmp_path / "002.txt").rename(tmp_path / "002b.txt")
    assert len({before, changed, FolderText(tmp_path).sha256()}) == 3


def test_one_jsonl_file(tmp_path):
    path = tmp_path / "all.jsonl"
    path.write_text("".join(json.dumps({"text": f"text {i}"}) + "\n" for i in range(3)))
    data = load(path)
    assert data.name == "all.jsonl" and data.splits == "1 / 1 / 1"
    assert sorted(id_ for ids in _ids(data).values() for id_ in ids) == [
        "all.jsonl:1",
        "all.jsonl:2",
        "all.jsonl:3",
    ]


def table(path, rows_per_group=2, **columns):
    pq.write_table(pa.table(columns), path, row_group_size=rows_per_group)


def test_rows_of_a_parquet_file_are_documents(tmp_path):
    text = ["first", None, "Café\nnoir", " ", "fifth"]
    table(tmp_path / "a.parquet", number=list(range(5)), text=text, title=["One", *[None] * 4])
    table(tmp_path / "b.parquet", text=pa.array(["sixth"], pa.large_string()))
    found = {d.id: d for split in SPLITS for d in FolderText(tmp_path).documents(split)}
    source = tmp_path.name
    assert found == {
        "a.parquet:1": Document("a.parquet:1", source, "One", "first"),
        "a.parquet:3": Document("a.parquet:3", source, "a 3", "Café\nnoir"),
        "a.parquet:5": Document("a.parquet:5", source, "a 5", "fifth"),
        "b.parquet:1": Document("b.parquet:1", source, "b 1", "sixth"),
    }


@pytest.mark.parametrize("columns", [{"body": ["x"]}, {"text": [1]}, {"text": [["x"]]}])
def test_a_parquet_file_without_text_is_refused(tmp_path, columns):
    table(tmp_path / "a.parquet", number=[1], **columns)
    with pytest.raises(VermeilError, match=r'has no column "text" of strings .it has: number, '):
        FolderText(tmp_path).prepare()


@pytest.mark.parametrize("cut", [0, 3, 0.2, 0.5, 0.99])
def test_a_parquet_file_that_is_cut_short(tmp_path, cut):
    path = tmp_path / "a.parquet"
    table(path, text=[f"{i} " * 500 for i in range(40)])
    whole = path.read_bytes()
    path.write_bytes(whole[: cut if isinstance(cut, int) else int(len(whole) * cut)])
    with pytest.raises(
        VermeilError, match=r"a\.parquet is damaged after row 0 .*download it again"
    ):
        FolderText(tmp_path).prepare()


def test_a_parquet_file_that_is_damaged_within(tmp_path):
    path = tmp_path / "a.parquet"
    table(path, text=[f"{i} " * 500 for i in range(400)], rows_per_group=200)
    content = bytearray(path.read_bytes())
    content[len(content) // 3 : len(content) // 3 + 200] = bytes(200)
    path.write_bytes(content)
    with pytest.raises(VermeilError, match=r"a\.parquet is damaged after row \d+"):
        FolderText(tmp_path).prepare()


def test_documents_without_end_are_refused_before_they_fill_the_memory(tmp_path, monkeypatch):
    monkeypatch.setattr("data.files.MAX_DOCUMENT", 1000)
    path = tmp_path / "a.jsonl"
    path.write_text('{"text": "fine"}\n{"text": "' + "x" * 2000)
    with pytest.raises(VermeilError, match=r"the line of .*a\.jsonl at offset 17 has more than"):
        FolderText(tmp_path).prepare()
    path.rename(tmp_path / "a.txt")
    with pytest.raises(VermeilError, match=r"a\.txt is one document and has more than"):
        FolderText(tmp_path).prepare()
    (tmp_path / "a.txt").unlink()
    table(tmp_path / "a.parquet", text=["fine", "x" * 2000])
    with pytest.raises(VermeilError, match=r"row 2 of .*a\.parquet has more than"):
        FolderText(tmp_path).prepare()


@pytest.mark.parametrize("name", ["a.txt", "a.jsonl"])
def test_binary_files_are_no_text(tmp_path, name):
    (tmp_path / name).write_bytes(b"GIF89a\x01\x00")
    with pytest.raises(VermeilError, match=rf"{name} is no text: byte 0x00 at offset 7: take it"):
        FolderText(tmp_path).prepare()


def test_reading_streams(tmp_path):
    """The second file is not opened before the first one's documents are consumed."""
    data = _folder(tmp_path, 40)
    data.prepare()
    documents = data.documents("train")
    next(documents)
    for path in tmp_path.iterdir():
        path.unlink()
    with pytest.raises(VermeilError, match=r"\.txt cannot be read \(No such file"):
        next(documents)


@pytest.mark.parametrize("number", [1, 2])
def test_too_few_documents(tmp_path, number):
    with pytest.raises(
        VermeilError, match=rf"holds {number} document.*at least 3.*one per chapter"
    ):
        _folder(tmp_path, number).documents("train")


def test_empty_corpus(tmp_path):
    (tmp_path / "notes.md").write_text("# not read")
    (tmp_path / "blank.txt").write_text(" \n")
    with pytest.raises(VermeilError, match=r"holds no text: put \.txt, \.jsonl or \.parquet files"):
        FolderText(tmp_path).prepare()


def test_missing_folder(tmp_path):
    with pytest.raises(VermeilError, match=r"there is no folder or file .*nowhere"):
        load(tmp_path / "nowhere").documents("train")


def test_other_kind_of_file(tmp_path):
    (tmp_path / "book.pdf").write_bytes(b"%PDF")
    with pytest.raises(VermeilError, match=r"book\.pdf is none of \.txt, \.jsonl, \.parquet"):
        load(tmp_path / "book.pdf").prepare()


def test_text_that_is_not_utf8(tmp_path):
    _folder(tmp_path, 3)
    (tmp_path / "old.txt").write_bytes("Eine Überschrift, fünf".encode("latin-1"))
    with pytest.raises(
        VermeilError, match=r"old\.txt is not UTF-8: byte 0xdc at offset 5: .*iconv"
    ):
        FolderText(tmp_path).prepare()


def test_line_that_is_not_utf8_gives_the_offset_in_the_file(tmp_path):
    first = b'{"text": "fine"}\n'
    (tmp_path / "a.jsonl").write_bytes(first + b'{"text": "\xff"}\n')
    with pytest.raises(VermeilError, match=rf"byte 0xff at offset {len(first) + 10}:"):
        FolderText(tmp_path).prepare()


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ('{"text": "cut', r"line 2 is not JSON \(Unterminated string starting at, column 10\)"),
        ('{"body": "x"}', 'line 2 has no string "text"'),
        ('{"text": 3}', 'line 2 has no string "text"'),
        ('["text"]', 'line 2 has no string "text"'),
        ('{"text": "\\ud83d"}', "line 2 escapes half a character"),
    ],
)
def test_bad_lines_are_named(tmp_path, line, complaint):
    (tmp_path / "a.jsonl").write_text('{"text": "fine"}\n' + line + "\n")
    with pytest.raises(VermeilError, match=complaint):
        FolderText(tmp_path).prepare()
