"""The model that looks, and maybe hears, as it is served."""

import hashlib
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from phase1_foundation.language.generate import Sampling
from phase4_deploy.serving.continuous import Writing
from phase4_deploy.serving.memory import Words
from phase4_deploy.serving.models import Options, Pixels, Served, fits
from phase4_deploy.serving.ticket import Ticket
from shared.artifact import Artifact
from shared.errors import VermeilError


class Asked(NamedTuple):
    """A question as tokens, what ends its answer, and what stands before it."""

    words: Words
    ends: Words
    name: str = ""
    before: Callable[[], Float[Tensor, "1 p d"]] | None = None


class Talker(Served):
    """Says what pictures show, and answers what is asked about them, typed or spoken."""

    def __init__(self, artifact: Artifact, options: Options):
        super().__init__(artifact, options)
        from phase1_foundation.language.tokenizer import Tokenizer
        from phase2_multimodal.vision_language.model import VisionLanguageModel
        from phase2_multimodal.vision_language.prompts import Prompter
        from phase4_deploy.audio.log_mel import LogMel
        from phase4_deploy.unified.model import UnifiedModel

        self.hears = self.name == "unified"
        kind = UnifiedModel if self.hears else VisionLanguageModel
        self.model: Any = kind.from_pretrained(artifact, options.device)
        self.prompter = Prompter(Tokenizer.from_pretrained(artifact))
        self.opening = self.prompter.opening.to(options.device)
        self.log_mel = LogMel()
        self.lane = self.text_lanes(self.model.language, self.prompter.tokenizer, options)
        if options.variant == "bf16":
            self.model.to(torch.bfloat16)

    def answer(
        self, question: str = "", *, picture: Pixels | None = None,
        wave: Float[Tensor, " n"] | None = None, sampling: Sampling, streamed: bool = False,
    ) -> Ticket[str]:  # fmt: skip
        """The answer to a question about a picture, which is typed or spoken (`wave`, 16 kHz).

        A picture alone is described, speech alone written down, a text alone continued. Where a
        wave holds no speech, the answer is empty.
        """
        return self.ask(self.prepared(question, picture, wave), sampling, streamed)

    def prepared(
        self, question: str, picture: Pixels | None, wave: Float[Tensor, " n"] | None
    ) -> Asked | None:
        """All that can be done before its turn, in any thread; None for silence."""
        from phase2_multimodal.vision_language.prompts import CAPTION
        from phase4_deploy.audio.activity import edged, speaks, trimmed
        from phase4_deploy.unified.lessons import TRANSCRIBE, spoken_prompt

        if picture is None and wave is None:
            tokenizer = self.prompter.tokenizer
            words = (tokenizer.bos, *tokenizer.encode(question))
            fits(len(words), self.lane.model.config.context)
            return Asked(words, (tokenizer.eos, tokenizer.bos))
        mels = None
        if wave is not None:
            self._can_hear(question)
            if not speaks(wave):
                return None
            mels = self.log_mel(edged(trimmed(wave)))
        if mels is None:
            words = self.prompter.question(question or CAPTION)
        elif picture is None:
            words = self.prompter.question(TRANSCRIBE)
        else:
            words = spoken_prompt(self.prompter)
        fits(len(words) + self._length(picture, mels), self.lane.model.config.context)
        return Asked(tuple(words), (self.prompter.end,), *self._before(picture, mels))

    def ask(self, asked: Asked | None, sampling: Sampling, streamed: bool = False) -> Ticket[str]:
        """Queue what was prepared."""
        if asked is None:
            return silent()
        words, ends, name, before = asked
        return self.lane.submit(Writing(words, sampling, ends, streamed, before, name))

    def _can_hear(self, question: str) -> None:
        if not self.hears:
            raise VermeilError(f"the model {self.name} has no ear", "ask unified, or type it")
        if question:
            raise VermeilError("a question was given twice: typed and spoken", "give one of them")

    def _before(
        self, picture: Pixels | None, mels: Tensor | None
    ) -> tuple[str, Callable[[], Float[Tensor, "1 p d"]]]:
        """The name in memory of what stands before the words, and what makes it."""
        from data.decoding import resized
        from data.picture_batches import to_tensor

        digest, pixels = hashlib.sha256(), None
        if picture is not None:
            pixels = resized(picture, self.model.config.vision.size)
            digest.update(b"picture" + pixels.tobytes())
        if mels is not None:
            digest.update(b"speech" + mels.numpy().tobytes())

        def made() -> Float[Tensor, "1 p d"]:
            weight = self.opening.device, self.lane.model.embed.weight.dtype
            seen = None if pixels is None else to_tensor(pixels[None]).to(*weight)
            if mels is None:
                return self.model.prefix(seen, self.opening)
            length = torch.tensor([len(mels)], device=weight[0])
            heard = self.model.heard(mels[None].to(*weight), length)[0]
            return self.model.before(self.opening, seen, heard).embeddings

        return digest.hexdigest(), made

    def _length(self, picture: Pixels | None, mels: Tensor | None) -> int:
        """Embeddings that stand before the words; of speech at least so many."""
        seen = 0 if picture is None else self.model.config.picture_tokens
        heard = 0 if mels is None else len(mels) // (4 * self.model.config.stack)
        return len(self.opening) + seen + heard

    def warm_up(self) -> None:
        size = self.model.config.vision.size
        black = np.zeros((size, size, 3), np.uint8)
        self.answer(picture=black, sampling=Sampling(max_tokens=2, temperature=0)).result()


def silent() -> Ticket[str]:
    """The answer to silence."""
    ticket: Ticket[str] = Ticket()
    ticket.notes |= {
        "finish_reason": "stop", "prompt_tokens": 0, "cached_tokens": 0, "completion_tokens": 0
    }  # fmt: skip
    ticket.put("")
    ticket.end()
    return ticket
