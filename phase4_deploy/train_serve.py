"""Serve what was trained and ask it as clients do: how soon, how much, how long to wait.

The server is a process of its own, asked over HTTP by several clients at once: texts, beside the
same model behind FastAPI one request at a time, and then all kinds of requests in turns.
"""

import json
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shared.config import Choice, Preset, option
from shared.step import Inputs, Run, Step

if TYPE_CHECKING:
    from phase4_deploy.serving.trial import Trial
    from shared.results import Row


@dataclass(frozen=True)
class ServeConfig:
    """How the server is tried."""

    clients: int = option(8, "that ask at once", low=1)
    seconds: float = option(4.0, "of each kind of load", low=0.5)
    rounds: int = option(2, "turns of ours and of one request at a time", low=1)
    threads: int = option(1, "CPU threads of a model at work", low=1)
    variant: str = option("fp16", "weights of what writes words: fp16, fp32, bf16 or int8")


DAY = "2026-11-30"  # of the recorded runs
PRESETS = {
    "smoke": Preset(ServeConfig(clients=2, seconds=1.0, rounds=1), "25 s", "it answers", DAY,
                    seconds=25, memory_gb=3, disk_mb=1),
    "tiny": Preset(ServeConfig(), "40 s", "eight clients at once, none waits long", DAY,
                   seconds=40, memory_gb=4, disk_mb=1),
    "small": Preset(ServeConfig(seconds=20.0, rounds=3), "3 min", "not measured",
                    memory_gb=6, disk_mb=1),
    "base": Preset(ServeConfig(clients=64, seconds=20.0, rounds=3), "4 min", "not measured",
                   memory_gb=60, disk_mb=1),
}  # fmt: skip


def inputs(choice: Choice[ServeConfig]) -> Inputs:
    """One model of each kind, of this preset."""
    from phase2_multimodal.parents import parent

    kinds = ("lm", "unified", "text_to_image", "speech", "alignment")
    return Inputs(parents=tuple(parent(kind, "", choice.preset, kind) for kind in kinds))


def main(run: Run, engine=None):
    """Start the server, ask it, publish what was seen."""
    from phase4_deploy.serving.trial import tried
    from shared import hardware

    hardware.set_threads(run.config.threads)
    trial = tried(run.inputs.parents, run.config, run.folder)
    about = {"step": "serve", "artifact": run.id, "preset": run.choice.preset}
    rows = rows_of(trial, run.config, about)
    found = run.results(hardware.describe(run.config.variant), rows=rows, exhibits=exhibits(trial))

    def save(folder: Path) -> None:
        served = [artifact.lineage for artifact in run.inputs.parents]
        seen = {key: value for key, value in asdict(trial).items() if key != "pictures"}
        text = json.dumps({"served": served, "seen": seen}, indent=1)
        (folder / "serving.json").write_text(text)

    return run.publish(save, found, about="What was served, and how it answered.")


def rows_of(trial: "Trial", config: ServeConfig, about: dict[str, Any]) -> list["Row"]:
    """Throughput beside one request at a time, waiting, readiness; floors where there are any."""
    from shared.results import Row

    about = about | {"split": None}
    ours, plain = trial.texts["ours"], trial.texts["one at a time"]
    load = f"{config.clients} clients, {config.threads} threads a model, {config.variant}"
    texts = f"{load}, texts of 8 to 64 tokens"
    return [
        Row(metric="tokens_per_second", value=ours.tokens_per_second, unit="token/s",
            better="higher", n=ours.n, protocol=texts,
            baselines={"one_at_a_time": plain.tokens_per_second}, **about),
        Row(metric="latency_p50_ms", value=ours.p50_ms, unit="ms", better="lower", n=ours.n,
            protocol=texts, baselines={"one_at_a_time": plain.p50_ms}, **about),
        Row(metric="latency_p95_ms", value=ours.p95_ms, unit="ms", better="lower", n=ours.n,
            protocol=texts, baselines={"one_at_a_time": plain.p95_ms}, **about),
        Row(metric="first_token_ms", value=trial.first_token_ms, unit="ms", better="lower",
            n=trial.mixed.n, protocol=f"{load}, streamed texts among all kinds of requests",
            **about),
        Row(metric="requests_per_second", value=trial.mixed.requests_per_second, unit="request/s",
            better="higher", n=trial.mixed.n, protocol=f"{load}, all kinds of requests", **about),
        Row(metric="failed_requests", value=float(trial.mixed.failed), unit="", better="lower",
            n=trial.mixed.n, protocol=f"{load}, all kinds of requests", **about),
        Row(metric="cold_start_seconds", value=trial.ready_seconds, unit="s", better="lower", n=1,
            protocol="from the process' start until every model is warm", **about),
    ]  # fmt: skip


def exhibits(trial: "Trial") -> list[dict[str, Any]]:
    """Waiting by kind of request, and what was said and drawn."""
    from shared.results import images, table, texts

    columns = ["kind", "requests", "median, ms", "95 %, ms"]
    rows = [[kind, s.n, round(s.p50_ms, 1), round(s.p95_ms, 1)] for kind, s in trial.kinds.items()]
    return [
        table("Waiting by kind of request, all kinds at once", columns, rows),
        texts("What the server said", trial.said),
        images("What it was shown, and drew", trial.pictures, columns=4),
    ]


STEP = Step("serve", "phase4", "Serving", ServeConfig, PRESETS, inputs, main,
            needs=("lm", "alignment", "text_to_image", "speech", "unified"),
            alone=True)  # fmt: skip

if __name__ == "__main__":
    STEP.command_line(sys.argv[1:])
