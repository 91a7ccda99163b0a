"""Wikipedia dumps: which pages are articles, what their wikitext says, and broken files.

The dump is written here in the format of dumps.wikimedia.org (schema 0.10): the pages are ours, so
that nothing under CC BY-SA lies in this repository.
"""

import bz2
from collections import Counter
from random import Random
from xml.sax.saxutils import escape

import pytest

from data import files, load
from data.splits import BY_SHARE
from data.text import SPLITS
from data.wikipedia import Wikipedia
from data.wikitext import plain_text
from shared.errors import VermeilError

HEAD = """\
<mediawiki xmlns="http://www.mediawiki.org/xml/export-0.10/" \
xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" \
xsi:schemaLocation="http://www.mediawiki.org/xml/export-0.10/ \
http://www.mediawiki.org/xml/export-0.10.xsd" version="0.10" xml:lang="de">
  <siteinfo>
    <sitename>Wikipedia</sitename>
    <dbname>dewiki</dbname>
    <generator>MediaWiki 1.27.0-wmf.22</generator>
    <case>first-letter</case>
    <namespaces>
      <namespace key="0" case="first-letter" />
      <namespace key="1" case="first-letter">Diskussion</namespace>
      <namespace key="6" case="first-letter">Datei</namespace>
      <namespace key="14" case="first-letter">Kategorie</namespace>
    </namespaces>
  </siteinfo>
"""
PAGE = """\
  <page>
    <title>{title}</title>
    <ns>{ns}</ns>
    <id>{id}</id>{redirect}
    <revision>
      <id>716551092</id>
      <parentid>714146352</parentid>
      <timestamp>2016-04-22T10:19:33Z</timestamp>
      <contributor>
        <username>Somebody</username>
        <id>7</id>
      </contributor>
      <model>{model}</model>
      <format>text/x-wiki</format>
      <text xml:space="preserve">{text}</text>
      <sha1>4ro7vvppa5kmm0o1egfjztzcwd0vabw</sha1>
    </revision>
  </page>
"""


def page(number, text, title=None, ns=0, redirect="", model="wikitext"):
    return PAGE.format(
        id=number, text=escape(text), title=title or f"Page {number}", ns=ns, redirect=redirect,
        model=model,
    )  # fmt: skip


def dump(path, *pages, encoding="utf-8"):
    path.write_bytes(bz2.compress((HEAD + "".join(pages) + "</mediawiki>").encode(encoding)))
    return Wikipedia(path)


def everything(data):
    return list(data._read(lambda identifier: True, Counter()))


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_articles_alone_are_documents(tmp_path, encoding):
    data = dump(
        tmp_path / "dewiki-20260901-pages-articles.xml.bz2",
        page(1, "#REDIRECT [[Öl]]", redirect='\n    <redirect title="Öl" />'),
        page(2, "'''Öl''': [[Fett|flüssiges Fett]] & mehr.[[Datei:Öl.jpg|mini|Öl]]", "Öl"),
        page(3, "Was meint ihr?", "Diskussion:Öl", ns=1),
        page(4, "return {}", "Datenkasten", model="Scribunto"),
        encoding=encoding,
    )
    (document,) = everything(data)
    assert (document.id, document.source, document.title) == ("dewiki/2", "dewiki", "Öl")
    assert document.text == "Öl: flüssiges Fett & mehr."


def test_a_dump_of_several_streams_and_parts(tmp_path):
    """Official multistream dumps are bzip2 streams in a row; large ones come in several files."""
    text = HEAD + page(1, "Eins.") + page(2, "Zwei.") + "</mediawiki>"
    half = len(text) // 2
    streams = [bz2.compress(part.encode()) for part in (text[:half], text[half:])]
    (tmp_path / "dewiki-pages-articles1.xml-p1p2.bz2").write_bytes(b"".join(streams))
    dump(tmp_path / "dewiki-pages-articles2.xml-p3p3.bz2", page(3, "Drei."))
    assert [d.text for d in everything(Wikipedia(tmp_path))] == ["Eins.", "Zwei.", "Drei."]


def test_splits_follow_the_page_number(tmp_path):
    pages = [page(number, f"Nummer {number}.") for number in range(1, 400)]
    data = dump(tmp_path / "dewiki.xml.bz2", *pages)
    found = {split: [d.id for d in data.documents(split)] for split in SPLITS}
    assert sum(map(len, found.values())) == 399 and all(found.values())
    for split, ids in found.items():
        assert {BY_SHARE.of(identifier) for identifier in ids} == {split}
    assert data.skipped == {split: Counter() for split in SPLITS}


def test_the_command_line_spells_it_with_an_at(tmp_path):
    path = tmp_path / "dewiki.xml.bz2"
    dump(path, page(1, "Eins."))
    data = load(f"wikipedia@{path}")
    assert data.name == "wikipedia@dewiki.xml.bz2" and data.ready()
    assert data.sha256() == load("wikipedia", path).sha256()
    before = data.sha256()
    dump(path, page(1, "Uno."))
    assert load(f"wikipedia@{path}").sha256() != before


