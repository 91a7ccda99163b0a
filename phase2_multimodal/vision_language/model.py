"""A language model that looks: a picture's features, projected, stand before the words.

One set of weights captions and answers; the two differ in their prompt alone (Liu et al., 2023,
"Visual instruction tuning"). The prefix sees itself whole, what follows is causal.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from phase1_foundation.language.model import LanguageModel, LanguageModelConfig
from phase1_foundation.vision.vit import VisionTransformer, VisionTransformerConfig
from shared.artifact import Pretrained
from shared.cross_entropy import linear_cross_entropy
from shared.errors import VermeilError
from shared.nn import MLP, Attention, Block, init_weights


@dataclass(frozen=True)
class VisionLanguageConfig:
    """Two phase-1 models and what lies between them."""

    vision: VisionTransformerConfig
    language: LanguageModelConfig
    projector: Literal["pixel_shuffle", "resampler"] = "pixel_shuffle"
    shuffle: int = 2  # pixel_shuffle: patches a side that become one embedding
    queries: int = 16  # resampler: embeddings that a picture becomes

    def __post_init__(self):
        side = self.vision.size // self.vision.patch
        if self.projector == "pixel_shuffle" and side % self.shuffle:
            raise VermeilError(
                f"{side} patches a side cannot be taken {self.shuffle} at a time",
                f"choose a --shuffle that divides {side}",
            )

    @property
    def picture_tokens(self) -> int:
        """Embeddings that stand for a picture."""
        if self.projector == "resampler":
            return self.queries
        return self.vision.patches // self.shuffle**2


def joined(
    vision: VisionTransformerConfig, language: LanguageModelConfig, config: Any
) -> VisionLanguageConfig:
    """The configuration of two models put together as a verb's configuration says."""
    chosen = {key: getattr(config, key) for key in ("projector", "shuffle", "queries")}
    return VisionLanguageConfig(vision, language, **chosen)


class PixelShuffle(nn.Module):
    """Neighbouring patches side by side in one wider embedding, then projected (Shi et al., 2016).

    Nothing is averaged away, and the language model reads a quarter of the tokens. The projection
    is linear with two layers beside it that begin at 0.
    """

    def __init__(self, config: VisionLanguageConfig):
        super().__init__()
        self.shuffle, self.side = config.shuffle, config.vision.size // config.vision.patch
        dim = config.vision.dim * config.shuffle**2
        self.norm = nn.LayerNorm(dim, elementwise_affine=False)
        self.linear = nn.Linear(dim, config.language.dim)
        self.fc1 = nn.Linear(dim, config.language.dim)
        self.fc2 = nn.Linear(config.language.dim, config.language.dim)

    def patches(self, x: Float[Tensor, "b n c"]) -> Float[Tensor, "b p k"]:
        """What is projected."""
        grid = x.mT.unflatten(2, (self.side, self.side))  # (B, C, side, side)
        return self.norm(F.pixel_unshuffle(grid, self.shuffle).flatten(2).mT)

    def forward(self, x: Float[Tensor, "b n c"]) -> Float[Tensor, "b p d"]:
        x = self.patches(x)  # (B, P, K)
        return self.linear(x) + self.fc2(F.gelu(self.fc1(x)))


class Resampler(nn.Module):
    """Learned queries that look at all patches and at each other (Alayrac et al., 2022, 3.1.1)."""

    def __init__(self, config: VisionLanguageConfig):
        super().__init__()
        dim = config.vision.dim
        self.queries = nn.Parameter(torch.randn(1, config.queries, dim) * 0.02)
        self.blocks = nn.ModuleList(
            Block(nn.LayerNorm(dim), Attention(dim, config.vision.heads, bias=True),
                  nn.LayerNorm(dim), MLP(dim, 4 * dim))
            for _ in range(2)
        )  # fmt: skip
        self.norm = nn.LayerNorm(dim)
        self.out = nn.Linear(dim, config.language.dim)

    def forward(self, x: Float[Tensor, "b n c"]) -> Float[Tensor, "b p d"]:
        n = self.queries.shape[1]
        x = torch.cat([self.queries.expand(x.shape[0], -1, -1), x], dim=1)  # (B, P + N, C)
        for block in self.blocks:
            x = block(x)
        return self.out(self.norm(x[:, :n]))


