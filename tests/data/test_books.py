"""Books with one sentence a line: where one ends, and what is refused."""

import pytest

from data import books, load
from data.books import Books
from data.text import SPLITS
from shared.errors import VermeilError


def everything(data):
    return {document.id: document for split in SPLITS for document in data.documents(split)}


def test_blank_lines_divide_the_books_of_one_file(tmp_path):
    path = tmp_path / "corpus.txt"
    path.write_bytes(
        b"\xef\xbb\xbfit was late .\r\nshe slept .\r\n\r\n\r\nmorning came .\n\nthe end .\n"
    )
    data = load(f"books@{path}")
    found = everything(data)
    assert {id_: document.text for id_, document in found.items()} == {
        "corpus.txt:1": "it was late . she slept .",
        "corpus.txt:2": "morning came .",
        "corpus.txt:3": "the end .",
    }
    assert found["corpus.txt:2"].title == "corpus 2"
    assert (data.name, data.splits) == ("books@corpus.txt", "1 / 1 / 1")


def test_a_folder_has_a_book_per_file_with_its_paragraphs(tmp_path):
    for name in ("emma", "persuasion", "evelina"):
        (tmp_path / f"{name}.txt").write_text(f"{name} began .\nit went on .\n\n\nit ended .")
    found = everything(Books(tmp_path))
    assert set(found) == {"emma.txt:1", "persuasion.txt:1", "evelina.txt:1"}
    assert found["emma.txt:1"].text == "emma began . it went on .\n\nit ended ."
    assert found["emma.txt:1"].title == "emma"


def test_a_file_that_does_not_divide_its_books_is_cut(tmp_path, monkeypatch):
    """The release of 2015 is two files of 37 million lines each."""
    monkeypatch.setattr(books, "MOST_LINES", 10)
    (tmp_path / "books_large_p1.txt").write_text("".join(f"s {i} .\n" for i in range(35)))
    for root in (tmp_path, tmp_path / "books_large_p1.txt"):
        found = everything(Books(root))
        assert sorted(found) == [f"books_large_p1.txt:{part}" for part in (1, 2, 3, 4)]
        assert found["books_large_p1.txt:4"].text == "s 30 . s 31 . s 32 . s 33 . s 34 ."


def test_bytes_that_are_no_text_are_named_with_their_place(tmp_path):
    path = tmp_path / "corpus.txt"
    path.write_bytes(b"fine .\n\nfine .\n\n" + b"\x89PNG\r\n")
    with pytest.raises(VermeilError, match=r"corpus\.txt is not UTF-8: byte 0x89 at offset 16:"):
        Books(path).prepare()
    path.write_bytes("fine .\n".encode("utf-16-le"))
    with pytest.raises(VermeilError, match=r"corpus\.txt is no text: byte 0x00 at offset 1: "):
        Books(path).prepare()


def test_lines_and_books_without_end(tmp_path, monkeypatch):
    monkeypatch.setattr("data.files.MAX_DOCUMENT", 1000)
    path = tmp_path / "corpus.txt"
    path.write_text("fine .\n\n" + "x" * 2000)
    with pytest.raises(VermeilError, match=r"the line of .*corpus\.txt at offset 8 has more than"):
        Books(path).prepare()
    path.write_text("fine .\n\n" + "so it went on .\n" * 70)
    with pytest.raises(VermeilError, match=r"the book of .*corpus\.txt before offset [\d,]+ has"):
        Books(path).prepare()


def test_there_must_be_three_books(tmp_path):
    path = tmp_path / "corpus.txt"
    path.write_text("one .\n\ntwo .")
    with pytest.raises(VermeilError, match="holds 2 document"):
        Books(path).prepare()
    (tmp_path / "book.pdf").write_bytes(b"%PDF")
    with pytest.raises(VermeilError, match=r"book\.pdf is none of \.txt"):
        Books(tmp_path / "book.pdf").prepare()
