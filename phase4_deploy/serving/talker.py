"""The model that looks, and maybe hears, as it is served."""

import hashlib
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from phase1_foundation.language.generate import Sampling
from phase4_deploy.serving.continuous import Before, TextLane, Writing
from phase4_deploy.serving.crew import Crew
from phase4_deploy.serving.models import Options, Pixels, Writes, fits, lane_of
from phase4_deploy.serving.ticket import Ticket
from shared.artifact import Artifact, read_config
from shared.errors import VermeilError


class Talker(Writes):
    """Says what pictures show, and answers what is asked about them, typed or spoken."""

    def __init__(self, artifact: Artifact, options: Options, crew: Crew | None = None):
        super().__init__(artifact, options, crew)
        from phase1_foundation.language.tokenizer import Tokenizer
        from phase2_multimodal.vision_language.prompts import Prompter
        from phase4_deploy.audio.log_mel import LogMel

        kind = _kind(artifact)
        self.hears = self.name == "unified"
        self.config = read_config(artifact.folder / "config.json", kind.config_class)
        self.context = self.config.language.context
        self.prompter = Prompter(Tokenizer.from_pretrained(artifact))
        self.log_mel = LogMel()

    @classmethod
    def text_lane(cls, artifact: Artifact, options: Options) -> TextLane:
        from phase1_foundation.language.tokenizer import Tokenizer

        model: Any = _kind(artifact).from_pretrained(artifact, options.device)
        if options.variant == "bf16":
            model.to(torch.bfloat16)
        tokenizer = Tokenizer.from_pretrained(artifact)
        senses = Senses(model, tokenizer)
        return lane_of(artifact, options, model.language, tokenizer, sense=senses)

    def answer(
        self, question: str = "", *, picture: Pixels | None = None,
        wave: Float[Tensor, " n"] | None = None, sampling: Sampling, streamed: bool = False,
    ) -> Ticket[str]:  # fmt: skip
        """The answer to a question about a picture, which is typed or spoken (`wave`, 16 kHz).

        A picture alone is described, speech alone written down (by the language model, word by
        word as they can be streamed; the recogniser's transcriptions are better), a text alone
        continued. Where a wave holds no speech, the answer is empty.
        """
        return self.ask(self.prepared(question, picture, wave), sampling, streamed)

    def prepared(
        self, question: str, picture: Pixels | None, wave: Float[Tensor, " n"] | None
    ) -> Writing | None:
        """All that can be done before its turn, in any thread; None for silence."""
        from phase2_multimodal.vision_language.prompts import CAPTION
        from phase4_deploy.audio.activity import edged, speaks, trimmed
        from phase4_deploy.unified.lessons import TRANSCRIBE, spoken_prompt

        if picture is None and wave is None:
            tokenizer = self.prompter.tokenizer
            words = (tokenizer.bos, *tokenizer.encode(question))
            fits(len(words), self.context)
            return Writing(words, Sampling(), (tokenizer.eos, tokenizer.bos))
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
        fits(len(words) + self._length(picture, mels), self.context)
        before = self._before(picture, mels)
        return Writing(tuple(words), Sampling(), (self.prompter.end,), before=before)

    def ask(self, asked: Writing | None, sampling: Sampling, streamed: bool = False) -> Ticket[str]:
        """Queue what was prepared."""
        if asked is None:
            return silent()
        return self.lane.submit(replace(asked, sampling=sampling, streamed=streamed))

    def _can_hear(self, question: str) -> None:
        if not self.hears:
            raise VermeilError(f"the model {self.name} has no ear", "ask unified, or type it")
        if question:
            raise VermeilError("a question was given twice: typed and spoken", "give one of them")

    def _before(self, picture: Pixels | None, mels: Tensor | None) -> Before:
        """What stands before the words, by the hash of what it is."""
        from data.decoding import resized

        digest, pixels = hashlib.sha256(), None
        if picture is not None:
            pixels = resized(picture, self.config.vision.size)
            digest.update(b"picture" + pixels.tobytes())
        heard = None if mels is None else mels.numpy()
        if heard is not None:
            digest.update(b"speech" + heard.tobytes())
        return Before(digest.hexdigest(), pixels, heard)

    def _length(self, picture: Pixels | None, mels: Tensor | None) -> int:
        """Embeddings that stand before the words; of speech at least so many."""
        seen = 0 if picture is None else self.config.picture_tokens
        heard = 0 if mels is None else len(mels) // (4 * self.config.stack)
        return len(self.prompter.opening) + seen + heard

    def warm_up(self) -> None:
        size = self.config.vision.size
        black = np.zeros((size, size, 3), np.uint8)
        self.answer(picture=black, sampling=Sampling(max_tokens=2, temperature=0.0)).result()


class Senses:
    """Makes what stands before the words: embeddings of a picture, of speech, or of both."""

    def __init__(self, model: Any, tokenizer: Any):
        from phase2_multimodal.vision_language.prompts import Prompter

        self.model, weight = model, model.language.embed.weight
        self.where = weight.device, weight.dtype
        self.opening = Prompter(tokenizer).opening.to(weight.device)

    def __call__(self, before: Before) -> Float[Tensor, "1 p d"]:
        from data.picture_batches import to_tensor

        seen = None if before.pixels is None else to_tensor(before.pixels[None]).to(*self.where)
        if before.mels is None:
            return self.model.prefix(seen, self.opening)
        mels = torch.from_numpy(before.mels)[None].to(*self.where)
        length = torch.tensor([mels.shape[1]], device=mels.device)
        heard = self.model.heard(mels, length)[0]
        return self.model.before(self.opening, seen, heard).embeddings


def _kind(artifact: Artifact) -> Any:
    """The class of an artifact's model."""
    from phase2_multimodal.vision_language.model import VisionLanguageModel
    from phase4_deploy.unified.model import UnifiedModel

    return UnifiedModel if artifact.manifest["step"] == "unified" else VisionLanguageModel


def silent() -> Ticket[str]:
    """The answer to silence."""
    ticket: Ticket[str] = Ticket()
    ticket.notes |= {
        "finish_reason": "stop", "prompt_tokens": 0, "cached_tokens": 0, "completion_tokens": 0
    }  # fmt: skip
    ticket.put("")
    ticket.end()
    return ticket
