"""Normalisation, words and sentences, the language, and every rule with a text made for it."""

import subprocess
import sys
import textwrap

import pytest

from data import load
from data.clean import JUDGED, SLICES, WORDS, Cleaner, excerpt, normalise
from data.prepare import CleanConfig
from shared.errors import VermeilError

SENTENCE = "The ship {} left the harbour with {} men, and the captain wrote to his wife that {}.\n"
NAMES = (
    "Aurora", "Bounty", "Comet", "Dolphin", "Eagle", "Falcon", "Griffin", "Hermes", "Iris", "Juno",
    "Kestrel", "Lark",
)  # fmt: skip
ENDS = (
    "the wind was fair", "nobody had slept", "rain fell all night", "a whale had been seen",
    "bread was running short", "two sails were torn", "the cook was ill", "they had lost an anchor",
    "an island was in sight", "the compass could not be trusted", "letters would take long",
    "the crew sang",
)  # fmt: skip
LOG = "".join(
    SENTENCE.format(name, 20 + i, end)
    for i, (name, end) in enumerate(zip(NAMES, ENDS, strict=True))
)
FRENCH = (
    "Le navire quitta le port avec vingt hommes, et le capitaine écrivit à sa femme que le vent "
    "était favorable. Personne n'avait dormi, la pluie tombait depuis la veille, et le pain "
    "commençait à manquer. Une île apparut enfin au lever du jour, couverte de forêts, et les "
    "matelots chantèrent. On jeta l'ancre près du rivage, puis on mit une chaloupe à la mer.\n"
)


def reason(text: str, *rules: str, language: str = "") -> str:
    return Cleaner(language, rules)(text).reason


def english(text: str, rule: str) -> str:
    """The rule's reason for a text that is taken for English, whatever it is."""
    cleaner = Cleaner("en", (rule,))
    cleaner.language = ""
    found, _, why = cleaner(text).reason.partition(": ")
    assert found in ("", rule)
    return why


@pytest.mark.parametrize(
    ("raw", "normal"),
    [
        ("cafe\u0301", "café"),
        ("a\r\nb\rc\u2028d", "a\nb\nc\nd"),
        ("one\x00\x07\x7f two\ttab\n", "one two\ttab\n"),
        ("page\x0cnext", "page\nnext"),
        ("\ufeffmark", "mark"),
        ("schÃ¶n, itâ€™s", "schön, it’s"),
        ("\x1b[31mred\x1b[0m", "red"),
        ("half \ud83d of a pair", "half \ufffd of a pair"),
        ("“quoted” ﬁne ＷＩＤＥ &lt;b&gt; — 北京 🐳", "“quoted” ﬁne ＷＩＤＥ &lt;b&gt; — 北京 🐳"),
        ("two  spaces\n\n\n\nand lines \n", "two  spaces\n\n\n\nand lines \n"),
    ],
)
def test_normalisation(raw, normal):
    assert normalise(raw) == normal
    assert normalise(normal) == normal, "a second time changes nothing"


def test_words_and_sentences():
    text = "Mr. Darcy didn't bow. Elizabeth smiled!\n\nDid he go?  "
    assert WORDS.sent_tokenize(text) == [
        "Mr. Darcy didn't bow.", "Elizabeth smiled!", "Did he go?",
    ]  # fmt: skip
    words = ["Mr.", "Darcy", "did", "n't", "bow", ".", "Elizabeth", "smiled", "!", "Did", "he"]
    assert WORDS.word_tokenize(text) == [*words, "go", "?"]
    assert WORDS.word_tokenize("IS_ALPHA is a word") == ["IS_ALPHA", "is", "a", "word"]


def test_words_are_forgotten():
    def known() -> int:
        return len(WORDS._spacy.vocab.strings)

    WORDS.forget()
    before = known()
    words = " ".join(f"w{chr(97 + i % 26)}{'x' * (i // 26)}" for i in range(260))
    WORDS.word_tokenize(words)
    assert known() > before + 200
    WORDS.forget()
    assert known() == before
    assert WORDS.word_tokenize(words) == words.split()


def test_words_cost_no_torch():
    check = "import sys; from data.clean import WORDS; WORDS.word_tokenize('a b'); "
    check += "assert 'torch' not in sys.modules; import torch; torch.ones(1)"
    subprocess.run([sys.executable, "-c", check], check=True)


@pytest.mark.parametrize(
    ("text", "language", "expected"),
    [
        (LOG, "en", ""),
        (FRENCH, "en", "language"),
        (FRENCH, "fr", ""),
        (FRENCH, "", ""),
        ("word " * 100, "en", "language"),  # English, by 0.59
        (" \n\t\u3000\n", "en", "empty"),
        ("\x00\x01", "", "empty"),
    ],
)
def test_language(text, language, expected):
    assert reason(text, language=language) == expected


def test_the_language_that_was_found_is_told():
    assert Cleaner("en", ())(FRENCH).detail.startswith("fr 0.9")


