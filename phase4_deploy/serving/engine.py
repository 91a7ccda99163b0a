"""The engine: verified models by name, each with a lane of its own.

What the API and the demo use:

    engine = Engine.open(["lm", "unified"])
    engine.writer("lm").write("She had been", Sampling(max_tokens=32)).result()
    engine.close()
"""

import contextlib
import time
from collections.abc import Sequence
from typing import TypeVar, cast

from phase4_deploy.serving.crew import Crew
from phase4_deploy.serving.models import (
    Drawer,
    Embedder,
    Hearer,
    Options,
    Served,
    Writer,
    Writes,
)
from phase4_deploy.serving.talker import Talker
from shared.artifact import Artifact, find, newest
from shared.errors import VermeilError, nearest

S = TypeVar("S", bound=Served)
SERVED: dict[str, type[Served]] = {
    "lm": Writer,
    "caption": Talker,
    "vqa": Talker,
    "unified": Talker,
    "text_to_image": Drawer,
    "speech": Hearer,
    "alignment": Embedder,
}
# Of models that do the same, the first that is there is served unless others are named.
KINDS = (("lm",), ("unified", "vqa", "caption"), ("text_to_image",), ("speech",), ("alignment",))
WHAT = {
    Writer: "a language model: lm",
    Talker: "a model that looks: unified, vqa or caption",
    Drawer: "a model that draws: text_to_image",
    Hearer: "a model that hears: speech",
    Embedder: "a model that embeds: alignment",
}


class UnknownModel(VermeilError):
    """No model of that name is served, or none that can do what is asked."""


class Engine:
    """Models that are served, by the name of the step that made them."""

    def __init__(self, served: Sequence[Served]):
        self.served = {model.name: model for model in served}
        self.open_for_work = True
        for model in served:
            model.lane.start()

    @classmethod
    def open(
        cls, models: Sequence[str] = (), options: Options | None = None, *, warm_up: bool = True
    ) -> "Engine":
        """Load artifacts ("lm", "unified@tiny", a folder) and make them ready to answer.

        Without names, one of each kind that is there. Raises VermeilError for one that is missing,
        damaged or of a kind that nobody can ask.
        """
        options = options or Options()
        found = [(_kind(artifact), artifact) for artifact in artifacts_of(models)]
        writing = [(kind, artifact) for kind, artifact in found if issubclass(kind, Writes)]
        with contextlib.ExitStack() as failed:
            # Its processes load their models beside what follows.
            crew = Crew(writing, options) if options.processes and writing else None
            if crew:
                failed.callback(crew.close, 0.0)
            engine = cls([
                kind(artifact, options, crew) if issubclass(kind, Writes)
                else kind(artifact, options) for kind, artifact in found
            ])  # fmt: skip
            failed.callback(engine.close, 0.0)
            if crew:
                crew.wait()
            for model in engine.served.values() if warm_up else ():
                model.warm_up()
            failed.pop_all()
        return engine

    def writer(self, name: str = "") -> Writer:
        return self._that(Writer, name)

    def talker(self, name: str = "") -> Talker:
        return self._that(Talker, name)

    def drawer(self, name: str = "") -> Drawer:
        return self._that(Drawer, name)

    def hearer(self, name: str = "") -> Hearer:
        return self._that(Hearer, name)

    def embedder(self, name: str = "") -> Embedder:
        return self._that(Embedder, name)

    def _that(self, kind: type[S], name: str) -> S:
        """The model of that name, or the first of its kind."""
        model = self.served.get(name)
        if model is None and name:
            model = next((m for m in self.served.values() if m.artifact.id == name), None)
        if model is None and not name:
            model = next((m for m in self.served.values() if isinstance(m, kind)), None)
        if isinstance(model, kind):
            return cast("S", model)
        fitting = [m.name for m in self.served.values() if isinstance(m, kind)]
        if model is not None:
            message = f"the model '{name}' cannot do this; it takes {WHAT[kind]}"
        elif name:
            message = f"the model '{name[:64]}' is not served here"
        else:
            message = f"this takes {WHAT[kind]}; none is served here"
        raise UnknownModel(message, f"known: {', '.join(fitting or self.served)}")

    def depths(self) -> dict[str, int]:
        """Requests that wait, by lane."""
        return {name: model.lane.depth for name, model in self.served.items()}

    def rows(self) -> dict[str, int]:
        """Answers that are being written, by lane."""
        return {n: m.lane.writing for n, m in self.served.items() if isinstance(m, Writes)}

    def ready(self) -> bool:
        """Whether every lane is at work and new requests are taken."""
        return self.open_for_work and all(m.lane.is_alive() for m in self.served.values())

    def close(self, seconds: float = 30.0) -> None:
        """Take no more requests, finish those that are there, for so long at most."""
        self.open_for_work = False
        until = time.monotonic() + seconds
        for model in self.served.values():
            model.lane.close(max(0.0, until - time.monotonic()))


def artifacts_of(models: Sequence[str]) -> list[Artifact]:
    """Artifacts by name, or one of each kind; raises VermeilError where a step comes twice."""
    artifacts = [find(name) for name in models] or newest(KINDS)
    steps = [artifact.manifest["step"] for artifact in artifacts]
    if twice := {step for step in steps if steps.count(step) > 1}:
        raise VermeilError(f"{min(twice)} was named twice", "name one version of it")
    return artifacts


def _kind(artifact: Artifact) -> type[Served]:
    step = artifact.manifest["step"]
    if step not in SERVED:
        raise VermeilError(f"'{step}' cannot be served", nearest(step, list(SERVED)))
    return SERVED[step]
