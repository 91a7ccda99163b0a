"""A served set of models, tried as clients use it: for the walk's last step."""

import random
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from phase4_deploy.serving.assistant import Remote
from phase4_deploy.serving.bench import asked, middle
from phase4_deploy.serving.load import MIXED, Summary, picture, summary, write
from phase4_deploy.serving.processes import free_port, running
from shared.artifact import Artifact

DRAWN = "a large star at the top left on a blue background"
QUESTIONS = ("what color is the background?", "what is at the top left?")


@dataclass(frozen=True)
class Trial:
    """What was seen."""

    ready_seconds: float
    texts: dict[str, Summary]
    mixed: Summary
    kinds: dict[str, Summary]
    first_token_ms: float
    said: list[tuple[str, str, str]]
    pictures: list[tuple[str, bytes]] = field(repr=False)


def tried(artifacts: Sequence[Artifact], config: Any, folder: Path) -> Trial:
    """Start a server of these models and ask it; its log and its peer's go to `folder`."""
    lm = next(a for a in artifacts if a.manifest["step"] == "lm")
    rest = ["--threads", str(config.threads)]
    port, other = free_port(), free_port()
    ours = ["vermeil", "serve", "--models", ",".join(str(a.folder) for a in artifacts), "--port",
            str(port), "--variant", config.variant, "--no-log", *rest]  # fmt: skip
    plain = ["phase4_deploy.serving.peers", "plain", "--model", str(lm.folder), "--port",
             str(other), *rest]  # fmt: skip
    start = time.perf_counter()
    with running(ours, port, log=folder / "server.log"):
        ready = time.perf_counter() - start
        said, pictures = shown(Remote(f"http://127.0.0.1:{port}"))
        turns: dict[str, list[Summary]] = {"ours": [], "one at a time": []}
        with running(plain, other, ready="/docs", log=folder / "peer.log"):
            for turn in range(config.rounds):
                for name, where in zip(turns, (port, other), strict=True):
                    got = asked(where, {write: 1}, config.clients, config.seconds, seed=turn)
                    turns[name].append(summary(got, config.seconds))
        outcomes = asked(port, MIXED, config.clients, 2 * config.seconds, seed=0)
    seconds = 2 * config.seconds
    streams = [o.first for o in outcomes if o.streamed and o.status == 200]
    kinds = {o.task for o in outcomes}
    return Trial(
        round(ready, 1), {name: middle(rows) for name, rows in turns.items()},
        summary(outcomes, seconds),
        {k: summary([o for o in outcomes if o.task == k], seconds) for k in sorted(kinds)},
        1000 * median(streams or [0.0]), said, pictures,
    )  # fmt: skip


def shown(server: Remote) -> tuple[list[tuple[str, str, str]], list[tuple[str, bytes]]]:
    """A few requests as a person makes them: (asked of, what, answer), and pictures."""
    import io

    from PIL import Image

    scene, drawn = picture(random.Random(0)), server.draw(DRAWN, seed=0)[0]
    said = [("lm", "She had been", "".join(server.write("She had been", max_tokens=40, seed=0)))]
    seen = Image.open(io.BytesIO(scene))
    said.append(("unified, of a scene", "describe the picture |", server.caption(seen)))
    for question in QUESTIONS:
        said.append(("unified, of a scene", f"{question} |", server.ask(seen, question)))
        said.append(("unified, of the drawing", f"{question} |", server.ask(drawn, question)))
    buffer = io.BytesIO()
    drawn.save(buffer, "PNG")
    return said, [("the scene", scene), (f"drawn: {DRAWN}", buffer.getvalue())]
