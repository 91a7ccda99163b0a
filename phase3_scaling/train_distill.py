"""Teach a student what a whole model believes: the same model with 4-bit weights, or a smaller one.

Without a shape of its own the student begins as its teacher, rounds its weights to 4 bits wherever
it uses them and learns to say the same with them (Jacob et al., 2018). With one, say `--layers 2`,
it begins with random weights (Hinton et al., 2015) and wants the rates and the steps of a training
from scratch. What comes out is an ordinary model. `vermeil run` leaves this step out.
"""

import copy
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

from shared.config import Choice, Preset, option
from shared.step import Inputs, Run, Step
from shared.train_config import TrainConfig

if TYPE_CHECKING:
    from torch import Tensor, nn

    from phase3_scaling.compression.distill import Distillation
    from phase3_scaling.compression.pareto import Measurement
    from phase3_scaling.compression.subjects import Subject
    from shared.metrics.intervals import Mean
    from shared.results import Row
    from shared.training import Batches

SHAPE = ("dim", "layers", "heads", "mlp_dim")


@dataclass(frozen=True)
class DistillConfig(TrainConfig):
    """Who teaches, what the student is and how it learns."""

    model: Literal["lm", "vision"] = option("lm", "what is taught")
    teacher: str = option("", "artifact; by default the preset's own")
    dim: int = option(0, "the student's width; 0: its teacher's", low=0)
    layers: int = option(0, "its blocks; 0: as many as its teacher's", low=0)
    heads: int = option(0, "its attention heads; 0: as many as its teacher's", low=0)
    mlp_dim: int = option(0, "its feed-forward width; 0: its teacher's", low=0)
    temperature: float = option(1.0, "softens what the teacher believes", low=0.01)
    hard: float = option(0.0, "share of the true labels in the loss", low=0, high=1)
    optimizer: Literal["adamw", "muon", "sgd"] = option("muon", "muon: for hidden matrices")
    cooldown: float = option(0.6, "last share of the steps, rate falls to 0", low=0, high=1)
    validation_rows: int = option(64, "validation windows or pictures used in training", low=1)
    rounds: int = option(50, "turns in which teacher and student are timed", low=3)

    @property
    def shape(self) -> dict[str, int]:
        """What the student has of its own."""
        return {name: value for name in SHAPE if (value := getattr(self, name))}


DAY = "2026-12-01"  # of the recorded runs
PRESETS = {
    "smoke": Preset(
        DistillConfig(steps=4, batch_size=4, validate_every=4, checkpoint_every=4,
                      sample_every=4, warmup=1, validation_rows=4, rounds=3, threads=1,
                      precision="fp32"),
        "10 s", "noise: it only tests the way", DAY, seconds=10, memory_gb=1, disk_mb=5,
    ),
    "tiny": Preset(
        DistillConfig(steps=100, warmup=10, validate_every=50,
                      learning_rate=1e-4, muon_learning_rate=5e-4),
        "2 min", "4 bits cost half of what they do", DAY, seconds=90, memory_gb=2, disk_mb=60,
    ),
    "small": Preset(
        DistillConfig(steps=500, validate_every=100, learning_rate=1e-4,
                      muon_learning_rate=5e-4),
        "10 min", "4 bits cost half of what they do", memory_gb=3, disk_mb=150,
    ),
    "base": Preset(
        DistillConfig(steps=1000, batch_size=128, accumulate=4,
                      validate_every=200, learning_rate=2e-4, muon_learning_rate=1e-3),
        "20 min on one large GPU", "4 bits cost half of what they do", memory_gb=40,
        disk_mb=4000,
    ),
}  # fmt: skip


def inputs(choice: Choice[DistillConfig]) -> Inputs:
    """The teacher, and what it learned from."""
    import data
    from phase2_multimodal.parents import parent

    model = choice.config.model
    teacher = parent("teacher", choice.config.teacher, choice.preset, model)
    load = {"lm": data.load, "vision": data.load_pictures}[model]
    return Inputs(parents=(teacher,), data=(load(teacher.manifest["config"]["data"]),))


def main(run: Run, engine=None):
    """Teach the student, measure both, publish it."""
    from phase1_foundation.language.tokenizer import Tokenizer
    from phase3_scaling.compression import pareto, qat, subjects
    from shared import hardware, reference
    from shared.training import fit, seed_everything

    config, (teacher,) = run.config, run.inputs.parents
    seed_everything(config.seed)
    subject = subjects.SUBJECTS[config.model](teacher)
    student, rounded = begun(subject.model, config.shape), not config.shape
    before = copy.deepcopy(student)
    if rounded:
        qat.prepare(student)
    lessons = {"lm": of_text, "vision": of_pictures}[config.model](subject, student, run)
    history = fit(
        lessons.objective, lessons.train, lessons.held_out, folder=run.folder, name="distill",
        unit=lessons.unit, amount_per_step=lessons.amount, engine=engine,
    )  # fmt: skip
    if rounded:
        qat.finish(student)
    rows, measured = compared(subject, before, student, lessons.inputs, run)
    curve, verdict = reference.compare(run, history)
    found = run.results(
        hardware.describe(history.precision),
        rows=rows,
        exhibits=[pareto.exhibit(subject, measured), curve],
        verdict=verdict,
    )

    def save(folder):
        student.save_pretrained(folder)
        if config.model == "lm":
            Tokenizer.from_pretrained(teacher).save_pretrained(folder)

    size = sum(parameter.numel() for parameter in student.parameters())
    how = "whose weights bear rounding to 4 bits" if rounded else "of a shape of its own"
    text = f"A student of {teacher.id} with {size / 1e6:.2f} M parameters, {how}."
    return run.publish(save, found, about=text, role=config.model)


