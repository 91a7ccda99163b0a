"""Caption metrics: published numbers, and what happens without Java or when it hangs."""

import shutil
import sys

import pytest

from shared.errors import VermeilError
from shared.metrics import caption
from shared.metrics.caption import caption_scores, simple_words

pytest.importorskip("pycocoevalcap")

# The example of Hessel et al., 2021 (CLIPScore), with the numbers of the reference packages.
REFERENCES = {
    "image1": [
        "two cats are sleeping next to each other.",
        "a grey cat is cuddling with an orange cat on a blanket.",
        "the orange cat is happy that the black cat is close to it.",
    ],
    "image2": [
        "a dog is wearing ear muffs as it lies on a carpet.",
        "a black dog and an orange cat are looking at the photographer.",
        "headphones are placed on a dogs ears.",
    ],
}
GOOD = {
    "image1": "an orange cat and a grey cat are lying together.",
    "image2": "a black dog wearing headphones looks at the camera as an orange cat walks in the "
    "background.",
}
BAD = {
    "image1": "a calico cat and a white cat are lying together.",
    "image2": "a black dog wearing a hat looks at the camera as a tabby walks in the background.",
}
NUMBERS = [
    (GOOD, {"bleu_1": 0.6667, "bleu_2": 0.4899, "bleu_3": 0.3469, "bleu_4": 0.0, "meteor": 0.3444,
            "rouge_l": 0.4280, "cider": 0.5637}),
    (BAD, {"bleu_1": 0.4815, "bleu_2": 0.2404, "bleu_3": 0.1359, "bleu_4": 0.0, "meteor": 0.1861,
           "rouge_l": 0.3121, "cider": 0.2790}),
]  # fmt: skip
with_java = pytest.mark.skipif(shutil.which("java") is None, reason="Java is not installed")


@with_java
@pytest.mark.parametrize(("captions", "expected"), NUMBERS, ids=["good", "bad"])
def test_published_numbers(captions, expected):
    found = caption_scores(captions, REFERENCES)
    assert (found.n, found.tokenizer) == (2, "Stanford PTB 3.4.1")
    for name, number in expected.items():
        assert found.scores[name].value == pytest.approx(number, abs=5e-5), name
    for name, score in found.scores.items():
        assert len(score.each) == (2 if score.value is not None else 0), name
    assert found.scores["spice"].reason == "stanford-corenlp-3.6.0.jar is missing"


@with_java
def test_lines_bars_and_other_scripts_stay_in_their_caption():
    """Each would shift what a Java program says to the captions after it."""
    captions = {
        "a": "two\nlines ||| and \u2028 bars",
        "b": "",
        "c": "eine Katze schläft",
        "d": "猫",
    }
    references = {key: [text or "nothing"] for key, text in captions.items()}
    references["a"] = ["two lines and bars"]
    found = caption_scores(captions, references)
    for name in ("bleu_1", "rouge_l"):
        assert found.scores[name].each[1:] == pytest.approx((0, 1, 1), abs=1e-6)
    assert [score > 0.4 for score in found.scores["meteor"].each] == [True, False, True, True]


def test_without_java_the_names_say_so(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    found = caption_scores(GOOD, REFERENCES)
    assert found.tokenizer == "simple" and set(found.scores) == {
        f"{name}_simple" for name in (*NUMBERS[0][1], "spice")
    }  # fmt: skip
    for name, expected in NUMBERS[0][1].items():  # here both split alike
        score = found.scores[f"{name}_simple"]
        if name == "meteor":
            assert score.value is None and score.reason == "Java is not installed"
        else:
            assert score.value == pytest.approx(expected, abs=5e-5), name


def fake_java(folder, monkeypatch, does: str) -> None:
    """A `java` that knows its version and else does what the Python lines say."""
    program = folder / "java"
    program.write_text(f"#!{sys.executable}\nimport sys, time, json\n"
                       f"if '-version' not in sys.argv:\n    {does}\n")  # fmt: skip
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(folder))


def test_a_program_that_hangs_is_stopped(monkeypatch, tmp_path):
    fake_java(tmp_path, monkeypatch, "time.sleep(60)")
    found = caption_scores(GOOD, REFERENCES, seconds=0.5)
    assert found.tokenizer == "simple"
    assert found.scores["meteor_simple"].reason == "the tokenizer was stopped after 0.5 s"


def test_meteor_alone_may_fail(monkeypatch, tmp_path):
    """The tokenizer answers, METEOR does not: the others keep their own names."""
    fake_java(tmp_path, monkeypatch,
              "'-preserveLines' in sys.argv or sys.exit('out of memory')\n"
              "    sys.stdout.write(sys.stdin.read())")  # fmt: skip
    found = caption_scores(GOOD, REFERENCES)
    assert found.scores["meteor"].reason == "METEOR ended with status 1 (out of memory)"
    assert found.scores["cider"].value and found.tokenizer == "Stanford PTB 3.4.1"


def test_spice_reads_what_its_program_writes(monkeypatch, tmp_path):
    """With the models in place; the program is a fake that scores by the caption's length."""
    for name in caption.SPICE_NEEDS:
        (tmp_path / "spice" / "lib").mkdir(parents=True, exist_ok=True)
        (tmp_path / "spice" / "lib" / name).touch()
    (tmp_path / "spice" / "spice-1.0.jar").touch()
    fake_java(tmp_path, monkeypatch,
              "asked = json.load(open(sys.argv[sys.argv.index('-cache') - 1]))\n"
              "    f = lambda e: dict(All=dict(f=len(e['test']) / 100))\n"
              "    said = [dict(image_id=e['image_id'], scores=f(e)) for e in asked[::-1]]\n"
              "    json.dump(said, open(sys.argv[sys.argv.index('-out') + 1], 'w'))")  # fmt: skip
    said, true = {"a": ["x" * 10], "b": ["y" * 30]}, {"a": ["z"], "b": ["z"]}
    [score] = caption._spice([(said, true)], tmp_path, 30)
    assert score.each == (0.1, 0.3) and score.value == pytest.approx(0.2)


def test_one_picture_has_no_cider():
    found = caption_scores({"a": "a cat"}, {"a": ["a cat sits"]}, java=False)
    assert found.scores["cider_simple"].value is None
    assert "there is one picture" in found.scores["cider_simple"].reason


def test_simple_words():
    assert simple_words("The dog's ball: 2 o'clock!") == "the dog 's ball 2 o 'clock"


def test_pictures_and_captions_have_to_fit():
    with pytest.raises(VermeilError, match="1 captions have no references, 2 pictures no caption"):
        caption_scores({"image3": "a cat"}, REFERENCES)
    with pytest.raises(VermeilError, match="the references of picture 'image2' are 'a dog'"):
        caption_scores(GOOD, REFERENCES | {"image2": "a dog"})
    with pytest.raises(VermeilError, match="picture 'image2'"):
        caption_scores(GOOD, REFERENCES | {"image2": [" "]})
