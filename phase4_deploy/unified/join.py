"""The two parents put together and trained: once with rehearsal, once without."""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from data.pictures import PictureData
from data.speech import SpeechData
from data.tokens import TokenShards
from phase2_multimodal import parents
from phase2_multimodal.vision_language.model import VisionLanguageModel
from phase2_multimodal.vision_language.prompts import Prompter
from phase4_deploy.speech.encoder import SpeechRecogniser
from phase4_deploy.unified.lessons import UnifiedLessons, held_out
from phase4_deploy.unified.model import UnifiedModel, with_ear
from phase4_deploy.unified.objective import Answers, begin
from shared.objective import mean_loss
from shared.training import History, fit, seed_everything

FITTED = 8  # batches of each kind that the ear begins with


@dataclass(frozen=True)
class Join:
    """A vision-language model, a recogniser, and what both have learned from."""

    looker: VisionLanguageModel
    listener: SpeechRecogniser
    prompter: Prompter
    pictures: PictureData
    speech: SpeechData
    windows: TokenShards

    def trained(
        self, config: Any, folder: Path, name: str, engine: Any = None
    ) -> tuple[UnifiedModel, dict[str, Any], History]:
        """The unified model, the proof that its parents help, and how training went."""
        seed_everything(config.seed)
        model = UnifiedModel(with_ear(self.looker.config, self.listener.config, config.stack))
        objective = Answers(model, config, self.prompter)
        train = UnifiedLessons(self.pictures, self.speech, self.windows, self.prompter, config)
        if config.rehearsal and train.said.dropped.counts:  # the twin hears the same
            print(f"{name}: passed over: {train.said.dropped}", file=sys.stderr)
        validation = held_out(self.pictures, self.speech, self.prompter, config)
        hours = [train.rows(step, slice(None)) for step in range(FITTED)]
        sounds = [part.sound for hour in hours for part in (hour.asked, hour.said)]

        def loss_at_first() -> float:
            begin(model, sounds, self.prompter)
            return mean_loss(objective, validation)

        parts = {part: self.looker.get_submodule(part) for part in ("vision", "projector")}
        parts |= {"language": self.looker.language, "speech": self.listener}
        reuse = parents.take_over(objective, parts, loss_at_first)
        history = fit(
            objective, train, validation, folder=folder, name=name, unit="rows",
            amount_per_step=config.batch_size, engine=engine,
        )  # fmt: skip
        return model.eval(), reuse, history
