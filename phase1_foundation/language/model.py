"""The language model: Llama's arithmetic on the shared trunk (Touvron et al., 2023)."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from shared.artifact import Pretrained
from shared.cross_entropy import linear_cross_entropy
from shared.errors import VermeilError
from shared.nn import Attention, Block, LayerCache, RMSNorm, Rotary, SwiGLU, init_weights


@dataclass(frozen=True)
class LanguageModelConfig:
    """The shape of a language model. `kv_heads` below `heads` groups queries."""

    vocab_size: int
    dim: int
    layers: int
    heads: int
    kv_heads: int
    mlp_dim: int
    context: int
    tie_embeddings: bool = True
    rope_theta: float = 10_000.0
    norm_eps: float = 1e-5

    def __post_init__(self):
        for whole, part in (("dim", "heads"), ("heads", "kv_heads")):
            if getattr(self, part) < 1 or getattr(self, whole) % getattr(self, part):
                raise VermeilError(
                    f"{whole} {getattr(self, whole)} is not a multiple of {part} "
                    f"{getattr(self, part)}",
                    f"choose {part} so that it divides {whole}",
                )
        if (self.dim // self.heads) % 2:
            raise VermeilError(
                f"dim / heads is {self.dim // self.heads}", "rotary positions need an even number"
            )


class LanguageModel(nn.Module, Pretrained):
    """A decoder-only transformer: RMSNorm, rotary positions, grouped queries, SwiGLU."""

    config_class = LanguageModelConfig

    def __init__(self, config: LanguageModelConfig):
        super().__init__()
        self.config = config
        dim, eps = config.dim, config.norm_eps
        self.embed = nn.Embedding(config.vocab_size, dim)
        self.rotary = Rotary(dim // config.heads, config.context, config.rope_theta)
        self.blocks = nn.ModuleList(
            Block(
                norm1=RMSNorm(dim, eps),
                attn=Attention(dim, config.heads, config.kv_heads),
                norm2=RMSNorm(dim, eps),
                mlp=SwiGLU(dim, config.mlp_dim),
            )
            for _ in range(config.layers)
        )
        self.norm = RMSNorm(dim, eps)
        self.head = nn.Linear(dim, config.vocab_size, bias=False)
        init_weights(self, config.layers)
        if config.tie_embeddings:
            self.head.weight = self.embed.weight

    def forward(self, tokens: Int[Tensor, "b t"], **kwargs) -> Float[Tensor, "b t vocab"]:
        """Logits of the token after each one; keywords as in `hidden_states`."""
        return self.head(self.hidden_states(self.embed(tokens), **kwargs))

    def logits_at(
        self, tokens: Int[Tensor, "b t"], where: Bool[Tensor, "b t"]
    ) -> Float[Tensor, "n vocab"]:
        """Logits of the token after those that are marked, row by row."""
        return self.head(self.hidden_states(self.embed(tokens))[where])

    def hidden_states(
        self,
        x: Float[Tensor, "b t c"],
        *,
        positions: Int[Tensor, "..."] | None = None,
        mask: Bool[Tensor, "#b 1 #t s"] | None = None,
        cache: "KVCache | None" = None,
    ) -> Float[Tensor, "b t c"]:
        """Last-layer states of embedded tokens, causal unless a `mask` (True: may look) says more.

        With a `cache`, x continues what the cache holds. `positions` (T,) or (B, 1, T) count from
        the cache's end by default.
        """
        t, past = x.shape[1], cache.length if cache else 0
        packed = positions is not None and positions.dim() > 1  # texts side by side, each short
        if past + t > self.config.context and not packed:
            raise VermeilError(
                f"{past + t} tokens do not fit the model's context of {self.config.context}",
                "shorten the prompt, or train with a larger --context",
            )
        if positions is None:
            positions = torch.arange(past, past + t, device=x.device)
        if mask is None and past and t > 1:  # new steps see the past and, causally, each other
            mask = torch.ones(t, past + t, dtype=torch.bool, device=x.device).tril(past)[None, None]
        rotation = self.rotary(positions)
        for index, block in enumerate(self.blocks):
            x = block(
                x,
                rotation=rotation,
                causal=mask is None and t > 1,
                mask=mask,
                cache=cache.layers[index] if cache else None,
            )
        return self.norm(x)

    def loss(self, tokens: Int[Tensor, "b t"]) -> Float[Tensor, ""]:
        """Mean cross-entropy, in nats a token, of each token given those before it."""
        hidden = self.hidden_states(self.embed(tokens[:, :-1]))  # (B, T - 1, C)
        targets = tokens[:, 1:].flatten()
        return linear_cross_entropy(hidden.flatten(0, 1), self.head.weight, targets)


class KVCache:
    """The keys and values of every layer, for one batch of sequences that grow together."""

    def __init__(self, model: LanguageModel, batch_size: int, capacity: int):
        config, weight = model.config, model.embed.weight
        shape = (batch_size, config.kv_heads, capacity, config.dim // config.heads)
        self.layers = [
            LayerCache(weight.new_zeros(shape), weight.new_zeros(shape)) for _ in model.blocks
        ]

    @property
    def length(self) -> int:
        return self.layers[0].length
