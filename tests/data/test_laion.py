"""Lists of links: as img2dataset 1.47 downloads them, and its output when most links are dead."""

import functools
import io
import json
import shutil
import tarfile
import threading
from collections import Counter
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from data import load_any, load_pictures
from data.command import main
from data.laion import Laion
from data.link_lists import rows, write_list
from data.pictures import SPLITS, arrays
from data.splits import BY_SHARE
from shared.errors import VermeilError

GONE, REFUSED = "HTTP Error 404: Not Found", "<urlopen error [Errno 111] Connection refused>"
NO_PICTURE = (
    "OpenCV(4.14.0) /io/opencv/modules/imgcodecs/src/loadsave.cpp:1310: error: (-215:Assertion "
    "failed) !buf.empty() in function 'imdecode_'\n"
)


def jpeg(grey: int) -> bytes:
    content = io.BytesIO()
    Image.new("RGB", (9, 6), (grey, grey, grey)).save(content, "JPEG")
    return content.getvalue()


def shard(folder, number, samples, statistics=True, leave_out=()):
    """What img2dataset writes of (content or None, caption, error); members in its order."""
    folder.mkdir(parents=True, exist_ok=True)
    facts, reasons = [], Counter()
    with tarfile.open(folder / f"{number:05}.tar", "w") as archive:
        for place, (content, caption, error) in enumerate(samples):
            failed = "failed_to_resize" if error == NO_PICTURE else "failed_to_download"
            side = {"width": 9, "height": 6, "original_width": 9, "original_height": 6}
            fact = {"caption": caption, "url": f"http://a.org/{place}.jpg",
                    "key": f"{10_000 * number + place:09}",
                    "status": "success" if error is None else failed, "error_message": error,
                    **(side if error is None else dict.fromkeys(side)), "exif": "{}",
                    "sha256": "0" * 64}  # fmt: skip
            facts.append(fact)
            reasons[error or "success"] += 1
            if error is None:
                members = {"jpg": content, "json": json.dumps(fact, indent=4).encode(),
                           "txt": caption.encode()}  # fmt: skip
                for kind, member in members.items():
                    if kind not in leave_out:
                        info = tarfile.TarInfo(f"{fact['key']}.{kind}")
                        info.size = len(member)
                        archive.addfile(info, io.BytesIO(member))
    pq.write_table(pa.Table.from_pylist(facts), folder / f"{number:05}.parquet")
    status = Counter(fact["status"] for fact in facts)
    content = {"count": len(facts), "successes": status["success"],
               "failed_to_download": status["failed_to_download"],
               "failed_to_resize": status["failed_to_resize"], "duration": 0.2,
               "start_time": 1.0, "end_time": 1.2, "status_dict": dict(reasons)}  # fmt: skip
    if statistics:
        (folder / f"{number:05}_stats.json").write_text(json.dumps(content, indent=4))
    return folder


def sample(grey=1, caption="a cat", error=None):
    return jpeg(grey), caption, error


DEAD = [sample(error=GONE), sample(error=REFUSED), sample(error=NO_PICTURE)]


@pytest.fixture
def mixed(tmp_path):
    first = [sample(10, "a zero"), sample(error=GONE), sample(20, 'a "one"')]
    shard(tmp_path / "web", 0, first)
    return shard(tmp_path / "web", 1, [sample(error=GONE), sample(30, "two é"), *DEAD[1:]])


def captions(data, split="train"):
    return [picture.texts for picture in data.pictures(split)]


def test_output_of_img2dataset(mixed):
    data = load_any(f"laion@{mixed}")
    data.prepare()
    assert isinstance(data, Laion) and data.ready() and data.name == "laion@web"
    assert captions(data) == [("a zero",), ('a "one"',), ("two é",)]
    first = next(data.pictures("train"))
    assert (first.id, first.label, data.classes) == ("00000/000000000", 0, ("unlabelled",))
    assert first.pixels.shape == (6, 9, 3) and abs(int(first.pixels[0, 0, 0]) - 10) < 3
    assert not data.skipped["train"].counts
    assert arrays(data, "train", 8).texts == [("a zero",), ('a "one"',), ("two é",)]


@pytest.mark.parametrize("statistics", [True, False])
def test_dead_links_are_counted_by_status_and_reason(tmp_path, statistics):
    """Of the statistics, or of the parquet where a run was killed before it wrote them."""
    shard(tmp_path / "web", 0, [sample(10), sample(error=GONE)], statistics)
    folder = shard(tmp_path / "web", 1, [sample(30), sample(error=GONE), *DEAD[1:]], statistics)
    links = Laion(folder).links
    assert links.status == {"success": 2, "failed_to_download": 3, "failed_to_resize": 1}
    assert links.reasons == {"HTTP 404": 2, "Connection refused": 1, "no picture": 1}
    assert links.alive == 2 and not links.dead
    assert str(links) == (
        "2 of 6 links alive; 3 failed_to_download, 1 failed_to_resize "
        "(2 HTTP 404, 1 Connection refused, 1 no picture)"
    )


