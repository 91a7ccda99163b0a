"""Phase 1's two models become one, and whether it was worth it."""

from collections.abc import Sequence
from typing import Any

import torch

from phase1_foundation.diffusion.model import DiffusionModel
from phase1_foundation.language.model import LanguageModel, LanguageModelConfig
from phase2_multimodal.text_to_image.enlarging import at_size
from phase2_multimodal.text_to_image.listening import listening
from phase2_multimodal.text_to_image.model import TextToImageConfig, TextToImageModel
from phase2_multimodal.text_to_image.objective import Batch, DenoiseByPrompt
from shared.artifact import Artifact
from shared.config import common
from shared.objective import mean_loss

BYTES = LanguageModelConfig(256, dim=128, layers=2, heads=2, kv_heads=2, mlp_dim=256, context=256)


def made_of(
    diffusion: Artifact, lm: Artifact | None, config: Any
) -> tuple[TextToImageModel, dict[str, int]]:
    """A model of phase 1's weights, and how many tensors were taken over, are new, are frozen.

    The parents are loaded strictly: every tensor of theirs is used. Without a language model bytes
    are read.
    """
    small = DiffusionModel.from_pretrained(diffusion)
    draws = at_size(small, config.size).train()
    reads = LanguageModel.from_pretrained(lm) if lm else None
    text = reads.config if reads else BYTES
    shape = common(config, TextToImageConfig) | {
        "diffusion": draws.config,
        "text": text,
        "longest": min(config.longest, text.context),
        "enlarged": config.size // small.config.size,
    }
    model = TextToImageModel(TextToImageConfig(**shape))
    taken = sum(1 for parent in (draws, reads) if parent for _ in parent.parameters())
    model.build_on(listening(draws), reads)
    parameters = list(model.parameters())
    frozen = sum(not p.requires_grad for p in parameters)
    return model, {"taken": taken, "new": len(parameters) - taken, "frozen": frozen}


def first_losses(
    model: TextToImageModel, config: Any, batches: Sequence[Batch]
) -> dict[str, float]:
    """The loss before training, and that of the same model with random weights."""
    with torch.random.fork_rng():
        torch.manual_seed(config.seed)
        random = TextToImageModel(model.config)
    return {
        "loss_with_parent": mean_loss(DenoiseByPrompt(model, config), batches),
        "loss_with_random": mean_loss(DenoiseByPrompt(random, config), batches),
    }
