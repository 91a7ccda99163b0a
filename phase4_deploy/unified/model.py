"""The model that reads, looks and hears: what it sees and hears stands before the words.

Phase 2's vision-language model with an ear: states of the speech encoder, projected, take the same
place as pictures. Transcription, captions, answers to typed and to spoken questions and plain text
come from one set of weights; they differ in what stands before the answer.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from phase2_multimodal.vision_language.model import VisionLanguageConfig, VisionLanguageModel
from phase4_deploy.speech.encoder import SpeechRecogniser, SpeechRecogniserConfig
from shared.cross_entropy import linear_cross_entropy
from shared.nn import init_weights


@dataclass(frozen=True)
class UnifiedConfig(VisionLanguageConfig):
    """A vision-language model and an ear."""

    speech: SpeechRecogniserConfig = field(kw_only=True)
    stack: int = 4  # states of 40 ms that become one embedding


def with_ear(
    config: VisionLanguageConfig, speech: SpeechRecogniserConfig, stack: int
) -> UnifiedConfig:
    """The configuration of a vision-language model that also hears."""
    own = {each.name: getattr(config, each.name) for each in fields(VisionLanguageConfig)}
    return UnifiedConfig(**own, speech=speech, stack=stack)


class Prefix(NamedTuple):
    """What stands before the words; rows that are shorter are filled on the right."""

    embeddings: Float[Tensor, "b p d"]
    real: Bool[Tensor, "b p"]


class Ear(nn.Module):
    """Neighbouring states side by side, projected: linear, with two layers that begin at 0."""

    def __init__(self, config: UnifiedConfig):
        super().__init__()
        self.stack = config.stack
        dim = config.speech.encoder.dim * config.stack
        self.norm = nn.LayerNorm(dim, elementwise_affine=False)
        self.linear = nn.Linear(dim, config.language.dim)
        self.fc1 = nn.Linear(dim, config.language.dim)
        self.fc2 = nn.Linear(config.language.dim, config.language.dim)

    def stacked(
        self, states: Float[Tensor, "b n c"], lengths: Int[Tensor, " b"]
    ) -> tuple[Float[Tensor, "b m k"], Int[Tensor, " b"]]:
        """What is projected, and how much of it is real; padding counts as zeros."""
        real = torch.arange(states.shape[1], device=states.device) < lengths[:, None]
        states = torch.where(real[..., None], states, 0)
        states = F.pad(states, (0, 0, 0, -states.shape[1] % self.stack))
        groups = states.unflatten(1, (-1, self.stack)).flatten(2)  # (B, M, stack C)
        return self.norm(groups), -(-lengths // self.stack)

    def forward(self, x: Float[Tensor, "b m k"]) -> Float[Tensor, "b m d"]:
        return self.linear(x) + self.fc2(F.gelu(self.fc1(x)))


class UnifiedModel(VisionLanguageModel):
    """Phase 2's model, a speech recogniser, and a projector from its states."""

    config_class = UnifiedConfig
    config: UnifiedConfig

    def __init__(self, config: UnifiedConfig):
        super().__init__(config)
        self.speech = SpeechRecogniser(config.speech)
        self.ear = Ear(config)
        init_weights(self.ear, 1)
        nn.init.zeros_(self.ear.fc2.weight)

    def heard(
        self, mels: Float[Tensor, "b t 80"], lengths: Int[Tensor, " b"]
    ) -> tuple[Prefix, Float[Tensor, "b n vocab"], Int[Tensor, " b"]]:
        """Embeddings of speech, the letters' log probabilities by reading, and readings a clip."""
        states, n = self.speech.encoder(mels, lengths)
        stacked, m = self.ear.stacked(states, n)
        real = torch.arange(stacked.shape[1], device=mels.device) < m[:, None]
        return Prefix(self.ear(stacked), real), *self.speech.readings(states, n)

    @property
    def stack(self) -> int:
        """Readings that one embedding of speech stands for."""
        return self.ear.stack * self.speech.config.readings

    def before(
        self,
        opening: Int[Tensor, " o"],
        pictures: Float[Tensor, "b 3 h w"] | None = None,
        heard: Prefix | None = None,
    ) -> Prefix:
        """The tokens that open a turn, then the picture, then the speech, where there are any."""
        rows = len(pictures) if pictures is not None else len(heard.real) if heard else 1
        embedded = self.language.embed(opening).expand(rows, -1, -1)  # (B, O, D)
        if pictures is not None:
            embedded = self.prefix(pictures, opening)  # (B, O + N, D)
        real = torch.ones(embedded.shape[:2], dtype=torch.bool, device=embedded.device)
        if heard is None:
            return Prefix(embedded, real)
        together = torch.cat([embedded, heard.embeddings.to(embedded.dtype)], dim=1)
        return Prefix(together, torch.cat([real, heard.real], dim=1))

    def answer_loss(
        self, before: Prefix, tokens: Int[Tensor, "b t"], segments: Int[Tensor, "b t"],
        answers: Bool[Tensor, "b t"],
    ) -> Float[Tensor, ""]:  # fmt: skip
        """Mean cross-entropy, in nats a token, of what is marked as answers.

        As `VisionLanguageModel.loss`, for prefixes of different lengths: padding between prefix
        and words is looked at by nobody, and positions do not count it.
        """
        real, p = before.real, before.real.shape[1]
        x = torch.cat([before.embeddings, self.language.embed(tokens)], dim=1)  # (B, P + T, D)
        visible = torch.cat([real, segments > 0], dim=1)  # (B, P + T)
        positions = (visible.cumsum(dim=1) - 1).clamp(min=0)[:, None]
        t = tokens.shape[1]
        causal = torch.ones(p + t, p + t, dtype=torch.bool, device=x.device).tril()
        causal[:p, :p] = True
        itself = torch.eye(p + t, dtype=torch.bool, device=x.device)
        mask = (causal & visible[:, None]) | itself  # padding sees itself: nothing gives NaN
        hidden = self.language.hidden_states(x, positions=positions, mask=mask[:, None])
        asked = answers[:, 1:]
        return linear_cross_entropy(
            hidden[:, p:-1][asked].contiguous(), self.language.head.weight, tokens[:, 1:][asked]
        )

    @torch.no_grad()
    def fit_ear(self, seen: Sequence[tuple[Tensor, Tensor]], ridge: float = 0.03) -> None:
        """Begin with speech as the tokens that are being said, by least squares.

        `seen` holds stacked states (N, K) and the embeddings (N, D) of what is said in them. As
        with pictures (`fit_projector`), a language model copies words that stand before it from
        the first step on.
        """
        x, y = (torch.cat(parts).float() for parts in zip(*seen, strict=True))  # (N, K), (N, D)
        centre_x, centre_y = x.mean(dim=0), y.mean(dim=0)
        flat, target = x - centre_x, y - centre_y
        gram = flat.T @ flat
        gram += ridge * gram.diagonal().mean() * torch.eye(len(gram), device=gram.device)
        weight = torch.linalg.solve(gram, flat.T @ target).T  # (D, K)
        self.ear.linear.weight.copy_(weight)
        self.ear.linear.bias.copy_(centre_y - weight @ centre_x)