def test_preparing_prints_them(mixed, capsys):
    main(["prepare", f"laion@{mixed}"])
    assert "3 of 7 links alive; 3 failed_to_download, 1 failed" in capsys.readouterr().out
    main(["show", f"laion@{mixed}", "--number", "1"])
    out = capsys.readouterr().out
    assert "3 of 7 links alive" in out and "a zero  [00000/000000000, 9 x 6 pixels" in out


@pytest.mark.parametrize("damage", ["missing", "damaged"])
def test_a_shard_without_statistics_is_named(mixed, damage):
    for path in mixed.glob("00001*[!r]"):  # statistics and parquet
        if path.suffix != ".tar":
            path.write_bytes(b"{") if damage == "damaged" else path.unlink()
    data = Laion(mixed)
    assert str(data.links).endswith("no statistics of 1 shard(s) (00001.tar, ...)")
    assert len(captions(data)) == 3, "its pictures are read all the same"


def test_all_dead_is_one_sentence(tmp_path):
    data = load_pictures(f"laion@{shard(tmp_path / 'web', 0, DEAD)}")
    for use in (data.prepare, functools.partial(data.pictures, "train")):
        with pytest.raises(VermeilError) as caught:
            use()
        assert str(caught.value) == (
            "all links of laion@web are dead: 0 of 3 links alive; 2 failed_to_download, "
            "1 failed_to_resize (1 HTTP 404, 1 Connection refused, 1 no picture): "
            "check the network, or take a newer list"
        )


def test_bad_samples_are_counted_by_name(tmp_path):
    folder = shard(tmp_path / "web", 0, [sample(10), sample(20, "")])
    cut = jpeg(30)[:-200]
    shard(folder, 1, [(b"", "empty", None), (b"Dear diary", "text", None), (cut, "cut", None),
                      sample(40, "last")])  # fmt: skip
    data = Laion(folder)
    assert captions(data) == [("a cat",), ("last",)]
    assert data.skipped["train"].names == {
        "no caption": ["00000/000000001"],
        "empty file": ["00001/000010000"],
        "not a picture": ["00001/000010001"],
        "damaged": ["00001/000010002"],
    }


def test_a_caption_file_that_is_missing(tmp_path):
    folder = shard(tmp_path / "web", 0, [sample(10)], leave_out=("txt",))
    assert captions(Laion(folder)) == [("a cat",)], "the .json has it too"
    data = Laion(shard(tmp_path / "web", 0, [sample(10)], leave_out=("txt", "json")))
    assert captions(data) == [] and str(data.skipped["train"]) == "1 no caption (00000/000000000)"


def test_a_damaged_member_and_a_shard_that_is_cut_short(mixed):
    with tarfile.open(mixed / "00000.tar") as archive:
        place = archive.getmember("000000002.jpg").offset
    content = bytearray((mixed / "00000.tar").read_bytes())
    content[place : place + 512] = b"x" * 512
    (mixed / "00000.tar").write_bytes(content)
    whole = (mixed / "00001.tar").read_bytes()
    (mixed / "00001.tar").write_bytes(whole[:600])
    data = Laion(mixed)
    assert captions(data) == [("a zero",)]
    assert data.skipped["train"].counts["damaged shard"] == 1
    assert data.skipped["train"].counts["shard cut short"] == 1


def test_splits_by_share_and_by_folder(tmp_path):
    folder = shard(tmp_path / "web", 0, [sample(n % 250) for n in range(300)])
    found = {split: [p.id for p in Laion(folder).pictures(split)] for split in SPLITS}
    assert sum(map(len, found.values())) == 300
    assert all(BY_SHARE.of(i) == split for split, ids in found.items() for i in ids)
    shard(tmp_path / "cc3m" / "train", 0, [sample(1)])
    shard(tmp_path / "cc3m" / "val", 0, [sample(2, "held out")])
    assert captions(Laion(tmp_path / "cc3m"), "validation") == [("held out",)]


URLS = [f"http://a.org/{n}.jpg" for n in range(3)]
WORDS = ["a cat", 'a "dog", black', '"é']


@pytest.mark.parametrize("names", [("URL", "TEXT"), ("url", "caption"), ("image_url", "alt_text")])
def test_lists_of_laion(tmp_path, names):
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table(dict(zip(names, (URLS, WORDS), strict=True)) | {"x": [1, 2, 3]}), path)
    assert list(rows(path)) == list(zip(URLS, WORDS, strict=True))


