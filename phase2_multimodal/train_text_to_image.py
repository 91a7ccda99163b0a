"""Teach phase 1's diffusion model to listen to phase 1's language model: it draws what you say.

Each block of the diffusion model looks at the words of a caption from now on. Drawings of scenes
are judged by a network that learned from real pictures alone, beside the same drawings for other
prompts; drawings of any other pictures by their distance from real ones and by CLIP score.
"""

import sys
from dataclasses import dataclass
from typing import Any, Literal

from phase1_foundation.train_diffusion import NETWORKS
from shared.config import Choice, Preset, option
from shared.errors import VermeilError, nearest
from shared.step import Inputs, Run, Step
from shared.train_config import TrainConfig


@dataclass(frozen=True)
class TextToImageTrainConfig(TrainConfig):
    """What the model is made of, what it learns to draw, how it is trained and measured."""

    data: str = option("scenes", "a data set of pictures with texts, or READER@PLACE")
    loader: Literal["torch", "dali"] = option("torch", "dali: picture files decoded on the GPU")
    lm: str = option("", "artifact of the language model; by default the preset's own")
    diffusion: str = option("", "artifact of the diffusion model; by default the preset's own")
    text_encoder: Literal["lm", "bytes"] = option("lm", "bytes: a small reader, trained along")
    longest: int = option(128, "tokens of a prompt, or bytes", low=8)
    size: int = option(32, "pixels a side, a multiple of the diffusion model's", low=8)
    concepts: int = option(16, "of scenes: different things they show; 0: all 64", low=0)
    most: int = option(1, "of scenes: things in one", low=1, high=3)
    optimizer: Literal["adamw", "muon"] = option("muon", "muon: for hidden matrices")
    learning_rate: float = option(4e-3, "AdamW's peak learning rate", low=0)
    muon_learning_rate: float = option(0.02, "Muon's peak learning rate", low=0)
    diffusion_rate: float = option(0.5, "share of the rates for phase 1's weights", low=0)
    weight_decay: float = option(0.01, "pull of matrices towards zero", low=0)
    ema: float = option(0.99, "decay of the moving average of weights; 0 keeps none", low=0, high=1)
    condition_dropout: float = option(0.1, "share of prompts left out in training", low=0, high=1)
    shift: float = option(3.0, "of times towards noise; larger pictures need more", low=0.1)
    validation_pictures: int = option(128, "validation pictures used in training", low=1)
    pictures: int = option(192, "pictures drawn to be measured", low=48)
    networks: tuple[str, ...] = option(
        ("efficientnet_lite0",), f"that KID looks through: {', '.join(NETWORKS)}"
    )
    judge_steps: int = option(240, "of scenes: training steps of the judge", low=2)
    clip_model: str = option(
        "", "artifact for CLIP score: alignment@...; by default one trained on the same data"
    )
    solver: Literal["euler", "heun", "dpm"] = option("dpm", "how pictures are drawn")
    sampler_steps: int = option(10, "steps in which they are drawn", low=1)
    guidance_scale: float = option(2.5, "1: none; more: clearer and less varied", low=0)
    overshoot: float = option(0.1, "share by which each step goes on: less noise is left", low=0)

    @property
    def drawing(self) -> dict[str, Any]:
        """How the model is asked to draw: arguments of `draw`."""
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
                f"guidance {self.guidance_scale:g} needs a model that draws without a prompt, "
                "which --condition_dropout 0 never trains",
                "--guidance_scale 1, or --condition_dropout 0.1",
            )
        if 0 < self.concepts < self.most:
            raise VermeilError(
                f"scenes of {self.most} different things cannot be made of {self.concepts}",
                f"--concepts {self.most} or more",
            )
        if self.text_encoder == "bytes" and self.lm:
            raise VermeilError(
                f"--text_encoder bytes reads without a language model, but --lm is {self.lm}",
                "leave out one of them",
            )
        for network in self.networks:
            if network not in NETWORKS:
                raise VermeilError(f"there is no network '{network}'", nearest(network, NETWORKS))
        self._check_loader()

    def _check_loader(self) -> None:
        if self.loader == "dali" and self.data == "scenes":
            raise VermeilError(
                "scenes are generated, there are no files for DALI to read", "--loader torch"
            )
        if self.loader == "dali" and self.workers:
            raise VermeilError(
                f"DALI has threads of its own, and --workers {self.workers} would start it in as "
                "many processes",
                "--workers 0",
            )


