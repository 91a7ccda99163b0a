"""Generated speech: the same for the same words, another in another voice, and held-out voices."""

import io
import sys
import time

import numpy as np
import pytest
import soundfile

from data import espeak, load_speech
from data.embedded_speech import EmbeddedSpeech, vocabulary
from data.embedded_text import EmbeddedText
from data.espeak import Manner
from data.scenes import Scenes
from data.speech import SPLITS
from data.spoken import (
    VOICES,
    ProseConfig,
    QuestionsConfig,
    SpokenProse,
    SpokenQuestions,
    SpokenWords,
    WordsConfig,
    manner,
    packed,
    sentences,
)
from shared.errors import VermeilError

speaks = pytest.mark.skipif(not espeak.available(), reason="espeak-ng is not installed")


@speaks
def test_what_is_said_depends_on_words_and_manner_alone():
    slow, fast = Manner("en-us+f3", 130), Manner("en-us+f3", 190)
    lines = [("hello", slow), ("seven", fast), ("hello", fast), ("hello", Manner("en-us+m1", 130))]
    one, two, three, four = espeak.said(lines)
    time.sleep(1.1)  # its noise was once seeded with the time, in seconds
    again = list(espeak.said([lines[2], lines[3], lines[0], lines[1]]))
    same = [a == b for a, b in zip(again, [three, four, one, two], strict=True)]
    assert all(same), "in another order the same to the bit"
    assert len(one) > len(three) > 0 and one != four
    wave = np.frombuffer(one, "<i2") / 32768
    assert 0.2 < len(wave) / espeak.rate() < 1.5 and np.abs(wave).max() > 0.1


@speaks
@pytest.mark.parametrize("line", [("hello", Manner("xx-none+q9")), ("", Manner("en-us"))])
def test_what_cannot_be_said(line):
    with pytest.raises(VermeilError, match=r"cannot say '.*' with the voice .*--voices=en"):
        list(espeak.said([("hello", Manner("en-us")), line]))


@speaks
def test_reading_may_stop_early():
    answers = espeak.said([("hello", Manner("en-us"))] * 50)
    assert next(answers)
    answers.close()


def test_without_the_library(monkeypatch):
    espeak._library.cache_clear()
    monkeypatch.setitem(sys.modules, "espeakng_loader", None)
    monkeypatch.setattr(espeak, "find_library", lambda name: None)
    try:
        assert not espeak.available() and not load_speech("spoken_words").ready()
        with pytest.raises(
            VermeilError, match=r"takes espeak-ng, which is not installed.*espeakng-loader"
        ):
            list(espeak.said([("hello", Manner("en-us"))]))
        assert load_speech("spoken_words").splits, "what there would be is known"
    finally:
        espeak._library.cache_clear()


def test_a_voice_is_of_one_split():
    voices = [voice for split in SPLITS for voice in VOICES[split]]
    assert len(voices) == len(set(voices))
    timbres = {split: {v.partition("+")[2] for v in VOICES[split]} for split in SPLITS}
    assert not timbres["train"] & timbres["test"], "nor the variant in another accent"


def test_words_of_every_split():
    data = SpokenWords()
    texts = vocabulary()
    train, validation, test = ([*data.lines(split)] for split in SPLITS)
    for lines, split in ((validation, "validation"), (test, "test")):
        assert len(lines) == len(texts) * len(VOICES[split])
        assert {line.text for line in lines} == set(texts)
    words = [line for line in train if line.text in set(texts)]
    assert len(words) == len(texts) * len(VOICES["train"])
    sentences = {line.text for line in train} - set(texts)
    table = EmbeddedSpeech().table()
    unseen = {r["text"] for r in table if r["category"] == "sentences" and r["split"] != "train"}
    assert len(sentences) > 50 and not sentences & unseen, "what is held out is not said"
    assert data.splits == " / ".join(f"{len(x):,}" for x in (train, validation, test))
    for lines in (train, validation, test):
        assert len({line.id for line in lines}) == len(lines)
    assert manner("en-us", 1, 2) == manner("en-us", 1, 2) != manner("en-us", 1, 3)
    assert all(130 <= line.manner.speed < 200 for line in test)