@pytest.mark.parametrize("form", ["captions first", "links first", "names"])
def test_lists_of_conceptual_captions(tmp_path, form):
    lines = [f"{w}\t{u}" if form == "captions first" else f"{u}\t{w}"
             for w, u in zip(WORDS, URLS, strict=True)]  # fmt: skip
    path = tmp_path / "Train_GCC-training.tsv"
    head = ["url\tcaption"] if form == "names" else []
    path.write_text("\n".join(head + lines) + "\n")
    assert list(rows(path)) == list(zip(URLS, WORDS, strict=True))


def test_lists_of_sbu_and_csv(tmp_path):
    (tmp_path / "a.json").write_text(json.dumps({"image_urls": URLS, "captions": WORDS}))
    assert list(rows(tmp_path / "a.json")) == list(zip(URLS, WORDS, strict=True))
    (tmp_path / "a.csv").write_text('caption,url\n"a ""dog"", black",http://a.org/1.jpg\nx\n')
    assert list(rows(tmp_path / "a.csv")) == [("http://a.org/1.jpg", 'a "dog", black'), ("", "x")]


def test_of_two_columns_of_a_name_the_first_is_read(tmp_path):
    (tmp_path / "a.csv").write_text("URL,caption,url\nhttp://a.org/1.jpg,a cat,thumbnail\n")
    assert list(rows(tmp_path / "a.csv")) == [("http://a.org/1.jpg", "a cat")]


