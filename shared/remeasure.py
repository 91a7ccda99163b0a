"""What `vermeil eval` does for every step: measure a published model again, renew the report."""

from dataclasses import dataclass
from importlib import import_module
from typing import ClassVar

from shared.config import option, parse


@dataclass(frozen=True)
class EvalConfig:
    """What to measure."""

    POSITIONAL: ClassVar = ("model",)

    model: str = option("", "artifact: a step's name, its preset (lm@tiny) or a folder")


def measure_again(arguments: list[str], *, about: str | None, module: str) -> None:
    """Print the rows that `module`'s evaluate(artifact) finds, and put them into its run's results.

    The module is imported after the command line is read, so that `--help` answers at once.
    """
    config = parse(EvalConfig, arguments, command="vermeil eval", about=about or "").config
    from shared.artifact import find
    from shared.home import home
    from shared.report import terminal
    from shared.results import Results

    artifact = find(config.model)
    rows = import_module(module).evaluate(artifact)
    print(terminal(rows))
    run = home() / "runs" / artifact.manifest["step"] / artifact.folder.name
    if (run / "results.json").exists():
        results = Results.load(run)
        results.rows = rows
        results.save(run)
