"""Text to image: phase 1's diffusion model looks at what a text encoder makes of a prompt.

The encoder is phase 1's language model, frozen: the artifact carries its own copy, so that a later
language model cannot change what was learned (Saharia et al., 2022, freeze theirs too). The
alternative reads bytes, needs no tokenizer, and is trained along.
"""

from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Int
from torch import Tensor, nn

from phase1_foundation.diffusion.model import Condition, DiffusionConfig, DiffusionModel
from phase1_foundation.diffusion.paths import Pictures, Time
from phase1_foundation.language.model import LanguageModel, LanguageModelConfig
from phase2_multimodal.text_to_image.enlarging import Enlarging
from phase2_multimodal.text_to_image.listening import Listening, listening
from shared.artifact import Pretrained

PAD = 0  # in a prompt's tokens: nothing stands there


@dataclass(frozen=True)
class TextToImageConfig:
    """Two models, and how prompts come from one to the other."""

    diffusion: DiffusionConfig
    text: LanguageModelConfig  # the encoder's shape; "bytes": of 256 symbols
    text_encoder: Literal["lm", "bytes"] = "lm"
    longest: int = 128  # tokens of a prompt
    condition_dropout: float = 0.1  # share of prompts left out in training
    shift: float = 1.0  # of times towards noise
    enlarged: int = 1  # times that phase 1's pictures were smaller


class TextToImageModel(nn.Module, Pretrained):
    """Predicts on a Gaussian path what a prompt asks for; an empty one asks for nothing."""

    config_class = TextToImageConfig

    def __init__(self, config: TextToImageConfig):
        super().__init__()
        self.config = config
        self.enlarging = Enlarging(config.enlarged)
        self.diffusion = listening(DiffusionModel(config.diffusion))
        self.text = LanguageModel(config.text)
        self._freeze()
        dim = config.diffusion.dim
        self.project = nn.Linear(2 * config.text.dim, dim)
        self.empty = nn.Parameter(torch.zeros(dim))  # what stands there when nothing is asked for
        self.pooled = nn.Linear(dim, dim, bias=False)  # the prompt as a whole, beside the time
        nn.init.normal_(self.empty, std=0.02)
        nn.init.zeros_(self.pooled.weight)

    def build_on(self, diffusion: DiffusionModel, text: LanguageModel | None) -> None:
        """Take phase 1's models, the first of them `listening`, in the place of random weights."""
        self.diffusion, self.text = diffusion, text or self.text
        self._freeze()

    def _freeze(self) -> None:
        """What is not trained: phase 1's classes, which nobody asks for here, and its reader."""
        self.diffusion.labels.requires_grad_(False)
        self.text.requires_grad_(self.config.text_encoder == "bytes")

    def listen_to(self, language: LanguageModel) -> None:
        """Another language model reads the prompts; only what listens to it is left to be trained.

        Raises RuntimeError where it has another shape.
        """
        self.text.load_state_dict(language.state_dict(), strict=True)
        self.requires_grad_(False)
        ears = [ear for ear in self.modules() if isinstance(ear, Listening)]
        for part in (
            self.project,
            self.pooled,
            *(x for ear in ears for x in (ear.norm, ear.cross)),
        ):
            part.requires_grad_(True)
        self.empty.requires_grad_(True)

    def read(self, tokens: Int[Tensor, "b s"]) -> Condition:
        """What prompts ask for: of every token what it is, beside what it means where it stands.

        A language model's last states are about the token that comes next, so the embeddings stand
        beside them. Bytes are read in both directions, tokens as the language model learned to.
        """
        real, embedded = tokens != PAD, self.text.embed(tokens)  # (B, S), (B, S, D)
        if self.config.text_encoder == "bytes":
            mask = real[:, None, None]  # (B, 1, 1, S)
        else:
            mask = real.new_ones(1, 1, *tokens.shape[1:] * 2).tril()  # (1, 1, S, S)
        states = self.text.hidden_states(embedded, mask=mask)
        normed = [F.layer_norm(x, x.shape[-1:]) for x in (embedded, states)]
        return Condition(self.project(torch.cat(normed, dim=-1)), real)

    def forward(self, x_t: Pictures, t: Time, text: Condition) -> Pictures:
        """The path's prediction at noisy pictures x_t; of phase 1's classes none is asked for."""
        seen, time = self.enlarging.seen(x_t, t)
        null = Condition(self.diffusion.null.expand(x_t.shape[0], 1, -1))
        vector = self.diffusion.vector(time, null) + self.pooled(text.mean())
        output = self.diffusion.network(
            seen, vector=vector, tokens=null.tokens, mask=None, text=text
        )
        return self.enlarging.velocity(output, x_t, t)

    def shifted(self, t: Tensor) -> Tensor:
        """Times moved towards noise, the ends left alone (Esser et al., 2024, eq. 23)."""
        return self.config.shift * t / (1 + (self.config.shift - 1) * t)