def test_rows_that_are_no_links_are_counted(tmp_path):
    path = tmp_path / "a.parquet"
    urls = ["http://a.org/1.jpg", "file:///etc/passwd", None, "https://a.org/2.jpg", "x"]
    pq.write_table(pa.table({"url": urls, "text": ["a  cat", "b", "c", " ", None]}), path)
    assert write_list([path], tmp_path / "list.parquet") == {
        "links": 1, "no link": 3, "no caption": 1}  # fmt: skip
    assert pq.read_table(tmp_path / "list.parquet").to_pylist() == [
        {"url": "http://a.org/1.jpg", "caption": "a cat"}
    ]
    pq.write_table(pa.table({"url": urls[1:2], "text": ["b"]}), path)
    with pytest.raises(VermeilError, match=r"no row with a link and a caption \(1 no link\)"):
        write_list([path], tmp_path / "other.parquet")
    assert not (tmp_path / "other.parquet").exists()


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.parquet", b"PAR1 no", "is no whole parquet .*download it again"),
        ("a.parquet", b"", "is no whole parquet"),
        ("a.json", b'{"image_urls": ["http://a.org"], "captions": []}', "two lists of equal len"),
        ("a.json", b"[1]", "is not two lists"),
        ("a.json", b"{", "is not two lists"),
        ("a.json", b'{"ids": [], "captions": []}', "no column of links .it has: ids, captions"),
        ("a.csv", b"url,number\nhttp://a.org,3\n", "no column of captions .it has: url, number"),
        ("a.tsv", b"", "no column of links"),
    ],
)
def test_what_is_no_list(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(VermeilError, match=message):
        load_pictures(f"laion@{tmp_path / name}").prepare()


@pytest.fixture
def listed(tmp_path):
    path = tmp_path / "part-0.parquet"
    pq.write_table(pa.table({"URL": URLS, "TEXT": WORDS}), path)
    return path


@pytest.fixture
def program(tmp_path, monkeypatch):
    """Stands in for img2dataset: what it was asked is written down, its output is made before."""
    (tmp_path / "bin").mkdir()
    script = tmp_path / "bin" / "img2dataset"
    made, asked = tmp_path / "made", tmp_path / "asked"
    script.write_text(
        f'#!/bin/sh\nfor word; do echo "$word" >> {asked}; case "$word" in --output_folder=*)\n'
        f'mkdir -p "${{word#*=}}" && cp {made}/* "${{word#*=}}" || exit 1;; esac; done\n'
        f"echo Traceback; echo ValueError: broken; exit $(cat {tmp_path / 'status'})\n"
    )
    script.chmod(0o755)
    (tmp_path / "status").write_text("0")
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")
    return tmp_path


def test_a_list_is_downloaded_once(listed, program):
    shard(program / "made", 0, [sample(10, "a cat"), sample(error=GONE)])
    data = load_pictures(f"laion@{listed}")
    assert not data.ready() and data.size == "not downloaded"
    with pytest.raises(VermeilError, match=rf"a list of links.*data prepare laion@{listed}"):
        data.pictures("train")
    data.prepare()
    assert data.ready() and captions(data) == [("a cat",)]
    asked = (program / "asked").read_text().splitlines()
    [listing] = [word.partition("=")[2] for word in asked if word.startswith("--url_list=")]
    assert pq.read_table(listing).to_pydict() == {"url": URLS, "caption": WORDS}
    again = load_pictures(f"laion@{listed}")
    again.prepare()
    assert again.ready() and (program / "asked").read_text().splitlines() == asked
    assert again.sha256() == data.sha256()


def test_a_folder_of_lists(listed, program):
    folder = listed.parent / "lists"
    folder.mkdir()
    shutil.copy(listed, folder / "a.parquet")
    (folder / "b.tsv").write_text("more\thttp://b.org/1.jpg\n")
    shard(program / "made", 0, [sample(10, "a cat")])
    data = load_pictures(f"laion@{folder}")
    data.prepare()
    assert list(data.inventory())[1] == "rows of the list without a link or caption: none"
    [listing] = (folder.parent / "home").rglob("list.parquet")
    assert pq.read_table(listing)["caption"].to_pylist() == [*WORDS, "more"]


def test_a_list_of_dead_links(listed, program):
    shard(program / "made", 0, DEAD)
    with pytest.raises(VermeilError, match=r"all links of laion@part-0\.parquet are dead: 0 of 3"):
        load_pictures(f"laion@{listed}").prepare()


def test_a_program_that_fails(listed, program):
    shard(program / "made", 0, [sample(10)])
    (program / "status").write_text("3")
    data = load_pictures(f"laion@{listed}")
    with pytest.raises(VermeilError, match=r"stopped with status 3 \(ValueError: broken\): see .*"):
        data.prepare()
    assert not data.ready()
    (program / "status").write_text("0")
    data.prepare()
    assert data.ready(), "the same command goes on"


def test_without_the_program(listed, monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(VermeilError, match=r"img2dataset is not installed.*pip install img2"):
        load_pictures(f"laion@{listed}").prepare()


def test_places_that_hold_nothing(tmp_path):
    with pytest.raises(VermeilError, match="there is no folder or file"):
        load_pictures(f"laion@{tmp_path}/nowhere").prepare()
    with pytest.raises(VermeilError, match=r"is none of \.parquet, \.tsv"):
        (tmp_path / "a.txt").write_text("http://a.org")
        load_pictures(f"laion@{tmp_path}/a.txt")
    shard(tmp_path / "files", 0, [sample()])
    (tmp_path / "files" / "00000.tar").unlink()
    with pytest.raises(VermeilError, match=r"has no \.tar shards: run it with --output_format web"):
        load_pictures(f"laion@{tmp_path}/files")


@pytest.mark.full
@pytest.mark.skipif(not shutil.which("img2dataset"), reason="a program beside Vermeil")
def test_the_real_program(tmp_path, monkeypatch):
    """Two pictures, a page that is gone, text and nothing under a picture's name."""
    served = tmp_path / "served"
    served.mkdir()
    for name, content in {
        "0": jpeg(10),
        "1": jpeg(200),
        "text": b"Dear diary",
        "empty": b"",
    }.items():
        (served / f"{name}.jpg").write_bytes(content)
    monkeypatch.setattr(SimpleHTTPRequestHandler, "log_message", lambda *_: None)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    handler = functools.partial(SimpleHTTPRequestHandler, directory=str(served))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        base = f"http://127.0.0.1:{server.server_port}"
        names = ["0.jpg", "1.jpg", "gone.jpg", "text.jpg", "empty.jpg"]
        lines = (f"caption of {name}\t{base}/{name}\n" for name in names)
        (tmp_path / "cc.tsv").write_text("".join(lines))
        data = load_pictures(f"laion@{tmp_path / 'cc.tsv'}")
        data.prepare()
        (tmp_path / "dead.tsv").write_text(f"gone\t{base}/gone.jpg\nempty\t{base}/empty.jpg\n")
        with pytest.raises(VermeilError, match=r"all links of laion@dead\.tsv are dead: 0 of 2"):
            load_pictures(f"laion@{tmp_path / 'dead.tsv'}").prepare()
        server.shutdown()
        thread.join()
    assert data.links.status == {"success": 2, "failed_to_download": 1, "failed_to_resize": 2}
    assert data.links.reasons == {"HTTP 404": 1, "no picture": 2}
    found = {p.texts: int(p.pixels[0, 0, 0]) for p in data.pictures("train")}
    assert found.keys() == {("caption of 0.jpg",), ("caption of 1.jpg",)}
    assert abs(found["caption of 0.jpg",] - 10) < 4 and abs(found["caption of 1.jpg",] - 200) < 4
