"""Make the language model and the vision encoder smaller and faster with 8-bit weights.

Every variant is timed in turns with the others and asked for its quality by the task's own metric.
What is published are the 8-bit graphs, which ONNX Runtime runs without any of this project's code.
The whole table, over all models and all variants, is `vermeil bench compress`.
"""

import sys
from dataclasses import dataclass

from shared.config import Choice, Preset, option
from shared.step import Inputs, Run, Step

CHOSEN = "ort_int8_dynamic"


@dataclass(frozen=True)
class QuantizeConfig:
    """What is compressed, and how long it is timed."""

    lm: str = option("", "artifact of the language model; by default the preset's own")
    vision: str = option("", "artifact of the encoder; by default the preset's own")
    rounds: int = option(50, "turns in which every variant is timed", low=3)
    documents: int = option(8, "test documents that the language model is scored on", low=1)
    pictures: int = option(10_000, "test pictures that the encoder is scored on", low=16)
    threads: int = option(1, "CPU threads; 0 takes every core", low=0)


PRESETS = {
    "smoke": Preset(QuantizeConfig(rounds=3, documents=1, pictures=32), "10 s",
                    "it only tests the way", seconds=10, memory_gb=1, disk_mb=5),
    "tiny": Preset(QuantizeConfig(), "30 s", "a quarter of the size", seconds=30, memory_gb=2,
                   disk_mb=10),
    "small": Preset(QuantizeConfig(), "2 min", "a quarter of the size", memory_gb=3, disk_mb=40),
    "base": Preset(QuantizeConfig(rounds=20), "10 min", "a quarter of the size", memory_gb=16,
                   disk_mb=500),
}  # fmt: skip


def inputs(choice: Choice[QuantizeConfig]) -> Inputs:
    """The two models."""
    from phase2_multimodal.parents import parent

    config = choice.config
    return Inputs(
        parents=(
            parent("lm", config.lm, choice.preset, "lm"),
            parent("vision", config.vision, choice.preset, "vision"),
        )
    )


def main(run: Run, engine=None):
    """Make the variants of both models, measure them side by side, publish the 8-bit ones."""
    from phase3_scaling.compression import pareto, quantize, subjects
    from shared import hardware

    config, (lm, vision) = run.config, run.inputs.parents
    hardware.set_threads(config.threads)
    variants = {
        name: quantize.VARIANTS[name]
        for name in ("eager_fp32", "eager_bf16", "ort_fp32", CHOSEN)
    }  # fmt: skip
    rows, measured, made = [], [], {}
    for subject in (subjects.language(lm, config.documents),
                    subjects.vision(vision, config.pictures)):  # fmt: skip
        table = pareto.measure(subject, variants, quantize.size_bytes, config.rounds, processes=1)
        made[subject.name] = table.module(CHOSEN)
        about = {"step": "quantize", "artifact": run.id, "preset": run.choice.preset}
        rows += pareto.rows(subject, table.found, CHOSEN, about)
        measured.append((subject, table.found))
    exhibits = [pareto.exhibit(*one) for one in measured]
    found = run.results(
        hardware.describe("int8"), rows=rows, exhibits=[*exhibits, pareto.frontier(measured)]
    )

    def save(folder):
        for name, module in made.items():
            (folder / f"{name}.onnx").write_bytes(module.graph)

    return run.publish(save, found, about="Graphs with 8-bit weights for ONNX Runtime.")


STEP = Step("quantize", "phase3", "Quantization", QuantizeConfig, PRESETS, inputs, main,
            needs=("lm", "vision"))  # fmt: skip

if __name__ == "__main__":
    STEP.command_line(sys.argv[1:])
