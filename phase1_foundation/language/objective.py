"""What the language model is trained for, and what it writes while it learns."""

from pathlib import Path

from jaxtyping import Float, Int
from torch import Tensor

from phase1_foundation.language.generate import Sampling, generate
from phase1_foundation.language.model import LanguageModel
from phase1_foundation.language.tokenizer import Tokenizer
from shared.objective import Objective
from shared.samples import WrittenSamples

PROMPTS: tuple[str, ...] = ("The people of the United States", "She had been", "\n\n")


class NextToken(Objective):
    """Predict each token from those before it."""

    model: LanguageModel

    def loss(self, batch: Int[Tensor, "b t"]) -> Float[Tensor, ""]:
        return self.model.loss(batch)


class SamplesInTraining:
    """Continues the same prompts, with the same seed, at every stage of training."""

    sampling = Sampling(max_tokens=60, temperature=0.8, top_p=0.95, seed=1)

    def __init__(self, model: LanguageModel, tokenizer: Tokenizer, folder: Path):
        self.model, self.tokenizer, self.written = model, tokenizer, WrittenSamples(folder)

    def __call__(self, step: int) -> dict[str, str]:
        """Generate and keep; returns prompt -> text for the trackers."""
        texts = generate(self.model, self.tokenizer, PROMPTS, self.sampling)
        return self.written.keep(step, dict(zip(PROMPTS, texts, strict=True)))
