"""Speech in its official forms: tiny files in exactly those forms, and the parts at hand."""

import io
import json
import os
import tarfile
import zipfile
from pathlib import Path

import pytest
import soundfile

from data import load_pictures, load_speech
from data.command import main
from data.speech import SPLITS
from shared.errors import VermeilError
from tests.data.speech_files import ids, read, texts, tone

REAL = Path(os.environ.get("VERMEIL_REALDATA", "realdata"))
FSDD, ARCTIC = REAL / "free-spoken-digit-dataset.zip", REAL / "arctic-male-16khz-800.tar"


@pytest.fixture
def librispeech(tmp_path):
    """Two chapters to learn from and one each of four other subsets."""
    for subset, speaker in (("train-clean-100", 19), ("train-other-500", 20), ("dev-clean", 30),
                            ("dev-other", 31), ("test-clean", 40), ("test-other", 41)):  # fmt: skip
        folder = tmp_path / "LibriSpeech" / subset / str(speaker) / "198"
        for n in range(2):
            tone(folder / f"{speaker}-198-000{n}.flac")
        lines = [f"{speaker}-198-000{n} WORD {n} OF {speaker}\n" for n in range(2)]
        (folder / f"{speaker}-198.trans.txt").write_text("".join(lines))
    (tmp_path / "LibriSpeech" / "SPEAKERS.TXT").write_text("; speakers")
    return tmp_path


def test_librispeech_by_subset(librispeech):
    found = read(f"librispeech@{librispeech}")
    assert ids(found) == {
        "train": [f"{t}/{s}-198-000{n}"
                  for t, s in (("train-clean-100", 19), ("train-other-500", 20)) for n in range(2)],
        "validation": ["dev-clean/30-198-0000", "dev-clean/30-198-0001"],
        "test": ["test-clean/40-198-0000", "test-clean/40-198-0001"],
    }  # fmt: skip
    clip = found["test"][1]
    assert (clip.text, clip.speaker, clip.label_method) == ("WORD 1 OF 40", "40", "human")
    assert isinstance(clip.source, Path) and soundfile.info(str(clip.source)).samplerate == 16_000
    inner = read(f"librispeech@{librispeech}/LibriSpeech#test=test-other,train=train-clean-100")
    assert {c.speaker for c in inner["test"]} == {"41"}
    assert {c.speaker for c in inner["train"]} == {"19"}
    with pytest.raises(VermeilError, match="no subset test-othe: did you mean 'test-other'"):
        read(f"librispeech@{librispeech}#test=test-othe")
    with pytest.raises(VermeilError, match="'#quality=8' is nothing to choose of librispeech"):
        load_speech(f"librispeech@{librispeech}#quality=8")


def test_librispeech_with_faults(librispeech, capsys):
    folder = librispeech / "LibriSpeech" / "train-clean-100" / "19" / "198"
    (folder / "19-198-0000.flac").unlink()
    tone(folder / "19-198-0009.flac")
    (folder / "19-198-0001.flac").write_bytes(b"")
    with (folder / "19-198.trans.txt").open("a") as file:
        file.write("19-198-0002\n19-198-0003 GONE\n")
    tone(folder / "19-198-0002.flac")
    data = load_speech(f"librispeech@{librispeech}")
    assert data.dropped.names == {
        "missing audio": ["train-clean-100/19-198-0000", "train-clean-100/19-198-0003"],
        "empty file": ["train-clean-100/19-198-0001"],
        "empty transcript": ["train-clean-100/19-198-0002"],
        "no transcript": ["LibriSpeech/train-clean-100/19/198/19-198-0009.flac"],
    }
    main(["show", f"librispeech@{librispeech}"])
    assert "passed over in the lists: 2 missing audio" in capsys.readouterr().out
    (folder / "19-198.trans.txt").rename(librispeech / "x.trans.txt")
    with pytest.raises(VermeilError, match=r"x\.trans\.txt is not in SUBSET/SPEAKER/CHAPTER"):
        read(f"librispeech@{librispeech}")


@pytest.fixture
def common_voice(tmp_path):
    """Six clips in three tables, as version 17 has its columns; one more that is in none."""
    columns = "client_id\tpath\tsentence_id\tsentence\tup_votes\tlocale\tsegment"
    tables = {"train": "abcd", "dev": "e", "test": "f"}
    for table, names in tables.items():
        rows = [f'{n}0ff\tcv_{n}.mp3\ts{n}\t"Say {n}", {n}.\t2\tcy\t' for n in names]
        (tmp_path / f"{table}.tsv").write_text("\n".join([columns, *rows]) + "\n")
        for name in names:
            tone(tmp_path / "clips" / f"cv_{name}.mp3")
    tone(tmp_path / "clips" / "cv_x.mp3")
    return tmp_path