@pytest.mark.parametrize(
    ("wikitext", "text"),
    [
        ("'''Bold''' and ''italic'', l'''''amour'''''.", "Bold and italic, lamour."),
        ("A [[cat]], a [[dog|hound]], [[:Category:Pets|pets]].", "A cat, a hound, pets."),
        ("[[File:a.jpg|thumb|A [[cat]] asleep]]It slept.[[Category:Cats]]", "It slept."),
        ("Katze.[[fr:Chat]][[zh-min-nan:Niau]]", "Katze."),
        ("See [http://example.org the site] or [http://example.org].", "See the site or."),
        ("Cats<ref name=a>Smith, p. 1</ref> purr.<ref name=a />", "Cats purr."),
        ("{{Infobox|name={{lang|fr|chat}}}}Cats.<!-- sure? -->", "Cats."),
        ("Paris ({{IPA|paʁi}}; {{lang|la|Lutetia}}) is old.", "Paris (Lutetia) is old."),
        ("Paris ({{IPA|paʁi}}) is old.", "Paris is old."),
        ("Paris ( {{IPA|paʁi}} Lutetia) is old.", "Paris (Lutetia) is old."),
        ("Paris ({{IPA|paʁi}}) or Lutetia.", "Paris or Lutetia."),
        ("OS&amp;nbsp;X", "OS X"),
        ("It is {{convert|30|km|mi|abbr=on}} away.", "It is 30 km away."),
        ("Before.\n{| class=wikitable\n|-\n| 1 || 2\n|}\nAfter.", "Before.\n\nAfter."),
        ("Let <math>x^2</math> be&nbsp;5 &lt; 6.", "Let x^2 be 5 < 6."),
        ("Two:\n* one\n** {{x}}\n# two\n: three", "Two:\n- one\n\n- two\nthree"),
        ("a<br />b<gallery>File:x.jpg|y</gallery>", "a\nb"),
        ("__NOTOC__Lead.\n\n\n\nSecond.", "Lead.\n\nSecond."),
        (
            "Lead.\n== A ==\n=== B ===\nText.\n== Empty ==\n{{x}}\n== C ==\nMore.",
            "Lead.\n\nA\n\nB\n\nText.\n\nC\n\nMore.",
        ),
        (
            "Lead.\n== References ==\nx\n=== Books ===\ny\n== After ==\nText.",
            "Lead.\n\nAfter\n\nText.",
        ),
        ("{{Open [[link ''and <ref>more", "{{Open [[link and <ref>more"),  # as the wiki shows it
    ],
)
def test_wikitext_becomes_what_a_reader_sees(wikitext, text):
    assert plain_text(wikitext) == text


def test_nesting_without_end_gives_text_or_nothing():
    for wikitext in ("[[a|" * 300, "{{a|" * 300, "<div>" * 300 + "text", "''[" * 300):
        assert plain_text(wikitext) is None or isinstance(plain_text(wikitext), str)


def test_a_dump_that_is_cut_short(tmp_path):
    path = tmp_path / "dewiki.xml.bz2"
    random = Random(0)  # does not compress, so that the bzip2 stream has several blocks
    dump(path, *(page(number, random.randbytes(150_000).hex()) for number in range(1, 13)))
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(
        VermeilError, match=r"bz2 is cut short after the page 'Page \d': its [\d,]+"
    ):
        everything(Wikipedia(path))


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"<html><head>404</head></html>", "is no Wikipedia dump: it begins with <html>"),
        (b"\x89PNG\r\n\x1a\n", "is no sound XML at its beginning .not well-formed"),
        (b"", "is no sound XML at its beginning .no element found"),
        (bz2.compress(HEAD.encode() + b"<page><title>Eins</title>"), "no sound XML"),
        (bz2.compress(HEAD.encode())[:-20] + bytes(20), "is damaged at its beginning"),
        (bz2.compress(HEAD.encode() + b"<page>\xff</page>"), "not well-formed .invalid token"),
    ],
)
def test_other_files(tmp_path, content, complaint):
    path = tmp_path / "dewiki.xml.bz2"
    path.write_bytes(content)
    with pytest.raises(VermeilError, match=complaint):
        everything(Wikipedia(path))


def test_a_page_without_end_is_refused_before_it_fills_the_memory(tmp_path, monkeypatch):
    monkeypatch.setattr("data.wikipedia.MAX_DOCUMENT", 2**20)
    pages = [page(number, "x" * 100_000) for number in range(1, 30)]
    data = dump(tmp_path / "dewiki.xml.bz2", *pages, page(30, "y" * 3 * 2**20))
    with pytest.raises(VermeilError, match="after the page 'Page 29': a page of more than 1 MB"):
        everything(data)
    assert files.MAX_DOCUMENT > 2**20


def test_too_few_articles_for_three_splits(tmp_path):
    data = dump(tmp_path / "dewiki.xml.bz2", page(1, "Eins."), page(2, "{{nur Vorlage}}"))
    with pytest.raises(VermeilError, match=r"has no document in its test split .98% / 1% / 1%"):
        list(data.documents("test"))
    assert [d.text for d in data.documents("train")] == ["Eins."]
    assert data.skipped["train"] == {"blank": 1}


def test_a_folder_without_dumps(tmp_path):
    with pytest.raises(VermeilError, match=r"holds no file that ends in \.bz2 or \.xml"):
        Wikipedia(tmp_path).documents("train")
    with pytest.raises(VermeilError, match=r"wikipedia reads what you give it: write wikipedia@"):
        load("wikipedia")
