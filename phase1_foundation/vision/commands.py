"""`vermeil eval vision`."""

from dataclasses import dataclass
from typing import ClassVar

from shared.config import option, parse


@dataclass(frozen=True)
class EvalConfig:
    """What to measure."""

    POSITIONAL: ClassVar = ("model",)

    model: str = option("vision", "artifact: vision or vision@tiny")


def eval(arguments: list[str]) -> None:
    """Probe the encoder on the held-out pictures again and put the numbers into the report."""
    config = parse(EvalConfig, arguments, command="vermeil eval", about=str(eval.__doc__)).config
    from phase1_foundation.vision.evaluate import evaluate
    from shared.artifact import find
    from shared.home import home
    from shared.report import terminal
    from shared.results import Results

    artifact = find(config.model)
    rows = evaluate(artifact)
    print(terminal(rows))
    run = home() / "runs" / "vision" / artifact.folder.name
    if (run / "results.json").exists():
        results = Results.load(run)
        results.rows = rows
        results.save(run)
