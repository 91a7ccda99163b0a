"""Clips kept out of training: what the loss is measured on, and what is heard as it learns."""

import json
from itertools import islice
from pathlib import Path
from typing import Any

import torch

from data.speech import SpeechData
from phase4_deploy.audio.batches import Batch, measured
from phase4_deploy.speech.alphabet import Alphabet
from phase4_deploy.speech.ctc import greedy
from phase4_deploy.speech.encoder import SpeechRecogniser
from shared.results import texts
from shared.trackers import read_metrics


def held_out(speech: SpeechData, most: int, batch_size: int) -> list[Batch]:
    """The validation split's first clips, shorter than CTC can use left out, in batches."""
    alphabet, clips = Alphabet(), islice(speech.clips("validation"), most)
    return [
        batch for batch in measured(clips, min(batch_size, most))
        if all(map(len, map(alphabet.encode, batch.texts)))
    ]  # fmt: skip


class SamplesInTraining:
    """Transcribes the same validation clips at every stage of training."""

    CLIPS = 6

    def __init__(self, model: SpeechRecogniser, batch: Batch, folder: Path):
        self.model, self.path = model, folder / "samples.jsonl"
        self.mels, self.lengths = batch.mels[: self.CLIPS], batch.lengths[: self.CLIPS]
        self.texts = batch.texts[: self.CLIPS]

    @torch.no_grad()
    def __call__(self, step: int) -> dict[str, str]:
        """Transcribe and keep; returns what was said -> what was heard for the trackers."""
        device = next(self.model.parameters()).device
        log_probs, lengths = self.model(self.mels.to(device), self.lengths.to(device))
        heard = greedy(log_probs.cpu(), lengths.cpu(), self.model.alphabet)
        made = dict(zip(self.texts, heard, strict=True))
        with self.path.open("a") as file:
            file.write(json.dumps({"step": step, "texts": made}) + "\n")
        return made

    def exhibit(self) -> dict[str, Any]:
        """What was heard at each stage; a resumed run's repeated steps count once."""
        by_step = {line["step"]: line["texts"] for line in read_metrics(self.path)}
        items = [
            (f"step {step:,}", f"{said} |", heard)
            for step in sorted(by_step)
            for said, heard in by_step[step].items()
        ]
        return texts("What it hears as it learns, after what was said", items)
