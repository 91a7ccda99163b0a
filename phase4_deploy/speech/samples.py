"""Clips kept out of training: what the loss is measured on, and what is heard as it learns."""

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
from shared.samples import WrittenSamples


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
        self.model, self.written = model, WrittenSamples(folder)
        self.mels, self.lengths = batch.mels[: self.CLIPS], batch.lengths[: self.CLIPS]
        self.texts = batch.texts[: self.CLIPS]

    @torch.no_grad()
    def __call__(self, step: int) -> dict[str, str]:
        """Transcribe and keep; returns what was said -> what was heard for the trackers."""
        device = next(self.model.parameters()).device
        log_probs, lengths = self.model(self.mels.to(device), self.lengths.to(device))
        heard = greedy(log_probs.cpu(), lengths.cpu(), self.model.alphabet)
        return self.written.keep(step, dict(zip(self.texts, heard, strict=True)))

    def exhibit(self) -> dict[str, Any]:
        """What was heard at each stage."""
        items = [(stage, f"{said} |", heard) for stage, said, heard in self.written.items()]
        return texts("What it hears as it learns, after what was said", items)
