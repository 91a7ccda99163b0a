"""One model, several lanes: a core each, with the same weights and the same memory.

A step of a small model is too short to be divided among cores; answers are not. Python lets one
thread at a time speak to torch, so two lanes bring a quarter more at 32 clients, and an eighth less
at 8 (docs/log.md).
"""

from phase1_foundation.language.decode import Decoder, Product
from phase1_foundation.language.model import LanguageModel
from phase1_foundation.language.tokenizer import Tokenizer
from phase4_deploy.serving.continuous import Row, TextLane, Writing
from phase4_deploy.serving.memory import Memory
from phase4_deploy.serving.ticket import Ticket

SEVERAL = 16  # rows for which products are chosen where there is more than one


class TextLanes:
    """What a `TextLane` is, divided: a request goes to the lane that has least to do."""

    def __init__(
        self, name: str, model: LanguageModel, tokenizer: Tokenizer, *, lanes: int, most: int,
        queue: int, memory_bytes: int, product: type[Product] = Product,
    ):  # fmt: skip
        self.model, self.memory = model.eval(), Memory(memory_bytes)
        lanes = min(lanes, most, queue)
        alone = Decoder(model, 1, product)
        decoders = alone, Decoder(model, min(most, SEVERAL), product) if most > 1 else alone
        self.lanes = [
            TextLane(
                f"{name}-{number}" if lanes > 1 else name, model, tokenizer, decoders,
                most=-(-most // lanes), queue=-(-queue // lanes), memory=self.memory,
            )
            for number in range(lanes)
        ]  # fmt: skip

    def submit(self, request: Writing) -> Ticket[str]:
        """Queue a request; raises Busy where even the shortest queue is full."""
        return min(self.lanes, key=lambda lane: lane.load).submit(request)

    def start(self) -> None:
        for lane in self.lanes:
            lane.start()

    def is_alive(self) -> bool:
        return all(lane.is_alive() for lane in self.lanes)

    def busy(self) -> bool:
        return any(lane.busy() for lane in self.lanes)

    @property
    def depth(self) -> int:
        """Requests that wait."""
        return sum(lane.depth for lane in self.lanes)

    @property
    def rows(self) -> list[Row]:
        """Answers that are being written."""
        return [row for lane in self.lanes for row in lane.rows if row]

    @property
    def written(self) -> int:
        """Tokens since the start."""
        return sum(lane.written for lane in self.lanes)

    def close(self, seconds: float) -> None:
        """As `Lane.close`, for all at the same time."""
        for lane in self.lanes:
            lane.shut()
        for lane in self.lanes:
            lane.close(seconds)
