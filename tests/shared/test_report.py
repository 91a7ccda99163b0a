"""The report: what it says of each number; that its page shows everything and trusts nothing."""

import json
import re
from datetime import timedelta

import pytest

from shared import report
from shared.errors import VermeilError
from shared.glossary import METRICS
from shared.results import Results, Row, table, texts, transcripts
from tests.shared.made_up_results import (
    HARDWARE,
    drawing,
    language_model,
    make_row,
    png,
    tokenizer,
    wav,
)


@pytest.fixture
def walked() -> list[Results]:
    return [tokenizer(), language_model(), drawing()]


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({}, "beats the strongest floor (byte 5-gram 1.70) by 5 %"),
        ({"baselines": {"xz": 2.17}}, "beats the strongest floor (xz 2.17) by 26 %"),
        ({"baselines": {"xz": 1.4}}, "does not beat the strongest floor (xz 1.40): worse by 15 %"),
        (
            {"baselines": {"xz": 1.62}},
            "beats the strongest floor (xz 1.620) by 0.6 %; "
            "the interval reaches the floor, so this may be chance",
        ),
        (
            {"baselines": {"xz": 1.61}, "low": None},
            "does not beat the strongest floor (xz 1.61): it equals it",
        ),
        ({"baselines": {}}, "no floor was measured for this number"),
        ({"baselines": {"xz": None}}, "no floor was measured for this number"),
        ({"better": "none"}, ""),
        (
            {"better": "higher", "baselines": {"constant": 0.0}},
            "beats the strongest floor (constant 0.00) by 1.61 bit/byte",
        ),
    ],
)
def test_the_comparison_is_said_honestly(changes, says):
    assert report.comparison(make_row(**changes)) == says


def test_the_summary_is_one_sentence():
    assert report.summary([tokenizer()]) == (
        "Tokenizer, trained from scratch in 9.3 s on 2 cores of AMD EPYC 9B14."
    )
    many = [tokenizer(), *(language_model() for _ in range(3)), drawing()]
    many[-1].title, many[-1].hardware = "VQA", {**HARDWARE, "gpu": "NVIDIA H200"}
    assert report.summary(many).startswith("5 steps, from tokenizer to VQA, trained from scratch")
    assert report.summary(many).endswith(" on 2 cores of AMD EPYC 9B14 and NVIDIA H200.")


def test_steps_side_by_side_take_the_time_of_the_walk():
    """Ten minutes and then, after a minute of nothing, two of five that share three: 17 in all."""
    first, second, third = tokenizer(), tokenizer(), tokenizer()
    ends = (10, 16, 18)  # minutes
    for found, end, minutes in zip((first, second, third), ends, (10, 5, 5), strict=True):
        found.created = (first.date.replace(hour=1, minute=end)).isoformat()
        found.seconds = 60 * minutes
    assert report.together([third, first, second]) == 17 * 60
    one = {**HARDWARE, "cores": 1}
    second.hardware = one
    assert report.summary([first, second]).endswith("in 15 min 00 s on 2 cores of AMD EPYC 9B14.")
    first.hardware = one
    assert report.summary([first, second]).endswith("on 1 core of AMD EPYC 9B14.")


def test_a_step_that_measured_nothing_still_has_a_page():
    empty = tokenizer()
    empty.rows, empty.exhibits, empty.data = [], [], []
    assert "nothing: trained from scratch" in visible(report.page([empty]))
    assert "## Tokenizer" in report.markdown([empty])


def visible(page: str) -> str:
    """The page's words, as a reader sees them."""
    body = re.sub(r"<(script|style)>.*?</\1>", "", page, flags=re.S)
    return " ".join(re.sub(r"<[^>]*>", " ", body).split())


def test_the_page_shows_everything(walked):
    page = report.page(walked, missing=["caption", "vqa"])
    words = visible(page)
    for row in (row for found in walked for row in found.rows):
        assert report.metric_label(row.metric) in words
        assert METRICS[row.metric][1].replace("'", "&#39;") in words
        assert row.protocol in words
        for name in (*row.baselines, *row.ceilings, *(row.reference or {})):
            assert report.baseline_label(name) in words
    for said in (
        "Tokenizer, language model and text to image, trained from scratch in 1 h 10 min",
        "Not walked yet: caption, vqa",
        "PPM, primed not measured",
        "No floor was measured for this number.",
        "not available: needs Java, which is not installed",
        "Beats the strongest floor (byte 5-gram 1.70) by 5 %",
        "Does not beat the strongest floor (shuffled prompt 0.0401)",
        "Normal: validation loss 4.04",
        "Not normal: loss 0.41",
        "step 500",
        "c0ffeec0ffee",
        "public domain / CC0-1.0",
        "112 tensors taken over",
        "1.02 with random ones",
        "lower is better",
        "published",
    ):
        assert said in words, said
    assert page.count("data:image/png;base64,") == 10
    assert page.count("data:audio/wav;base64,") == 2
    assert "c0ffee" * 10 in page  # the whole hash, for whoever looks
    assert page.count('class="plot"') == 1
    assert page.count(METRICS["bits_per_byte"][1].replace("'", "&#39;")) == 1  # of three rows
    assert page.count('class="stage"') == 6  # ten samples at five stages, and the odd one


def test_the_page_loads_nothing_and_trusts_nothing(walked):
    odd = "<img src=x onerror=alert(1)>'\""
    walked[1].title = walked[1].verdict["text"] = odd
    walked[1].exhibits[0]["series"][0]["name"] = odd + "</script>"
    page = report.page(walked)
    without_pictures = re.sub(r'"data:(image/png|audio/wav);base64,[\w+/=]*"', "", page)
    assert not re.search(r"https?:|//[a-z]|@import|url\(|<link|<iframe", without_pictures)
    assert set(re.findall(r'(?:src|href)="([^"]{,5})', page)) <= {"data:", "#lm", "#toke", "#text"}
    assert "<script>alert" not in page
    assert "<img src=x" not in page
    assert "&lt;script&gt;alert(&#39;owned&#39;)&lt;/script&gt;" in page
    assert page.count("<script>") == page.count("</script>") == 1
    assert "default-src 'none'" in page


