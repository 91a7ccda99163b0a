"""What a user would write or pick in our place, with the same model: `bench serve` runs them.

    python -m phase4_deploy.serving.peers plain|litserve --model lm --port 8000

`plain` is FastAPI around `generate`, one request at a time. `litserve` batches: those that came
within its window are written together, and all wait for the longest.
"""

import threading
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from shared.config import option, parse
from shared.step import user_errors


@dataclass(frozen=True)
class PeerConfig:
    """Which server, of which model."""

    POSITIONAL: ClassVar = ("kind",)

    kind: Literal["plain", "litserve"] = option("plain", "which")
    model: str = option("lm", "artifact of a language model")
    port: int = option(8000, "to listen on")
    threads: int = option(1, "CPU threads of the model")
    batch: int = option(8, "litserve: requests that are answered together")


class Model:
    """The language model, prepared once for writing so many texts side by side."""

    def __init__(self, name: str, rows: int, threads: int):
        from phase1_foundation.language.decode import Decoder
        from phase1_foundation.language.model import LanguageModel
        from phase1_foundation.language.tokenizer import Tokenizer
        from shared import hardware
        from shared.artifact import find

        hardware.set_threads(threads)
        artifact = find(name)
        self.tokenizer = Tokenizer.from_pretrained(artifact)
        self.decoder = Decoder(LanguageModel.from_pretrained(artifact), rows)

    def write(self, bodies: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Answers in the form that the load's clients read."""
        from phase1_foundation.language.generate import Sampling, stream

        first = bodies[0]
        sampling = Sampling(
            max_tokens=max(body["max_tokens"] for body in bodies),
            temperature=first["temperature"], seed=first["seed"],
        )  # fmt: skip
        tokenizer = self.tokenizer
        prompts = [[tokenizer.bos, *tokenizer.encode(body["prompt"])] for body in bodies]
        steps = [*stream(self.decoder, prompts, sampling, (tokenizer.eos, tokenizer.bos))]
        rows = [*zip(*steps, strict=True)] or [()] * len(bodies)
        answers = []
        for body, row in zip(bodies, rows, strict=True):
            ids = [token for token in row[: body["max_tokens"]] if token is not None]
            usage = {"completion_tokens": len(ids)}
            answers.append({"choices": [{"text": tokenizer.decode(ids)}], "usage": usage})
        return answers


def plain(config: PeerConfig) -> None:
    """FastAPI around a call; a lock, since two calls at once only slow each other."""
    import uvicorn
    from fastapi import Body, FastAPI

    model, turn, app = Model(config.model, 1, config.threads), threading.Lock(), FastAPI()

    @app.post("/v1/completions")
    def completions(body: dict[str, Any] = Body()) -> dict[str, Any]:  # noqa: B008
        with turn:
            return model.write([body])[0]

    uvicorn.run(app, port=config.port, log_level="warning", access_log=False)


def litserve(config: PeerConfig) -> None:
    """LitServe with batches, as its documents advise for throughput."""
    from phase4_deploy.serving.peers_litserve import run

    run(config)


def main(arguments: list[str] | None = None) -> None:
    import sys

    words = sys.argv[1:] if arguments is None else arguments
    with user_errors():
        config = parse(
            PeerConfig, words, command="python -m phase4_deploy.serving.peers", about=str(__doc__)
        ).config
        {"plain": plain, "litserve": litserve}[config.kind](config)


if __name__ == "__main__":
    main()