def numbered(line: str, times: int) -> str:
    return "".join(line.format(i) + "\n" for i in range(times))


QUALITY = {
    "The captain wrote to his wife that the wind was fair.": "gopher_short_doc",
    "a of to I in on at by we it " * 8: "gopher_below_avg_threshold",
    "the incomprehensibilities and counterrevolutionaries " * 20: "gopher_above_avg_threshold",
    "the captain wrote to his wife # " * 12: "gopher_too_many_hashes",
    "the captain wrote to his wife... " * 12: "gopher_too_many_ellipsis",
    LOG.replace("The ship", "- The ship"): "gopher_too_many_bullets",
    LOG.replace("\n", "…\n"): "gopher_too_many_end_ellipsis",
    LOG + "1804 1823 1843 1862 1882 " * 20: "gopher_below_alpha_threshold",
    FRENCH: "gopher_enough_stop_words",
    LOG: "",
}


@pytest.mark.parametrize(("text", "expected"), QUALITY.items(), ids=QUALITY.values())
def test_gopher_quality(text, expected):
    assert english(text, "gopher_quality") == expected


SPEECH = next(load("embedded_sample").documents("train")).text[:3000]
PARAGRAPHS = [SPEECH[i : i + 300].replace("\n", " ") for i in range(0, 3000, 300)]
REPETITION = {
    "\n".join([*PARAGRAPHS, *["So it was."] * 8]): "dup_line_frac",
    "\n\n".join([*PARAGRAPHS, *["So it was."] * 8]): "dup_para_frac",
    "\n\n".join([*PARAGRAPHS, *PARAGRAPHS[:3]]): "dup_para_char_frac",
    "\n".join([*PARAGRAPHS, *PARAGRAPHS[:3]]): "dup_line_char_frac",
    SPEECH + "very very " * 100: "top_2_gram",
    SPEECH + "ever and anon " * 60: "top_3_gram",
    SPEECH + "as we have seen " * 50: "top_4_gram",
    SPEECH + SPEECH[:800]: "duplicated_5_n_grams",
    SPEECH: "",
}


@pytest.mark.parametrize(("text", "expected"), REPETITION.items(), ids=REPETITION.values())
def test_gopher_repetition(text, expected):
    assert english(text, "gopher_repetition") == expected


def test_c4_sentences_judges_and_leaves_the_text_alone():
    wrapped = textwrap.fill(" ".join(LOG.split()), 60)  # lines that end within a sentence
    verdict = Cleaner("", ("c4_sentences",))(wrapped)
    assert verdict.reason == "" and verdict.text == wrapped
    assert reason(wrapped, "c4_lines") == "c4_lines: too_few_sentences"
    for text, expected in (
        ("".join(LOG.splitlines(keepends=True)[:4]), "too_few_sentences"),
        (numbered("Chapter {} of the log of the Aurora", 12), "too_few_sentences"),
        (LOG + "Lorem ipsum dolor sit amet.", "lorem_ipsum"),
        (LOG + "Then the function is closed by {.", "curly_bracket"),
    ):
        assert reason(text, "c4_sentences") == f"c4_sentences: {expected}"


def test_c4_lines_drops_the_menus_of_a_web_page():
    page = (
        "Home | About | Contact\n" + LOG + "Enable JavaScript to see this.\nWe use cookies here.\n"
    )
    verdict = Cleaner("", ("c4_lines", "gopher_quality"))(page)
    assert verdict.reason == "" and verdict.text == LOG.strip()


def test_english_stop_words_are_not_asked_of_french():
    assert english(FRENCH, "gopher_quality") == "gopher_enough_stop_words"
    assert reason(FRENCH, "gopher_quality", language="fr") == ""


def test_long_documents_are_judged_by_slices_from_all_over():
    head, tail = "{" * (JUDGED * 10), "x" * JUDGED
    assert excerpt(head[:JUDGED]) == head[:JUDGED]
    taken = excerpt(head + tail)
    assert len(taken) == JUDGED + SLICES - 1
    assert taken.startswith("{" * 100) and taken.endswith("x" * 100)
    assert taken.count("x") == JUDGED // SLICES
    log = numbered(LOG + "Day {}.", 600)
    assert len(log) > 2 * JUDGED
    assert reason(log + "It is {closed}.", "c4_sentences") == "c4_sentences: curly_bracket"
    between = f"{log[: JUDGED // SLICES + 999]}It is {{closed}}.\n{log}"
    verdict = Cleaner("", ("c4_sentences",))(between)
    assert verdict.reason == "" and verdict.text == between


def test_the_rules_of_the_default_exist():
    Cleaner("en", CleanConfig().rules)
    with pytest.raises(VermeilError) as error:
        Cleaner("en", ("gopher_qality",))
    assert error.value.hint == "did you mean 'gopher_quality'?"


def test_real_prose_is_kept_whole():
    cleaner = Cleaner("en", CleanConfig().rules)
    for document in load("embedded_sample").documents("test"):
        verdict = cleaner(document.text)
        assert verdict.reason == "" and verdict.text == document.text
