"""Conceptual Captions and SBU: the official lists, and a stand-in for the program that downloads.

The stand-in makes a grey picture of every link that has no "gone" in it.
"""

import functools
import io
import json
import tarfile

import pyarrow.parquet as pq
import pytest
from PIL import Image

from data import load_pictures
from data.command import main
from data.official_links import write_pair
from data.pictures import SPLITS
from shared.errors import VermeilError

TRAIN = [(f"a dog {n}", f"http://a.org/{n}.jpg") for n in range(6)] + [("x", "http://a.org/gone")]
HELD_OUT = [
    ("a cat", "http://b.org/1.jpg"),
    ("кот", "http://b.org/2.jpg"),
    ("y", "http://gone.org"),
]


@pytest.fixture
def program(monkeypatch):
    """The lists that it was given; `test_laion` runs the program as a process."""
    asked = []
    monkeypatch.setattr("data.official_links.download", functools.partial(downloaded, asked))
    return asked


def downloaded(asked, listing, folder, log):
    """What img2dataset would leave in `folder`."""
    folder.mkdir(parents=True)
    rows = pq.read_table(listing).to_pylist()
    asked.append([row["url"] for row in rows])
    alive = [row for row in rows if "gone" not in row["url"]]
    with tarfile.open(folder / "00000.tar", "w") as archive:
        for number, row in enumerate(alive):
            jpeg = io.BytesIO()
            Image.new("L", (9, 6), number).save(jpeg, "JPEG")
            for kind, content in (("jpg", jpeg.getvalue()), ("txt", row["caption"].encode())):
                info = tarfile.TarInfo(f"{number:09}.{kind}")
                info.size = len(content)
                archive.addfile(info, io.BytesIO(content))
    dead = len(rows) - len(alive)
    facts = {"count": len(rows), "successes": len(alive), "failed_to_download": dead,
             "failed_to_resize": 0, "status_dict": {"HTTP Error 404: Not Found": dead}}  # fmt: skip
    (folder / "00000_stats.json").write_text(json.dumps(facts))


def table(path, rows, more=""):
    path.parent.mkdir(exist_ok=True)
    path.write_text("".join(f"{caption}\t{link}{more}\n" for caption, link in rows))


@pytest.fixture
def conceptual(tmp_path):
    folder = tmp_path / "cc"
    table(folder / "Train_GCC-training.tsv", TRAIN)
    table(folder / "Validation_GCC-1.1.0-Validation.tsv", HELD_OUT)
    table(folder / "Image_Labels_Subset_Train_GCC-Labels-training.tsv", TRAIN, "\tdog\t/m/01\t0.9")
    return folder


def texts(data, split):
    return [picture.texts[0] for picture in data.pictures(split)]


def test_official_validation_is_the_test_split(conceptual, program):
    data = load_pictures(f"conceptual_captions@{conceptual}")
    assert not data.ready() and data.name == "conceptual_captions@cc"
    with pytest.raises(VermeilError, match=r"a list of links.* data prepare conceptual_captions@/"):
        data.pictures("train")
    data.prepare()
    assert data.ready() and texts(data, "test") == ["a cat", "кот"]
    trained = [*texts(data, "train"), *texts(data, "validation")]
    assert sorted(trained) == [f"a dog {n}" for n in range(6)]
    ids = [picture.id for split in SPLITS for picture in data.pictures(split)]
    assert len(set(ids)) == 8
    assert str(data.links) == "8 of 10 links alive; 2 failed_to_download (2 HTTP 404)"
    assert len(program) == 2
    again = load_pictures(f"conceptual_captions@{conceptual}")
    again.prepare()
    assert again.sha256() == data.sha256() and len(program) == 2


def test_its_place_is_not_that_of_the_plain_lists(conceptual, program):
    (conceptual / "Image_Labels_Subset_Train_GCC-Labels-training.tsv").unlink()
    load_pictures(f"conceptual_captions@{conceptual}").prepare()
    assert not load_pictures(f"laion@{conceptual}").ready()


@pytest.mark.parametrize("name", ["Train_GCC-training.tsv", "Validation_GCC-1.1.0-Validation.tsv"])
def test_one_list_alone(conceptual, program, name):
    data = load_pictures(f"conceptual_captions@{conceptual / name}")
    data.prepare()
    held = [text for split in SPLITS for text in texts(data, split)]
    wanted = TRAIN if name.startswith("Train") else HELD_OUT
    assert sorted(held) == sorted(caption for caption, link in wanted if "gone" not in link)


