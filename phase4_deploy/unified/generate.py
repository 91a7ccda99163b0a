"""One call for everything: text, a picture, speech, in any combination, to text; one to draw."""

import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from phase1_foundation.language.generate import Sampling
from phase1_foundation.language.tokenizer import Tokenizer
from phase2_multimodal.vision_language.generate import GREEDY, Speaker
from phase2_multimodal.vision_language.prompts import CAPTION, Prompter
from phase4_deploy.audio.activity import edged, speaks, trimmed
from phase4_deploy.audio.batches import STRIDE
from phase4_deploy.audio.decode import Source, read
from phase4_deploy.audio.log_mel import LogMel
from phase4_deploy.speech.ctc import greedy, prefix_beam, text_log_probs
from phase4_deploy.unified.lessons import TRANSCRIBE, spoken_prompt
from phase4_deploy.unified.model import UnifiedModel
from shared.artifact import locate
from shared.errors import VermeilError

LONG = Sampling(max_tokens=64, temperature=0.0)
SPELLINGS = 8  # of a clip, among which the language model chooses
WORDS = 0.5  # what its log probability counts beside the letters'


class Unified:
    """A unified model prepared to be asked.

    unified = Unified.from_pretrained("unified")
    unified.generate(text="what color is the dog?", image="scene.png")
    unified.generate(audio="question.wav", image="scene.png")
    unified.generate(audio="memo.flac")
    unified.draw("a dog on a blue background")
    """

    def __init__(
        self, model: UnifiedModel, prompter: Prompter, rows: int = 64, folder: Path | None = None
    ):
        self.model, self.prompter, self.folder = model.eval(), prompter, folder
        self.speaker = _Speaker(model, prompter, rows)
        self.log_mel, self._drawer = LogMel(), None

    @classmethod
    def from_pretrained(cls, name: str, device: str = "cpu") -> "Unified":
        """By an artifact's name, a folder, or a repository of the Hub."""
        folder = locate(name)
        prompter = Prompter(Tokenizer.from_pretrained(folder))
        return cls(UnifiedModel.from_pretrained(folder, device), prompter, folder=folder)

    def generate(
        self, text: str = "", image: str | Path | Tensor | None = None,
        audio: Source | Tensor | None = None, sampling: Sampling = GREEDY,
    ) -> str:  # fmt: skip
        """The answer to a typed or spoken question, about a picture or not.

        Speech alone is written down; a picture alone is described; text alone is continued.
        `image` (3, H, W) in [-1, 1] or a file, `audio` a wave of 16 kHz or a file. Where a clip
        holds no speech, the answer is empty.
        """
        if text and audio is not None:
            raise VermeilError("a question was given twice: typed and spoken", "give one of them")
        wave = audio if isinstance(audio, Tensor) or audio is None else read(audio)
        if wave is not None and not speaks(wave):
            return ""
        mels = None if wave is None else [self.log_mel(edged(trimmed(wave)))]
        pictures = None if image is None else self._picture(image)[None]
        if mels is None and pictures is None:
            return self._continue(text, sampling)
        if mels is None:
            return self.answers(pictures=pictures, texts=[text or CAPTION], sampling=sampling)[0]
        if pictures is None:
            return self.transcripts(mels)[0]
        return self.answers(pictures=pictures, mels=mels, sampling=sampling)[0]

    def draw(self, text: str, seed: int = 0, **how: Any) -> UInt8[np.ndarray, "h w 3"]:
        """A picture of what the text says; `how` are arguments of phase 2's `draw`.

        Raises VermeilError where the model was trained with --drawer none.
        """
        from data.picture_batches import to_pixels
        from phase2_multimodal.text_to_image import draw, inside

        if self.folder is None or not inside.is_inside(self.folder):
            raise VermeilError(
                "this unified model does not draw", "vermeil train unified with a --drawer"
            )
        if self._drawer is None:
            self._drawer = draw.load(self.folder, str(self.model.language.embed.weight.device))
        drawer, prompts = self._drawer
        manner = inside.manner(self.folder) | how
        return to_pixels(draw.draw(drawer, prompts, [text], seeds=[seed], **manner))[0]

    @torch.inference_mode()
    def answers(
        self, *, pictures: Float[Tensor, "b 3 h w"] | None = None,
        mels: Sequence[Float[Tensor, "_ 80"]] | None = None, texts: Sequence[str] | None = None,
        sampling: Sampling = GREEDY,
    ) -> list[str]:  # fmt: skip
        """An answer a row, each question typed (`texts`; "" asks nothing) or spoken (`mels`)."""
        number = len(texts if mels is None else mels)  # type: ignore[arg-type]
        prompts = [self._prompt(text) for text in texts or [""] * number]
        return self._say(number, pictures, mels, prompts, sampling)

    @torch.inference_mode()
    def transcripts(
        self, mels: Sequence[Float[Tensor, "_ 80"]], written: Sequence[str] | None = None
    ) -> list[str]:
        """What is said in each clip, in two passes (Zhang et al., 2020): of the spellings that the
        encoder's letters speak for, and of what the language model writes by itself (`written`,
        where that is known), the one that is likeliest to both."""
        return [*map(self._likeliest, mels, self.written(mels) if written is None else written)]

    @torch.inference_mode()
    def written(self, mels: Sequence[Float[Tensor, "_ 80"]]) -> list[str]:
        """What the language model writes of each clip by itself, greedily; nothing of one that
        leaves no room for words in its context."""
        prompt = self.prompter.question(TRANSCRIBE)
        rows = [row for row, one in enumerate(mels) if self._room(one) > len(prompt)]
        some = self._say(len(rows), None, [mels[row] for row in rows], [prompt] * len(rows), LONG)
        said = dict(zip(rows, some, strict=True))
        return [said.get(row, "") for row in range(len(mels))]

    def _room(self, mels: Float[Tensor, "t 80"]) -> int:
        """Tokens that find a place behind a clip."""
        states = max(1, len(mels) // STRIDE)
        heard = -(-states // self.model.ear.stack)
        return self.model.language.config.context - len(self.prompter.opening) - heard

    def _likeliest(self, mels: Float[Tensor, "t 80"], own: str) -> str:
        alphabet, log_probs = self.model.speech.alphabet, self._log_probs(mels)
        if not len(log_probs):
            return ""
        spellings = dict.fromkeys(text for text, _ in prefix_beam(log_probs, alphabet, SPELLINGS))
        with contextlib.suppress(VermeilError):  # the language model knows other characters, too
            spellings[alphabet.spell(own)] = None
        texts = [*spellings]
        score = text_log_probs(log_probs, [*map(alphabet.encode, texts)])
        longest = max(len(self.prompter.answer(text)) for text in texts)
        if len(self.prompter.question(TRANSCRIBE)) + longest <= self._room(mels):  # else: letters
            heard = self._prefix(None, mels)
            score += WORDS * self.speaker.rank(heard, TRANSCRIBE, texts).cpu()
        return texts[int(score.argmax())]

    @torch.inference_mode()
    def letters(self, mels: Float[Tensor, "t 80"]) -> str:
        """What the encoder's own head writes, letter by letter."""
        log_probs = self._log_probs(mels)[None]  # (1, N, vocab)
        return greedy(log_probs, torch.tensor([log_probs.shape[1]]), self.model.speech.alphabet)[0]

    def _log_probs(self, mels: Float[Tensor, "t 80"]) -> Float[Tensor, "n vocab"]:
        device = self.model.language.embed.weight.device
        length = torch.tensor([len(mels)], device=device)
        log_probs, lengths = self.model.speech(mels[None].to(device), length)
        return log_probs[0, : int(lengths[0])].cpu()

    def _prompt(self, text: str) -> list[int]:
        return self.prompter.question(text) if text else spoken_prompt(self.prompter)

    def _say(
        self, number: int, pictures: Tensor | None, mels: Sequence[Tensor] | None,
        prompts: Sequence[Sequence[int]], sampling: Sampling,
    ) -> list[str]:  # fmt: skip
        """Rows with prefixes of one length go together, so that none is filled."""
        prefixes = [
            self._prefix(
                None if pictures is None else pictures[row : row + 1],
                None if mels is None else mels[row],
            )
            for row in range(number)
        ]
        alike: dict[int, list[int]] = {}
        for row, prefix in enumerate(prefixes):
            alike.setdefault(prefix.shape[1], []).append(row)
        said: dict[int, str] = {}
        for rows in alike.values():
            together = torch.cat([prefixes[row] for row in rows])
            asked = [prompts[row] for row in rows]
            said |= dict(zip(rows, self.speaker.write(together, asked, sampling), strict=True))
        return [said[row] for row in range(number)]

    def _prefix(
        self, picture: Float[Tensor, "1 3 h w"] | None, mels: Float[Tensor, "t 80"] | None
    ) -> Float[Tensor, "1 p d"]:
        """What stands before the words of one row."""
        device = self.model.language.embed.weight.device
        heard = None
        if mels is not None:
            one = mels[None].to(device)
            heard = self.model.heard(one, torch.tensor([one.shape[1]], device=device))[0]
        seen = None if picture is None else picture.to(device)
        return self.model.before(self.prompter.opening.to(device), seen, heard).embeddings

    def _continue(self, text: str, sampling: Sampling) -> str:
        from phase1_foundation.language.generate import generate

        return generate(self.model.language, self.prompter.tokenizer, [text], sampling)[0]

    def _picture(self, image: str | Path | Tensor) -> Float[Tensor, "3 h w"]:
        if isinstance(image, Tensor):
            return image
        from data.decoding import resized
        from data.picture_batches import to_tensor
        from phase2_multimodal.vision_language.commands import read_picture

        pixels = read_picture(str(image))
        return to_tensor(resized(pixels, self.model.config.vision.size)[None])[0]


class _Speaker(Speaker):
    """A speaker that is given prompts as tokens."""

    def write(
        self, prefix: Float[Tensor, "b p d"], prompts: Sequence[Sequence[int]], sampling: Sampling
    ) -> list[str]:
        """An answer a row."""
        found: list[str] = []
        for first in range(0, len(prompts), self.rows):
            rows = range(first, min(first + self.rows, len(prompts)))
            asked = [prompts[row] for row in rows]
            ids = self._write(prefix[rows.start : rows.stop], asked, sampling, rows)
            found += [self.prompter.tokenizer.decode(each).strip() for each in ids]
        return found
