"""The page that people open first: write, caption, ask, draw, transcribe, chat, and the report.

It asks an assistant (phase4_deploy/serving/assistant.py), which has the models in this process or
knows the API's address. Nothing is shared, counted or fetched: the page speaks to its own server.
"""

import os
import tempfile
from pathlib import Path
from typing import Any

os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")  # read when Gradio is imported

import gradio as gr

from phase4_deploy.demo import examples
from phase4_deploy.demo.answers import Answers
from phase4_deploy.demo.examples import Examples
from phase4_deploy.demo.files import guarded
from phase4_deploy.demo.theme import HEAD, STYLE, theme
from shared.errors import VermeilError

WAITING, AT_ONCE = 64, 8  # requests; the engine below has its own queues and joins what it can
NEW_SEED = "() => Math.floor(Math.random() * 1000000)"
INTRO = {  # of the preset tiny; PHASES.md has the numbers
    "Write": "A small language model that goes on where you stop; it has read four novels by Jane "
             "Austen, Moby Dick and 209 State of the Union addresses, so expect their tone and "
             "not their sense.",
    "Caption": "Says what a picture shows; it has only ever seen generated scenes of one to three "
               "emoji on a coloured ground, and knows nothing of photographs.",
    "Ask": "Answers a typed or spoken question about an emoji scene (what, how many, which color, "
           "where); spoken questions it learned from synthetic voices.",
    "Draw": "Draws 16 things, a dog, a star or a boat among them, large or small in a corner of "
            "eight colours; it learned from scenes of 32 pixels, shown here enlarged.",
    "Transcribe": "Writes down English speech letter by letter; it has heard 14 minutes of "
                  "telephone prompts by one voice, and synthetic ones, so short and clear words "
                  "fare best.",
    "Chat": "One set of weights that reads, looks and listens: give it an emoji scene and a typed "
            "or recorded question; it was taught to answer single questions in a few words.",
    "Report": "How good all this is: every step's numbers on data that was held out, each beside "
              "the simple methods that it has to beat.",
}  # fmt: skip
NEEDS = {  # a tab works where one of these is served
    "Write": ("lm", "unified"), "Caption": ("unified", "vqa", "caption"),
    "Ask": ("unified", "vqa", "caption"), "Draw": ("text_to_image",),
    "Transcribe": ("speech", "unified"), "Chat": ("unified", "vqa", "caption", "lm"),
}  # fmt: skip


def build(assistant: Any, report: Path | None = None) -> gr.Blocks:
    """The page; `report` is the report's HTML file, read anew whenever its tab is opened."""
    answers, served = Answers(assistant, report), assistant.models()
    folder = tempfile.TemporaryDirectory(prefix="vermeil_examples_")
    found = Examples(Path(folder.name))
    tabs = {"Write": _write, "Caption": _caption, "Ask": _ask, "Draw": _draw,
            "Transcribe": _transcribe, "Chat": _chat, "Report": _report}  # fmt: skip
    with gr.Blocks(title="Vermeil", analytics_enabled=False, delete_cache=(600, 3600)) as page:
        gr.HTML(
            "<h1>Vermeil</h1><p>One model that reads, writes, looks, answers, draws and listens, "
            "trained from scratch on small data (the notes below are of the preset tiny). "
            "Nothing is shared, counted or fetched.</p>",
            elem_id="mark",
        )
        with gr.Tabs():
            for name, tab in tabs.items():
                with gr.Tab(name, id=name.lower()) as opened:
                    gr.Markdown(f"{INTRO[name]}\n\n{_missing(name, served)}", elem_classes="intro")
                    tab(answers, found, opened)
    page.examples_folder = folder  # type: ignore[attr-defined]  # it goes when the page goes
    return page.queue(max_size=WAITING, default_concurrency_limit=AT_ONCE)