RIDGE = 0.03  # of the mean variance
TINY = 1e-6  # where all captions are the same, and say nothing
PROJECTORS = {"pixel_shuffle": PixelShuffle, "resampler": Resampler}


class VisionLanguageModel(nn.Module, Pretrained):
    """Phase 1's vision encoder, a projector, phase 1's language model."""

    config_class = VisionLanguageConfig

    def __init__(self, config: VisionLanguageConfig):
        super().__init__()
        self.config = config
        self.vision = VisionTransformer(config.vision)
        self.projector = PROJECTORS[config.projector](config)
        init_weights(self.projector, 1)
        if isinstance(self.projector, PixelShuffle):
            nn.init.zeros_(self.projector.fc2.weight)
        self.language = LanguageModel(config.language)

    def prefix(
        self, pictures: Float[Tensor, "b 3 h w"], opening: Int[Tensor, " o"]
    ) -> Float[Tensor, "b p d"]:
        """What stands before the words: the tokens that open a turn, and the picture."""
        embedded = self.language.embed(opening).expand(pictures.shape[0], -1, -1)  # (B, O, D)
        seen = self.projector(self.vision.features(pictures)[:, 1:])  # (B, N, D)
        return torch.cat([embedded, seen.to(embedded.dtype)], dim=1)

    def prepare(
        self, like: Mapping[int, int], captioned: Sequence[tuple[Tensor, Tensor, Tensor]]
    ) -> None:
        """What is new begins as what it resembles, so that nothing learned is thrown away at first.

        `like` says which token each symbol that phase 1 never saw begins as.
        """
        with torch.no_grad():
            for new, known in like.items():
                self.language.embed.weight[new] = self.language.embed.weight[known]
        if isinstance(self.projector, PixelShuffle):
            self.fit_projector(captioned)

    @torch.no_grad()
    def fit_projector(self, captioned: Sequence[tuple[Tensor, Tensor, Tensor]]) -> None:
        """Begin with pictures as the bag of words that captions use for them, by least squares.

        Each patch is projected to where the mean embedding of the caption's words would be. A
        language model copies words that stand before it from the first step on; from random
        projections it takes thousands of pictures to find out that there is something to copy.
        `captioned` holds pictures, tokens (B, T) of a caption each, and what each of them weighs.
        """
        self.eval()
        seen, said = [], []
        for pictures, tokens, weights in captioned:
            patches = self.projector.patches(self.vision.features(pictures)[:, 1:]).float()
            words = self.language.embed(tokens) * weights[..., None]  # (B, T, D)
            mean = words.sum(dim=1) / weights.sum(dim=1, keepdim=True).clamp(min=TINY)
            seen.append(patches)
            said.append(mean)
        x, y = torch.cat(seen), torch.cat(said)  # (N, P, K), (N, D)
        centre_x, centre_y = x.mean(dim=(0, 1)), y.mean(dim=0)
        flat = (x - centre_x).flatten(0, 1)  # (N P, K)
        target = (y - centre_y)[:, None].expand(-1, x.shape[1], -1).flatten(0, 1)
        gram = flat.T @ flat
        gram += RIDGE * gram.diagonal().mean() * torch.eye(len(gram), device=gram.device)
        weight = torch.linalg.solve(gram, flat.T @ target).T  # (D, K)
        typical = self.language.embed.weight.norm(dim=1).mean()
        length = (flat @ weight.T).norm(dim=1).mean()
        weight *= typical / length.clamp(min=TINY)  # as long as words are
        self.projector.linear.weight.copy_(weight)
        self.projector.linear.bias.copy_(centre_y - weight @ centre_x)
        self.train()

    def hidden_states(
        self,
        prefix: Float[Tensor, "b p d"],
        tokens: Int[Tensor, "b t"],
        segments: Int[Tensor, "b t"],
    ) -> Float[Tensor, "b t d"]:
        """Last-layer states of the words, several texts in a row.

        `segments` numbers the texts from 1 on, 0 is padding. A text sees the picture and its own
        past, and nothing of its neighbours; its positions begin where the picture ends.
        """
        p = prefix.shape[1]
        x = torch.cat([prefix, self.language.embed(tokens)], dim=1)  # (B, P + T, D)
        hidden = self.language.hidden_states(
            x, positions=positions_of(segments, p), mask=mask_of(segments, p)
        )
        return hidden[:, p:]

    def loss(
        self,
        prefix: Float[Tensor, "b p d"],
        tokens: Int[Tensor, "b t"],
        segments: Int[Tensor, "b t"],
        answers: Bool[Tensor, "b t"],
        length_power: float = 1.0,
    ) -> Float[Tensor, ""]:
        """Mean cross-entropy, in nats a token, of the tokens marked as answers.

        An answer of n tokens counts as n ** `length_power`: 1, all tokens alike; 0, all answers.
        """
        hidden = self.hidden_states(prefix, tokens, segments)[:, :-1]  # (B, T - 1, D)
        asked = answers[:, 1:]
        shares = None
        if length_power != 1:
            shares = lengths_of(segments, answers)[:, 1:][asked].float() ** (length_power - 1)
        return linear_cross_entropy(
            hidden[asked].contiguous(), self.language.head.weight, tokens[:, 1:][asked], shares
        )

    def naming_loss(
        self,
        seen: Float[Tensor, "b p d"],
        tokens: Int[Tensor, "b t"],
        words: Float[Tensor, "b t"],
    ) -> Float[Tensor, ""]:
        """Mean cost of finding words in a picture's embeddings, in nats, each as much as it weighs.

        Any embedding may have said a word, as in IBM's first model of translation (Brown et al.,
        1993): its probability is the mean over the embeddings of a softmax over the language
        model's table. So each comes to stand near the word for what is seen there, whatever stands
        beside it, and what is to be said can be copied.
        """
        table = self.language.embed.weight.detach()
        log_p = (seen.to(table.dtype) @ table.T).float().log_softmax(dim=-1)  # (B, P, V)
        each = log_p.gather(2, tokens[:, None].expand(-1, seen.shape[1], -1))  # (B, P, T)
        costs = math.log(seen.shape[1]) - each.logsumexp(dim=1)  # (B, T)
        return (costs * words).sum() / words.sum().clamp(min=TINY)