def begun(teacher: Any, shape: dict[str, int]) -> Any:
    """The student before its first lesson: its teacher, or a model of its own shape."""
    config = teacher.config
    if not shape:
        return copy.deepcopy(teacher)
    if kv_heads := getattr(config, "kv_heads", 0):  # as many queries share a key as its teacher's
        heads = shape.get("heads") or config.heads
        shape = shape | {"kv_heads": max(1, heads * kv_heads // config.heads)}
    return type(teacher)(replace(config, **shape))


@dataclass(frozen=True)
class Lessons:
    """What the student is taught with, and what the models are asked about beside each other."""

    objective: "Distillation"
    train: "Batches"
    held_out: Sequence[Any]
    inputs: "list[Tensor]"  # of the held-out batches: what a model is called with
    unit: str
    amount: int  # of units in a step


def of_text(subject: "Subject", student: Any, run: Run) -> Lessons:
    """Windows of the text that the teacher learned from."""
    from data.tokens import TokenWindows, spaced_windows
    from phase1_foundation.language.corpus import packed
    from phase1_foundation.language.model import LanguageModel
    from phase3_scaling.compression.distill import DistilTokens

    config, (text,), teacher = run.config, run.inputs.data, subject.model
    assert isinstance(teacher, LanguageModel)
    train, validation = (packed(text, subject.artifact, split) for split in ("train", "validation"))
    context, size = teacher.config.context, config.batch_size
    held_out = spaced_windows(validation, context, size, config.validation_rows)
    return Lessons(
        DistilTokens(
            student, config, teacher, temperature=config.temperature, hard=config.hard
        ),
        TokenWindows(train, context, size, config.seed),
        held_out, [batch[:, :-1] for batch in held_out], "tokens", size * context,
    )  # fmt: skip


def of_pictures(subject: "Subject", student: Any, run: Run) -> Lessons:
    """The pictures that the teacher learned from, moved about."""
    from data.picture_batches import PictureBatches
    from data.pictures import arrays
    from phase1_foundation.vision import objective
    from phase3_scaling.compression.distill import DistilPictures
    from phase3_scaling.compression.subjects import with_blocks

    config, (pictures,), teacher = run.config, run.inputs.data, with_blocks(subject)
    train, validation = (
        arrays(pictures, split, teacher.config.size) for split in ("train", "validation")
    )
    batches = PictureBatches(train.pixels, train.labels, config.batch_size, config.seed, "crop")
    held_out = objective.validation_batches(
        objective.evenly(validation, config.validation_rows), config.batch_size
    )
    return Lessons(
        DistilPictures(
            student, config, teacher, temperature=config.temperature, hard=config.hard,
            settled=not config.shape,
        ),
        batches, held_out, [batch[0] for batch in held_out], "pictures", config.batch_size,
    )  # fmt: skip


def compared(
    subject: "Subject", before: "nn.Module", after: "nn.Module", inputs: "list[Tensor]", run: Run
) -> "tuple[list[Row], list[Measurement]]":
    """Teacher and student in turns, the student before its lessons and after them."""
    from phase3_scaling.compression import pareto, quantize
    from shared.results import Row

    config, as_it_is = run.config, pareto.as_it_is
    kinds: dict[str, Any] = {"untrained": as_it_is(before), "distilled": as_it_is(after)}
    if not config.shape:
        rounded = quantize.int4_weight_only
        kinds = {"rounded": lambda _, examples: rounded(before, examples),
                 "distilled": lambda _, examples: rounded(after, examples)}  # fmt: skip
    floor, name = kinds
    table = pareto.measure(
        subject, {"eager_fp32": as_it_is(subject.model), **kinds}, quantize.size_bytes,
        config.rounds, processes=1,
    )  # fmt: skip
    apart = {kind: divergence_of(subject.model, table.module(kind), inputs) for kind in kinds}
    about: dict[str, Any] = {"step": "distill", "artifact": run.id, "preset": run.choice.preset}
    rows = [
        Row(metric=f"{subject.name}_divergence", **apart[name]._asdict(), unit="nats",
            better="lower", protocol="KL(teacher || student)", split="validation",
            baselines={floor: apart[floor].value}, **about),
        *pareto.rows(subject, table.found, name, about, floors=(floor,)),
    ]  # fmt: skip
    if config.shape:
        rows.append(pareto.products(subject, after, about))
    return rows, table.found


def divergence_of(teacher: "nn.Module", student: "nn.Module", inputs: "list[Tensor]") -> "Mean":
    """Mean KL(teacher || student) in nats, over all that the two say of some inputs."""
    import torch

    from phase3_scaling.compression.distill import divergences
    from shared.metrics.intervals import mean_of

    with torch.inference_mode():
        each = [divergences(student(one), teacher(one)) for one in inputs]  # (B, *)
    rows = [part.reshape(len(part), -1).mean(dim=1) for part in each]  # of a window, a picture
    return mean_of(torch.cat(rows))


STEP = Step("distill", "phase3", "Distillation", DistillConfig, PRESETS, inputs, main,
            needs=("lm",))  # fmt: skip

if __name__ == "__main__":
    STEP.command_line(sys.argv[1:])
