"""The objective: what a clip costs does not depend on its company, and a few clips are learned."""

import pytest
import torch

from phase4_deploy.audio.batches import Batch
from phase4_deploy.speech.ctc import ctc_loss, greedy
from phase4_deploy.speech.encoder import (
    SpeechEncoderConfig,
    SpeechRecogniser,
    SpeechRecogniserConfig,
)
from phase4_deploy.speech.objective import Transcribe
from shared.objective import mean_loss
from shared.train_config import TrainConfig
from shared.training import fit

TEXTS = ["one", "a b", "it's"]


def model() -> SpeechRecogniser:
    torch.manual_seed(0)
    return SpeechRecogniser(SpeechRecogniserConfig(SpeechEncoderConfig(32, 1, 2, 64)))


@pytest.fixture
def batch() -> Batch:
    mels = torch.randn(3, 64, 80, generator=torch.Generator().manual_seed(1))
    return Batch(mels, torch.tensor([64, 41, 52]), TEXTS, ["1", "2", "3"])


def test_the_loss_is_that_of_the_clips_one_by_one(batch):
    recogniser = model()
    objective = Transcribe(recogniser, TrainConfig())
    total = 0.0
    for mels, length, text in zip(batch.mels, batch.lengths, TEXTS, strict=True):
        log_probs, lengths = recogniser(mels[None, :length], length[None])
        alone = ctc_loss(log_probs, lengths, [recogniser.alphabet.encode(text)])
        total += alone.item() * len(text)
    characters = sum(map(len, TEXTS))
    assert mean_loss(objective, [batch]) == pytest.approx(total / characters, rel=1e-4)


def test_a_few_clips_are_learned(batch, tmp_path):
    """By the fit that trains everything."""

    class Same:
        def rows(self, step: int, rows: slice) -> Batch:
            return batch

    config = TrainConfig(
        steps=80, batch_size=3, optimizer="muon", learning_rate=5e-3, warmup=5,
        validate_every=80, checkpoint_every=80, precision="fp32", threads=1, trackers=(),
    )  # fmt: skip
    recogniser = model()
    history = fit(
        Transcribe(recogniser, config), Same(), [batch], folder=tmp_path, name="speech",
        unit="seconds of sound", amount_per_step=2, quiet=True,
    )  # fmt: skip
    assert history.metrics
    with torch.no_grad():
        found = greedy(*recogniser.eval()(batch.mels, batch.lengths), recogniser.alphabet)
    assert found == TEXTS