def test_common_voice(common_voice):
    found = read(f"common_voice@{common_voice}")
    assert ids(found) == {"train": [f"cv_{n}.mp3" for n in "abcd"], "validation": ["cv_e.mp3"],
                          "test": ["cv_f.mp3"]}  # fmt: skip
    clip = found["train"][0]
    assert (clip.text, clip.speaker, clip.language) == ('"Say a", a.', "a0ff", "cy")
    assert clip.source == common_voice / "clips" / "cv_a.mp3"
    assert not load_speech(f"common_voice@{common_voice}").dropped.counts


def test_common_voice_without_suffixes_and_with_a_leak(common_voice):
    path = common_voice / "train.tsv"
    path.write_text(path.read_text().replace("cv_a.mp3", "cv_a"))
    assert ids(read(f"common_voice@{common_voice}"))["train"][0] == "cv_a.mp3"
    test = common_voice / "test.tsv"
    test.write_text(test.read_text().replace("cv_f.mp3", "cv_b.mp3"))
    with pytest.raises(VermeilError, match=r"has cv_b\.mp3 in train and in test: take it out"):
        read(f"common_voice@{common_voice}")
    test.write_text("a\tb\n1\t2\n")
    with pytest.raises(VermeilError, match=r"test\.tsv has no columns of files and texts"):
        read(f"common_voice@{common_voice}")
    path.unlink()
    with pytest.raises(VermeilError, match=r"holds no train\.tsv: give the folder of one language"):
        read(f"common_voice@{common_voice}")


def sentence(n: int) -> str:
    return f"Sentence number {n}, said once."


@pytest.mark.parametrize("form", ["txt.done.data", "metadata.csv", "transcripts.txt"])
def test_sentences_are_held_out_from_the_end(tmp_path, form):
    folder = tmp_path / "cmu_us_bdl_arctic"
    lines = {
        "txt.done.data": '( arctic_a{0:04} "{1}" )\n',
        "metadata.csv": "arctic_a{0:04}|No. {0}|{1}\n",
        "transcripts.txt": "arctic_a{0:04}|{1}\n",
    }
    place = folder / "etc" / form if form == "txt.done.data" else folder / form
    place.parent.mkdir(parents=True)
    place.write_text("".join(lines[form].format(n, sentence(n)) for n in range(80)))
    for n in range(80):
        (folder / "wav").mkdir(exist_ok=True)
        (folder / "wav" / f"arctic_a{n:04}.wav").write_bytes(b"RIFF")
    found = read(f"sentences@{folder}")
    assert [len(found[split]) for split in SPLITS] == [65, 5, 10]
    assert ids(found)["test"] == [f"arctic_a{n:04}" for n in range(70, 80)]
    assert ids(found)["validation"] == [f"arctic_a{n:04}" for n in range(65, 70)]
    assert found["test"][0].text == sentence(70)
    assert found["test"][0].source == folder / "wav" / "arctic_a0070.wav"
    if form == "txt.done.data":
        assert found["test"][0].speaker == "bdl"


