"""What each tab of the demo does when it is asked; what goes wrong is told in one sentence."""

import contextlib
import html
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gradio as gr
from PIL import Image

from phase4_deploy.demo import files
from phase4_deploy.demo.messages import conversation
from phase4_deploy.demo.pictures import enlarged, opened
from shared.errors import VermeilError

NO_REPORT = (
    "<p>There is no report yet: <code>vermeil run tiny</code> writes one, and so does "
    "<code>vermeil report</code>.</p>"
)


@contextlib.contextmanager
def told():
    """Turn what goes wrong into one sentence for the visitor; surprises go to the terminal too."""
    try:
        yield
    except VermeilError as error:
        raise _error(str(error)) from None
    except gr.Error:
        raise
    except Exception:
        traceback.print_exc()
        raise _error(
            "something went wrong here; the terminal shows what, and you can go on"
        ) from None


def _error(sentence: str) -> gr.Error:
    """A message with the names of files in it is no HTML."""
    sentence = html.escape(sentence[:1].upper() + sentence[1:], quote=False)
    return gr.Error(sentence, title="That did not work", print_exception=False)


class Answers:
    """The events of the page; `assistant` answers, in this process or by the API."""

    def __init__(self, assistant: Any, report: Path | None):
        self.assistant, self.report_file = assistant, report

    def write(
        self, prompt: str, max_tokens: int, temperature: float, top_p: float, seed: int | None
    ) -> Iterator[str]:
        """The prompt and what the language model makes of it, longer with every yield."""
        with told():
            text = _asked(prompt, "type the beginning of a sentence first")
            pieces = self.assistant.write(
                text, max_tokens=int(max_tokens), temperature=temperature, top_p=top_p,
                seed=seed or 0,
            )  # fmt: skip
            for piece in pieces:
                text += piece
                yield text

    def caption(self, picture: Any) -> str:
        """What a picture shows."""
        with told():
            return self.assistant.caption(opened(files.picture(picture)))

    def ask(self, picture: Any, question: str | None, recording: Any) -> str:
        """The answer to a typed or spoken question about a picture."""
        with told():
            seen, spoken = opened(files.picture(picture)), files.recording(recording)
            if spoken and (question or "").strip():
                raise VermeilError(
                    "a question was given twice: typed and spoken", "clear one of the two"
                )
            if spoken:
                answer = self.assistant.ask(seen, recording=spoken)
            else:
                asked = _asked(question, "type or record a question first").strip()
                answer = self.assistant.ask(seen, asked)
            if not answer:
                raise VermeilError("there is no answer: nobody speaks, or the model has none")
            return answer

    def draw(
        self, prompt: str, negative_prompt: str | None, number: int, guidance_scale: float,
        steps: int, seed: int | None, progress: Any = None,
    ) -> Iterator[list[Image.Image]]:  # fmt: skip
        """Drawings as they are done, one seed each; guidance and steps of 0 are the model's own."""
        with told():
            text = _asked(prompt, "say what to draw first").strip()
            drawn: list[Image.Image] = []
            for place in range(int(number)):
                if progress is not None:
                    progress((place, int(number)), desc="Drawing", unit="pictures")
                drawn += self.assistant.draw(
                    text, negative_prompt=(negative_prompt or "").strip(),
                    guidance_scale=guidance_scale or None, steps=int(steps) or None,
                    seed=(seed or 0) + place,
                )  # fmt: skip
                yield [enlarged(picture) for picture in drawn]

    def transcribe(self, recording: Any) -> Iterator[str]:
        """What is said, a line for each piece with its seconds, as it is heard."""
        with told():
            sound = files.recording(recording)
            if not sound:
                raise VermeilError("record something or choose a file first")
            lines: list[str] = []
            for start, end, text in self.assistant.transcribe(sound):
                lines.append(f"{start:.1f} – {end:.1f} s   {text}")
                yield "\n".join(lines)
            if not lines:
                raise VermeilError("no words were heard in this recording")

    def chat(self, message: dict[str, Any], history: list[dict[str, Any]]) -> Iterator[str]:
        """The next answer in a conversation with pictures and recordings."""
        with told():
            text = ""
            for piece in self.assistant.chat(conversation(history, message, files.inside)):
                text += piece
                yield text
            if not text:
                raise VermeilError("there is no answer: nobody speaks, or the model has none")

    def report(self) -> str:
        """The report's page in a frame of its own, which may run its own script and no more."""
        with told():
            if self.report_file is None or not self.report_file.is_file():
                return NO_REPORT
            page = html.escape(self.report_file.read_text(encoding="utf-8"))
            return f'<iframe title="Report" sandbox="allow-scripts" srcdoc="{page}"></iframe>'


def _asked(text: str | None, missing: str) -> str:
    if not text or not text.strip():
        raise VermeilError(missing)
    return text
