"""What the language model is trained for, and what it writes while it learns."""

import json
from pathlib import Path

from jaxtyping import Float, Int
from torch import Tensor

from phase1_foundation.language.generate import Sampling, generate
from phase1_foundation.language.model import LanguageModel
from phase1_foundation.language.tokenizer import Tokenizer
from shared.objective import Objective
from shared.trackers import read_metrics

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
        self.model, self.tokenizer, self.path = model, tokenizer, folder / "samples.jsonl"

    def __call__(self, step: int) -> dict[str, str]:
        """Generate and keep; returns prompt -> text for the trackers."""
        texts = generate(self.model, self.tokenizer, PROMPTS, self.sampling)
        made = dict(zip(PROMPTS, texts, strict=True))
        with self.path.open("a") as file:
            file.write(json.dumps({"step": step, "texts": made}) + "\n")
        return made

    def read(self) -> list[tuple[str, str, str]]:
        """(label, prompt, text) in order of steps; a resumed run's repeated steps count once."""
        by_step = {line["step"]: line["texts"] for line in read_metrics(self.path)}
        return [
            (f"step {step:,}", prompt, text)
            for step in sorted(by_step)
            for prompt, text in by_step[step].items()
        ]
