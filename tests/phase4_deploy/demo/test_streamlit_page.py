"""The Streamlit page, run by Streamlit's own test harness on an API with known answers."""

import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

PAGE = Path(__file__).parents[3] / "phase4_deploy" / "demo" / "streamlit_page.py"


@pytest.fixture
def page(fake, monkeypatch, tmp_path):
    """The page on an API at an address of its own; `asked` are the addresses that were opened."""
    from streamlit.testing.v1 import AppTest

    asked = []

    def remote(url, key):
        asked.append((url, key))
        if url == "http://nobody":
            from shared.errors import VermeilError

            raise VermeilError("nobody answers at http://nobody", "vermeil serve")
        return fake(tmp_path / "calls.jsonl")

    module = SimpleNamespace(Remote=remote)
    monkeypatch.setitem(sys.modules, "phase4_deploy.serving.assistant", module)
    monkeypatch.setenv("VERMEIL_URL", f"http://api/{tmp_path.name}")
    monkeypatch.setenv("VERMEIL_KEY", "vk-1")
    test = AppTest.from_file(PAGE, default_timeout=60)
    test.asked = asked
    return test


def upload(page, key: str, file: Path, kind: str) -> None:
    page.file_uploader(key=key).upload(file.name, file.read_bytes(), kind)


def texts(page) -> list[str]:
    assert not page.exception
    return [text.value for text in page.text]


def test_it_writes_and_keeps_what_it_wrote(page, tmp_path):
    page.run()
    assert page.asked == [(f"http://api/{tmp_path.name}", "vk-1")]
    page.text_area(key="write_prompt").set_value("It was")
    page.number_input(key="write_seed").set_value(7)
    page.button(key="write_go").click().run()
    assert texts(page) == ["It was once upon seed 7"]
    page.text_area(key="write_prompt").set_value(" ")
    page.button(key="write_go").click().run()
    assert [error.value for error in page.error] == ["type the beginning of a sentence first"]
    assert texts(page) == ["It was once upon seed 7"]


def test_it_looks_and_answers(page, files):
    page.run()
    upload(page, "picture", files["scene.png"], "image/png")
    page.button(key="caption_go").click().run()
    assert texts(page) == ["RGB 48 by 40, (10, 20, 30)"]
    page.text_input(key="question").set_value("what?")
    page.button(key="ask_go").click().run()
    assert texts(page) == ["48 px: what?"]


def test_it_draws_writes_down_and_talks(page, files):
    page.run()
    page.text_input(key="draw_prompt").set_value("a dog")
    page.button(key="draw_go").click().run()
    assert len(page.image) == 1
    upload(page, "recording", files["tone.wav"], "audio/wav")
    page.button(key="transcribe_go").click().run()
    assert texts(page) == ["0.0 – 1.5 s   hello\n1.5 – 2.3 s   world"]
    upload(page, "chat_picture", files["scene.png"], "image/png")
    page.text_input(key="chat_words").set_value("what?")
    page.button(key="chat_go").click().run()
    assert [message.text[0].value for message in page.chat_message] == [
        "what?", "I got image_url, text"
    ]  # fmt: skip


@pytest.mark.parametrize("button, sentence", [
    ("caption_go", "choose a picture first"), ("ask_go", "choose a picture first"),
    ("transcribe_go", "record something or choose a file first"),
    ("chat_go", "type something, or add a picture or a recording"),
])  # fmt: skip
def test_what_is_missing_is_told(page, button, sentence):
    page.run()
    page.button(key=button).click().run()
    assert not page.exception
    assert [error.value for error in page.error] == [sentence]


def test_silence_and_texts_that_say_they_are_pictures_are_told(page, files):
    page.run()
    upload(page, "recording", files["silence.wav"], "audio/wav")
    page.button(key="transcribe_go").click().run()
    assert [error.value for error in page.error] == ["no words were heard in this recording"]
    upload(page, "picture", files["text.png"], "image/png")
    page.run()
    assert ["not a picture" in error.value for error in page.error] == [True]


def test_an_api_that_is_not_there_is_told(page, monkeypatch):
    monkeypatch.setenv("VERMEIL_URL", "http://nobody")
    page.run()
    assert not page.exception
    assert [error.value for error in page.error] == [
        "nobody answers at http://nobody: vermeil serve"
    ]