def test_json_rows_equal_what_was_measured(walked, tmp_path):
    path = report.write(walked, tmp_path)
    assert sorted(file.name for file in tmp_path.iterdir()) == [
        "report.html",
        "report.json",
        "report.md",
    ]
    assert path == tmp_path / "report.html"
    document = json.loads((tmp_path / "report.json").read_text())
    assert document["schema"] == 1
    assert [Row(**row) for row in document["rows"]] == [r for found in walked for r in found.rows]
    assert [step["step"] for step in document["steps"]] == ["tokenizer", "lm", "text_to_image"]
    assert document["steps"][1]["verdict"] == walked[1].verdict


def test_markdown_reads_on_its_own(walked):
    written = report.markdown(walked, missing=["vqa"])
    for said in (
        "| lm | bits_per_byte | test | 1.61 [1.60, 1.62] bit/byte | byte_5gram 1.70 (beaten) |",
        "| text_to_image | spice |  | not available: needs Java, which is not installed |",
        "- bits per byte: beats the strongest floor (byte 5-gram 1.70) by 5 %.",
        "| validation | 8.35 at 0 | 4.10 at 1,000 |",
        "| It is a truth universally acknowledged | 8 | 38 | 4.75 |",
        "Not walked yet: vqa.",
        "**Not normal**: loss 0.41",
        "```text\n</blockquote><script>alert('owned')</script>\n```",
    ):
        assert said in written, said


WORDS = [("equal", "the", "the"), ("insert", "", "quack"), ("substitute", "quick", "<brown>"),
         ("delete", "fox", "")]  # fmt: skip


def test_transcripts_stand_beside_the_truth():
    found = tokenizer()
    items = [("clip 1", WORDS, wav(), png(9, 9, 9)), ("silence", [], None, None)]
    found.exhibits = [transcripts("What it hears", items)]
    page = report.page([found])
    assert "the <del>quick</del> <del>fox</del>" in page
    assert "the <ins>quack</ins> <ins>&lt;brown&gt;</ins>" in page
    assert page.count("<small>nothing</small>") == 2
    assert page.count("data:audio/wav;base64,") == page.count("data:image/png;base64,") == 1
    assert "| clip 1 | the [quick] [fox] | the [quack] [&lt;brown&gt;] |" in report.markdown(
        [found]
    )


def test_transcripts_refuse_other_fates():
    with pytest.raises(VermeilError, match="not one of delete, equal, insert, substitute"):
        transcripts("T", [("clip", [("changed", "a", "b")], None, None)])


def test_markdown_survives_odd_cells():
    odd = tokenizer()
    odd.exhibits = [
        table("a | b", ["x|y"], [["<b>\nc"], [None]]),
        texts("T", [("s", "", "```\ncode\n```")]),
    ]
    written = report.markdown([odd])
    assert "| x\\|y |" in written
    assert "| &lt;b&gt; c |" in written
    assert "````text\n```\ncode\n```\n````" in written


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("VERMEIL_HOME", str(tmp_path))
    return tmp_path


def run_folder(home, found: Results, version: str):
    return home / "runs" / found.step / version


def test_the_newest_of_each_step_in_the_given_order(home):
    old, new = language_model(), language_model()
    new.created = (old.date + timedelta(hours=1)).isoformat()
    other = tokenizer()
    old.save(run_folder(home, old, "tiny-b"))
    new.save(run_folder(home, new, "tiny-a"))
    other.save(run_folder(home, other, "tiny-c"))
    assert report.collect(home, order=["tokenizer", "lm"]) == [other, new]
    assert report.collect(home, order=["lm"]) == [new, other]
    assert report.collect(home, preset="base") == []


def test_a_damaged_file_is_skipped_aloud(home, capsys):
    old, new = language_model(), language_model()
    new.created = (old.date + timedelta(hours=1)).isoformat()
    old.save(run_folder(home, old, "tiny-a"))
    damaged = new.save(run_folder(home, new, "tiny-b"))
    content = damaged.read_bytes().replace(b'"value": 1.61', b'"value": 1.51')
    damaged.write_bytes(content)
    assert report.collect(home) == [old]
    warning = capsys.readouterr().err
    assert warning.startswith("skipped: ")
    assert str(damaged) in warning
    assert warning.count("\n") == 1


def test_the_command_prints_the_rows_and_the_path(home, capsys):
    for found in (tokenizer(), language_model()):
        found.save(run_folder(home, found, "tiny-a"))
    report.main(["--preset", "tiny"], order=["tokenizer", "lm"])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["step", "metric", "split", "value", "best", "floor", "n"]
    assert lines[3].split("  ")[0] == "lm"
    assert "1.61 [1.60, 1.62] bit/byte" in lines[3]
    assert lines[-1] == str(home / "reports" / "latest" / "report.html")


def test_nothing_trained_yet_names_the_command(home):
    with pytest.raises(VermeilError) as error:
        report.main([])
    assert error.value.hint == "vermeil run tiny"
    with pytest.raises(VermeilError, match="preset base"):
        report.main(["--preset", "base"])
    assert not (home / "reports").exists()


def test_the_front_door_can_import_it_quickly():
    """Neither torch nor the template engine may be loaded by importing the module."""
    import subprocess
    import sys

    code = "import sys, shared.report; print({'torch', 'jinja2', 'numpy'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
