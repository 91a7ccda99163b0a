"""python fake_demo.py CALLS REPORT: a demo whose assistant has known answers.

It prints its address, and keeps what it is asked as JSON lines in the file CALLS. A process of its
own, since the tests' checks of shapes wrap functions, and Gradio must see which are generators.
"""

import json
import sys
from collections.abc import Iterator
from pathlib import Path

from PIL import Image

from shared.errors import VermeilError


class Fake:
    """Answers that say what they were asked."""

    def __init__(self, calls: Path, models=("lm", "unified", "text_to_image", "speech")):
        self.calls, self.served = calls, list(models)

    def asked(self, *what) -> None:
        with self.calls.open("a") as file:
            file.write(json.dumps(what) + "\n")

    def models(self) -> list[str]:
        return self.served

    def write(self, prompt, *, max_tokens=96, temperature=0.8, top_p=0.95, seed=0) -> Iterator[str]:
        self.asked(prompt, max_tokens, temperature, top_p, seed)
        if prompt == "fail":
            raise VermeilError("the <b>prompt</b> is 999 tokens long", "shorten it")
        if prompt == "break":
            raise RuntimeError("a secret of the machine")
        yield from (" once", " upon", f" seed {seed}")

    def caption(self, picture) -> str:
        return f"{picture.mode} {picture.width} by {picture.height}, {picture.getpixel((0, 0))}"

    def ask(self, picture, question="", recording: Path | None = None) -> str:
        if recording is None:
            return f"{picture.width} px: {question}"
        return "" if "silence" in recording.name else f"{picture.width} px: {recording.name}"

    def draw(
        self, prompt, *, negative_prompt="", guidance_scale=None, steps=None, seed=0, number=1
    ) -> list[Image.Image]:
        self.asked(prompt, negative_prompt, guidance_scale, steps, seed, number)
        picture = Image.new("RGB", (32, 32), (seed, 0, 200))
        picture.putpixel((31, 31), (0, 0, 0))
        return [picture] * number

    def transcribe(self, recording: Path) -> Iterator[tuple[float, float, str]]:
        if "silence" not in recording.name:
            yield 0.0, 1.5, "hello"
            yield 1.5, 2.3, "world"

    def chat(self, messages) -> Iterator[str]:
        self.asked(*messages)
        yield from ("I got ", ", ".join(part["type"] for part in messages[-1]["content"]))


if __name__ == "__main__":
    from phase4_deploy.demo.app import build, launch

    page = build(Fake(Path(sys.argv[1])), Path(sys.argv[2]))
    _, address, _ = launch(page, "127.0.0.1", quiet=True, prevent_thread_lock=True)
    print(address, flush=True)
    page.block_thread()
