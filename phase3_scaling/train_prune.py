"""Make a vision encoder half as expensive: cut layers, heads and widths, then learn from the whole.

What is left is an ordinary encoder, which loads without any pruning library. It is measured by the
head it was trained with, before and after it learned again, and timed in turns with the whole one.
"""

import copy
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from shared.config import Choice, Preset, option
from shared.step import Inputs, Run, Step
from shared.train_config import TrainConfig

if TYPE_CHECKING:
    from data.picture_batches import PictureBatches
    from phase3_scaling.compression.subjects import Subject


IMPORTANT = 4  # training batches whose loss says what matters


@dataclass(frozen=True)
class PruneConfig(TrainConfig):
    """What is cut, and how what is left learns again."""

    vision: str = option("", "artifact of the encoder; by default the preset's own")
    multiply_adds: float = option(0.5, "share of them that is left", low=0, high=1)
    cut: tuple[str, ...] = option(("layers", "heads", "mlp_dim"), "what may be cut")
    importance: Literal["magnitude", "taylor"] = option(
        "taylor", "which units matter: by their weights, or by what the loss loses with them"
    )
    temperature: float = option(2.0, "softens what the whole model believes", low=0.01)
    hard: float = option(0.5, "share of the true labels in the loss", low=0, high=1)
    augment: Literal["", "flip", "crop"] = option("crop", "how training pictures are changed")
    optimizer: Literal["adamw", "muon", "sgd"] = option("muon", "muon: for hidden matrices")
    muon_learning_rate: float = option(5e-3, "Muon's peak learning rate", low=0)
    cooldown: float = option(0.6, "last share of the steps, rate falls to 0", low=0, high=1)
    batch_size: int = option(64, "pictures per optimizer step, over all processes", low=1)
    validation_pictures: int = option(512, "validation pictures used in training", low=1)
    pictures: int = option(10_000, "test pictures that are named", low=16)
    rounds: int = option(50, "turns in which both are timed", low=3)


PRESETS = {
    "smoke": Preset(
        PruneConfig(steps=5, batch_size=8, validate_every=5, checkpoint_every=5, sample_every=5,
                    warmup=2, validation_pictures=32, pictures=32, rounds=3, threads=1,
                    precision="fp32"),
        "5 s", "noise: it only tests the way", seconds=5, memory_gb=1, disk_mb=2,
    ),
    "tiny": Preset(
        PruneConfig(steps=300, warmup=20, validate_every=100),
        "1 min", "nearly as good, half as expensive", seconds=60, memory_gb=2, disk_mb=20,
    ),
    "small": Preset(
        PruneConfig(steps=3000, validate_every=250, checkpoint_every=250, compile=True),
        "20 min", "nearly as good, half as expensive", memory_gb=3, disk_mb=80,
    ),
    "base": Preset(
        PruneConfig(steps=10_000, batch_size=512, warmup=500, validate_every=500,
                    checkpoint_every=500, compile=True, workers=8),
        "10 min on one large GPU", "nearly as good, half as expensive", memory_gb=20, disk_mb=300,
    ),
}  # fmt: skip


def inputs(choice: Choice[PruneConfig]) -> Inputs:
    """The encoder, and the pictures it learned from."""
    import data
    from phase2_multimodal.parents import parent

    whole = parent("vision", choice.config.vision, choice.preset, "vision")
    return Inputs(parents=(whole,), data=(data.load_pictures(whole.manifest["config"]["data"]),))


def main(run: Run, engine=None):
    """Cut, learn again from the whole model, measure both, publish what is left."""
    from data.picture_batches import PictureBatches
    from data.pictures import arrays
    from phase1_foundation.vision import objective
    from phase3_scaling.compression import pareto, quantize, subjects
    from phase3_scaling.compression.distill import DistilPictures
    from shared import hardware, reference
    from shared.training import fit, seed_everything

    config, (pictures,) = run.config, run.inputs.data
    seed_everything(config.seed)
    subject = subjects.vision(run.inputs.parents[0], config.pictures)
    whole = subjects.with_blocks(subject)
    train, validation = (
        arrays(pictures, split, whole.config.size) for split in ("train", "validation")
    )
    held_out = objective.validation_batches(
        objective.evenly(validation, config.validation_pictures), config.batch_size
    )
    batches = PictureBatches(
        train.pixels, train.labels, config.batch_size, config.seed, config.augment or None
    )
    small = smaller(subject, batches, config)
    cut = copy.deepcopy(small)
    history = fit(
        DistilPictures(small, config, whole, temperature=config.temperature, hard=config.hard),
        batches,
        held_out, folder=run.folder, name="prune", unit="pictures",
        amount_per_step=config.batch_size, engine=engine,
    )  # fmt: skip
    models = {"eager_fp32": whole, "cut": cut, "pruned": small}
    variants = {name: pareto.as_it_is(model) for name, model in models.items()}
    measured = pareto.measure(subject, variants, quantize.size_bytes, config.rounds, processes=1)
    curve, verdict = reference.compare(run, history)
    about = {"step": "prune", "artifact": run.id, "preset": run.choice.preset}
    rows = pareto.rows(subject, measured.found, "pruned", about, floors=("cut",))
    found = run.results(
        hardware.describe(history.precision),
        rows=[*rows, pareto.products(subject, small, about)],
        exhibits=[pareto.exhibit(subject, measured.found), curve],
        verdict=verdict,
    )
    shape = small.config
    about = (f"{subject.artifact.id} cut to {shape.layers} blocks of width {shape.dim}, "
             f"{shape.heads} heads and {shape.mlp_dim} hidden units.")  # fmt: skip
    return run.publish(small.save_pretrained, found, about=about, role="vision")


def smaller(subject: "Subject", batches: "PictureBatches", config: PruneConfig) -> Any:
    """What is left of the encoder; the first training batches say what matters."""
    import torch

    from phase1_foundation.vision.objective import Classify
    from phase3_scaling.compression.structured import structured

    first = [batches.rows(step, slice(0, config.batch_size)) for step in range(IMPORTANT)]

    def loss(model: Any) -> torch.Tensor:
        task = Classify(model, config)  # type: ignore[arg-type]
        return torch.stack([task.loss(batch) for batch in first]).mean()

    def call(model: Any) -> torch.Tensor:
        return model(*subject.rows(1))

    return structured(subject.model, call, config.multiply_adds, config.importance, loss,
                      config.cut)  # type: ignore[arg-type]  # fmt: skip


STEP = Step("prune", "phase3", "Pruning", PruneConfig, PRESETS, inputs, main,
            needs=("vision",))  # fmt: skip

if __name__ == "__main__":
    STEP.command_line(sys.argv[1:])
