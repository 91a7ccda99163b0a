"""What a model writes as it learns: kept beside the run at every stage, shown in the report."""

import json
from pathlib import Path

from shared.trackers import read_metrics

FILE = "samples.jsonl"


class WrittenSamples:
    """Texts that were made of other texts, a line a stage."""

    def __init__(self, folder: Path):
        self.path = folder / FILE

    def keep(self, step: int, made: dict[str, str]) -> dict[str, str]:
        """Write down what was made of what, and give it back."""
        with self.path.open("a") as file:
            file.write(json.dumps({"step": step, "texts": made}) + "\n")
        return made

    def items(self) -> list[tuple[str, str, str]]:
        """(stage, of what, what was made) in order; a resumed run's repeated steps count once."""
        by_step = {line["step"]: line["texts"] for line in read_metrics(self.path)}
        return [
            (f"step {step:,}", given, made)
            for step in sorted(by_step)
            for given, made in by_step[step].items()
        ]