def launch(
    page: gr.Blocks, host: str | None = None, port: int | None = None, **options: Any
) -> Any:
    """Serve the page, by default to this machine alone; returns what Gradio's launch returns."""
    try:
        return page.launch(
            server_name=host, server_port=port, share=False, theme=theme(), css_paths=STYLE,
            head=HEAD, footer_links=["api"], run_history=False, enable_monitoring=False,
            ssr_mode=False, max_file_size="64mb", **options,
        )  # fmt: skip
    except OSError:
        raise VermeilError(
            f"port {port} is taken", f"vermeil demo --port {(port or 0) + 1}"
        ) from None


def _missing(tab: str, served: list[str]) -> str:
    """A sentence where the models of a tab are not there."""
    needs = NEEDS.get(tab, ())
    if not needs or set(needs) & set(served):
        return ""
    return f"*Not here yet: `vermeil train {needs[0]} tiny` makes what this takes.*"


def _seed() -> gr.Number:
    with gr.Row(equal_height=True):
        seed = gr.Number(
            0, label="Seed", info="the same seed says the same", precision=0, minimum=0
        )
        again = gr.Button("Another seed", size="sm", min_width=90)
    again.click(None, None, seed, js=NEW_SEED)
    return seed


def _write(answers: Answers, found: Examples, _: gr.Tab) -> None:
    with gr.Row():
        with gr.Column(scale=2):
            prompt = gr.Textbox(label="It begins", lines=3, value=examples.PROMPTS[0])
            with gr.Row():
                go = gr.Button("Write on", variant="primary")
                stop = gr.Button("Stop")
            with gr.Accordion("Settings", open=False):
                length = gr.Slider(8, 120, 96, step=8, label="Tokens")
                warmth = gr.Slider(0, 1.5, 0.8, step=0.05, label="Temperature",
                                   info="0 takes the likeliest word every time")  # fmt: skip
                top_p = gr.Slider(0.05, 1, 0.95, step=0.05, label="Top p")
                seed = _seed()
        text = gr.Textbox(label="It goes on", lines=11, max_lines=24, buttons=["copy"],
                          elem_classes="prose", scale=3, interactive=False)  # fmt: skip
    running = gr.on([go.click, prompt.submit], answers.write,
                    [prompt, length, warmth, top_p, seed], text, api_name="write")  # fmt: skip
    stop.click(None, cancels=[running])
    _examples("Beginnings", [[p] for p in examples.PROMPTS], [prompt])


def _examples(label: str, rows: list, fields: list, answer: Any = None, text: Any = None, **more):
    """Rows to click; with an answer, a click asks too."""
    gr.Examples(rows, fields, text and [text], answer, run_on_click=answer is not None, label=label,
                cache_examples=False, api_visibility="private", **more)  # fmt: skip


def _picture() -> gr.Image:
    return guarded(gr.Image(type="filepath", label="Picture", height=320, elem_classes="seen",
                            sources=["upload", "clipboard"], buttons=[]))  # fmt: skip


def _recording(label: str) -> gr.Audio:
    return guarded(gr.Audio(type="filepath", label=label, sources=["microphone", "upload"],
                            buttons=[]))  # fmt: skip


def _answer(label: str) -> gr.Textbox:
    return gr.Textbox(label=label, lines=3, buttons=["copy"], elem_classes="answer",
                      interactive=False)  # fmt: skip


def _caption(answers: Answers, found: Examples, _: gr.Tab) -> None:
    with gr.Row():
        with gr.Column(scale=2):
            picture = _picture()
            go = gr.Button("Say what it shows", variant="primary")
        with gr.Column(scale=3):
            text = _answer("It shows")
            gr.on([go.click, picture.upload], answers.caption, picture, text, api_name="caption")
            scenes = [[str(found.pictures[number])] for number in examples.SCENES]
            _examples("Scenes it has not seen before", scenes, [picture], answers.caption, text)