DAY = "2026-11-30"  # of the recorded runs
PRESETS = {
    "smoke": Preset(
        TextToImageTrainConfig(
            concepts=2, batch_size=16, steps=20, warmup=5, validate_every=10,
            checkpoint_every=10, sample_every=10, validation_pictures=16, pictures=48,
            judge_steps=10, sampler_steps=4, threads=1, precision="fp32",
        ),
        "15 s", "noise: it only tests the way", DAY, seconds=15, memory_gb=1, disk_mb=5,
    ),
    "tiny": Preset(
        TextToImageTrainConfig(steps=700, batch_size=32, validate_every=100, sample_every=200),
        "3 min", "the right background, and often the thing", DAY,
        seconds=200, memory_gb=2, disk_mb=100,
    ),
    "small": Preset(
        TextToImageTrainConfig(
            most=2, steps=4500, batch_size=64, ema=0.999, warmup=200, pictures=512,
            judge_steps=1500, sampler_steps=20, validate_every=500, checkpoint_every=250,
            sample_every=1000, compile=True, networks=("inception_v3", "efficientnet_lite0"),
        ),
        "2 hours", "one thing or two, not measured", seconds=7200, memory_gb=4, disk_mb=300,
    ),
    "base": Preset(
        TextToImageTrainConfig(
            size=64, most=3, concepts=0, shift=4.0, steps=60_000, batch_size=512, ema=0.9999,
            warmup=500, pictures=5000, judge_steps=4000, sampler_steps=20, validate_every=1000,
            checkpoint_every=1000, sample_every=5000, compile=True, workers=16,
            networks=("inception_v3",),
        ),
        "3 h on one large GPU", "64 pixels, not measured", memory_gb=40, disk_mb=4000,
    ),
    "large": Preset(
        TextToImageTrainConfig(
            size=128, most=3, concepts=0, shift=6.0, steps=200_000, batch_size=1024, ema=0.9999,
            warmup=2000, optimizer="adamw", learning_rate=4e-4, pictures=10_000, judge_steps=8000,
            sampler_steps=20, validate_every=2000, checkpoint_every=1000, sample_every=10_000,
            compile=True, workers=16, networks=("inception_v3",),
        ),
        "3 days on 8 large GPUs", "128 pixels, not measured", memory_gb=70, disk_mb=20_000,
    ),
}  # fmt: skip


def scenes_of(config: TextToImageTrainConfig):
    """The scenes that a configuration asks for."""
    from data.scenes import SceneConfig, Scenes

    shape = SceneConfig(size=config.size, concepts=config.concepts, most=config.most)
    return Scenes(config=shape)


def pictures_of(config: TextToImageTrainConfig):
    """The pictures that a configuration asks for."""
    import data

    return scenes_of(config) if config.data == "scenes" else data.load_pictures(config.data)


def inputs(choice: Choice[TextToImageTrainConfig]) -> Inputs:
    """The diffusion model, the language model where it is the reader, and the pictures."""
    from phase2_multimodal.parents import parent

    config, preset = choice.config, choice.preset
    parents = [parent("diffusion", config.diffusion, preset, "diffusion")]
    if config.text_encoder == "lm":
        parents.append(parent("lm", config.lm, preset, "lm"))
    if config.clip_model:  # it measures, nothing is built on it
        parent("clip_model", config.clip_model, preset, "alignment")
    if config.loader == "dali":
        from data.dali import gpu

        gpu()
    return Inputs(parents=tuple(parents), data=(pictures_of(config),))


def main(run: Run, engine=None):
    """Put phase 1's two models together, train, draw, have the drawings judged, publish."""
    from phase1_foundation.language.tokenizer import Tokenizer
    from phase2_multimodal.text_to_image import batches, evaluate, reuse
    from phase2_multimodal.text_to_image.draw import Artist
    from phase2_multimodal.text_to_image.objective import DenoiseByPrompt, SamplesInTraining
    from phase2_multimodal.text_to_image.prompts import Prompts
    from phase2_multimodal.text_to_image.subject import Subject
    from shared import hardware, reference
    from shared.training import fit, seed_everything

    config, (pictures,) = run.config, run.inputs.data
    diffusion, *readers = run.inputs.parents
    lm = readers[0] if readers else None
    tokenizer = Tokenizer.from_pretrained(lm) if lm else None
    seed_everything(config.seed)
    model, tensors = reuse.made_of(diffusion, lm, config)
    prompts = Prompts.of(model.config, tokenizer)
    train = batches.training_batches(pictures, prompts, config)
    validation = batches.validation_batches(pictures, prompts, config)
    losses = reuse.first_losses(model, config, validation)
    asked = batches.held_out_prompts(pictures, prompts, config.size, SamplesInTraining.PICTURES)
    samples = SamplesInTraining(Artist(model, prompts, config, "fp32"), asked, run.folder)
    history = fit(
        DenoiseByPrompt(model, config),
        train,
        validation,
        folder=run.folder,
        name="text_to_image",
        unit="pictures",
        amount_per_step=config.batch_size,
        sample=samples,
        engine=engine,
    )
    draw = Artist(model, prompts, config, history.precision)
    subject = Subject(draw, pictures, run.id, run.choice.preset)
    measured = evaluate.measure(subject, diffusion)
    curve, verdict = reference.compare(run, history)
    found = run.results(
        hardware.describe(history.precision),
        rows=measured.rows,
        exhibits=[*measured.exhibits, samples.exhibit(), curve],
        verdict=verdict,
        reuse=tensors | losses,
    )

    def save(folder):
        model.save_pretrained(folder)
        if tokenizer:
            tokenizer.save_pretrained(folder)

    parameters = sum(p.numel() for p in model.parameters())
    about = (
        f"A text-to-image model of {parameters / 1e6:.2f} M parameters, {config.size} pixels; its "
        f"text encoder is {'a frozen copy of ' + lm.id if lm else 'a reader of bytes'}."
    )
    return run.publish(save, found, about=about)


STEP = Step("text_to_image", "phase2", "Text to image", TextToImageTrainConfig, PRESETS, inputs,
            main, needs=("diffusion", "lm", "alignment"))  # fmt: skip

if __name__ == "__main__":
    STEP.command_line(sys.argv[1:])
