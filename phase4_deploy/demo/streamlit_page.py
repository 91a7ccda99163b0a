"""A thin page on the API, for those who build on Streamlit: every task is one call to it.

    vermeil serve
    vermeil demo --page streamlit --url http://127.0.0.1:8000

It asks the API at $VERMEIL_URL with the key $VERMEIL_KEY.
"""

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import streamlit as st

from phase4_deploy.demo.examples import DRAWINGS, PROMPTS, QUESTIONS
from phase4_deploy.demo.messages import conversation
from phase4_deploy.demo.pictures import enlarged, opened
from phase4_deploy.demo.words import ABOUT, INTRO
from shared.errors import VermeilError

KINDS = ["png", "jpg", "jpeg", "webp", "gif", "bmp"]
SOUNDS = ["wav", "flac", "ogg", "mp3"]
NOTHING = "there is no answer: nobody speaks, or the model has none"


@contextlib.contextmanager
def told() -> Iterator[None]:
    """Show what goes wrong as one sentence; what was there stays."""
    try:
        yield
    except VermeilError as error:
        st.error(str(error))


@contextlib.contextmanager
def saved(*uploads: Any) -> Iterator[list[Path]]:
    """Uploads as files of their own names, for as long as it takes to send them."""
    with tempfile.TemporaryDirectory(prefix="vermeil_") as folder:
        paths = []
        for number, upload in enumerate(uploads):
            path = Path(folder, str(number), Path(upload.name).name)
            path.parent.mkdir()
            path.write_bytes(upload.getvalue())
            paths.append(path)
        yield paths


@st.cache_resource
def assistant(url: str, key: str) -> Any:
    """The API, for all visitors."""
    from phase4_deploy.serving.assistant import Remote

    return Remote(url, key)


def streamed(name: str, pieces: Iterator[str], beginning: str = "", nothing: str = NOTHING) -> None:
    """Show a text as it grows and keep it; what comes to nothing is said."""
    place, text = st.empty(), beginning
    for piece in pieces:
        text += piece
        place.text(text)
    place.empty()  # what is kept is shown below
    if not text:
        raise VermeilError(nothing)
    st.session_state[name] = text


def kept(name: str) -> None:
    """Show the last answer, which outlives other clicks."""
    if name in st.session_state:
        st.text(st.session_state[name])


def picture_of(upload: Any) -> Any:
    """An uploaded picture, opened."""
    if upload is None:
        return opened(None)
    with saved(upload) as [path]:
        return opened((path, upload.name))


def write(api: Any) -> None:
    prompt = st.text_area("It begins", PROMPTS[0], key="write_prompt")
    seed = st.number_input("Seed", 0, value=0, key="write_seed")
    if st.button("Write on", type="primary", key="write_go"):
        with told():
            if not prompt.strip():
                raise VermeilError("type the beginning of a sentence first")
            streamed("written", api.write(prompt, seed=int(seed)), prompt)
    kept("written")


def look(api: Any) -> None:
    upload = st.file_uploader("Picture", KINDS, key="picture")
    question = st.text_input("Question", placeholder=QUESTIONS[0][1], key="question")
    spoken = st.audio_input("or ask aloud", key="spoken")
    with told():
        if upload:
            st.image(enlarged(picture_of(upload)), width=256)
    caption, ask = st.columns(2)
    if caption.button("Say what it shows", key="caption_go"):
        with told():
            st.session_state["seen"] = api.caption(picture_of(upload)) or NOTHING
    if ask.button("Ask", type="primary", key="ask_go"):
        with told():
            picture = picture_of(upload)
            if spoken is not None:
                with saved(spoken) as [path]:
                    answer = api.ask(picture, recording=path)
            elif question.strip():
                answer = api.ask(picture, question.strip())
            else:
                raise VermeilError("type or record a question first")
            st.session_state["seen"] = answer or NOTHING
    kept("seen")


def draw(api: Any) -> None:
    prompt = st.text_input("What to draw", DRAWINGS[0], key="draw_prompt")
    seed = st.number_input("Seed", 0, value=0, key="draw_seed")
    if st.button("Draw", type="primary", key="draw_go"):
        with told(), st.spinner("Drawing"):
            if not prompt.strip():
                raise VermeilError("say what to draw first")
            [drawn] = api.draw(prompt.strip(), seed=int(seed))
            st.session_state["drawn"] = enlarged(drawn)
    if "drawn" in st.session_state:
        st.image(st.session_state["drawn"])


def transcribe(api: Any) -> None:
    upload = st.file_uploader("Recording", SOUNDS, key="recording")
    spoken = st.audio_input("or speak", key="speech")
    if st.button("Write it down", type="primary", key="transcribe_go"):
        with told():
            sound = spoken or upload
            if sound is None:
                raise VermeilError("record something or choose a file first")
            with saved(sound) as [path]:
                heard = (
                    f"{start:.1f} – {end:.1f} s   {text}\n"
                    for start, end, text in api.transcribe(path)
                )
                streamed("heard", heard, nothing="no words were heard in this recording")
    kept("heard")


def chat(api: Any) -> None:
    history = st.session_state.setdefault("history", [])
    upload = st.file_uploader("Picture to talk about", KINDS, key="chat_picture")
    words = st.text_input("You", key="chat_words")
    if st.button("Say it", type="primary", key="chat_go"):
        with told(), saved(*([upload] if upload else [])) as paths:
            messages = conversation(history, {"text": words, "files": [*map(str, paths)]})
            streamed("said", api.chat(messages))
            said = st.session_state.pop("said")
            asked = words or "(a picture)"
            history += [{"role": "user", "content": asked}, {"role": "assistant", "content": said}]
    for turn in history:
        with st.chat_message(turn["role"]):
            st.text(turn["content"])


def main() -> None:
    """The page."""
    st.set_page_config(page_title="Vermeil")
    st.title("Vermeil")
    st.caption(ABOUT)
    url = os.environ.get("VERMEIL_URL", "http://127.0.0.1:8000")
    tasks = {"Write": write, "Ask": look, "Draw": draw, "Transcribe": transcribe, "Chat": chat}
    with told():
        api = assistant(url, os.environ.get("VERMEIL_KEY", ""))
        for (name, task), tab in zip(tasks.items(), st.tabs(list(tasks)), strict=True):
            with tab:
                st.caption(INTRO[name])
                task(api)


main()
