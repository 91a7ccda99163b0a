"""Speech as it comes in: an encoder made for chunks, run chunk by chunk.

What comes out is, state for state, what the masked encoder says of the whole recording; memory is
that of one chunk and what lies `left` of it, however long the recording is.
"""

from collections.abc import Iterable, Iterator

import torch
from jaxtyping import Float
from torch import Tensor

from phase4_deploy.speech.alphabet import BLANK
from phase4_deploy.speech.encoder import STRIDE, SpeechEncoder, SpeechRecogniser
from shared.errors import VermeilError
from shared.nn import LayerCache, Rotary, rotate


class Window(LayerCache):
    """The last `left` keys and values of a layer, as if the recording began with them.

    Rotary attention depends on distances alone, so turning all keys back by the same angle changes
    nothing: positions never outgrow the table.
    """

    def __init__(self, heads: int, left: int, rotary: Rotary):
        nothing = rotary.cos.new_zeros(1, heads, 0, rotary.cos.shape[1])
        super().__init__(nothing, nothing)
        self.left, self.rotary = left, rotary

    def append(self, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        """Return what is held with the new chunk behind it; hold the last of that."""
        keys = torch.cat([self.keys, key], dim=2)
        values = torch.cat([self.values, value], dim=2)
        gone = max(0, keys.shape[2] - self.left)
        cos, sin = self.rotary(torch.tensor([gone], device=keys.device))
        self.keys, self.values = rotate(keys[:, :, gone:], (cos, -sin)), values[:, :, gone:]
        self.length = keys.shape[2] - gone
        return keys, values


class Stream:
    """An encoder's states while the sound still comes; `feed` what there is, `finish` at the end.

    VermeilError for an encoder that sees whole clips.
    """

    def __init__(self, encoder: SpeechEncoder):
        config = encoder.config
        if not config.chunk:
            raise VermeilError(
                "this encoder sees whole clips and cannot follow a stream",
                "train one with --chunk and --left, or cut the sound into clips",
            )
        self.encoder, self.frames = encoder, config.chunk * STRIDE
        self.windows = [Window(config.heads, config.left, encoder.rotary) for _ in encoder.blocks]
        self.before = self.waiting = encoder.rotary.cos.new_zeros(0, config.mels)

    def feed(self, mels: Float[Tensor, "t mels"]) -> Float[Tensor, "1 n c"]:
        """The states of all chunks that these frames complete; none, most of the time."""
        self.waiting = torch.cat([self.waiting, mels])
        whole = len(self.waiting) // self.frames * self.frames
        chunks, self.waiting = self.waiting[:whole].split(self.frames), self.waiting[whole:]
        return self._states([chunk for chunk in chunks if len(chunk)])

    def finish(self) -> Float[Tensor, "1 n c"]:
        """The states of the last, shorter chunk."""
        rest = self.waiting[: len(self.waiting) // STRIDE * STRIDE]
        self.waiting = self.waiting[:0]
        return self._states([rest] if len(rest) else [])

    @torch.no_grad()
    def _states(self, chunks: list[Tensor]) -> Tensor:
        found = [self.before.new_zeros(1, 0, self.encoder.config.dim), *map(self._chunk, chunks)]
        return torch.cat(found, dim=1)

    def _chunk(self, mels: Tensor) -> Tensor:
        """One chunk through the convolutions, which need the four frames before it, and blocks."""
        known = len(self.before) // STRIDE  # its state was given before
        x = self.encoder.subsample(torch.cat([self.before, mels])[None])[:, known:]  # (1, N, C)
        self.before = mels[-STRIDE:]
        first = self.windows[0].length
        rotation = self.encoder.rotary(torch.arange(first, first + x.shape[1], device=x.device))
        for block, window in zip(self.encoder.blocks, self.windows, strict=True):
            x = block(x, rotation=rotation, cache=window)
        return self.encoder.norm(x)


def listen(
    recogniser: SpeechRecogniser, pieces: Iterable[Float[Tensor, "_ mels"]]
) -> Iterator[str]:
    """The transcript's new characters after each piece of sound, greedily; at last the rest.

    Put together they are the greedy transcript of the whole but for spaces at its ends.
    """
    stream, last = Stream(recogniser.encoder), BLANK
    for piece in (*pieces, None):
        states = stream.finish() if piece is None else stream.feed(piece)
        new = []
        said, _ = recogniser.readings(states, torch.tensor([states.shape[1]]))
        for id in said[0].argmax(dim=-1).tolist():
            if id not in (BLANK, last):
                new.append(id)
            last = id
        yield "".join(recogniser.alphabet.characters[id - 1] for id in new)
