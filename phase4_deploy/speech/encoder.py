"""The speech encoder on the shared trunk, and the recogniser that writes what it hears.

A frame of log-mel is 10 ms. Two convolutions, each of stride 2, make one state of four frames; no
state looks past its own four, so that neither padding nor what is yet to be spoken can change it.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from phase4_deploy.speech.alphabet import ENGLISH, Alphabet
from shared.artifact import Pretrained
from shared.errors import VermeilError
from shared.nn import Attention, Block, RMSNorm, Rotary, SwiGLU, init_weights

STRIDE = 4  # frames of log-mel that one state stands for


@dataclass(frozen=True)
class SpeechEncoderConfig:
    """The shape of a speech encoder; `chunk`, `left` and `context` count states of 40 ms.

    `chunk` 0: every state sees the whole clip. Otherwise a state sees its chunk and `left` states
    before that, which is what a stream of sound can give it (Zhang et al., 2020).
    """

    dim: int
    layers: int
    heads: int
    mlp_dim: int
    mels: int = 80
    chunk: int = 0
    left: int = 0
    context: int = 1500  # a clip of one minute
    norm_eps: float = 1e-5

    def __post_init__(self):
        if self.heads < 1 or self.dim % self.heads or (self.dim // self.heads) % 2:
            raise VermeilError(
                f"dim {self.dim} does not give {self.heads} heads an even share",
                "rotary positions need dim / heads to be an even number",
            )
        if self.chunk < 0 or self.left < 0 or self.chunk + self.left >= self.context:
            raise VermeilError(
                f"chunks of {self.chunk} states with {self.left} before them do not fit a context "
                f"of {self.context}",
                "choose smaller ones, or a larger --context",
            )


class Subsampling(nn.Module):
    """Two convolutions of stride 2: of log-mel frames 4 t - 3 to 4 t + 3 comes state t."""

    def __init__(self, mels: int, dim: int):
        super().__init__()
        self.conv1 = nn.Conv1d(mels, dim, kernel_size=3, stride=2)
        self.conv2 = nn.Conv1d(dim, dim, kernel_size=3, stride=2)

    def forward(self, mels: Float[Tensor, "b t mels"]) -> Float[Tensor, "b n c"]:
        """T // 4 states, and one at least; zeros stand before the first frame."""
        short = max(0, STRIDE - mels.shape[1])
        x = F.gelu(self.conv1(F.pad(mels.mT, (1, short))))  # (B, C, T / 2)
        return F.gelu(self.conv2(F.pad(x, (1, 0)))).mT


class SpeechEncoder(nn.Module):
    """A transformer over log-mel frames: RMSNorm, rotary positions, SwiGLU."""

    def __init__(self, config: SpeechEncoderConfig):
        super().__init__()
        self.config = config
        dim, eps = config.dim, config.norm_eps
        self.subsample = Subsampling(config.mels, dim)
        self.rotary = Rotary(dim // config.heads, config.context)
        self.blocks = nn.ModuleList(
            Block(
                norm1=RMSNorm(dim, eps),
                attn=Attention(dim, config.heads),
                norm2=RMSNorm(dim, eps),
                mlp=SwiGLU(dim, config.mlp_dim),
            )
            for _ in range(config.layers)
        )
        self.norm = RMSNorm(dim, eps)
        init_weights(self.blocks, config.layers)

    def forward(
        self, mels: Float[Tensor, "b t mels"], lengths: Int[Tensor, " b"]
    ) -> tuple[Float[Tensor, "b n c"], Int[Tensor, " b"]]:
        """States of log-mel frames and how many of them are no padding: `lengths` // 4.

        Clips shorter than four frames have none. VermeilError for clips beyond the context.
        """
        # The stream keeps the format of what comes in: sums in 16 bits lose too much.
        x, lengths = self.subsample(mels).to(mels.dtype), lengths // STRIDE  # (B, N, C)
        n, config = x.shape[1], self.config
        if n > config.context:
            raise VermeilError(
                f"a clip of {n * STRIDE / 100:.1f} s, but the model takes at most "
                f"{config.context * STRIDE / 100:.1f} s at once",
                "cut it into pieces, or train with a larger --context",
            )
        mask = visible(lengths, n, config.chunk, config.left)
        rotation = self.rotary(torch.arange(n, device=x.device))
        for block in self.blocks:
            x = block(x, rotation=rotation, mask=mask)
        return self.norm(x), lengths


def visible(
    lengths: Int[Tensor, " b"], n: int, chunk: int = 0, left: int = 0
) -> Bool[Tensor, "b 1 #n n"]:
    """Which of n states each state may look at: no padding, and in chunks what a stream has."""
    place = torch.arange(n, device=lengths.device)
    mask = (place < lengths[:, None])[:, None, None]  # (B, 1, 1, N)
    if chunk:
        first = (place // chunk * chunk)[:, None]  # of each state's chunk
        mask = mask & (place >= first - left) & (place < first + chunk)
    # Padding looks at itself: a softmax over nothing would be NaN, and its gradient too.
    return mask | torch.eye(n, dtype=torch.bool, device=lengths.device)


@dataclass(frozen=True)
class SpeechRecogniserConfig:
    """An encoder's shape, the characters that are written, and how many a state may write.

    People read aloud 15 and more characters a second, and CTC puts a blank between two that are
    alike: with 25 states a second, one reading each, there is hardly room for them.
    """

    encoder: SpeechEncoderConfig
    characters: str = ENGLISH
    readings: int = 1


class SpeechRecogniser(nn.Module, Pretrained):
    """Speech to characters: the encoder and one linear layer, for CTC."""

    config_class = SpeechRecogniserConfig

    def __init__(self, config: SpeechRecogniserConfig):
        super().__init__()
        self.config = config
        self.alphabet = Alphabet(config.characters)
        self.encoder = SpeechEncoder(config.encoder)
        self.head = nn.Linear(config.encoder.dim, config.readings * len(self.alphabet))

    def forward(
        self, mels: Float[Tensor, "b t mels"], lengths: Int[Tensor, " b"]
    ) -> tuple[Float[Tensor, "b n vocab"], Int[Tensor, " b"]]:
        """Log probabilities of blank and characters by reading, and how many are no padding."""
        return self.readings(*self.encoder(mels, lengths))

    def readings(
        self, states: Float[Tensor, "b n c"], lengths: Int[Tensor, " b"]
    ) -> tuple[Float[Tensor, "b rn vocab"], Int[Tensor, " b"]]:
        """The same of an encoder's states: `config.readings` of each, one after the other."""
        each = self.head(states).unflatten(-1, (-1, len(self.alphabet)))  # (B, N, R, V)
        return each.flatten(1, 2).float().log_softmax(dim=-1), self.config.readings * lengths


SIZES = {  # parameters
    "tiny": SpeechEncoderConfig(dim=128, layers=4, heads=4, mlp_dim=352),  # 0.9M
    "small": SpeechEncoderConfig(dim=256, layers=8, heads=4, mlp_dim=704),  # 6.7M
    "base": SpeechEncoderConfig(dim=512, layers=12, heads=8, mlp_dim=1408),  # 39.5M
    "large": SpeechEncoderConfig(dim=768, layers=18, heads=12, mlp_dim=2048),  # 129.4M
}
