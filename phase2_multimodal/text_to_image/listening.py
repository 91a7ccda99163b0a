"""Phase 1's diffusion model given ears: without a text it still draws what it drew."""

from jaxtyping import Float
from torch import Tensor, nn

from phase1_foundation.diffusion.dit import AdaptiveBlock, ConditionedBlocks
from phase1_foundation.diffusion.model import Condition, DiffusionModel
from shared.nn import CrossAttention, Hidden


class Listening(Hidden):
    """A block, and before it a look at the text (Alayrac et al., 2022, 3.1.2, insert such layers).

    The cross-attention begins at 0, and without a text there is none: the block remains.
    """

    def __init__(self, block: AdaptiveBlock, dim: int, heads: int):
        super().__init__()
        self.norm = nn.LayerNorm(dim)
        self.cross = CrossAttention(dim, heads)
        self.block = block

    def forward(
        self, x: Float[Tensor, "b t c"], *, text: Condition | None = None, **more
    ) -> Float[Tensor, "b t c"]:
        if text is not None:
            x = x + self.cross(self.norm(x), text.tokens.to(x.dtype), text.mask)
        return self.block(x, **more)


def listening(model: DiffusionModel) -> DiffusionModel:
    """The model, with an ear at each of its blocks: from now on its network takes a `text`."""
    trunks = [module for module in model.modules() if isinstance(module, ConditionedBlocks)]
    for trunk in trunks:
        ears = (Listening(block, model.config.dim, model.config.heads) for block in trunk.blocks)  # type: ignore[arg-type]
        trunk.blocks = nn.ModuleList(ears)
    return model