def _ask(answers: Answers, found: Examples, _: gr.Tab) -> None:
    with gr.Row():
        with gr.Column(scale=2):
            picture = _picture()
        with gr.Column(scale=3):
            question = gr.Textbox(label="Question", placeholder="what color is the background?")
            recording = _recording("or ask aloud")
            go = gr.Button("Ask", variant="primary")
            text = _answer("Answer")
    gr.on([go.click, question.submit], answers.ask, [picture, question, recording], text,
          api_name="ask")  # fmt: skip
    fields = [picture, question, recording]
    asked = [[str(found.pictures[scene]), words, None] for scene, words in examples.QUESTIONS]
    _examples("Scenes and questions", asked, fields, answers.ask, text, visible_columns=[0, 1])
    if found.spoken:
        scene, words = examples.SPOKEN
        aloud = [[str(found.pictures[scene]), "", str(found.spoken)]]
        _examples("A synthetic voice", aloud, fields, answers.ask, text,
                  example_labels=[f"“{words}”"])  # fmt: skip


def _draw(answers: Answers, found: Examples, _: gr.Tab) -> None:
    with gr.Row():
        with gr.Column(scale=2):
            prompt = gr.Textbox(label="What to draw", lines=2, value=examples.DRAWINGS[0])
            number = gr.Slider(1, 4, 1, step=1, label="How many", info="one seed after the other")
            go = gr.Button("Draw", variant="primary")
            with gr.Accordion("Settings", open=False):
                negative = gr.Textbox(label="What not to draw")
                guidance = gr.Slider(0, 8, 0, step=0.25, label="Guidance",
                                     info="to the words; 0: as it was measured")  # fmt: skip
                steps = gr.Slider(0, 50, 0, step=1, label="Steps", info="0: as it was measured")
                seed = _seed()
        gallery = gr.Gallery(label="Drawn", columns=2, height=460, format="png", scale=3,
                             object_fit="contain", elem_classes="drawn", interactive=False,
                             buttons=["download", "fullscreen"])  # fmt: skip

    def draw(prompt, negative, number, guidance, steps, seed, progress=gr.Progress()):  # noqa: B008
        yield from answers.draw(prompt, negative, number, guidance, steps, seed, progress)

    gr.on([go.click, prompt.submit], draw, [prompt, negative, number, guidance, steps, seed],
          gallery, api_name="draw")  # fmt: skip
    _examples("Of the 16 things it knows", [[p] for p in examples.DRAWINGS], [prompt])


def _transcribe(answers: Answers, found: Examples, _: gr.Tab) -> None:
    with gr.Row():
        with gr.Column(scale=2):
            recording = _recording("Recording")
            go = gr.Button("Write it down", variant="primary")
        with gr.Column(scale=3):
            text = gr.Textbox(label="It hears", lines=6, buttons=["copy"], elem_classes="prose",
                              interactive=False)  # fmt: skip
    go.click(answers.transcribe, recording, text, api_name="transcribe")
    clips = [[str(path)] for path in found.recordings]
    said = [words if len(words) < 60 else f"{words[:57]}..." for words in found.recordings.values()]
    _examples("Recordings it has not heard before", clips, [recording], answers.transcribe, text,
              example_labels=said)  # fmt: skip


def _chat(answers: Answers, found: Examples, _: gr.Tab) -> None:
    talk: list[Any] = [
        {"text": words, "files": [str(found.pictures[scene])]}
        for scene, words in zip(examples.SCENES[1:], examples.TALK, strict=False)
    ]
    if found.spoken:
        scene = found.pictures[examples.SPOKEN[0]]
        talk.append({"text": "", "files": [str(scene), str(found.spoken)]})
    gr.ChatInterface(
        answers.chat, multimodal=True, api_name="chat", analytics_enabled=False,
        fill_height=False, examples=talk, cache_examples=False,
        example_labels=["What do you see?", "Which colour is it?", "A question aloud"][: len(talk)],
        chatbot=gr.Chatbot(
            elem_id="talk", height=430, render_markdown=False, buttons=["copy"], layout="bubble",
            placeholder="Add a picture, type or record a question, or take an example.",
            show_label=False,
        ),
        textbox=guarded(gr.MultimodalTextbox(
            sources=["upload", "microphone"], file_count="multiple", show_label=False,
            placeholder="Ask about a picture",
        )),
    )  # fmt: skip


def _report(answers: Answers, found: Examples, opened: gr.Tab) -> None:
    page = gr.HTML(elem_id="report")
    opened.select(answers.report, None, page, api_name="report")