@speaks
def test_words_are_made_once(home, monkeypatch):
    monkeypatch.setattr("data.embedded_speech.vocabulary", lambda: ["a m", "seven"])
    monkeypatch.setattr(EmbeddedSpeech, "table", lambda self: [])
    data = SpokenWords(config=WordsConfig(takes=1))
    assert not data.ready()
    data.prepare()
    assert data.ready()
    clips = {split: list(data.clips(split)) for split in SPLITS}
    assert [len(clips[split]) for split in SPLITS] == [16, 4, 6]
    clip = clips["test"][0]
    assert (clip.id, clip.text, clip.speaker, clip.label_method) == (
        "en-us+f3/a_m/0", "a m", "en-us+f3", "synthetic")  # fmt: skip
    wave, rate = soundfile.read(io.BytesIO(clip.source), dtype="float32")
    assert rate == 8_000 and wave.ndim == 1 and np.abs(wave).max() > 0.05
    monkeypatch.setattr(espeak, "said", lambda lines: pytest.fail("made again"))
    again = SpokenWords(config=WordsConfig(takes=1))
    assert [c.source for c in again.clips("test")] == [c.source for c in clips["test"]]
    assert again.sha256() != SpokenWords(config=WordsConfig(takes=1, seed=1)).sha256()


@speaks
def test_questions_are_aloud_and_keep_their_answers():
    data = SpokenQuestions(config=QuestionsConfig(train=4, test=3))
    assert data.splits == "4 / 3 / 3" and data.sha256() != SpokenQuestions().sha256()
    for split in ("train", "test"):
        pairs = list(data.asked(split))
        assert len(pairs) == {"train": 4, "test": 3}[split]
        for n, (question, clip) in enumerate(pairs):
            scene = Scenes().scene(split, n)
            assert question.picture == scene.id and question in list(Scenes().asked(scene))
            assert clip.id == f"{split}/{question.id}" and clip.text == question.text
            assert clip.speaker in VOICES[split] and clip.label_method == "synthetic"
    assert soundfile.info(io.BytesIO(pairs[0][1].source)).samplerate == 16_000
    longer = SpokenQuestions(config=QuestionsConfig(train=6, test=3))
    first = [question for question, _ in zip(longer.questions("train"), range(4), strict=False)]
    assert first == [question for question, _ in data.asked("train")], "more are only more"


def test_sentences_are_those_that_are_read_as_they_are_written():
    text = """CHAPTER 1.

    "I die to see him." She had 3 sisters, it is said. _Italics_ are not read aloud, sir!
    Where did you get that quiz--of a hat? She walked with Mr. Elliot. Oh! The end of a line that
    is broken. no capital begins this one here. It has no end that we know of"""
    found = [*sentences(text.replace("\n    ", "\n"), 3, 9)]
    assert found == ["I die to see him.", "Where did you get that quiz--of a hat?"]
    assert [*sentences("One two three. One two three four.", 4, 4)] == ["One two three four."]


def test_prose_is_of_its_split():
    data = SpokenProse(config=ProseConfig(train=200, test=20))
    train, validation, test = ([*data.lines(split)] for split in SPLITS)
    assert [len(train), len(validation), len(test)] == [200, 20, 20]
    for lines, split in ((train, "train"), (test, "test")):
        documents = [d.text for d in EmbeddedText().documents(split)]
        known = {s for text in documents for s in sentences(text, *data.config.words)}
        assert {line.text for line in lines} <= known
        assert {line.manner.voice for line in lines} == {*VOICES[split]}
        assert len({line.text for line in lines}) == len(lines), "none comes twice"
    assert data.sha256() != SpokenProse().sha256()


def test_resampling_keeps_the_pitch():
    rate = espeak.rate()
    tone = (np.sin(2 * np.pi * 440 * np.arange(rate) / rate) * 9_000).astype("<i2")
    for wanted in (8_000, 16_000):
        wave, found = soundfile.read(io.BytesIO(packed(tone.tobytes(), wanted)))
        spectrum = np.abs(np.fft.rfft(wave))
        assert found == wanted and abs(len(wave) - wanted) < 2
        assert abs(np.argmax(spectrum) * wanted / len(wave) - 440) < 2


def test_it_takes_no_root(tmp_path):
    with pytest.raises(VermeilError, match="spoken_words is made, not read"):
        load_speech("spoken_words", tmp_path)