def test_lines_without_tab_or_words_are_counted(conceptual, program, capsys):
    with (conceptual / "Train_GCC-training.tsv").open("a") as file:
        file.write("no tab in this line\n\thttp://a.org/7.jpg\nwords\tftp://a.org/8.jpg\n")
        file.write(f"{'long ' * 1000}\thttp://a.org/9.jpg\n")
    main(["prepare", f"conceptual_captions@{conceptual}"])
    out = capsys.readouterr().out
    assert "9 of 11 links alive; 2 failed_to_download" in out
    assert "rows of the list without a link or caption: 2 no link, 1 no caption" in out
    main(["show", f"conceptual_captions@{conceptual}", "--split", "test", "--number", "1"])
    assert "a cat  [validation/00000/000000000, 9 x 6 pixels" in capsys.readouterr().out


def test_all_links_dead(conceptual, program):
    for path in conceptual.iterdir():
        path.write_text(path.read_text().replace("http://", "http://gone."))
    data = load_pictures(f"conceptual_captions@{conceptual}")
    with pytest.raises(VermeilError, match=r"all links of conceptual_captions@cc are dead: 0 of"):
        data.prepare()


def test_a_folder_that_img2dataset_wrote(conceptual, program, tmp_path):
    data = load_pictures(f"conceptual_captions@{conceptual}")
    data.prepare()
    data.root.rename(tmp_path / "written")
    found = load_pictures(f"conceptual_captions@{tmp_path / 'written'}")
    assert found.ready() and texts(found, "test") == ["a cat", "кот"]
    assert found.splits == "1 shards / 1% / 1 shards"


@pytest.fixture
def sbu(tmp_path):
    folder = tmp_path / "sbu"
    folder.mkdir()
    (folder / "SBU_captioned_photo_dataset_urls.txt").write_text(
        "".join(f"{link}\n" for _, link in TRAIN))  # fmt: skip
    (folder / "SBU_captioned_photo_dataset_captions.txt").write_text(
        "".join(f"{caption}\t!\n" for caption, _ in TRAIN))  # fmt: skip
    return folder


@pytest.mark.parametrize("form", ["json", "file", "pair"])
def test_sbu_in_both_forms(sbu, program, form):
    place = sbu
    if form != "pair":
        links, captions = [link for _, link in TRAIN], [f"{caption} !" for caption, _ in TRAIN]
        content = {"image_urls": links, "user_ids": ["47889917@N08"] * 7, "captions": captions}
        (sbu / "sbu-captions-all.json").write_text(json.dumps(content))
        place = sbu if form == "json" else sbu / "sbu-captions-all.json"
    data = load_pictures(f"sbu@{place}")
    assert not data.ready()
    data.prepare()
    found = [text for split in SPLITS for text in texts(data, split)]
    assert sorted(found) == [f"a dog {n} !" for n in range(6)]
    assert str(data.links).startswith("6 of 7 links alive; 1 failed_to_download")
    assert "sbu" in str(data.root.parent.parent) and data.name == f"sbu@{place.name}"
    assert program == [[link for _, link in TRAIN]]


def test_a_pair_that_does_not_fit(sbu, program):
    captions = sbu / "SBU_captioned_photo_dataset_captions.txt"
    captions.write_text("one\ntwo\n")
    with pytest.raises(VermeilError, match=r"urls\.txt has 7 lines and .*captions\.txt has 2"):
        load_pictures(f"sbu@{sbu}").prepare()
    captions.write_bytes(b"\xe9\n" * 7)
    with pytest.raises(VermeilError, match=r"captions\.txt is not UTF-8: byte 0xe9 at offset 0"):
        load_pictures(f"sbu@{sbu}").prepare()
    captions.unlink()
    with pytest.raises(VermeilError, match=r"has no SBU_captioned_photo_dataset_captions\.txt"):
        load_pictures(f"sbu@{sbu}")


def test_pair_written_line_by_line(sbu, tmp_path):
    paths = [sbu / f"SBU_captioned_photo_dataset_{kind}.txt" for kind in ("urls", "captions")]
    write_pair(*paths, tmp_path / "pair.tsv")
    lines = (tmp_path / "pair.tsv").read_text().splitlines()
    assert lines[0] == "url\tcaption" and lines[1] == "http://a.org/0.jpg\ta dog 0 !"
    assert len(lines) == 8


@pytest.mark.parametrize("name", ["sbu", "conceptual_captions"])
def test_places_that_hold_nothing(tmp_path, name):
    with pytest.raises(VermeilError, match="there is no folder or file"):
        load_pictures(f"{name}@{tmp_path}/nowhere").prepare()
    (tmp_path / "empty").mkdir()
    with pytest.raises(VermeilError, match=r"holds no \.tar shard to learn from"):
        load_pictures(f"{name}@{tmp_path}/empty").prepare()
