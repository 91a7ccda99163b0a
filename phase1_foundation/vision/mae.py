"""The masked autoencoder: learn from pictures without labels (He et al., 2021)."""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from phase1_foundation.vision.vit import CHANNELS, VisionTransformer
from shared.errors import VermeilError
from shared.nn import MLP, Attention, Block, init_weights


class Decoder(nn.Module):
    """A few narrow blocks that draw every patch from the states of the visible ones."""

    def __init__(
        self, encoder_dim: int, patches: int, pixels: int, dim: int, layers: int, heads: int
    ):
        super().__init__()
        if dim % heads:
            raise VermeilError(
                f"decoder_dim {dim} is not a multiple of decoder_heads {heads}",
                "choose decoder_heads so that it divides decoder_dim",
            )
        self.embed = nn.Linear(encoder_dim, dim)
        self.mask_token = nn.Parameter(torch.zeros(1, 1, dim))
        self.pos_embed = nn.Parameter(torch.zeros(1, 1 + patches, dim))
        self.blocks = nn.ModuleList(
            Block(
                norm1=nn.LayerNorm(dim, 1e-6),
                attn=Attention(dim, heads, bias=True),
                norm2=nn.LayerNorm(dim, 1e-6),
                mlp=MLP(dim, 4 * dim),
            )
            for _ in range(layers)
        )
        self.norm = nn.LayerNorm(dim, 1e-6)
        self.head = nn.Linear(dim, pixels)
        init_weights(self, layers)

    def forward(
        self, states: Float[Tensor, "b t c"], restore: Int[Tensor, "b n"]
    ) -> Float[Tensor, "b n p"]:
        """Pixels of all patches; `restore` says where in (visible, hidden) each patch stands."""
        x = self.embed(states)
        cls, visible = x[:, :1], x[:, 1:]  # (B, 1, C), (B, K, C)
        b, n = restore.shape
        hidden = self.mask_token.to(x.dtype).expand(b, n - visible.shape[1], -1)
        x = torch.cat([visible, hidden], dim=1)  # (B, N, C), shuffled
        x = x.gather(1, restore[..., None].expand_as(x))
        x = torch.cat([cls, x], dim=1) + self.pos_embed
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x[:, 1:]))


class MaskedAutoencoder(nn.Module):
    """An encoder that sees a quarter of the patches and a decoder that draws the others.

    What is predicted are a hidden patch's pixels, normalised to mean 0 and variance 1.
    """

    def __init__(
        self, encoder: VisionTransformer, *, dim: int, layers: int, heads: int, mask_ratio: float
    ):
        super().__init__()
        config = encoder.config
        if config.stem != "patch":
            raise VermeilError(
                "a convolutional stem mixes hidden patches into visible ones",
                "use --stem patch with --objective mae",
            )
        self.visible = int(config.patches * (1 - mask_ratio))
        if not 0 < self.visible < config.patches:
            raise VermeilError(
                f"mask_ratio {mask_ratio} leaves {self.visible} of {config.patches} patches "
                "visible",
                "--mask_ratio 0.75",
            )
        self.encoder = encoder
        pixels = CHANNELS * config.patch**2
        self.decoder = Decoder(config.dim, config.patches, pixels, dim, layers, heads)

    def forward(
        self, x: Float[Tensor, "b 3 h w"], noise: Float[Tensor, "b n"] | None = None
    ) -> tuple[Float[Tensor, "b n p"], Bool[Tensor, "b n"]]:
        """Predicted patches, and which of them were hidden: those where `noise` is largest."""
        patches = self.encoder.embed_patches(x)
        if noise is None:
            noise = torch.rand(patches.shape[:2], device=x.device)
        order = noise.argsort(dim=1)
        restore = order.argsort(dim=1)  # a patch's place in that order
        kept = order[:, : self.visible, None].expand(-1, -1, patches.shape[2])
        states = self.encoder.encode(patches.gather(1, kept))
        return self.decoder(states, restore), restore >= self.visible

    def loss(
        self, x: Float[Tensor, "b 3 h w"], noise: Float[Tensor, "b n"] | None = None
    ) -> Float[Tensor, ""]:
        """Mean squared error on the hidden patches alone."""
        prediction, hidden = self(x, noise)
        target = normalised(patchify(x, self.encoder.config.patch))
        error = (prediction - target).square().mean(dim=-1)  # (B, N)
        return (error * hidden).sum() / hidden.sum()

    @torch.no_grad()
    def reconstruct(
        self, x: Float[Tensor, "b 3 h w"], seed: int
    ) -> tuple[Float[Tensor, "b 3 h w"], Float[Tensor, "b 3 h w"], Float[Tensor, "b 3 h w"]]:
        """Pictures, the same with hidden patches grey, and with these drawn.

        A drawn patch gets the true one's mean and contrast, which the loss does not ask for.
        """
        patch, n = self.encoder.config.patch, self.encoder.config.patches
        noise = torch.rand(len(x), n, generator=torch.Generator().manual_seed(seed)).to(x.device)
        prediction, hidden = self(x, noise)
        patches, hidden = patchify(x, patch), hidden[..., None]
        variance, mean = torch.var_mean(patches, dim=-1, keepdim=True)
        drawn = torch.where(hidden, prediction * (variance + 1e-6).sqrt() + mean, patches)
        seen = patches.masked_fill(hidden, 0.0)
        return x, unpatchify(seen, patch), unpatchify(drawn, patch)


def patchify(x: Float[Tensor, "b ch h w"], patch: int) -> Float[Tensor, "b n p"]:
    """Patches row by row; in a patch pixels row by row, the channels of one together."""
    b, channels, height, width = x.shape
    x = x.view(b, channels, height // patch, patch, width // patch, patch)
    return x.permute(0, 2, 4, 3, 5, 1).reshape(b, -1, patch * patch * channels)


def unpatchify(patches: Float[Tensor, "b n p"], patch: int) -> Float[Tensor, "b ch h w"]:
    """The picture that `patchify` took apart; it was square."""
    b, n, pixels = patches.shape
    side, channels = round(n**0.5), pixels // patch**2
    x = patches.view(b, side, side, patch, patch, channels).permute(0, 5, 1, 3, 2, 4)
    return x.reshape(b, channels, side * patch, side * patch)


def normalised(patches: Float[Tensor, "b n p"]) -> Float[Tensor, "b n p"]:
    """Each patch with mean 0 and variance 1 (n - 1 in the variance, as the paper's code has)."""
    variance, mean = torch.var_mean(patches, dim=-1, keepdim=True)
    return (patches - mean) / (variance + 1e-6).sqrt()
