"""What is served: a trained model each, its lane, and how a request becomes work for it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from phase1_foundation.language.generate import Sampling
from phase4_deploy.serving.continuous import TextLane, Writing
from phase4_deploy.serving.crew import Crew
from phase4_deploy.serving.lanes import Batches
from phase4_deploy.serving.ticket import Ticket
from shared.artifact import Artifact, read_config
from shared.errors import VermeilError

Pixels = UInt8[np.ndarray, "h w 3"]
MOST_PICTURES = 8  # drawn together
MOST_CLIPS = 4  # heard together
MOST_EMBEDDED = 32


@dataclass(frozen=True)
class Options:
    """How models are served."""

    device: str = "cpu"
    variant: str = "fp16"  # weights of what writes words: or "fp32", "bf16", "int8"
    processes: int = 0  # that write words, beside this one; 0: a thread of this one does
    rows: int = 32  # answers written side by side by a model
    queue: int = 64  # requests that wait for a lane
    memory_mb: int = 256  # of pictures and prompts that were read, for each model


class Served:
    """A model and its lane."""

    lane: Any

    def __init__(self, artifact: Artifact, options: Options):
        self.artifact, self.name = artifact, artifact.manifest["step"]

    def warm_up(self) -> None:
        """One small request, so that the first user waits for nothing."""


class Writes(Served):
    """A model that writes words, here or in processes beside this one (`crew`)."""

    def __init__(self, artifact: Artifact, options: Options, crew: Crew | None = None):
        super().__init__(artifact, options)
        self.lane = crew.lane(self.name) if crew else self.text_lane(artifact, options)

    @classmethod
    def text_lane(cls, artifact: Artifact, options: Options) -> TextLane:
        """The lane in which its answers are written."""
        raise NotImplementedError


def lane_of(
    artifact: Artifact, options: Options, model: Any, tokenizer: Any, **more: Any
) -> TextLane:
    """The lane of a language model, in the number format that was asked for."""
    from phase1_foundation.language.decode import Product
    from phase3_scaling.compression.fp16_product import Fp16Product
    from phase3_scaling.compression.int8_product import Int8Product

    products = {"fp16": Fp16Product, "int8": Int8Product}
    if options.variant == "bf16":
        model = model.to(torch.bfloat16)
    return TextLane(
        artifact.manifest["step"], model, tokenizer, most=options.rows, queue=options.queue,
        memory_bytes=options.memory_mb << 20,
        product=products.get(options.variant, Product), **more,
    )  # fmt: skip


class Writer(Writes):
    """Continues texts: the language model."""

    def __init__(self, artifact: Artifact, options: Options, crew: Crew | None = None):
        super().__init__(artifact, options, crew)
        from phase1_foundation.language.model import LanguageModelConfig
        from phase1_foundation.language.tokenizer import Tokenizer

        self.tokenizer = Tokenizer.from_pretrained(artifact)
        self.context = read_config(artifact.folder / "config.json", LanguageModelConfig).context

    @classmethod
    def text_lane(cls, artifact: Artifact, options: Options) -> TextLane:
        from phase1_foundation.language.model import LanguageModel
        from phase1_foundation.language.tokenizer import Tokenizer

        model = LanguageModel.from_pretrained(artifact, options.device)
        return lane_of(artifact, options, model, Tokenizer.from_pretrained(artifact))

    def write(self, prompt: str, sampling: Sampling, *, streamed: bool = False) -> Ticket[str]:
        """The continuation of a text, without the text."""
        tokenizer = self.tokenizer
        words = (tokenizer.bos, *tokenizer.encode(prompt))
        fits(len(words), self.context)
        ends = tokenizer.eos, tokenizer.bos
        return self.lane.submit(Writing(words, sampling, ends, streamed))

    def warm_up(self) -> None:
        self.write("The", Sampling(max_tokens=4)).result()


@dataclass(frozen=True)
class Drawing:
    """One picture that is asked for, and how."""

    prompt: str
    seed: int
    how: tuple[tuple[str, Any], ...]  # arguments of `draw`


class Drawer(Served):
    """Draws what words say."""

    def __init__(self, artifact: Artifact, options: Options):
        super().__init__(artifact, options)
        from phase2_multimodal.text_to_image.commands import as_measured
        from phase2_multimodal.text_to_image.draw import load

        self.model, self.prompts = load(artifact.folder, options.device)
        self.measured = as_measured(artifact.folder)
        self.lane = Batches(
            self.name, self._draw, most=MOST_PICTURES, queue=options.queue,
            alike=lambda request: request.how,
        )  # fmt: skip

    def draw(self, prompt: str, *, seed: int = 0, **asked: Any) -> Ticket[Pixels]:
        """One picture; `asked` are arguments of `draw`, None is as the model was measured."""
        self.prompts([prompt, asked.get("negative_prompt") or ""])  # too long: said at once
        how = self.measured | {key: value for key, value in asked.items() if value is not None}
        return self.lane.submit(Drawing(prompt, seed, tuple(sorted(how.items()))))

    def _draw(self, requests: Sequence[Drawing], left: Callable[[], bool]) -> Sequence[Pixels]:
        from data.picture_batches import to_pixels
        from phase2_multimodal.text_to_image.draw import draw

        def predict(*arguments: Any) -> Tensor:
            if left():
                raise VermeilError("nobody waits for this picture any more")
            return self.model(*arguments)

        asked, seeds = [r.prompt for r in requests], [r.seed for r in requests]
        how = dict(requests[0].how)
        drawn = draw(self.model, self.prompts, asked, seeds=seeds, predict=predict, **how)
        return list(to_pixels(drawn))

    def warm_up(self) -> None:
        self.draw("a dog", steps=1).result()


class Hearer(Served):
    """Writes down what is said."""

    def __init__(self, artifact: Artifact, options: Options):
        super().__init__(artifact, options)
        from phase4_deploy.speech.encoder import SpeechRecogniser
        from phase4_deploy.speech.transcribe import Transcriber

        model = SpeechRecogniser.from_pretrained(artifact, options.device)
        self.transcriber = Transcriber(model, beams=8)
        self.lane = Batches(self.name, self._hear, most=MOST_CLIPS, queue=options.queue)

    def hear(self, wave: Float[Tensor, " n"]) -> Ticket[str]:
        """What is said in a piece of up to 20 s at 16 kHz; "" where nobody speaks."""
        return self.lane.submit(wave)

    def _hear(self, waves: Sequence[Tensor], left: Callable[[], bool]) -> Sequence[str]:
        return ["" if left() else self.transcriber(wave) for wave in waves]

    def warm_up(self) -> None:
        self.hear(torch.zeros(16_000)).result()


class Embedder(Served):
    """Places texts and pictures in the space in which they meet."""

    def __init__(self, artifact: Artifact, options: Options):
        super().__init__(artifact, options)
        from phase1_foundation.language.tokenizer import Tokenizer
        from phase2_multimodal.alignment.evaluate import Towers
        from phase2_multimodal.alignment.model import AlignmentModel

        model = AlignmentModel.from_pretrained(artifact, options.device)
        self.tokenizer = Tokenizer.from_pretrained(artifact)
        self.towers, self.size = Towers(model, self.tokenizer), model.config.vision.size
        self.context = model.config.language.context
        self.lane = Batches(
            self.name, self._embed, most=MOST_EMBEDDED, queue=4 * options.queue,
            alike=lambda request: isinstance(request, str),
        )  # fmt: skip

    def embed(self, what: str | Pixels) -> Ticket[Float[Tensor, " d"]]:
        """The unit vector of a text or of a picture."""
        from data.decoding import resized

        if isinstance(what, str):
            if not what.strip():
                raise VermeilError("the text to embed is empty", "give at least one word")
            fits(self.count(what), self.context)
            return self.lane.submit(what)
        return self.lane.submit(resized(what, self.size))

    def count(self, text: str) -> int:
        """Tokens that the model reads for a text."""
        return len(self.tokenizer.encode(text)) + 2

    def _embed(self, asked: Sequence[str | Pixels], left: Callable[[], bool]) -> Sequence[Tensor]:
        if left():
            return [torch.empty(0)] * len(asked)
        if isinstance(asked[0], str):
            return list(self.towers.texts(asked).cpu())  # type: ignore[arg-type]
        return list(self.towers.pictures(asked).cpu())  # type: ignore[arg-type]

    def warm_up(self) -> None:
        self.embed("a dog").result()


class TooLong(VermeilError):
    """More than the model's context takes."""


def fits(tokens: int, context: int) -> None:
    """Refuse what leaves no room for an answer."""
    if tokens >= context:
        raise TooLong(
            f"the request is {tokens:,} tokens long, the model's context is {context:,}",
            f"shorten it to at most {context - 1:,} tokens",
        )
