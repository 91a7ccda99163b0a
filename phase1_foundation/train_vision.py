"""Train a vision encoder from scratch on the pictures of the data set you name.

It learns to name their classes, or, without labels, to draw what is hidden of them. It is measured
by what a linear layer and nearest neighbours make of its frozen features, beside raw pixels and the
same network with random weights. Phase 2 looks through it.
"""

import sys
from dataclasses import dataclass
from typing import Literal

from shared.config import Choice, Preset, option
from shared.errors import VermeilError
from shared.step import Inputs, Run, Step
from shared.train_config import TrainConfig


@dataclass(frozen=True)
class VisionConfig(TrainConfig):
    """The encoder's shape, its pictures, what it learns and how."""

    data: str = option("embedded_pictures", "a data set, READER@PLACE, or a folder of pictures")
    encoder: str = option("", "artifact to start from, e.g. one trained with --objective mae")
    objective: Literal["supervised", "mae"] = option("supervised", "mae: without labels")
    model: Literal["vit", "resnet18"] = option("vit", "resnet18: timm's, to compare with")
    size: int = option(32, "pixels a side", low=8)
    patch: int = option(8, "pixels a side that are one token", low=1)
    stem: Literal["patch", "conv"] = option("conv", "how patches are made; mae needs patch")
    pool: Literal["cls", "mean"] = option("mean", "what stands for the whole picture")
    dim: int = option(128, "width of the residual stream", low=8)
    layers: int = option(6, "blocks", low=1)
    heads: int = option(2, "attention heads", low=1)
    mlp_dim: int = option(512, "width inside the feed-forward layers", low=8)
    mask_ratio: float = option(0.75, "mae: share of the patches that is hidden", low=0, high=1)
    decoder_dim: int = option(96, "mae: width of the decoder", low=8)
    decoder_layers: int = option(2, "mae: blocks of the decoder", low=1)
    decoder_heads: int = option(2, "mae: attention heads of the decoder", low=1)
    label_smoothing: float = option(0.1, "supervised: kept back for all classes", low=0, high=1)
    augment: Literal["", "flip", "crop", "resized_crop", "strong"] = option(
        "crop", "how training pictures are changed"
    )
    optimizer: Literal["adamw", "muon"] = option("muon", "muon: for hidden matrices")
    learning_rate: float = option(2e-3, "AdamW's peak learning rate", low=0)
    cooldown: float = option(0.6, "last share of the steps, rate falls to 0", low=0, high=1)
    batch_size: int = option(64, "pictures per optimizer step, over all processes", low=1)
    validation_pictures: int = option(512, "validation pictures used in training", low=1)

    def check(self) -> None:
        """Errors that would otherwise come late."""
        if self.model == "resnet18" and (self.objective == "mae" or self.encoder):
            raise VermeilError(
                "resnet18 has no patches to hide and starts from nothing",
                "leave out --objective and --encoder, or --model vit",
            )


DAY = "2026-11-21"  # of the recorded runs
PRESETS = {
    "smoke": Preset(
        VisionConfig(
            data="embedded_pictures_sample", size=16, patch=8, dim=32, layers=2, heads=2,
            mlp_dim=64, batch_size=16, steps=20, warmup=5, validate_every=10, checkpoint_every=10,
            sample_every=10, validation_pictures=32, threads=1, precision="fp32",
        ),
        "10 s", "noise: it only tests the way", DAY, seconds=10, memory_gb=1, disk_mb=5,
    ),
    "tiny": Preset(
        VisionConfig(steps=1000, validate_every=100, sample_every=500),
        "1.5 min", "two thirds of the groups right", DAY, seconds=90, memory_gb=2, disk_mb=60,
    ),
    "small": Preset(
        VisionConfig(
            size=64, dim=256, layers=8, heads=4, mlp_dim=1024, steps=6000, batch_size=64,
            augment="strong", validate_every=250, checkpoint_every=250, sample_every=1000,
            compile=True,
        ),
        "1 hour", "64 pixels, not measured", seconds=3600, memory_gb=3, disk_mb=150,
    ),
    "base": Preset(
        VisionConfig(
            data="cifar_10", patch=4, dim=384, layers=12, heads=6, mlp_dim=1536,
            steps=20_000, batch_size=512, warmup=500, augment="crop", validate_every=500,
            checkpoint_every=500, sample_every=2000, validation_pictures=5000, compile=True,
            workers=8,
        ),
        "10 min on one large GPU", "CIFAR-10", memory_gb=20, disk_mb=500,
    ),
    "large": Preset(
        VisionConfig(
            data="imagenet@imagenet", size=224, patch=16, dim=768, layers=12,
            heads=12, mlp_dim=3072, steps=100_000, batch_size=1024, warmup=5000,
            augment="resized_crop", validate_every=1000, checkpoint_every=1000, sample_every=5000,
            validation_pictures=10_000, compile=True, workers=16,
        ),
        "12 h on 8 large GPUs", "ImageNet", memory_gb=60, disk_mb=2000,
    ),
}  # fmt: skip


