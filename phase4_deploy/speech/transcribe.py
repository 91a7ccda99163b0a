"""Sound of any length to text: cut in pauses, heard piece by piece, silence left alone."""

from collections.abc import Iterator, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from phase4_deploy.audio.activity import activity, edged, speaks, trimmed
from phase4_deploy.audio.decode import RATE, Source, stream
from phase4_deploy.audio.log_mel import HOP, LogMel
from phase4_deploy.speech.ctc import WordScore, greedy, likeliest, prefix_beam
from phase4_deploy.speech.encoder import SpeechRecogniser
from shared.errors import VermeilError

PIECE = 20.0  # seconds heard at once, at most
EARLIEST = 0.5  # of a piece, before which it is not cut


class Transcriber:
    """A recogniser for waves of 16 kHz: greedy with `beams` 1, else by prefix beam search.

    Told the `phrases` that there are, it writes the likeliest of them instead. Where nobody speaks,
    nothing is written: a recogniser that is given noise writes something. VermeilError for a phrase
    without a letter.
    """

    def __init__(
        self, model: SpeechRecogniser, beams: int = 1, scorer: WordScore | None = None,
        phrases: Sequence[str] = (),
    ):  # fmt: skip
        self.model, self.beams, self.scorer = model.eval(), beams, scorer
        self.log_mel = LogMel()
        self.phrases = [*map(model.alphabet.spell, phrases)]
        if "" in self.phrases:
            nothing = phrases[self.phrases.index("")]
            raise VermeilError(f"the phrase {nothing!r} has no letter", "write it in words")

    def __call__(self, wave: Float[Tensor, " n"]) -> str:
        """What is said in a clip of up to the encoder's context."""
        return self.write(self.log_probs(wave)) if speaks(wave) else ""

    @torch.no_grad()
    def log_probs(self, wave: Float[Tensor, " n"]) -> Float[Tensor, "states vocab"]:
        """Log probabilities of blank and characters, a row for 40 ms of the trimmed clip."""
        mels = self.trimmed_mels(wave)[None]  # (1, T, 80)
        device = next(self.model.parameters()).device
        log_probs, lengths = self.model(mels.to(device), torch.tensor([mels.shape[1]]).to(device))
        return log_probs[0, : int(lengths[0])].cpu()

    def trimmed_mels(self, wave: Float[Tensor, " n"]) -> Float[Tensor, "t 80"]:
        """The frames that it listens to."""
        return self.log_mel(edged(trimmed(wave)))

    def write(self, log_probs: Float[Tensor, "states vocab"]) -> str:
        """The text that these probabilities speak for."""
        if not len(log_probs):
            return ""
        if self.phrases:
            which = likeliest(log_probs, [*map(self.model.alphabet.encode, self.phrases)])
            return "" if which is None else self.phrases[which]
        if self.beams == 1 and self.scorer is None:
            [text] = greedy(log_probs[None], torch.tensor([len(log_probs)]), self.model.alphabet)
            return text
        width = max(self.beams, 2)
        return prefix_beam(log_probs, self.model.alphabet, width, self.scorer)[0][0]

    def file(self, source: Source, name: str = "") -> Iterator[tuple[float, float, str]]:
        """(from, to, text) of each piece of a recording, in seconds; pieces without words are left
        out. Memory does not grow with the file. BadSound names a file that cannot be read."""
        start = 0.0
        for piece in pieces(source, name):
            end = start + len(piece) / RATE
            if text := self(piece):
                yield start, end, text
            start = end


def pieces(source: Source, name: str = "", seconds: float = PIECE) -> Iterator[Float[Tensor, " n"]]:
    """A recording in pieces of at most so many seconds, cut in the middle of the longest pause."""
    most, held = round(seconds * RATE), torch.empty(0)
    for chunk in stream(source, seconds / 4, name=name):
        held = torch.cat([held, chunk])
        while len(held) >= most:
            cut = _pause(held[:most])
            yield held[:cut].clone()
            held = held[cut:].clone()
    if len(held):
        yield held


def _pause(wave: Float[Tensor, " n"]) -> int:
    """The sample to cut at: in the longest stretch without speech, or else at the very end."""
    silent = (~activity(wave)).tolist()
    first, best, begin = int(len(silent) * EARLIEST), (0, len(wave)), None
    for frame, quiet in enumerate([*silent, False]):
        if quiet and begin is None and frame >= first:
            begin = frame
        elif not quiet and begin is not None:
            best = max(best, (frame - begin, (begin + frame) // 2 * HOP))
            begin = None
    return best[1]
