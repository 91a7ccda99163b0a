"""Does an engine train as one process does? The same batches, halved, and the weights compared.

SGD with momentum in fp32 shows it: what it does is linear in the gradients, so that differences are
those of rounding. AdamW divides by the gradients' size, where rounding weighs more.
"""

import contextlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from phase3_scaling.distributed.launch import starter, take_engine
from shared.errors import VermeilError
from shared.train_config import TrainConfig

if TYPE_CHECKING:
    from shared.objective import Objective
    from shared.training import Batches

ROOT = Path(__file__).resolve().parents[2]
OPTIMIZERS = {"sgd": 0.02, "adamw": 1e-3}  # and their learning rates
BATCH = 16
MODULE = "phase3_scaling.distributed.equality"


@dataclass(frozen=True)
class Equality:
    """How far an engine's run ends from that of one process: largest absolute differences."""

    engine: str
    model: str
    optimizer: str
    processes: int
    loss: float
    weight: float
    losses: tuple[float, ...]  # the engine's, by step
    losses_alone: tuple[float, ...]


def equal(
    engines: Sequence[str],
    models: Sequence[str] = ("lm", "diffusion", "alignment"),
    *,
    steps: int = 50,
    processes: int = 2,
    optimizers: Sequence[str] = tuple(OPTIMIZERS),
) -> list[Equality]:
    """Train small models with each engine, on parts of the batches that one process has whole.

    The models have their `smoke` sizes and random weights. VermeilError where an engine fails.
    """
    import torch

    rows = []
    jobs = [(model, optimizer) for model in models for optimizer in optimizers]
    with tempfile.TemporaryDirectory(prefix="vermeil-equality-") as name:
        for engine in ("single", *engines):
            _run(engine, processes, steps, jobs, Path(name) / engine)
        for engine in engines:
            for model, optimizer in jobs:
                ours, alone = (
                    torch.load(Path(name) / kind / f"{model}-{optimizer}.pt", weights_only=True)
                    for kind in (engine, "single")
                )
                weights = ((ours["weights"][key] - alone["weights"][key]).abs().max().item()
                           for key in alone["weights"])  # fmt: skip
                pairs = zip(ours["losses"], alone["losses"], strict=True)
                rows.append(Equality(
                    engine, model, optimizer, processes,
                    loss=max(abs(one - other) for one, other in pairs), weight=max(weights),
                    losses=tuple(ours["losses"]), losses_alone=tuple(alone["losses"]),
                ))  # fmt: skip
    return rows


def _run(
    engine: str, processes: int, steps: int, jobs: list[tuple[str, str]], folder: Path
) -> None:
    words = [engine, str(steps), str(folder), *(f"{model}-{kind}" for model, kind in jobs)]
    started = {"WORLD_SIZE", "RANK", "LOCAL_RANK", "LOCAL_WORLD_SIZE"}  # by somebody else
    environment = {key: value for key, value in os.environ.items() if key not in started}
    done = subprocess.run(
        [*starter(engine, processes, MODULE), *words], cwd=ROOT,
        env=environment | {"OMP_NUM_THREADS": "1"}, capture_output=True, text=True,
    )  # fmt: skip
    if done.returncode:
        said = next((line for line in done.stderr.splitlines() if "rror" in line), "no message")
        raise VermeilError(f"{engine} on {processes} processes failed ({said.strip()})")


def main(engine: str, steps: str, folder: str, *jobs: str) -> None:
    """One process: trains the models one after the other and writes down how."""
    import torch

    from shared.training import fit, seed_everything

    for job in jobs:
        model, _, optimizer = job.partition("-")
        config = TrainConfig(
            steps=int(steps), batch_size=BATCH, optimizer=optimizer,  # type: ignore[arg-type]
            learning_rate=OPTIMIZERS[optimizer], warmup=5, weight_decay=0.01,
            checkpoint_every=int(steps), precision="fp32", threads=1, trackers=(),
        )  # fmt: skip
        seed_everything(config.seed)
        objective, batches = MODELS[model](config)
        with contextlib.suppress(SystemExit):  # how processes other than the first end a fit
            history = fit(
                objective, batches, [], folder=Path(folder) / job, name=model, unit="rows",
                amount_per_step=BATCH, quiet=True,
                engine=take_engine(["--strategy", engine], command=[])[0],
            )  # fmt: skip
            weights = {key: value.detach() for key, value in objective.model.state_dict().items()}
            found = {"losses": history.series("train_loss")[1], "weights": weights}
            torch.save(found, Path(folder) / f"{job}.pt")


def language(config: TrainConfig) -> tuple["Objective", "Batches"]:
    """The next byte of English text."""
    import numpy as np

    import data
    from data.tokens import TokenWindows
    from phase1_foundation.language.model import LanguageModel, LanguageModelConfig
    from phase1_foundation.language.objective import NextToken

    shape = LanguageModelConfig(256, dim=32, layers=2, heads=2, kv_heads=2, mlp_dim=64, context=64)
    text = "\n".join(one.text for one in data.load("embedded_sample").documents("train"))
    tokens = np.frombuffer(text.encode(), np.uint8).astype(np.uint16)
    batches = TokenWindows(tokens, shape.context, config.batch_size, config.seed)
    return NextToken(LanguageModel(shape), config), batches


def diffusion(config: TrainConfig) -> tuple["Objective", "Batches"]:
    """Emoji of 16 pixels out of noise."""
    import data
    from data.picture_batches import PictureBatches
    from data.pictures import arrays
    from phase1_foundation.diffusion.model import DiffusionConfig, DiffusionModel
    from phase1_foundation.diffusion.objective import Denoise

    pictures = data.load_pictures("embedded_pictures_sample")
    seen = arrays(pictures, "train", 16)
    shape = DiffusionConfig(
        16, pictures.classes, widths=(16, 32), layers=1, heads=2, mlp_dim=64, patch=2
    )
    batches = PictureBatches(seen.pixels, seen.labels, config.batch_size, config.seed, "flip")
    return Denoise(DiffusionModel(shape), config), batches


def alignment(config: TrainConfig) -> tuple["Objective", "Batches"]:
    """CLIP on scenes and their captions: its loss compares the rows of all processes.

    Patches enter by a matrix, not by convolutions: their batch norm would see half a batch.
    """
    import data
    from phase1_foundation.language.model import LanguageModelConfig
    from phase1_foundation.vision.vit import VisionTransformerConfig
    from phase2_multimodal.alignment.model import AlignmentConfig, AlignmentModel
    from phase2_multimodal.alignment.objective import Align, Pairs
    from phase2_multimodal.talks import talks_of
    from phase2_multimodal.train_alignment import AlignmentTrainConfig

    eyes = VisionTransformerConfig(32, patch=8, dim=32, layers=2, heads=2, mlp_dim=64)
    words = LanguageModelConfig(258, 32, layers=2, heads=2, kv_heads=2, mlp_dim=64, context=256)
    talks = talks_of(data.load_pictures("scenes"), "train", eyes.size)
    batches = Pairs(talks, Bytes(), config.batch_size, config.seed)  # type: ignore[arg-type]
    model = AlignmentModel(AlignmentConfig(eyes, words, dim=16))
    return Align(model, AlignmentTrainConfig(**vars(config))), batches


class Bytes:
    """A tokenizer that needs no training."""

    bos, eos = 256, 257

    def encode(self, text: str) -> list[int]:
        return list(text.encode())


MODELS = {"lm": language, "diffusion": diffusion, "alignment": alignment}

if __name__ == "__main__":
    main(*sys.argv[1:])
