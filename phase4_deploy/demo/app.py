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
from phase4_deploy.demo.theme import HEAD, STYLE, theme
from phase4_deploy.demo.words import ABOUT, INTRO
from shared.errors import VermeilError

WAITING, AT_ONCE = 64, 8  # requests; the engine below has its own queues and joins what it can
NEW_SEED = "() => Math.floor(Math.random() * 1000000)"
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
            f"<h1>Vermeil</h1><p>{ABOUT} Nothing is shared, counted or fetched.</p>",
            elem_id="mark",
            padding=False,
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
        text = _text("It goes on", "written", "prose", 11, max_lines=24, scale=3)
    running = gr.on([go.click, prompt.submit], answers.write,
                    [prompt, length, warmth, top_p, seed], text, api_name="write")  # fmt: skip
    stop.click(None, cancels=[running])
    _examples("Beginnings", [[p] for p in examples.PROMPTS], [prompt])


def _examples(label: str, rows: list, fields: list, answer: Any = None, text: Any = None, **more):
    """Rows to click; with an answer, a click asks too."""
    shown = gr.Examples(rows, fields, label=label, cache_examples=False, api_visibility="private",
                        **more)  # fmt: skip
    if answer:
        shown.load_input_event.then(
            answer, fields, text, preprocess=False, api_visibility="private"
        )


def _picture() -> gr.Image:
    return gr.Image(type="filepath", label="Picture", height=320, elem_classes="seen",
                            sources=["upload", "clipboard"], buttons=[])  # fmt: skip


def _recording(label: str) -> gr.Audio:
    return gr.Audio(type="filepath", label=label, sources=["microphone", "upload"],
                            buttons=[])  # fmt: skip


def _text(label: str, name: str, look: str, lines: int, **more: Any) -> gr.Textbox:
    """Where an answer appears."""
    return gr.Textbox(label=label, elem_id=name, elem_classes=look, lines=lines, buttons=["copy"],
                      interactive=False, **more)  # fmt: skip


def _caption(answers: Answers, found: Examples, _: gr.Tab) -> None:
    with gr.Row():
        with gr.Column(scale=2):
            picture = _picture()
            go = gr.Button("Say what it shows", variant="primary")
        with gr.Column(scale=3):
            text = _text("It shows", "shown", "answer", 3)
            gr.on([go.click, picture.upload], answers.caption, picture, text, api_name="caption",
                  preprocess=False)  # fmt: skip
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
            text = _text("Answer", "answer", "answer", 3)
    gr.on([go.click, question.submit], answers.ask, [picture, question, recording], text,
          api_name="ask", preprocess=False)  # fmt: skip
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
            number = gr.Slider(1, 4, 4, step=1, label="How many", info="one seed after the other")
            go = gr.Button("Draw", variant="primary")
            with gr.Accordion("Settings", open=False):
                negative = gr.Textbox(label="What not to draw")
                guidance = gr.Slider(0, 8, 0, step=0.25, label="Guidance",
                                     info="to the words; 0: as it was measured")  # fmt: skip
                steps = gr.Slider(0, 50, 0, step=1, label="Steps", info="0: as it was measured")
                seed = _seed()
        gallery = gr.Gallery(label="Drawn", show_label=False, columns=2, height=580, scale=3,
                             object_fit="contain", elem_id="drawn", interactive=False, format="png",
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
            text = _text("It hears", "heard", "prose", 6)
    go.click(answers.transcribe, recording, text, api_name="transcribe", preprocess=False)
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
            elem_id="talk", height=520, render_markdown=False, buttons=["copy"], layout="bubble",
            placeholder="Add a picture, type or record a question, or take an example.",
            show_label=False,
        ),
        textbox=gr.MultimodalTextbox(
            sources=["upload", "microphone"], file_count="multiple", show_label=False,
            placeholder="Ask about a picture",
        ),
    )  # fmt: skip


def _report(answers: Answers, found: Examples, opened: gr.Tab) -> None:
    page = gr.HTML(elem_id="report", padding=False)
    opened.select(answers.report, None, page, api_name="report")
