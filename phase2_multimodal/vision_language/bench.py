"""`vermeil bench multimodal`: learning and captioning beside transformers' LLaVA of the same shape.

The peer is LlavaForConditionalGeneration with CLIP's vision tower and Llama, of our widths, blocks
and heads, with random weights as ours. Both learn in bf16 autocast from the same scenes, ours by
the whole `fit`, the peer in a plain loop with AdamW and clipping. Its processor's work is left out:
it is handed pixels and tokens. One text a picture first; then a caption and five questions, where
the peer, as LLaVA's own recipe does it, has a row, and encodes the picture, for each.
"""

from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn

from data.scenes import Scenes
from phase1_foundation.language.generate import Sampling
from phase1_foundation.language.model import LanguageModelConfig
from phase1_foundation.language.tokenizer import Tokenizer
from phase1_foundation.vision.vit import VisionTransformerConfig
from phase2_multimodal.talks import SceneTalks
from phase2_multimodal.train_caption import CaptionConfig
from phase2_multimodal.vision_language.commands import BenchConfig
from phase2_multimodal.vision_language.generate import Speaker
from phase2_multimodal.vision_language.lessons import Lesson, Lessons
from phase2_multimodal.vision_language.model import VisionLanguageModel, joined
from phase2_multimodal.vision_language.objective import Answer
from phase2_multimodal.vision_language.prompts import CAPTION, Packed, Prompter
from shared import hardware
from shared.artifact import find
from shared.benchmark import (
    beside,
    conditions,
    heading,
    interleaved,
    matrix_peak,
    now,
    peer_package,
    time_fit,
)

VISION = VisionTransformerConfig(size=64, patch=8, dim=128, layers=6, heads=2, mlp_dim=512,
                                 stem="conv", pool="mean")  # fmt: skip
LANGUAGE = LanguageModelConfig(vocab_size=4096, dim=192, layers=4, heads=3, kv_heads=3,
                               mlp_dim=512, context=256)  # fmt: skip
IMAGE = 7  # the symbol of a picture's place


def table(config: BenchConfig) -> None:
    """Time learning and captioning in turns with the peer, and print a table."""
    peer_package("transformers")
    hardware.set_threads(config.threads)
    prompter = Prompter(Tokenizer.from_pretrained(find(config.tokenizer)))
    print(f"{hardware.cpu_name()}, {conditions()}; bf16 matrix peak "
          f"{matrix_peak(torch.bfloat16, hardware.device_name()):,.0f} GFLOP/s\n")  # fmt: skip
    print(heading("LLaVA"))
    for questions in (0, 5):
        lessons = Lessons(
            SceneTalks(Scenes(), "train"), prompter, config.batch_size, 0, questions=questions,
            naming=True,
        )  # fmt: skip
        texts = config.batch_size * (1 + questions)
        turns: dict[str, Callable[[], float | None]] = {
            "ours": partial(our_step, lessons, prompter, config),
            "peer": partial(peer_step, Peer(), lessons, config.steps),
        }
        seconds = interleaved(turns, config.rounds)
        name = f"learning, {1 + questions} texts a picture, texts/s"
        print(beside(name, texts / seconds["ours"], texts / seconds["peer"]), flush=True)
    for pictures in (1, config.batch_size):
        turns = speaking(prompter, pictures, config.tokens)
        seconds = interleaved(turns, config.rounds)
        name = f"captions/s, {pictures} at a time, {config.tokens} tokens"
        print(beside(name, pictures / seconds["ours"], pictures / seconds["peer"], 1), flush=True)
    print(f"\nmedians of {config.rounds} turns; at the end: {conditions()}")


def our_model() -> VisionLanguageModel:
    """The tiny preset's model with random weights."""
    return VisionLanguageModel(joined(VISION, LANGUAGE, CaptionConfig()))


def our_step(lessons: Lessons, prompter: Prompter, config: BenchConfig) -> float:
    """Seconds of a step through the whole fit."""
    recipe = CaptionConfig(
        steps=config.steps, batch_size=config.batch_size, optimizer="adamw", precision="bf16",
        checkpoint_every=config.steps, threads=config.threads, trackers=(),
    )  # fmt: skip
    objective = Answer(our_model(), recipe, prompter)
    return time_fit(objective, lessons, unit="pictures", amount=config.batch_size).step


