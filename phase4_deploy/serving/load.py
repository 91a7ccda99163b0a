"""Clients that ask a running server, and what becomes of their requests."""

import asyncio
import base64
import json
import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import islice
from statistics import median, quantiles
from typing import Any

import aiohttp

WORDS = ("the people", "in the year", "she had been", "a great whale", "our country", "my dear")
LENGTHS = (8, 16, 32, 64)  # tokens of an answer
ASKED = ("what color is the background?", "how many things are there?", "is there a dog?")
THINGS = ("dog", "star", "cat", "tree")


@dataclass(frozen=True)
class Ask:
    """One request: where to, with what, and whether its answer is streamed."""

    path: str
    body: dict[str, Any] | None = None
    upload: tuple[str, bytes] | None = None  # a file, in place of the body
    streamed: bool = False


@dataclass(frozen=True)
class Outcome:
    """What became of a request; `status` 0: no answer, -1: its client left on purpose."""

    task: str
    status: int
    seconds: float
    first: float  # s until the first byte of the answer
    tokens: int = 0
    said: str = ""
    streamed: bool = False


Task = Callable[[random.Random], Ask]


def write(dice: random.Random, *, streamed: bool = False) -> Ask:
    """A text of a few words to be continued, seldom the same and seldom as long."""
    prompt = f"{dice.choice(WORDS)} {dice.randrange(10_000)}"
    body = {"prompt": prompt, "max_tokens": dice.choice(LENGTHS), "temperature": 0.8,
            "seed": dice.randrange(2**31), "stream": streamed}  # fmt: skip
    return Ask("/v1/completions", body, streamed=streamed)


def caption(dice: random.Random) -> Ask:
    """A scene to be described."""
    return Ask("/v1/captions", {"image": scene(dice)})


def question(dice: random.Random) -> Ask:
    """A question about a scene."""
    return Ask("/v1/vqa", {"image": scene(dice), "question": dice.choice(ASKED)})


def drawing(dice: random.Random) -> Ask:
    """A picture to be drawn."""
    body = {
        "prompt": f"a {dice.choice(THINGS)} on a blue background",
        "seed": dice.randrange(2**31),
    }
    return Ask("/v1/images/generations", body)


def recording(dice: random.Random) -> Ask:
    """One of the embedded prompts to be written down."""
    return Ask("/v1/audio/transcriptions", upload=dice.choice(_clips()))


def placed(dice: random.Random) -> Ask:
    """A text to be embedded."""
    return Ask("/v1/embeddings", {"input": f"a {dice.choice(THINGS)} and a {dice.choice(THINGS)}"})


MIXED: Mapping[Task, int] = {
    write: 8, lambda dice: write(dice, streamed=True): 4, caption: 3, question: 3, recording: 2,
    placed: 2, drawing: 1,
}  # fmt: skip


def scene(dice: random.Random) -> str:
    """A generated scene as a data URI."""
    return "data:image/png;base64," + base64.b64encode(picture(dice)).decode()


def picture(dice: random.Random) -> bytes:
    """A generated scene as a PNG file."""
    return dice.choice(_scenes())


@cache
def _scenes() -> list[bytes]:
    from data.scenes import Scenes
    from shared.grids import png

    return [png(picture.pixels) for picture in islice(Scenes().pictures("test"), 16)]


@cache
def _clips() -> list[tuple[str, bytes]]:
    from data.embedded_speech import EmbeddedSpeech

    clips = islice(EmbeddedSpeech().clips("test"), 16)
    return [(f"{clip.id.replace('/', '-')}.flac", clip.source) for clip in clips]  # type: ignore


class Load:
    """Clients that ask again as soon as they are answered."""

    def __init__(self, url: str, tasks: Mapping[Task, int], *, key: str = "", seed: int = 0):
        self.url, self.dice = url, random.Random(seed)
        self.tasks, self.weights = list(tasks), list(tasks.values())
        self.headers = {"authorization": f"Bearer {key}"} if key else {}

    async def run(self, clients: int, seconds: float, leaving: float = 0.0) -> list[Outcome]:
        """All outcomes of so many clients in so many seconds; a share of `leaving` stop reading."""
        found: list[Outcome] = []
        async with aiohttp.ClientSession(
            self.url, headers=self.headers, connector=aiohttp.TCPConnector(limit=clients),
            timeout=aiohttp.ClientTimeout(total=60),
        ) as http:  # fmt: skip
            end = time.perf_counter() + seconds

            async def client() -> None:
                while time.perf_counter() < end:
                    ask = self.dice.choices(self.tasks, self.weights)[0](self.dice)
                    found.append(await one(http, ask, leaves=self.dice.random() < leaving))

            await asyncio.gather(*(client() for _ in range(clients)))
        return found


async def one(http: aiohttp.ClientSession, ask: Ask, *, leaves: bool = False) -> Outcome:
    """Ask once. Who leaves does so after the first bytes, or, unstreamed, while it waits."""
    start, first, content = time.perf_counter(), 0.0, b""
    task = ask.path.rpartition("/")[2]
    try:
        async with asyncio.timeout(0.02 if leaves and not ask.streamed else None):
            async with http.post(ask.path, json=ask.body, data=_form(ask)) as answer:
                async for chunk in answer.content.iter_any():
                    first = first or time.perf_counter() - start
                    content += chunk
                    if leaves:
                        answer.close()  # else the rest would be read to keep the connection
                        return Outcome(task, -1, time.perf_counter() - start, first)
        seconds = time.perf_counter() - start
        said = "" if answer.ok else content[:300].decode(errors="replace")
        tokens = _tokens(ask, content)
        return Outcome(task, answer.status, seconds, first, tokens, said, ask.streamed)
    except (TimeoutError, aiohttp.ClientError) as error:
        status = -1 if leaves else 0
        return Outcome(task, status, time.perf_counter() - start, first, said=repr(error))


def _form(ask: Ask) -> aiohttp.FormData | None:
    if ask.upload is None:
        return None
    form = aiohttp.FormData()
    name, content = ask.upload
    form.add_field("file", content, filename=name, content_type="application/octet-stream")
    return form


def _tokens(ask: Ask, content: bytes) -> int:
    """New tokens of a written answer."""
    if ask.path != "/v1/completions" or not content.startswith((b"{", b"data")):
        return 0
    if ask.streamed:
        return content.count(b'"text":') - 1
    return json.loads(content).get("usage", {}).get("completion_tokens", 0)


@dataclass(frozen=True)
class Summary:
    """Times in milliseconds."""

    requests_per_second: float
    tokens_per_second: float
    first_ms: float
    p50_ms: float
    p95_ms: float
    p99_ms: float
    failed: int
    n: int


def summary(outcomes: Sequence[Outcome], seconds: float) -> Summary:
    """What a table shows of a run."""
    good = [outcome for outcome in outcomes if 200 <= outcome.status < 300]
    failed = sum(outcome.status != -1 for outcome in outcomes) - len(good)
    if len(good) < 2:
        return Summary(0, 0, 0, 0, 0, 0, failed, len(outcomes))
    times = [1000 * outcome.seconds for outcome in good]
    cuts = quantiles(times, n=100, method="inclusive")
    return Summary(
        len(good) / seconds, sum(outcome.tokens for outcome in good) / seconds,
        1000 * median(outcome.first for outcome in good), cuts[49], cuts[94], cuts[98], failed,
        len(outcomes),
    )  # fmt: skip
