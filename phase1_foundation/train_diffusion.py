"""Train a diffusion model from scratch: it draws the pictures of the data set you name, by class.

It is measured by the distance of what it draws to real pictures (KID, FID), beside what simple
samplers reach. Phase 2 teaches it to listen to the language model.
"""

import sys
from dataclasses import dataclass
from typing import Any, Literal

from shared.config import Choice, Preset, common, option
from shared.errors import VermeilError, nearest
from shared.step import Inputs, Run, Step
from shared.train_config import TrainConfig

NETWORKS = ["efficientnet_lite0", "inception_v3"]


@dataclass(frozen=True)
class DiffusionTrainConfig(TrainConfig):
    """The model's shape, its path from noise, its pictures and how it is trained and measured."""

    data: str = option("embedded_pictures", "a data set, READER@PLACE, or a folder of pictures")
    size: int = option(16, "pixels a side", low=8)
    network: Literal["unet", "dit"] = option("unet", "convolutions around blocks, or blocks alone")
    path: Literal["flow", "ddpm"] = option("flow", "flow: a straight line from noise to picture")
    prediction: str = option("velocity", "flow: velocity or x; ddpm: epsilon or x")
    patch: int = option(1, "pixels a side that enter the network as one", low=1)
    widths: tuple[int, ...] = option((64, 192), "of the U-Net's levels; the last is the blocks'")
    res_blocks: int = option(1, "convolution blocks at each level, down and up", low=1)
    layers: int = option(3, "blocks", low=1)
    heads: int = option(3, "attention heads", low=1)
    mlp_dim: int = option(768, "width inside the feed-forward layers", low=8)
    optimizer: Literal["adamw", "muon"] = option("muon", "muon: for hidden matrices")
    learning_rate: float = option(2e-3, "AdamW's peak learning rate", low=0)
    muon_learning_rate: float = option(0.01, "Muon's peak learning rate", low=0)
    weight_decay: float = option(0.01, "pull of matrices towards zero", low=0)
    ema: float = option(
        0.999, "decay of the moving average of weights; 0 keeps none", low=0, high=1
    )
    condition_dropout: float = option(0.1, "share of classes left out in training", low=0, high=1)
    augment: str = option("flip", "flip, crop, or nothing")
    pictures: int = option(512, "pictures drawn to be measured", low=16)
    networks: tuple[str, ...] = option(
        ("efficientnet_lite0",), f"that metrics look through: {', '.join(NETWORKS)}"
    )
    solver: Literal["euler", "heun", "dpm"] = option("dpm", "how they are drawn")
    sampler_steps: int = option(10, "steps in which they are drawn", low=1)
    guidance_scale: float = option(2.25, "1: none; more: clearer and less varied", low=0)
    overshoot: float = option(0.1, "share by which each step goes on: less noise is left", low=0)

    @property
    def drawing(self) -> dict[str, Any]:
        """How the model is asked to draw: arguments of `DiffusionModel.draw`."""
        return {
            "solver": self.solver,
            "steps": self.sampler_steps,
            "guidance_scale": self.guidance_scale,
            "overshoot": self.overshoot,
        }

    def check(self) -> None:
        """Errors that would otherwise come late."""
        if self.guidance_scale != 1 and not self.condition_dropout:
            raise VermeilError(
                f"guidance {self.guidance_scale:g} needs a model that draws without a class, which "
                "--condition_dropout 0 never trains",
                "--guidance_scale 1, or --condition_dropout 0.1",
            )
        for network in self.networks:
            if network not in NETWORKS:
                raise VermeilError(f"there is no network '{network}'", nearest(network, NETWORKS))