class Peer:
    """transformers' LLaVA with our widths; it reads a token a patch, ours one for four patches."""

    def __init__(self):
        from transformers import (
            CLIPVisionConfig,
            LlamaConfig,
            LlavaConfig,
            LlavaForConditionalGeneration,
        )

        vision = CLIPVisionConfig(
            hidden_size=VISION.dim, intermediate_size=VISION.mlp_dim, image_size=VISION.size,
            num_hidden_layers=VISION.layers, num_attention_heads=VISION.heads,
            patch_size=VISION.patch,
        )  # fmt: skip
        text = LlamaConfig(
            vocab_size=LANGUAGE.vocab_size, hidden_size=LANGUAGE.dim,
            intermediate_size=LANGUAGE.mlp_dim, num_hidden_layers=LANGUAGE.layers,
            num_attention_heads=LANGUAGE.heads, max_position_embeddings=LANGUAGE.context,
            tie_word_embeddings=True,
        )  # fmt: skip
        towers = {"vision_config": vision, "text_config": text}
        place = {"image_token_id": IMAGE}
        self.model = LlavaForConditionalGeneration(
            LlavaConfig(**towers, vision_feature_layer=-1, **place)  # type: ignore[arg-type]
        )
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=1e-3, fused=True)

    def train(self, batch: dict[str, Tensor]) -> None:
        """One step."""
        with torch.autocast("cpu", torch.bfloat16):
            loss = self.model(**batch).loss
        self.optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()


def peer_step(peer: Peer, lessons: Lessons, steps: int) -> float:
    """Seconds of a step in a plain loop, batches made in it as ours are."""
    peer.model.train()
    times = []
    for step in range(steps):
        start = now()
        peer.train(as_rows(lessons.rows(step, slice(None))))
        times.append(now() - start)
    return float(np.mean(times[2:]))


def as_rows(lesson: Lesson) -> dict[str, Tensor]:
    """Every text of every picture as a row of its own: <s><|user|> 64 x <|image|> text."""
    pictures, _, packed = lesson
    rows = [row for number in range(len(pictures)) for row in texts_of(packed, number)]
    longest = max(len(tokens) for _, tokens, _ in rows)
    ids, labels = (torch.zeros(len(rows), longest, dtype=torch.long) for _ in range(2))
    labels -= 100
    for place, (_, tokens, answers) in enumerate(rows):
        ids[place, : len(tokens)] = tokens
        labels[place, : len(tokens)] = torch.where(answers, tokens, -100)
    before = torch.full((len(rows), 2 + VISION.patches), IMAGE)
    before[:, 0], before[:, 1] = 1, 4
    ids = torch.cat([before, ids], dim=1)
    return {
        "input_ids": ids,
        "labels": torch.cat([torch.full_like(before, -100), labels], dim=1),
        "attention_mask": (ids != 0).long(),
        "pixel_values": pictures[[number for number, _, _ in rows]],
    }


def texts_of(packed: Packed, number: int) -> list[tuple[int, Tensor, Tensor]]:
    """The texts about one picture."""
    tokens, segments, answers = (part[number] for part in packed)
    return [
        (number, tokens[segments == text], answers[segments == text])
        for text in range(1, int(segments.max()) + 1)
    ]


def speaking(
    prompter: Prompter, pictures: int, tokens: int
) -> dict[str, Callable[[], float | None]]:
    """Captions of exactly so many tokens, greedy, in bf16."""
    torch.manual_seed(0)
    x = torch.randn(pictures, 3, VISION.size, VISION.size)
    ours = our_model().bfloat16().eval()
    speaker = Speaker(ours, prompter, rows=pictures)
    question = prompter.question(CAPTION)
    before = [1, 4, *[IMAGE] * VISION.patches, *question]
    ids = torch.tensor(before).expand(pictures, -1)
    peer = Peer().model.bfloat16().eval()

    def speak() -> None:
        sampling = Sampling(max_tokens=tokens, temperature=0.0)
        speaker.say(speaker.look(x.bfloat16()), [CAPTION] * pictures, sampling)

    @torch.inference_mode()
    def generate() -> None:
        peer.generate(  # type: ignore[attr-defined]
            input_ids=ids, attention_mask=torch.ones_like(ids), pixel_values=x.bfloat16(),
            max_new_tokens=tokens, min_new_tokens=tokens, do_sample=False, pad_token_id=0,
        )  # fmt: skip

    return {"ours": speak, "peer": generate}
