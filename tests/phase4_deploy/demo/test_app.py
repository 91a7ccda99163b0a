"""Every tab of the demo by Gradio's own client, on a real server; and what it says when refused."""

import html
import json
import urllib.request

import pytest
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError
from PIL import Image

NAMES = {"/write", "/caption", "/ask", "/draw", "/transcribe", "/chat", "/report"}


@pytest.fixture(scope="module")
def client(demo):
    client = Client(demo[0], verbose=False, analytics_enabled=False)
    yield client
    client.close()


def test_each_tab_has_one_call_with_a_name(client):
    assert set(client.view_api(return_format="dict")["named_endpoints"]) == NAMES


def test_writing_comes_piece_by_piece_with_its_seed(client, demo):
    job = client.submit("It was", 24, 0.5, 0.9, 7, api_name="/write")
    assert job.result() == "It was once upon seed 7"
    assert job.outputs() == ["It was once", "It was once upon", "It was once upon seed 7"]
    assert demo[1]()[-1] == ["It was", 24, 0.5, 0.9, 7]


def test_a_picture_is_captioned_in_its_own_pixels(client, files):
    said = client.predict(handle_file(files["scene.png"]), api_name="/caption")
    assert said == "RGB 48 by 40, (10, 20, 30)"


def test_questions_are_typed_or_spoken(client, files):
    picture, sound = handle_file(files["scene.png"]), handle_file(files["tone.wav"])
    assert client.predict(picture, " what? ", None, api_name="/ask") == "48 px: what?"
    assert client.predict(picture, "", sound, api_name="/ask") == "48 px: tone.wav"


def test_drawings_have_one_seed_each_and_sharp_pixels(client, demo):
    before = len(demo[1]())
    drawn = client.predict("a dog", " a cat ", 2, 0, 12, 5, api_name="/draw")
    asked = ["a dog", "a cat", None, 12]
    assert demo[1]()[before:] == [[*asked, 5, 1], [*asked, 6, 1]]
    for place, seed in enumerate((5, 6)):
        with Image.open(drawn[place]["image"]) as picture:
            assert picture.size == (512, 512)
            assert {colour for _, colour in picture.convert("RGB").getcolors()} == {
                (seed, 0, 200), (0, 0, 0)
            }  # fmt: skip
            assert picture.convert("RGB").getpixel((496, 496)) == (0, 0, 0)  # 16 px for each
            assert picture.convert("RGB").getpixel((495, 496)) == (seed, 0, 200)


def test_recordings_are_written_down_as_they_are_heard(client, files):
    job = client.submit(handle_file(files["tone.wav"]), api_name="/transcribe")
    assert job.result() == "0.0 – 1.5 s   hello\n1.5 – 2.3 s   world"
    assert job.outputs()[0] == "0.0 – 1.5 s   hello"


def test_chat_hands_on_pictures_sounds_and_what_was_said(demo, files):
    client = Client(demo[0], verbose=False, analytics_enabled=False)  # with its own conversation
    attached = [handle_file(files["scene.png"]), handle_file(files["tone.wav"])]
    said = client.predict({"text": "", "files": attached}, api_name="/chat")
    assert said == "I got image_url, input_audio"
    client.predict({"text": "and now?", "files": []}, api_name="/chat")
    asked = demo[1]()[-1]
    assert [turn["role"] for turn in asked] == ["user", "assistant", "user"]
    assert asked[0]["content"][0]["image_url"]["url"].startswith("data:image/png;base64,iVBOR")
    assert asked[0]["content"][1]["input_audio"]["format"] == "wav"
    assert asked[1]["content"] == [{"type": "text", "text": said}]
    assert asked[2]["content"] == [{"type": "text", "text": "and now?"}]
    client.close()


def test_the_report_stands_in_a_frame_as_it_is(client, files):
    frame = client.predict(api_name="/report")
    head, _, rest = frame.partition('srcdoc="')
    assert head == '<iframe title="Report" sandbox="allow-scripts" '
    page, quote, end = rest.partition('"')
    assert quote + end == '"></iframe>'
    assert html.unescape(page) == files["report.html"].read_text()


@pytest.mark.parametrize("name, arguments, sentence", [
    ("/write", (" ", 8, 1, 1, 0), "Type the beginning of a sentence first"),
    ("/write", ("fail", 8, 1, 1, 0),
     "The &lt;b&gt;prompt&lt;/b&gt; is 999 tokens long: shorten it"),
    ("/write", ("break", 8, 1, 1, 0),
     "Something went wrong here; the terminal shows what, and you can go on"),
    ("/caption", (None,), "Choose a picture first"),
    ("/caption", ("text.png",), "Text.png is no picture to learn from (not a picture: it begins "
                                "with 'I am no pict'): mend it or take it out"),
    ("/ask", (None, "what?", None), "Choose a picture first"),
    ("/ask", ("scene.png", "", None), "Type or record a question first"),
    ("/ask", ("scene.png", "what?", "tone.wav"),
     "A question was given twice: typed and spoken: clear one of the two"),
    ("/ask", ("scene.png", "", "silence.wav"),
     "There is no answer: nobody speaks, or the model has none"),
    ("/draw", ("", "", 1, 0, 0, 0), "Say what to draw first"),
    ("/transcribe", (None,), "Record something or choose a file first"),
    ("/transcribe", ("silence.wav",), "No words were heard in this recording"),
    ("/chat", ({"text": " ", "files": []},), "Type something, or add a picture or a recording"),
    ("/chat", ({"text": "", "files": ["notes.pdf"]},),
     "Notes.pdf is neither a picture nor a recording"),
])  # fmt: skip
def test_what_goes_wrong_is_told_in_one_sentence(client, files, name, arguments, sentence):
    def given(value):
        if isinstance(value, dict):
            return value | {"files": [handle_file(files[name]) for name in value["files"]]}
        return handle_file(files[value]) if value in files else value

    with pytest.raises(AppError) as refused:
        client.predict(*map(given, arguments), api_name=name)
    assert str(refused.value).strip("'\"") == sentence


@pytest.mark.parametrize("name, payload", [
    ("caption", [{"path": "/etc/hostname"}]),
    ("caption", [{"path": "/etc/hostname", "meta": {"_type": "gradio.FileData"}}]),
    ("transcribe", [{"path": "/etc/hostname"}]),
    ("chat", [{"text": "", "files": [{"path": "/etc/hostname"}]}]),
])  # fmt: skip
def test_files_of_the_machine_are_out_of_reach(demo, name, payload):
    """A client may name any path; only what was uploaded here is opened."""

    def ask(url, body=None):
        request = urllib.request.Request(url, body, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request) as answer:
            return answer.read().decode()

    call = f"{demo[0]}gradio_api/call/{name}"
    event = json.loads(ask(call, json.dumps({"data": payload}).encode()))["event_id"]
    events = ask(f"{call}/{event}")
    assert "event: error" in events and "event: complete" not in events
    assert "begins with" not in events


def test_a_tab_without_its_model_says_how_to_make_it():
    from phase4_deploy.demo.app import _missing

    assert _missing("Draw", ["lm"]) == (
        "*Not here yet: `vermeil train text_to_image tiny` makes what this takes.*"
    )
    assert _missing("Caption", ["vqa"]) == _missing("Report", []) == ""


def test_without_a_report_the_tab_says_how_to_make_one(tmp_path):
    from phase4_deploy.demo.answers import NO_REPORT, Answers

    assert Answers(None, tmp_path / "report.html").report() == NO_REPORT
    assert Answers(None, None).report() == NO_REPORT