DAY = "2026-11-21"  # of the recorded runs
PRESETS = {
    "smoke": Preset(
        DiffusionTrainConfig(
            data="embedded_pictures_sample", size=16, patch=2, widths=(16, 32), layers=1, heads=2,
            mlp_dim=64, batch_size=16, steps=20, warmup=5, validate_every=10, checkpoint_every=10,
            sample_every=10, pictures=32, sampler_steps=4, threads=1, precision="fp32",
        ),
        "10 s", "noise: it only tests the way", DAY, seconds=10, memory_gb=1, disk_mb=5,
    ),
    "tiny": Preset(
        DiffusionTrainConfig(steps=1450, batch_size=32, validate_every=200, sample_every=350),
        "4 min", "small emoji-like pictures", DAY, seconds=255, memory_gb=2, disk_mb=80,
    ),
    "small": Preset(
        DiffusionTrainConfig(
            size=32, network="dit", patch=4, widths=(256,), layers=8, heads=4, mlp_dim=1024,
            steps=2400, batch_size=64, pictures=1024, sampler_steps=20, validate_every=200,
            networks=("inception_v3", "efficientnet_lite0"),
            checkpoint_every=200, sample_every=400, compile=True,
        ),
        "50 min", "recognisable objects", DAY, seconds=3000, memory_gb=4, disk_mb=200,
    ),
    "base": Preset(
        DiffusionTrainConfig(
            data="cifar_10", size=32, network="unet", patch=1, widths=(128, 256, 512), res_blocks=3,
            layers=8, heads=8, mlp_dim=2048, steps=30_000, batch_size=512, warmup=500,
            ema=0.9999, pictures=50_000, sampler_steps=20, validate_every=1000,
            networks=("inception_v3",), guidance_scale=1.2, overshoot=0.0,
            checkpoint_every=1000, sample_every=2000, compile=True,
        ),
        "25 min on one large GPU", "CIFAR-10", memory_gb=40, disk_mb=3000,
    ),
    "large": Preset(
        DiffusionTrainConfig(
            data="imagenet@imagenet", size=64, network="dit", patch=4, widths=(1024,), layers=24,
            heads=16, mlp_dim=4096, steps=200_000, batch_size=1024, warmup=2000,
            ema=0.9999, optimizer="adamw", learning_rate=2e-4, pictures=50_000, sampler_steps=20,
            networks=("inception_v3",), guidance_scale=1.5, overshoot=0.0, validate_every=2000,
            checkpoint_every=1000, sample_every=5000, compile=True,
        ),
        "2 days on 8 large GPUs", "ImageNet at 64 pixels", memory_gb=60, disk_mb=20_000,
    ),
}  # fmt: skip


def inputs(choice: Choice[DiffusionTrainConfig]) -> Inputs:
    """The pictures alone."""
    import data

    return Inputs(data=(data.load_pictures(choice.config.data),))


def main(run: Run, engine=None):
    """Resize the pictures, train, draw, measure against the floors, publish."""
    from data.picture_batches import PictureBatches
    from data.pictures import arrays
    from phase1_foundation.diffusion import evaluate
    from phase1_foundation.diffusion.model import DiffusionConfig, DiffusionModel
    from phase1_foundation.diffusion.objective import Denoise, SamplesInTraining, batches
    from shared import hardware, reference
    from shared.training import fit, seed_everything

    config, (pictures,) = run.config, run.inputs.data
    train, validation = (arrays(pictures, split, config.size) for split in ("train", "validation"))
    seed_everything(config.seed)
    shape = DiffusionConfig(classes=pictures.classes, **common(config, DiffusionConfig))
    model = DiffusionModel(shape)
    samples = SamplesInTraining(model, run.folder, config.drawing)
    history = fit(
        Denoise(model, config),
        PictureBatches(train.pixels, train.labels, config.batch_size, config.seed,
                       config.augment or None),
        batches(validation.pixels, validation.labels, config.batch_size),
        folder=run.folder,
        name="diffusion",
        unit="pictures",
        amount_per_step=config.batch_size,
        sample=samples,
        engine=engine,
    )  # fmt: skip
    measured = evaluate.measure(
        model, pictures, config, artifact=run.id, preset=run.choice.preset,
        precision=history.precision,
    )  # fmt: skip
    curve, verdict = reference.compare(run, history)
    found = run.results(
        hardware.describe(history.precision),
        rows=measured.rows,
        exhibits=[*measured.exhibits, samples.exhibit(), curve],
        verdict=verdict,
    )
    parameters = sum(p.numel() for p in model.parameters())
    about = (
        f"A diffusion model of {parameters / 1e6:.2f} M parameters, {config.size} pixels, classes: "
        f"{', '.join(pictures.classes)}."
    )
    return run.publish(model.save_pretrained, found, about=about)


STEP = Step("diffusion", "phase1", "Diffusion model", DiffusionTrainConfig, PRESETS, inputs, main)

if __name__ == "__main__":
    STEP.command_line(sys.argv[1:])
