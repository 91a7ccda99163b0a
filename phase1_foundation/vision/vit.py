"""The vision encoder: a ViT on the shared trunk, with timm's names (Dosovitskiy et al., 2021)."""

from dataclasses import dataclass, replace
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from shared.artifact import Pretrained
from shared.errors import VermeilError
from shared.nn import MLP, Attention, Block, PatchEmbed, init_weights

CHANNELS = 3


@dataclass(frozen=True)
class VisionTransformerConfig:
    """The shape of a vision encoder for square pictures of `size` pixels.

    `pool` says what a whole picture's feature is: the class token, or the mean of all patches.
    """

    size: int
    patch: int
    dim: int
    layers: int
    heads: int
    mlp_dim: int
    classes: int = 0  # outputs of the head; 0: no head
    stem: Literal["patch", "conv"] = "patch"
    pool: Literal["cls", "mean"] = "cls"
    norm_eps: float = 1e-6

    def __post_init__(self):
        for whole, part in (("size", "patch"), ("dim", "heads")):
            if getattr(self, part) < 1 or getattr(self, whole) % getattr(self, part):
                raise VermeilError(
                    f"{whole} {getattr(self, whole)} is not a multiple of {part} "
                    f"{getattr(self, part)}",
                    f"choose {part} so that it divides {whole}",
                )
        if self.stem == "conv" and (self.patch < 2 or self.patch & (self.patch - 1)):
            raise VermeilError(
                f"a convolutional stem halves the picture, which never makes patches of "
                f"{self.patch}",
                "choose a patch of 2, 4, 8 or 16, or --stem patch",
            )

    @property
    def patches(self) -> int:
        """How many patches a picture has."""
        return (self.size // self.patch) ** 2


class ConvStem(nn.Module):
    """A picture's patches by 3x3 convolutions that halve it each (Xiao et al., 2021, section 5).

    It takes the place of `PatchEmbed`: optimisation is steadier, and one block fewer is needed.
    """

    def __init__(self, patch: int, channels: int, dim: int):
        super().__init__()
        halvings = patch.bit_length() - 1
        layers: list[nn.Module] = []
        for left in reversed(range(halvings)):
            width = max(8, dim >> left)
            layers += [
                nn.Conv2d(channels, width, 3, stride=2, padding=1, bias=False),
                nn.BatchNorm2d(width),
                nn.ReLU(),
            ]
            channels = width
        self.layers = nn.Sequential(*layers)
        self.proj = nn.Conv2d(channels, dim, 1)

    def forward(self, x: Float[Tensor, "b ch h w"]) -> Float[Tensor, "b t c"]:
        return self.proj(self.layers(x)).flatten(2).transpose(1, 2)


STEMS = {"patch": PatchEmbed, "conv": ConvStem}


class VisionTransformer(nn.Module, Pretrained):
    """A transformer over a picture's patches and one class token; positions are learned."""

    config_class = VisionTransformerConfig

    def __init__(self, config: VisionTransformerConfig):
        super().__init__()
        self.config = config
        dim, eps = config.dim, config.norm_eps
        self.cls_token = nn.Parameter(torch.zeros(1, 1, dim))
        self.pos_embed = nn.Parameter(torch.zeros(1, 1 + config.patches, dim))
        self.patch_embed = STEMS[config.stem](config.patch, CHANNELS, dim)
        self.blocks = nn.ModuleList(
            Block(
                norm1=nn.LayerNorm(dim, eps),
                attn=Attention(dim, config.heads, bias=True),
                norm2=nn.LayerNorm(dim, eps),
                mlp=MLP(dim, config.mlp_dim),
            )
            for _ in range(config.layers)
        )
        self.norm = nn.LayerNorm(dim, eps)
        self.head = nn.Linear(dim, config.classes) if config.classes else nn.Identity()
        init_weights(self, config.layers)

    def forward(self, x: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b classes"]:
        """Logits of the classes."""
        return self.head(self.embed(x))

    def embed(self, x: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b c"]:
        """One feature a picture."""
        features = self.features(x)
        return features[:, 0] if self.config.pool == "cls" else features[:, 1:].mean(dim=1)

    def features(self, x: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b t c"]:
        """The class token's state, then those of the patches, row by row."""
        return self.encode(self.embed_patches(x))

    def embed_patches(self, x: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b n c"]:
        """Embedded patches with their positions; pictures in [-1, 1]."""
        size = self.config.size
        if x.shape[-2:] != (size, size):
            raise VermeilError(
                f"pictures of {x.shape[-1]}x{x.shape[-2]} pixels, but the model takes "
                f"{size}x{size}",
                "resize them, or train with another --size",
            )
        return self.patch_embed(x) + self.pos_embed[:, 1:]

    def encode(self, patches: Float[Tensor, "b n c"]) -> Float[Tensor, "b t c"]:
        """Last-layer states of the class token and of any embedded patches, in their order."""
        first = self.cls_token + self.pos_embed[:, :1]
        x = torch.cat([first.expand(patches.shape[0], -1, -1), patches], dim=1)  # (B, 1 + N, C)
        for block in self.blocks:
            x = block(x)
        return self.norm(x)

    def at_size(self, size: int) -> "VisionTransformer":
        """The same network, without its head, for pictures of another size.

        Positions are interpolated (Dosovitskiy et al., 2021, section 3.2); all else is equal.
        """
        config = replace(self.config, size=size, classes=0)
        other, state = VisionTransformer(config), self.state_dict()
        side, new = (c.size // c.patch for c in (self.config, config))
        first, grid = self.pos_embed.detach().split([1, side**2], dim=1)
        grid = grid.mT.unflatten(2, (side, side))  # (1, C, side, side)
        if new != side:
            grid = F.interpolate(grid, (new, new), mode="bicubic", antialias=True)
        state["pos_embed"] = torch.cat([first, grid.flatten(2).mT], dim=1)
        kept = {name: tensor for name, tensor in state.items() if not name.startswith("head.")}
        other.load_state_dict(kept)
        return other
