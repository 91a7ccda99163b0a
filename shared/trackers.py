"""Where a run's numbers go: metrics.jsonl always, TensorBoard, W&B and MLflow by choice.

Every tracker gets the same numbers from the same call. Nothing leaves the machine: W&B writes its
offline format, MLflow a local SQLite file.
"""

import json
import os
from pathlib import Path

import numpy as np
from pytorch_lightning.loggers import Logger, MLFlowLogger, TensorBoardLogger, WandbLogger

from shared.errors import VermeilError, nearest
from shared.home import write_atomically


class JsonlLogger(Logger):
    """One JSON object a line in metrics.jsonl; a resumed run drops lines it will write again."""

    def __init__(self, path: Path, resume_step: int = 0):
        super().__init__()
        kept = [line for line in read_metrics(path) if line["step"] <= resume_step]
        write_atomically(path, "".join(json.dumps(line) + "\n" for line in kept))
        self._file = path.open("a")

    @property
    def name(self) -> str:
        return "jsonl"

    @property
    def version(self) -> str:
        return "0"

    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        self._file.write(json.dumps({"step": step, **metrics}) + "\n")

    def log_hyperparams(self, *_, **__) -> None:
        """The configuration stands in config.yaml already."""

    def save(self) -> None:
        self._file.flush()

    def finalize(self, status: str) -> None:
        self._file.close()


def read_metrics(path: Path) -> list[dict]:
    """The lines of a metrics.jsonl; a line that a crash cut off is left out."""
    lines = []
    for line in path.read_text().splitlines() if path.exists() else ():
        try:
            lines.append(json.loads(line))
        except json.JSONDecodeError:
            continue
    return lines


def make_trackers(
    names: tuple[str, ...], folder: Path, run_id: str, resume_step: int
) -> list[Logger]:
    """The JSONL logger and those asked for by name; none but in the first process."""
    if int(os.environ.get("RANK", 0)) > 0:
        return []
    makers = {
        "tensorboard": lambda: TensorBoardLogger(
            folder, name="", version="tensorboard", purge_step=resume_step or None
        ),
        "wandb": lambda: WandbLogger(
            name=run_id, id=run_id, project="vermeil", save_dir=folder, offline=True, resume="allow"
        ),
        "mlflow": lambda: MLFlowLogger(
            experiment_name="vermeil",
            run_name=run_id,
            tracking_uri=f"sqlite:///{folder / 'mlflow.db'}",
        ),
    }
    for name in names:
        if name not in makers:
            raise VermeilError(f"there is no tracker '{name}'", nearest(name, list(makers)))
    try:
        return [JsonlLogger(folder / "metrics.jsonl", resume_step), *(makers[n]() for n in names)]
    except ModuleNotFoundError as error:
        raise VermeilError(
            f"a tracker in {','.join(names)} is not installed ({error.name or error})",
            "pip install wandb mlflow, or leave it out of --trackers",
        ) from None


Made = dict[str, str] | dict[str, np.ndarray]  # label -> a text, or a picture (H, W, 3) uint8


def log_samples(trackers: list[Logger], made: Made, step: int) -> None:
    """Give what a model made to the trackers that show texts and pictures."""
    texts = {label: text for label, text in made.items() if isinstance(text, str)}
    pictures = {label: pixels for label, pixels in made.items() if not isinstance(pixels, str)}
    for tracker in trackers:
        if isinstance(tracker, TensorBoardLogger):
            for label, text in texts.items():
                tracker.experiment.add_text(label, text, step)
            for label, pixels in pictures.items():
                tracker.experiment.add_image(label, pixels, step, dataformats="HWC")
        elif isinstance(tracker, WandbLogger):
            if texts:
                rows = [[step, label, text] for label, text in texts.items()]
                tracker.log_text(f"samples/{step}", ["step", "label", "text"], rows)
            for label, pixels in pictures.items():
                tracker.log_image(label, [pixels], step)
