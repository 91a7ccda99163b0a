"""A step of the curriculum, and one run of it: the folder where it works and what it publishes."""

import contextlib
import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shared import artifact
from shared.artifact import Artifact
from shared.config import Choice, Preset, as_dict, parse, write_file
from shared.errors import VermeilError
from shared.home import home, write_atomically

if TYPE_CHECKING:
    from shared.results import Results


@dataclass(frozen=True)
class Inputs:
    """What a step builds on: artifacts of earlier steps, and data sets."""

    parents: tuple[Artifact, ...] = ()
    data: tuple[Any, ...] = ()  # with name, version, licence, sha256(): see data/text.py


@dataclass(frozen=True)
class Step:
    """What the front door and the walk know of a step; every verb defines one.

    `needs` names the steps whose artifacts it builds on. One that is `alone` has the machine for
    itself, since it measures what all of it can do.
    """

    name: str
    phase: str  # the artifact's folder: "phase1"
    title: str
    config: type
    presets: Mapping[str, Preset]
    inputs: Callable[[Choice], Inputs]
    main: Callable[["Run", Any], Artifact]
    needs: tuple[str, ...] = ()
    alone: bool = False

    def parse(self, arguments: Sequence[str]) -> Choice:
        """The configuration that the command line asks for."""
        return parse(
            self.config,
            arguments,
            command=f"vermeil train {self.name}",
            presets=self.presets,
            about=sys.modules[self.main.__module__].__doc__ or self.title,
        )

    def train(self, choice: Choice, engine: Any = None) -> Artifact:
        """Make this step's artifact, resuming what was cut short."""
        inputs = self.inputs(choice)
        with open_run(self, choice, inputs) as run:
            return self.main(run, engine)

    def command_line(self, arguments: Sequence[str]) -> None:
        """`python -m phaseN.train_STEP [PRESET] ...`: the same as `vermeil train`, one process."""
        words = [word for word in arguments if word != "--debug"]
        with user_errors(debug=len(words) < len(arguments)):
            print(self.train(self.parse(words)).folder)


@dataclass
class Run:
    """One run of a step. Its version is a hash of configuration, parents and data."""

    step: Step
    choice: Choice
    inputs: Inputs
    version: str
    folder: Path
    earlier: float = 0.0  # seconds that interrupted attempts took
    started: float = field(default_factory=time.monotonic)

    @property
    def seconds(self) -> float:
        """Wall time of this run so far, attempts that were cut short included."""
        return self.earlier + time.monotonic() - self.started

    @property
    def config(self) -> Any:
        return self.choice.config

    @property
    def id(self) -> str:
        return f"{self.step.phase}/{self.step.name}@{self.version}"

    @property
    def target(self) -> Path:
        """Where the artifact goes."""
        return home() / "artifacts" / self.step.phase / self.step.name / self.version

    @property
    def data_lineage(self) -> list[dict[str, str]]:
        return [
            {"name": d.name, "version": d.version, "sha256": d.sha256(), "licence": d.licence}
            for d in self.inputs.data
        ]

    def results(self, hardware: dict, *, rows: list, exhibits: list, **more: Any) -> "Results":
        """This run's results, ready for the report."""
        from shared.results import Results

        return Results(
            step=self.step.name,
            preset=self.choice.preset,
            title=self.step.title,
            artifact=self.id,
            seconds=round(self.seconds, 1),
            hardware=hardware,
            parents=[parent.lineage for parent in self.inputs.parents],
            data=self.data_lineage,
            rows=rows,
            exhibits=exhibits,
            **more,
        )

    def publish(
        self, save: Callable[[Path], None], results: "Results", *, about: str, role: str = ""
    ) -> Artifact:
        """Write the artifact with its manifest and card, and the results beside the run.

        `role` names the step whose models this one can take the place of, if not its own.
        """
        from shared.card import model_card

        config = as_dict(self.config)
        manifest = {
            "id": self.id,
            "step": self.step.name,
            **({"role": role} if role else {}),
            "preset": self.choice.preset,
            "changed": self.config != self.step.presets[self.choice.preset].config,
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
            "config": config,
            "config_sha256": artifact.fingerprint(config),
            "parents": results.parents,
            "data": results.data,
            "seed": getattr(self.config, "seed", 0),
            "metrics": [asdict(row) for row in results.rows],
            "hardware": results.hardware,
            "seconds": results.seconds,
        }
        card = model_card(manifest, title=self.step.title, about=about)
        made = artifact.publish(self.target, save, manifest, card)
        results.save(self.folder)
        return made


def version_of(choice: Choice, inputs: Inputs) -> str:
    """`<preset>-<hash>`: the same configuration, parents and data have the same version."""
    identity = [
        as_dict(choice.config),
        [parent.sha256 for parent in inputs.parents],
        [data.sha256() for data in inputs.data],
    ]
    return f"{choice.preset}-{artifact.fingerprint(identity)[:8]}"


def finished(step: Step, choice: Choice) -> Artifact | None:
    """The valid artifact that this step would make, if it is there."""
    try:
        version = version_of(choice, step.inputs(choice))
        return artifact.find(f"{step.name}@{version}")
    except VermeilError:
        return None


@contextlib.contextmanager
def open_run(step: Step, choice: Choice, inputs: Inputs) -> Iterator[Run]:
    """The run's folder, locked, so that two processes never write the same artifact."""
    version = version_of(choice, inputs)
    folder = home() / "runs" / step.name / version
    folder.mkdir(parents=True, exist_ok=True)
    run = Run(step, choice, inputs, version, folder)
    clock = folder / "seconds.json"
    if int(os.environ.get("RANK", 0)) > 0:  # other ranks work under the first one's lock
        yield run
        return
    with _locked(folder, f"{step.name}@{version}"):
        write_file(folder / "config.yaml", choice)
        run.earlier = json.loads(clock.read_text()) if clock.exists() else 0.0
        try:
            yield run
        except BaseException:
            write_atomically(clock, json.dumps(run.seconds))
            raise
        clock.unlink(missing_ok=True)


@contextlib.contextmanager
def _locked(folder: Path, name: str) -> Iterator[None]:
    from filelock import FileLock, Timeout

    lock, owner = FileLock(folder / "lock"), folder / "owner.json"
    try:
        lock.acquire(timeout=0)
    except Timeout:
        pid = json.loads(owner.read_text())["pid"] if owner.exists() else "unknown"
        raise VermeilError(
            f"process {pid} is already making {name}",
            f"wait for it, or stop it (kill {pid}); it goes on where it was",
        ) from None
    try:
        write_atomically(owner, json.dumps({"pid": os.getpid()}))
        yield
    finally:
        lock.release()


@contextlib.contextmanager
def user_errors(debug: bool = False) -> Iterator[None]:
    """Print a user's mistake without a traceback and exit with status 2."""
    try:
        yield
        sys.stdout.flush()
    except BrokenPipeError:  # `vermeil ... | head` has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(0) from None
    except VermeilError as error:
        if debug:
            raise
        print(f"{error.label}{error.message}", file=sys.stderr)
        if error.hint:
            print(f"  -> {error.hint}", file=sys.stderr)
        raise SystemExit(error.exit_code) from None
    except ModuleNotFoundError as error:
        if debug:
            raise
        print(f"error: the package '{error.name}' is not installed", file=sys.stderr)
        print('  -> pip install -c constraints.txt -e ".[text,eval,serve]"', file=sys.stderr)
        raise SystemExit(2) from None
    except KeyboardInterrupt:
        print("stopped; what was saved stays", file=sys.stderr)
        raise SystemExit(130) from None