def test_a_sentence_is_held_out_in_every_voice(tmp_path):
    for voice in ("bdl", "slt"):
        folder = tmp_path / f"cmu_us_{voice}_arctic"
        (folder / "etc").mkdir(parents=True)
        (folder / "wav").mkdir()
        lines = [f'( a{n} "Line {n}." )\n' for n in range(20)]
        (folder / "etc" / "txt.done.data").write_text("".join(lines))
        for n in range(20):
            (folder / "wav" / f"a{n}.wav").write_bytes(b"RIFF")
    found = read(f"sentences@{tmp_path}")
    last = [f"cmu_us_{voice}_arctic/a{n}" for voice in ("bdl", "slt") for n in (18, 19)]
    assert ids(found)["test"] == last
    assert {clip.text for clip in found["train"]}.isdisjoint({c.text for c in found["test"]})
    assert {clip.speaker for clip in found["test"]} == {"bdl", "slt"}
    source = found["test"][-1].source
    assert source == tmp_path / "cmu_us_slt_arctic" / "wav" / "a19.wav", "not the other voice's"


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("transcripts.txt", b"a one\n", r"transcripts\.txt line 1 is not ID\|TEXT"),
        ("transcripts.txt", b"a|no\xe9l\n", r"transcripts\.txt is not UTF-8: byte 0xe9 at .* 4"),
        ("txt.done.data", b"(a)\n", r'txt\.done\.data line 1 is not \( ID "TEXT" \)'),
        ("notes.md", b"x", r"holds none of txt\.done\.data, metadata\.csv, transcripts\.txt"),
        ("transcripts.txt", b"a|one\n", r"1 missing audio \(a\)"),
    ],
)
def test_lists_that_cannot_be_read(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(VermeilError, match=message):
        read(f"sentences@{tmp_path}")


def test_places_that_are_none(tmp_path):
    with pytest.raises(VermeilError, match=r"there is no folder .*: give the folder of Li"):
        read(f"librispeech@{tmp_path}/none")
    (tmp_path / "a.tar").write_bytes(b"\x1f\x8b no tar")
    (tmp_path / "a.zip").write_bytes(b"PK no zip")
    (tmp_path / "a.7z").write_bytes(b"7z")
    for name, message in (("tar", "no sound .tar without compression"), ("zip", "no sound .zip"),
                          ("7z", "no folder, .zip or .tar")):  # fmt: skip
        with pytest.raises(VermeilError, match=message):
            read(f"sentences@{tmp_path}/a.{name}")


def manifest(path: Path, rows) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_manifests(tmp_path):
    tone(tmp_path / "elsewhere" / "b.wav")
    folder = tmp_path / "set"
    rows = []
    for n in range(6):
        tone(folder / "wavs" / f"{n}.wav")
        rows.append({"audio_filepath": f"wavs/{n}.wav", "text": f"number {n}", "duration": 0.1})
    manifest(folder / "train_manifest.json", rows[:4])
    manifest(folder / "dev.jsonl", [rows[4] | {"speaker": 7, "lang": "de"}])
    elsewhere = [{"audio_filepath": str(tmp_path / "elsewhere" / "b.wav"), "text": "b"},
                 {"audio_filepath": "../elsewhere/b.wav", "text": "b again"}]  # fmt: skip
    manifest(folder / "test_manifest.json", [rows[5], *elsewhere])
    found = read(f"manifest@{folder}")
    assert [len(found[split]) for split in SPLITS] == [4, 1, 3]
    assert (found["validation"][0].speaker, found["validation"][0].language) == ("7", "de")
    assert found["train"][0].source == folder / "wavs" / "0.wav"
    assert all(Path(c.source).samefile(tmp_path / "elsewhere/b.wav") for c in found["test"][1:])
    alone = read(f"manifest@{folder}/train_manifest.json")
    assert sorted(texts(alone).values()) == [f"number {n}" for n in range(4)]
    assert all(alone.values()), "one manifest is divided"


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"audio_filepath": "a.wav"}, "line 1 has no audio_filepath and text"),
        ({"audio_filepath": "a.wav", "text": "a", "offset": 2.5}, "is a part of a.wav, from 2.5 s"),
        ([1], "line 1 is no JSON object"),
    ],
)
def test_manifests_that_cannot_be_read(tmp_path, row, message):
    with pytest.raises(VermeilError, match=message):
        read(f"manifest@{manifest(tmp_path / 'a.jsonl', [row])}")


def digits(folder: Path) -> Path:
    """Ten digits, seven times, by two people, and a file of another name."""
    for digit in range(10):
        for speaker in ("ann", "bob"):
            for index in range(7):
                tone(folder / "recordings" / f"{digit}_{speaker}_{index}.wav", 0.05, 8_000)
    tone(folder / "recordings" / "noise.wav", 0.05, 8_000)
    return folder


def test_digits_have_the_official_test_split_and_leave_one_out(tmp_path):
    folder = digits(tmp_path / "free-spoken-digit-dataset-1.0.10")
    found = read(f"fsdd@{folder}")
    test = {clip.id for clip in found["test"]}
    assert test == {f"{d}_{s}_{i}" for d in range(10) for s in ("ann", "bob") for i in range(5)}
    assert len(found["train"]) + len(found["validation"]) == 40 and found["validation"]
    assert texts(found)["7_bob_3"] == "seven" and found["test"][0].label_method == "file_name"
    left = read(f"fsdd@{folder}#speaker=bob")
    assert {clip.speaker for clip in left["test"]} == {"bob"} and len(left["test"]) == 70
    others = [*left["train"], *left["validation"]]
    assert {clip.speaker for clip in others} == {"ann"} and len(others) == 70
    assert str(load_speech(f"fsdd@{folder}").dropped).startswith("1 name without digit")
    with pytest.raises(VermeilError, match=r"nobody in .* is called bop: did you mean 'bob'"):
        read(f"fsdd@{folder}#speaker=bop")


