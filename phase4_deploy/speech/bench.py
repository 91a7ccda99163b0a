"""`vermeil bench speech`: learning and writing down beside transformers' Wav2Vec2 and Whisper tiny.

Wav2Vec2ForCTC has our width, blocks and heads and random weights as ours; it hears waves through
seven convolutions and has a state for 20 ms, ours one for 40 ms of mel frames. Both learn in bf16
autocast with AdamW and clipping from the same recordings, ours by the whole `fit`, frames cached as
they are after the first epoch, the peer in a plain loop. Whisper tiny, in 8 bits, was trained by
others and hears half a minute whatever it is given; it stands beside for decoding alone. Real-time
factors: seconds of computing for a second of sound.
"""

from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn

from data.embedded_speech import EmbeddedSpeech
from phase4_deploy.audio.batches import Batch, SpeechBatches
from phase4_deploy.audio.decode import RATE, read
from phase4_deploy.audio.log_mel import HOP
from phase4_deploy.commands import BenchConfig
from phase4_deploy.speech.alphabet import Alphabet
from phase4_deploy.speech.comparators import Pocketsphinx, WhisperTiny, whisper_folder
from phase4_deploy.speech.encoder import (
    SpeechEncoderConfig,
    SpeechRecogniser,
    SpeechRecogniserConfig,
)
from phase4_deploy.speech.objective import Transcribe
from phase4_deploy.speech.transcribe import Transcriber
from phase4_deploy.train_speech import PRESETS, SpeechConfig
from shared import hardware
from shared.benchmark import (
    conditions,
    interleaved,
    matrix_peak,
    now,
    peer_package,
    time_fit,
)

CLIPS = 8  # that are written down in a turn


def table(config: BenchConfig) -> None:
    """Time learning and decoding in turns with the peers, and print a table."""
    peer_package("transformers")
    hardware.set_threads(config.threads)
    tiny = PRESETS["tiny"].config
    shape = SpeechEncoderConfig(tiny.dim, tiny.layers, tiny.heads, tiny.mlp_dim)
    print(f"{hardware.cpu_name()}, {conditions()}; bf16 matrix peak "
          f"{matrix_peak(torch.bfloat16, hardware.device_name()):,.0f} GFLOP/s\n")  # fmt: skip
    lessons = SpeechBatches(
        EmbeddedSpeech().clips("train"), Alphabet().encode, config.batch_size, 0, longest=8.0
    )
    peer = Peer(shape)
    learning: dict[str, Callable[[], float | None]] = {
        "ours": partial(our_step, shape, lessons, config),
        "Wav2Vec2, same shape": partial(peer_step, peer, lessons, config.steps),
    }
    print("real-time factors (less is faster)\n")
    for name, factor in interleaved(learning, config.rounds).items():
        print(
            f"  learning, {config.batch_size} clips a step   {name:<24}{factor:10.5f}", flush=True
        )
    clips = list(EmbeddedSpeech().clips("test"))[:: max(1, 72 // CLIPS)][:CLIPS]
    waves = [read(clip.source, clip.id) for clip in clips]
    sound = sum(map(len, waves)) / RATE
    hearing: dict[str, Callable[[], float | None]] = {
        name: partial(written, hear, waves) for name, hear in recognisers(shape, peer).items()
    }
    for name, seconds in interleaved(hearing, config.rounds).items():
        print(f"  decoding, one at a time    {name:<24}{seconds / sound:10.5f}", flush=True)
    print(f"\nmedians of {config.rounds} turns; {sound:.0f} s of sound decoded; at the end: "
          f"{conditions()}")  # fmt: skip


def our_step(shape: SpeechEncoderConfig, lessons: SpeechBatches, config: BenchConfig) -> float:
    """Seconds of a step through the whole fit, for a second of sound."""
    recipe = SpeechConfig(
        steps=config.steps, batch_size=config.batch_size, optimizer="adamw", precision="bf16",
        checkpoint_every=config.steps, threads=config.threads, trackers=(),
    )  # fmt: skip
    objective = Transcribe(SpeechRecogniser(SpeechRecogniserConfig(shape)), recipe)
    step = time_fit(objective, lessons, unit="clips", amount=config.batch_size).step
    sounds = [seconds(lessons.rows(number, slice(None))) for number in range(2, config.steps)]
    return step * len(sounds) / sum(sounds)


def seconds(batch: Batch) -> float:
    """Of sound, padding not counted."""
    return int(batch.lengths.sum()) * HOP / RATE


class Peer:
    """transformers' Wav2Vec2ForCTC with our widths."""

    def __init__(self, shape: SpeechEncoderConfig):
        from transformers import Wav2Vec2Config, Wav2Vec2ForCTC

        self.model = Wav2Vec2ForCTC(Wav2Vec2Config(
            vocab_size=len(Alphabet()), hidden_size=shape.dim, num_hidden_layers=shape.layers,
            num_attention_heads=shape.heads, intermediate_size=shape.mlp_dim,
            conv_dim=(shape.dim,) * 7, num_conv_pos_embedding_groups=shape.heads,
            mask_time_prob=0.0, layerdrop=0.0, ctc_zero_infinity=True, ctc_loss_reduction="mean",
        ))  # fmt: skip
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=1e-3, fused=True)

    def train(self, waves: list[Tensor], texts: list[str]) -> None:
        """One step."""
        sound = nn.utils.rnn.pad_sequence(waves, batch_first=True)
        heard = nn.utils.rnn.pad_sequence(
            [torch.ones(len(wave), dtype=torch.long) for wave in waves], batch_first=True
        )
        said = [torch.tensor(Alphabet().encode(text)) for text in texts]
        labels = nn.utils.rnn.pad_sequence(said, batch_first=True, padding_value=-100)
        with torch.autocast("cpu", torch.bfloat16):
            loss = self.model(sound, attention_mask=heard, labels=labels).loss
        self.optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()

    @torch.inference_mode()
    def __call__(self, wave: Tensor) -> str:
        """What it hears, greedily."""
        self.model.eval()
        ids = self.model(wave[None]).logits.argmax(dim=-1)
        return Alphabet().decode(torch.unique_consecutive(ids[0]).tolist())


def peer_step(peer: Peer, lessons: SpeechBatches, steps: int) -> float:
    """Seconds of a step in a plain loop, for a second of sound; waves lie in memory."""
    peer.model.train()
    times, sounds = [], []
    for step in range(steps):
        picked = [known for _, known in lessons.pick(step)]
        waves, texts = [lessons.wave(known) for known in picked], [k.clip.text for k in picked]
        start = now()
        peer.train(waves, texts)
        times.append(now() - start)
        sounds.append(sum(map(len, waves)) / RATE)
    return float(np.mean(times[2:]) / np.mean(sounds[2:]))


def recognisers(shape: SpeechEncoderConfig, peer: Peer) -> dict[str, Callable[[Tensor], str]]:
    """What decodes, by name."""
    torch.manual_seed(0)
    ours = SpeechRecogniser(SpeechRecogniserConfig(shape))
    found: dict[str, Callable[[Tensor], str]] = {
        "ours, greedy": Transcriber(ours),
        "ours, 8 beams": Transcriber(ours, beams=8),
        "Wav2Vec2, same shape": peer,
        "pocketsphinx": Pocketsphinx(),
    }
    if (whisper_folder() / "source.json").exists():
        found["Whisper tiny, 8 bits"] = WhisperTiny(threads=torch.get_num_threads())
    return found


def written(hear: Callable[[Tensor], str], waves: list[Tensor]) -> None:
    """Every clip, one after the other."""
    for wave in waves:
        hear(wave)