def lengths_of(segments: Int[Tensor, "b t"], answers: Bool[Tensor, "b t"]) -> Int[Tensor, "b t"]:
    """Of how many tokens the answer is that stands in each token's text."""
    counts = torch.zeros_like(segments).scatter_add(1, segments, answers.long())
    return counts.gather(1, segments)


def positions_of(segments: Int[Tensor, "b t"], prefix: int) -> Int[Tensor, "b 1 s"]:
    """The prefix counts from 0 on, and every text from the prefix's end."""
    b, t = segments.shape
    place = torch.arange(t, device=segments.device).expand(b, t)
    begins = F.pad(segments[:, 1:] != segments[:, :-1], (1, 0), value=True)
    start = torch.where(begins, place, 0).cummax(dim=1).values
    within = torch.where(segments > 0, place - start, 0)  # padding can be longer than the context
    first = torch.arange(prefix, device=segments.device).expand(b, prefix)
    return torch.cat([first, prefix + within], dim=1)[:, None]


def mask_of(segments: Int[Tensor, "b t"], prefix: int) -> Bool[Tensor, "b 1 s s"]:
    """Who may look at whom: all at the prefix, words at the past of their own text."""
    same = segments[:, :, None] == segments[:, None, :]  # (B, T, T)
    text = F.pad(same.tril(), (prefix, 0), value=True)  # (B, T, P + T)
    own = F.pad(text.new_ones(text.shape[0], prefix, prefix), (0, segments.shape[1]))
    return torch.cat([own, text], dim=1)[:, None]
