"""CLIP: a picture and its words at the same place on a sphere (Radford et al., 2021)."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
import torch.distributed
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from phase1_foundation.language.model import LanguageModel, LanguageModelConfig
from phase1_foundation.vision.vit import VisionTransformer, VisionTransformerConfig
from shared.artifact import Pretrained

TEMPERATURE = 0.07  # at the start
LOWEST = 0.01  # temperature: logits stay below 100, as in section 2.5


@dataclass(frozen=True)
class AlignmentConfig:
    """Two phase-1 models as towers, and the space in which they meet."""

    vision: VisionTransformerConfig
    language: LanguageModelConfig
    dim: int = 128
    loss: Literal["softmax", "sigmoid"] = "softmax"


class AlignmentModel(nn.Module, Pretrained):
    """Phase 1's vision encoder, and its language model as a text tower."""

    config_class = AlignmentConfig

    def __init__(self, config: AlignmentConfig):
        super().__init__()
        self.config = config
        self.vision = VisionTransformer(config.vision)
        self.language = LanguageModel(config.language)
        self.vision_proj = nn.Linear(config.vision.dim, config.dim)
        self.language_proj = nn.Linear(config.language.dim, config.dim)
        self.log_scale = nn.Parameter(torch.tensor(-math.log(TEMPERATURE)))
        self.bias = nn.Parameter(torch.tensor(-10.0 if config.loss == "sigmoid" else 0.0))

    def embed_pictures(self, pictures: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b d"]:
        """Unit vectors."""
        return F.normalize(self.vision_proj(self.picture_features(pictures)).float(), dim=-1)

    def picture_features(self, pictures: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b c"]:
        """The mean of the patches' features."""
        return self.vision.features(pictures)[:, 1:].mean(dim=1)

    def embed_texts(
        self, tokens: Int[Tensor, "b t"], lengths: Int[Tensor, " b"]
    ) -> Float[Tensor, "b d"]:
        """Unit vectors."""
        return F.normalize(self.language_proj(self.text_features(tokens, lengths)).float(), dim=-1)

    def text_features(
        self, tokens: Int[Tensor, "b t"], lengths: Int[Tensor, " b"]
    ) -> Float[Tensor, "b c"]:
        """The mean of the tokens' states: what the last one alone says is what may come next."""
        hidden = self.language.hidden_states(self.language.embed(tokens))  # (B, T, C)
        place = torch.arange(tokens.shape[1], device=tokens.device)
        real = (place < lengths[:, None]).to(hidden.dtype)[..., None]  # (B, T, 1)
        return (hidden * real).sum(dim=1) / real.sum(dim=1)

    @torch.no_grad()
    def fit_projections(
        self, batches: Sequence[tuple[Tensor, Tensor, Tensor]], ridge: float = 0.1
    ) -> None:
        """Begin where the towers agree most already: canonical correlations (Hotelling, 1936).

        From random projections, towers that know nothing would do as well as those that do.
        """
        self.eval()
        seen = torch.cat([self.picture_features(pictures).float() for pictures, _, _ in batches])
        said = torch.cat([self.text_features(*text).float() for _, *text in batches])
        self.train()
        whiten_seen, whiten_said = _whitening(seen, ridge), _whitening(said, ridge)
        x, y = (seen - seen.mean(0)) @ whiten_seen, (said - said.mean(0)) @ whiten_said
        left, strength, right = torch.linalg.svd(x.T @ y / len(x))
        n = min(self.config.dim, len(strength))
        sides = [(self.vision_proj, seen, whiten_seen @ left[:, :n]),
                 (self.language_proj, said, whiten_said @ right[:n].T)]  # fmt: skip
        for proj, features, directions in sides:
            weight = (directions * strength[:n].sqrt()).T  # (n, C)
            proj.weight.zero_()[:n] = weight
            proj.bias.zero_()[:n] = -weight @ features.mean(0)

    def loss(
        self, pictures: Float[Tensor, "b d"], texts: Float[Tensor, "b d"]
    ) -> Float[Tensor, ""]:
        """Row i of the pictures belongs to row i of the texts.

        In training over all processes' rows; what is validated, every process holds whole.
        """
        if self.training:
            pictures, texts = _gathered(pictures), _gathered(texts)
        scale = self.log_scale.clamp(max=-math.log(LOWEST)).exp()
        logits = scale * pictures @ texts.T + self.bias  # (B, B)
        if self.config.loss == "sigmoid":
            return sigmoid_loss(logits)
        return info_nce(logits)


def _whitening(x: Float[Tensor, "n c"], ridge: float) -> Float[Tensor, "c c"]:
    """What makes directions uncorrelated and equally wide; weak ones are not blown up."""
    covariance = torch.cov(x.T)
    values, vectors = torch.linalg.eigh(covariance)
    floor = ridge * values.clamp(min=0).mean() + 1e-8
    return vectors * (values.clamp(min=0) + floor).rsqrt()


def info_nce(logits: Float[Tensor, "b b"]) -> Float[Tensor, ""]:
    """Which text is the picture's, and which picture the text's (figure 3)."""
    right = torch.arange(len(logits), device=logits.device)
    return (F.cross_entropy(logits, right) + F.cross_entropy(logits.T, right)) / 2


def sigmoid_loss(logits: Float[Tensor, "b b"]) -> Float[Tensor, ""]:
    """Every pair on its own: do they belong together? (Zhai et al., 2023, algorithm 1)."""
    signs = 2 * torch.eye(len(logits), device=logits.device) - 1
    return -F.logsigmoid(signs * logits).sum() / len(logits)


def _gathered(x: Float[Tensor, "b d"]) -> Float[Tensor, "all d"]:
    """The rows of all processes, with gradients to each."""
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return x
    from torch.distributed.nn.functional import all_gather

    return torch.cat(all_gather(x))