def test_an_archive_is_read_as_the_folder_in_it(tmp_path):
    folder = digits(tmp_path / "set")
    with (
        zipfile.ZipFile(tmp_path / "a.zip", "w") as archive,
        tarfile.open(tmp_path / "a.tar", "w") as tar,
    ):
        for path in sorted(folder.rglob("*.wav")):
            archive.write(path, f"top/recordings/{path.name}")
            tar.add(path, f"./recordings/{path.name}")
    sets = [load_speech(f"fsdd@{tmp_path}/{name}") for name in ("set", "a.zip", "a.tar")]
    assert len({data.sha256() for data in sets}) == 1, "the same content is the same"
    plain, zipped, tarred = ([*data.clips("test")] for data in sets)
    assert [c.id for c in plain] == [c.id for c in zipped] == [c.id for c in tarred]
    for one, other, third in zip(plain[:9], zipped, tarred, strict=False):
        assert Path(one.source).read_bytes() == other.source == third.source
    tone(folder / "recordings" / "0_ann_0.wav", 0.2, 8_000)
    assert load_speech(f"fsdd@{folder}").sha256() != sets[0].sha256()


def test_a_damaged_archive_is_named(tmp_path):
    tone(tmp_path / "wav" / "a.wav", 2)
    content = bytearray((tmp_path / "wav" / "a.wav").read_bytes())
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("transcripts.txt", "".join(f"a{n}|say {n}\n" for n in range(9)))
        for n in range(9):
            archive.writestr(f"a{n}.wav", bytes(content))
    damaged = bytearray(path.read_bytes())
    damaged[3000] ^= 1
    path.write_bytes(damaged)
    with pytest.raises(VermeilError, match=r"a0\.wav in .*a\.zip is damaged"):
        read(f"sentences@{path}")
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        info = tarfile.TarInfo("recordings/0_ann_0.wav")
        info.size = 10_000
        archive.addfile(info, io.BytesIO(bytes(10_000)))
    whole = (tmp_path / "a.tar").read_bytes()
    (tmp_path / "a.tar").write_bytes(whole[:5000])
    with pytest.raises(
        VermeilError, match=r"a\.tar is no sound .tar without compression .unexpected end"
    ):
        read(f"fsdd@{tmp_path}/a.tar")


def test_speech_is_not_taken_for_pictures_or_text():
    with pytest.raises(VermeilError, match="embedded_speech holds speech, not pictures"):
        load_pictures("embedded_speech")
    with pytest.raises(
        VermeilError, match=r"scenes holds pictures, not speech: known: .*embedded_speech"
    ):
        load_speech("scenes")
    with pytest.raises(VermeilError, match="did you mean 'librispeech'"):
        load_speech("libirspeech@x")


@pytest.mark.skipif(not FSDD.exists(), reason="the part of FSDD is not here")
def test_the_real_digits():
    data = load_speech(f"fsdd@{FSDD}")
    assert data.splits == "2,565 / 135 / 300" and not data.dropped.counts
    test = list(data.clips("test"))
    assert sorted({clip.speaker for clip in test}) == [
        "george", "jackson", "lucas", "nicolas", "theo", "yweweler"]  # fmt: skip
    assert all(sum(c.text == word for c in test) == 30 for word in ("zero", "nine"))
    assert soundfile.info(io.BytesIO(test[0].source)).samplerate == 8_000
    assert load_speech(f"fsdd@{FSDD}#speaker=theo").splits == "2,375 / 125 / 500"


@pytest.mark.skipif(not ARCTIC.exists(), reason="the part of ARCTIC is not here")
def test_the_real_sentences():
    data = load_speech(f"sentences@{ARCTIC}")
    assert data.splits == "650 / 50 / 100" and not data.dropped.counts
    test = list(data.clips("test"))
    assert len({clip.text for clip in test}) == 100
    train = {clip.text for clip in data.clips("train")}
    assert train.isdisjoint({clip.text for clip in test})
    info = soundfile.info(io.BytesIO(test[0].source))
    assert (info.format, info.samplerate, info.channels) == ("FLAC", 16_000, 1)
