"""CLIP score of drawings, through an aligned model of our own: no independent judge."""

import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from data.pictures import resized
from phase1_foundation.diffusion import floors
from phase1_foundation.language.tokenizer import Tokenizer
from phase2_multimodal.alignment.evaluate import Towers
from phase2_multimodal.alignment.model import AlignmentModel
from phase2_multimodal.parents import parent
from phase2_multimodal.text_to_image.subject import Subject
from shared import hardware
from shared.artifact import Artifact, find
from shared.errors import VermeilError
from shared.metrics.clip_score import clip_score, clip_score_torchmetrics
from shared.metrics.intervals import mean_of
from shared.results import Row


def scores(
    subject: Subject, asked: Sequence[str], drawn: floors.Pixels, real: floors.Pixels
) -> list[Row]:
    """Both CLIP scores of drawings and their prompts; `real` are the pictures described.

    The floor is the same drawings beside each other's prompts, the ceiling real pictures beside
    their own. Without an aligned model a row says so, and what makes one.
    """
    start = time.perf_counter()
    fields: dict[str, Any] = {"unit": "", "better": "higher", "split": "test"}
    try:
        artifact = aligned(subject)
    except VermeilError as error:
        note = f"{error.message}: {error.hint}, then vermeil eval {subject.artifact}"
        return [subject.row("clip_score", None, n=len(asked), protocol="", note=note, **fields)]
    model = AlignmentModel.from_pretrained(artifact, hardware.device_name())
    towers, size = Towers(model, Tokenizer.from_pretrained(artifact)), model.config.vision.size
    drawings, pictures = (
        towers.pictures([resized(each, size) for each in pixels]).cpu() for pixels in (drawn, real)
    )
    said, others = (towers.texts(texts).cpu() for texts in (asked, shuffled(asked)))
    learned = ", ".join(data["name"] for data in artifact.manifest["data"])
    fields["protocol"] = (
        f"our own CLIP, {artifact.id}, trained on {learned}, {size} px, never the only judge; "
        f"{subject.draw.protocol}"
    )
    fields["seconds"] = round(time.perf_counter() - start, 1)
    own, other, true = (
        clip_score(seen, texts)
        for seen, texts in ((drawings, said), (drawings, others), (pictures, said))
    )
    return [
        subject.row(
            "clip_score", **mean_of(own)._asdict(), **fields,
            baselines={"shuffled_prompt": other.mean().item()},
            ceilings={"real": true.mean().item()},
        ),
        subject.row(
            "clip_score_torchmetrics", clip_score_torchmetrics(drawings, said), n=len(asked),
            baselines={"shuffled_prompt": clip_score_torchmetrics(drawings, others)},
            ceilings={"real": clip_score_torchmetrics(pictures, said)}, **fields,
        ),
    ]  # fmt: skip


def aligned(subject: Subject) -> Artifact:
    """The aligned model that is named, or the newest that was trained on the same data set."""
    config = subject.draw.config
    if config.clip_model:
        return parent("clip_model", config.clip_model, subject.preset, "alignment")
    return find("alignment", data=config.data)


def shuffled(asked: Sequence[str]) -> list[str]:
    """Each prompt in another's place."""
    order: list[int] = np.random.default_rng(0).permutation(len(asked)).tolist()
    places = dict(zip(order, [*order[1:], *order[:1]], strict=True))
    return [asked[places[number]] for number in range(len(asked))]