def inputs(choice: Choice[VisionConfig]) -> Inputs:
    """The pictures, and the encoder to start from where one is named."""
    import data
    from shared.artifact import find

    config = choice.config
    parents = (find(config.encoder),) if config.encoder else ()
    for parent in parents:
        if parent.manifest["step"] != "vision":
            raise VermeilError(
                f"--encoder {config.encoder} is a {parent.manifest['step']}",
                f"vermeil train vision {choice.preset} --objective mae",
            )
    return Inputs(parents=parents, data=(data.load_pictures(config.data),))


def main(run: Run, engine=None):
    """Resize the pictures, train, probe against the floors, publish the encoder."""
    from data.picture_batches import LIGHT, PictureBatches
    from data.pictures import arrays
    from phase1_foundation.vision import encoders, evaluate, objective
    from shared import hardware, reference
    from shared.training import fit, seed_everything

    config, (pictures,) = run.config, run.inputs.data
    seed_everything(config.seed)
    supervised = config.objective == "supervised"
    model = encoders.make(config, classes=len(pictures.classes) if supervised else 0)
    task = objective.make_objective(model, config)
    train, validation = (arrays(pictures, split, config.size) for split in ("train", "validation"))
    batches = objective.validation_batches(
        objective.evenly(validation, config.validation_pictures), config.batch_size
    )
    reuse = None
    for parent in run.inputs.parents:
        reuse = objective.start_from(parent, model, task, batches)
    masked = isinstance(task, objective.Masked)
    drawings = objective.Drawings(task.model, validation) if masked else None
    augment = config.augment or None
    if config.augment not in ("", *LIGHT):
        from data.augment import Augmentation  # takes the extra `vision`; the light ones do not

        augment = Augmentation(config.augment, config.size)
    history = fit(
        task,
        PictureBatches(train.pixels, train.labels, config.batch_size, config.seed, augment),
        batches,
        folder=run.folder,
        name="vision",
        unit="pictures",
        amount_per_step=config.batch_size,
        sample=drawings,
        engine=engine,
    )
    measured = evaluate.measure(
        model, pictures, config.size, seed=config.seed, artifact=run.id, preset=run.choice.preset
    )
    curve, verdict = reference.compare(run, history)
    found = run.results(
        hardware.describe(history.precision),
        rows=measured.rows,
        exhibits=[*measured.exhibits, *([drawings.exhibit()] if drawings else []), curve],
        verdict=verdict,
        reuse=reuse,
    )
    about = (
        f"A vision encoder of {encoders.parameters(model) / 1e6:.2f} M parameters for pictures of "
        f"{config.size} pixels, {config.objective}, classes: {', '.join(pictures.classes)}."
    )
    return run.publish(model.save_pretrained, found, about=about)


STEP = Step("vision", "phase1", "Vision encoder", VisionConfig, PRESETS, inputs, main)

if __name__ == "__main__":
    STEP.command_line(sys.argv[1:])
